"""OpenRouter's Image API: one door to the models of many.

Special: a picture a request, since some of those behind it refuse `n` above 1; explicit pixels in `size`, which it
writes as each of them wants it; the answer says what it cost. An error after a model began its work comes with status
200. An error in OpenRouter's own JSON, whatever its status, is its word that nothing was painted.

There are many more models than are named here: `GET /api/v1/images/models` lists them, and each can be configured. The
prices are those of the models' own makers, which OpenRouter says it passes on.
"""

from collections.abc import Mapping, Sequence
from typing import Any, ClassVar

from pinxit.backends.interface import Capabilities, ModelSpec, PaintOrder
from pinxit.backends.upstream import google, openai
from pinxit.backends.upstream._openai_dialect import REFUSALS, error_object, read_datum
from pinxit.backends.upstream._provider import (
    Answer,
    Call,
    Done,
    Provider,
    Step,
    UpstreamModel,
    data_url,
    error_of_status,
    micros,
    refusal,
    retry_after,
    seed_field,
)
from pinxit.errors import BackendBusy, BackendError, BackendUnavailable, InvalidValue, PinxitError
from pinxit.images.price import PriceList, PriceRule
from pinxit.images.request import Encoding
from pinxit.images.size import Size

FLUX_2 = {
    "1:1": Size(1024, 1024),
    "2:3": Size(832, 1248),
    "3:2": Size(1248, 832),
    "3:4": Size(880, 1184),
    "4:3": Size(1184, 880),
    "9:16": Size(768, 1360),
    "16:9": Size(1360, 768),
}
SEEDREAM = {
    "1:1": Size(2048, 2048),
    "2:3": Size(1664, 2496),
    "3:2": Size(2496, 1664),
    "3:4": Size(1728, 2304),
    "4:3": Size(2304, 1728),
    "9:16": Size(1440, 2560),
    "16:9": Size(2560, 1440),
}


def routed(
    id_: str, description: str, created: int, ratios: Mapping[str, Size], usd: float, max_images: int
) -> UpstreamModel:
    """A model with one price for a picture."""
    square = ratios["1:1"]
    can = Capabilities(
        sizes=tuple(ratios.values()),
        default_size=square,
        native_size=square,
        aspect_ratios=ratios,
        seed=False,
        encodings=(Encoding.PNG, Encoding.JPEG),
        edits=True,
        max_images=max_images,
    )
    owner = id_.partition("/")[0]
    prices = PriceList((PriceRule(micros(usd)),))
    return UpstreamModel(ModelSpec(id_, description, can, owner, "proprietary", created, prices))


def gpt_image_2() -> UpstreamModel:
    """As OpenAI has it, but for the mask, which cannot be sent."""
    spec = next(model.spec for model in openai.OpenAI.models if model.spec.id == "gpt-image-2")
    its = spec.capabilities
    can = Capabilities(
        sizes=its.sizes,
        default_size=its.default_size,
        native_size=its.native_size,
        aspect_ratios=its.aspect_ratios,
        size_range=its.size_range,
        qualities=its.qualities,
        seed=False,
        edits=True,
        max_images=its.max_images,
    )
    routed_spec = ModelSpec(
        "openai/gpt-image-2", "OpenAI's GPT Image 2.", can, "openai", "proprietary", spec.created, spec.prices
    )
    return UpstreamModel(routed_spec, facts={"formats": True})


def _sizes(ratios: google.Ratios) -> dict[str, Size]:
    return {name: Size(*pixels) for name, pixels in ratios.items()}


