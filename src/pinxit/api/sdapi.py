"""POST /sdapi/v1/txt2img and img2img: a subset of the API of AUTOMATIC1111's web UI.

A thin door to the same order, for SillyTavern, Open WebUI's default engine and whatever else speaks it
(https://github.com/AUTOMATIC1111/stable-diffusion-webui, `modules/api/api.py`, read on 2026-11-22). As there, what a
server does not know is not refused: it comes back in `x-pinxit-ignored`.
"""

import asyncio
import json
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from starlette.types import Scope

from pinxit.api.adapting import (
    MAX_IGNORED,
    AdapterEndpoint,
    ParsedAdapted,
    Translated,
    base64_text,
    joined,
    showable,
    with_member,
)
from pinxit.api.edits import Sent, Source
from pinxit.api.fields import Fields
from pinxit.api.images import DANGEROUS, ParsedRequest
from pinxit.api.request_schema import MAX_N, MAX_NAME_CHARACTERS
from pinxit.backends.interface import MAX_SEED
from pinxit.catalog.catalog import Catalog
from pinxit.catalog.entry import Entry
from pinxit.errors import InvalidRequest, InvalidValue, ModelNotFound, PermissionDenied
from pinxit.generations.generation import Generation
from pinxit.images.decoding import InputPixels
from pinxit.images.masks import from_webui
from pinxit.keys.model import Caller
from pinxit.library.image import Image
from pinxit.limits.byte_budget import ByteLease

CHECKPOINT = "override_settings.sd_model_checkpoint"
SAMPLER = "Automatic"
"""There is one: the model's own."""
MAX_SIDE = 99_999
DEFAULT_SIDE = 512

_COMMON = frozenset(
    [
        "batch_size",
        "cfg_scale",
        "enable_hr",
        "height",
        "n_iter",
        "negative_prompt",
        "override_settings",
        "prompt",
        "save_images",
        "script_name",
        "seed",
        "send_images",
        "steps",
        "width",
    ]
)
_OF_PICTURES = frozenset(["denoising_strength", "init_images", "inpainting_mask_invert", "mask"])
_NAMES = {
    "model": CHECKPOINT,
    "num_inference_steps": "steps",
    "guidance_scale": "cfg_scale",
    "strength": "denoising_strength",
    "store": "save_images",
    "image": "init_images",
    "n": "batch_size",
}
_OPTIONAL = {
    "negative_prompt": "negative_prompt",
    "num_inference_steps": "steps",
    "guidance_scale": "cfg_scale",
    "seed": "seed",
    "strength": "denoising_strength",
}
"""What these clients send to every model → what it is called here. A model that has no such thing paints without."""


class Txt2ImgEndpoint(AdapterEndpoint):
    """The plain ASGI callable behind POST /sdapi/v1/txt2img."""

    takes_basic = True
    begins_from_picture = False

    def translate(self, body: dict[str, Any]) -> Translated:
        fields = Fields(body)
        _refuse_what_would_be_another_picture(fields)
        known = _COMMON | (_OF_PICTURES if self.begins_from_picture else frozenset())
        settings = fields.object("override_settings") or {}
        ignored = _unknown(body, known) + _unknown(settings, {"sd_model_checkpoint"}, prefix="override_settings.")
        order = {
            "prompt": fields.value("prompt"),
            "n": _count(fields),
            "response_format": "b64_json",
            "negative_prompt": fields.value("negative_prompt") or None,
            "num_inference_steps": fields.integer("steps", 1, 1000),
            "guidance_scale": fields.number("cfg_scale", 0, 100),
            "seed": _seed(fields),
            "store": fields.boolean("save_images"),
        }
        model = Fields(settings, prefix="override_settings.").text(
            "sd_model_checkpoint", max_characters=MAX_NAME_CHARACTERS
        )
        return Translated(
            order,
            names=_NAMES,
            ignored=tuple(ignored[:MAX_IGNORED]),
            facts={"model": model, "size": _sides(fields), "has_images": fields.boolean("send_images") is not False},
        )

    def _parse(self, sent: Sent, scope: Scope, caller: Caller) -> ParsedRequest:
        assert isinstance(sent, Translated)
        entry = _entry(sent.facts["model"], self._services.catalog, caller)
        cannot = [name for name in _OPTIONAL if sent.fields.get(name) is not None and not _has(entry, name)]
        order = {name: value for name, value in sent.fields.items() if name not in cannot and value is not None}
        order |= {"model": entry.id, "size": _size(sent.facts["size"], entry)}
        ignored = (*sent.ignored, *(_OPTIONAL[name] for name in cannot))
        return super()._parse(replace(sent, fields=order, ignored=ignored), scope, caller)

    def _render(self, generation: Generation, parsed: ParsedRequest, scope: Scope) -> list[bytes]:
        assert isinstance(parsed, ParsedAdapted)
        facts = _facts(generation)
        answer = {"parameters": facts, "info": json.dumps({**facts, **_infos(generation, facts)})}
        shown = generation.images if parsed.facts["has_images"] else ()
        return with_member(answer, "images", joined(base64_text(image.data or b"") for image in shown))


class Img2ImgEndpoint(Txt2ImgEndpoint):
    """The plain ASGI callable behind POST /sdapi/v1/img2img."""

    kind = "image_edit"
    begins_from_picture = True

    def translate(self, body: dict[str, Any]) -> Translated:
        translated, fields = super().translate(body), Fields(body)
        pictures = fields.array("init_images") or []
        if not pictures:
            raise InvalidRequest("init_images is missing: send the picture to begin from.", param="init_images")
        if len(pictures) > 1:
            raise InvalidValue("One picture to begin from can be sent.", param="init_images")
        translated.fields["strength"] = fields.number("denoising_strength", 0, 1)
        translated.earlier = (_picture("init_images[0]", pictures[0]),)
        translated.mask = _picture("mask", body["mask"]) if fields.is_set("mask") else None
        is_inverted = fields.integer("inpainting_mask_invert", 0, 1) == 1
        translated.facts = {**translated.facts, "is_inverted": is_inverted}
        return translated

    async def _with_pictures(
        self, parsed: ParsedRequest, sent: Sent, caller: Caller, lease: ByteLease
    ) -> tuple[ParsedRequest, InputPixels | None]:
        assert isinstance(sent, Translated)
        if sent.mask is not None:
            picture = await self._open(sent.mask, lease)
            try:
                mask = await asyncio.to_thread(from_webui, picture, is_inverted=sent.facts["is_inverted"])
            except ValueError as error:
                raise InvalidValue(f"mask: {error}.", param="mask") from error
            sent = replace(sent, mask=Source("mask", mask))
        return await super()._with_pictures(parsed, sent, caller, lease)


# --- models ---------------------------------------------------------------------------------------------------------


def list_checkpoints(catalog: Catalog, caller: Caller) -> list[Entry]:
    """The models that the caller may use; the first is the one that paints if none is named."""
    allowed = caller.key.options.models if caller.key else None
    return [entry for entry in catalog.list() if allowed is None or {entry.id, *entry.aliases} & set(allowed)]


def _entry(named: str | None, catalog: Catalog, caller: Caller) -> Entry:
    """Raises ModelNotFound, PermissionDenied."""
    if named is None:
        found = list_checkpoints(catalog, caller)
        if not found:
            raise PermissionDenied("This API key may not use any model that there is.", param=CHECKPOINT)
        return found[0]
    try:
        entry = catalog.resolve(named, tells_why=caller.is_admin)
        caller.require_model(named, entry.id)
    except (ModelNotFound, PermissionDenied) as error:
        error.param = CHECKPOINT
        raise
    return entry


def _has(entry: Entry, name: str) -> bool:
    """Whether the model has such a thing at all."""
    return bool(getattr(entry.capabilities, name))


def _size(sides: tuple[int, int] | None, entry: Entry) -> str:
    """Raises InvalidValue, naming the side that the model does not have."""
    if sides is None:
        return "auto"
    width, height = sides
    sizes = entry.capabilities.sizes
    if any((size.width, size.height) == sides for size in sizes):
        return f"{width}x{height}"
    param = "height" if any(size.width == width for size in sizes) else "width"
    raise InvalidValue(f"{entry.id} cannot paint {width} by {height} pixels.", param=param, allowed=sizes)