class OpenRouter(Provider):
    """`options.referer` and `options.title` are shown at OpenRouter as the app that asks."""

    name = "openrouter"
    title = "OpenRouter"
    documentation = (
        "https://openrouter.ai/docs/api/api-reference/images/generate-an-image.md (2026-11-22)",
        "https://openrouter.ai/docs/guides/overview/multimodal/image-generation (2026-11-22)",
        "https://openrouter.ai/docs/errors (2026-11-22)",
        "openrouter 1.3.84, components/imagegenerationrequest.py, imagegenerationusage.py (2026-11-22)",
    )
    base_url = "https://openrouter.ai/api/v1"
    credential_variable = "OPENROUTER_API_KEY"
    base64_keys = ("b64_json",)
    option_names = frozenset({"referer", "title"})
    models: ClassVar = (
        routed(
            "google/gemini-3-pro-image",
            "Google's Gemini 3 Pro Image, also called Nano Banana Pro.",
            1_763_596_800,
            _sizes(google.PRO_3),
            0.134,
            14,
        ),
        routed(
            "google/gemini-2.5-flash-image",
            "Google's Gemini 2.5 Flash Image, also called Nano Banana.",
            1_759_363_200,
            _sizes(google.FLASH_25),
            0.039,
            3,
        ),
        gpt_image_2(),
        routed("black-forest-labs/flux.2-pro", "Black Forest Labs' FLUX.2 [pro].", 1_764_028_800, FLUX_2, 0.045, 8),
        routed("bytedance-seed/seedream-4.5", "ByteDance's Seedream 4.5.", 1_764_720_000, SEEDREAM, 0.04, 10),
    )

    def authorise(self) -> Mapping[str, str]:
        headers = dict(super().authorise())
        for option, name in (("referer", "http-referer"), ("title", "x-title")):
            if option in self.access.options:
                headers[name] = str(self.access.options[option])
        return headers

    def build_request(self, order: PaintOrder, model: UpstreamModel) -> Call:
        asked, can = order.asked, model.spec.capabilities
        body: dict[str, Any] = {"model": order.model, "prompt": order.prompt, "size": str(order.size)}
        body |= seed_field("seed", order, model)
        if len(order.seeds) > 1:
            body["n"] = len(order.seeds)
        if asked.quality in can.qualities:
            body["quality"] = asked.quality
        if order.transparent:
            body["background"] = "transparent"
        if model.facts.get("formats"):
            body["output_format"] = asked.encoding.value
            if asked.compression is not None and asked.encoding is not Encoding.PNG:
                body["output_compression"] = asked.compression
        if asked.images:
            urls = [{"url": data_url(picture.data)} for picture in asked.images]
            body["input_references"] = [{"type": "image_url", "image_url": url} for url in urls]
        if asked.end_user is not None:
            body["user"] = asked.end_user
        return Call("POST", "/images", json=body)

    def read_response(self, answer: Answer, order: PaintOrder) -> Step:
        if error := error_object(answer):
            raise self._refused(error, "output") or BackendError(f"{self.title} failed: {answer.message()}")
        usage = answer.json.get("usage") or {}
        cost = usage.get("cost")
        return Done(
            [read_datum(datum) for datum in answer.json["data"]],
            usage.get("prompt_tokens") or 0,
            usage.get("completion_tokens") or 0,
            None if cost is None else micros(cost),
        )

    def read_error(self, answer: Answer, order: PaintOrder) -> PinxitError:
        error, status = error_object(answer), answer.status
        if found := self._refused(error, "input"):
            return found
        if status == 404:
            return BackendUnavailable(f"{self.title} has nobody who paints with this model. Nothing was charged.")
        if status == 429:
            message = f"{self.title} has too much to do. Nothing was charged."
            return BackendBusy(message, retry_after_seconds=retry_after(answer))
        if status == 502 and error:
            return BackendUnavailable(f"{self.title} got nothing from the model. Nothing was charged.")
        found = error_of_status(self.title, answer)
        if isinstance(found, InvalidValue) and (said := _raw(error)):
            return InvalidValue(f"{found.message} ({said})")
        return found

    def _refused(self, error: Mapping[str, Any], stage: str) -> PinxitError | None:
        """A refusal by OpenRouter's moderation, or by the model's maker in its own words."""
        metadata = error.get("metadata")
        reasons = metadata.get("reasons") if isinstance(metadata, dict) else None
        if isinstance(reasons, list):
            return refusal(self.title, str(error.get("message", "")), stage=stage, categories=_texts(reasons))
        raw = _raw(error)
        if any(code in raw for code in REFUSALS):
            return refusal(self.title, str(error.get("message", "")), stage=stage)
        return None


def _raw(error: Mapping[str, Any]) -> str:
    """What the model's maker said."""
    metadata = error.get("metadata")
    return str(metadata.get("raw") or "")[:400] if isinstance(metadata, dict) else ""


def _texts(values: Sequence[Any]) -> list[str]:
    return [str(value)[:100] for value in values[:20]]