# --- reading --------------------------------------------------------------------------------------------------------


def _refuse_what_would_be_another_picture(fields: Fields) -> None:
    if fields.boolean("enable_hr"):
        raise InvalidValue("There is no second pass here: send the width and height that you want.", param="enable_hr")
    if fields.text("script_name", max_characters=MAX_NAME_CHARACTERS):
        raise InvalidValue("There are no scripts here.", param="script_name")


def _unknown(body: Mapping[str, Any], known: frozenset[str] | set[str], *, prefix: str = "") -> list[str]:
    """Names without effect. Raises InvalidRequest for one that could redirect a request."""
    for name in body:
        if name in DANGEROUS:
            raise InvalidRequest("This field is not accepted from a request.", param=prefix + name)
    return [prefix + showable(name) for name, value in body.items() if name not in known and value is not None]


def _count(fields: Fields) -> int:
    batch = fields.integer("batch_size", 1, MAX_N)
    rounds = fields.integer("n_iter", 1, MAX_N)
    count = (1 if batch is None else batch) * (1 if rounds is None else rounds)
    if count > MAX_N:
        raise InvalidValue(f"batch_size times n_iter can be at most {MAX_N}.", param="n_iter")
    return count


def _seed(fields: Fields) -> int | None:
    """-1: a random one."""
    seed = fields.integer("seed", -1, MAX_SEED)
    return None if seed == -1 else seed


def _sides(fields: Fields) -> tuple[int, int] | None:
    """Width and height; None: the model's own, or like the picture's."""
    width, height = fields.integer("width", 1, MAX_SIDE), fields.integer("height", 1, MAX_SIDE)
    if width is None and height is None:
        return None
    return (DEFAULT_SIDE if width is None else width, DEFAULT_SIDE if height is None else height)


def _picture(param: str, sent: Any) -> Source:
    """Bare base64, a data URL, or an address."""
    if not isinstance(sent, str):
        raise InvalidRequest(f"{param} must be a picture in base64.", param=param)
    if sent[:5].lower() == "data:" or sent[:8].lower().startswith(("http://", "https://")):
        return Source(param, sent)
    return Source(param, f"data:image/png;base64,{sent}")


# --- answering ------------------------------------------------------------------------------------------------------


def _facts(generation: Generation) -> dict[str, Any]:
    kept = generation.parameters
    width, _, height = kept["size"].partition("x")
    return {
        "prompt": generation.prompt,
        "negative_prompt": kept["negative_prompt"] or "",
        "seed": kept["seeds"][0],
        "steps": kept["num_inference_steps"],
        "cfg_scale": kept["guidance_scale"],
        "width": int(width),
        "height": int(height),
        "sampler_name": SAMPLER,
        "batch_size": kept["n"],
        "n_iter": 1,
        "denoising_strength": kept.get("strength"),
        "override_settings": {"sd_model_checkpoint": generation.model},
    }


def _infos(generation: Generation, facts: Mapping[str, Any]) -> dict[str, Any]:
    """What the web UI's `info` has beyond."""
    images = generation.images
    return {
        "all_prompts": [generation.prompt for _ in images],
        "all_negative_prompts": [facts["negative_prompt"] for _ in images],
        "all_seeds": [image.seed for image in images],
        "all_subseeds": [0 for _ in images],
        "subseed": 0,
        "subseed_strength": 0,
        "sd_model_name": generation.model,
        "index_of_first_image": 0,
        "infotexts": [_infotext(facts, image, generation.model) for image in images],
        "job_timestamp": generation.created_at.strftime("%Y%m%d%H%M%S"),
        "extra_generation_params": {},
        "styles": [],
    }


def _infotext(facts: Mapping[str, Any], image: Image, model: str) -> str:
    """How the web UI writes a picture's parameters."""
    negative = f"\nNegative prompt: {facts['negative_prompt']}" if facts["negative_prompt"] else ""
    scale = "" if facts["cfg_scale"] is None else f" CFG scale: {facts['cfg_scale']:g},"
    return (
        f"{facts['prompt']}{negative}\nSteps: {facts['steps']}, Sampler: {SAMPLER},{scale} Seed: {image.seed},"
        f" Size: {image.size}, Model: {model}"
    )
