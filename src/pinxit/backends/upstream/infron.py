"""Infron, formerly OneRouter: the image models of many, asked for as OpenAI's are, some by way of a task.

Special: `size` is a ratio for most models and pixels for those of OpenAI; `output_format` says `b64_json` or `url`
instead of `response_format`; models that take their time answer with a task, whose `urls.query` is asked until it is
`completed` and has `outputs`; pictures to begin from are data URLs in `image_urls` of an edit in JSON.

Models that do nothing but edit (`google/nano-banana-image-to-image`) have to be configured. No page says how many
pixels a ratio has (here: those of Gemini 2.5 Flash Image), and the list of prices was not to be had: they are the
models' makers' own.
"""

from collections.abc import Mapping
from typing import Any, ClassVar
from urllib.parse import quote

from pinxit.backends.interface import Capabilities, ModelSpec, PaintOrder
from pinxit.backends.upstream._openai_dialect import read_images, read_openai_error
from pinxit.backends.upstream._provider import (
    Again,
    Answer,
    Call,
    Done,
    Picture,
    Provider,
    Step,
    UpstreamModel,
    data_url,
    micros,
    nearest_ratio,
    seed_field,
)
from pinxit.backends.upstream.google import FLASH_25
from pinxit.backends.upstream.openai import FIXED_RATIOS
from pinxit.errors import BackendError, PinxitError
from pinxit.images.price import PriceList, PriceRule
from pinxit.images.request import Encoding
from pinxit.images.size import Size

RATIOS = {ratio: Size(*pixels) for ratio, pixels in FLASH_25.items()}
FAILED = frozenset({"failed", "cancelled", "canceled", "error", "timeout"})
POLL_SECONDS = 2.0


def sized_by_ratio(id_: str, description: str, created: int, usd: float) -> UpstreamModel:
    return _model(id_, description, created, usd, RATIOS)


def task(id_: str, description: str, created: int, usd: float) -> UpstreamModel:
    """A model that is sized in pixels and answers with a task."""
    return _model(id_, description, created, usd, FIXED_RATIOS, {"in_pixels": True})


def _model(
    id_: str,
    description: str,
    created: int,
    usd: float,
    ratios: Mapping[str, Size],
    facts: Mapping[str, Any] | None = None,
) -> UpstreamModel:
    can = Capabilities(
        sizes=tuple(ratios.values()),
        default_size=ratios["1:1"],
        native_size=ratios["1:1"],
        aspect_ratios=ratios,
        seed=False,
        encodings=(Encoding.PNG, Encoding.JPEG),
    )
    owner = id_.partition("/")[0]
    spec = ModelSpec(id_, description, can, owner, "proprietary", created, PriceList((PriceRule(micros(usd)),)))
    return UpstreamModel(spec, facts=facts or {})


class Infron(Provider):
    """The API's own host keeps its former name."""

    name = "infron"
    title = "Infron"
    documentation = (
        "https://infronai.gitbook.io/docs/api-reference/generative-model-api/text-to-image (2026-11-22)",
        "https://infron.ai/docs/media-apis (2026-11-22)",
    )
    base_url = "https://image.onerouter.pro/v1"
    credential_variable = "INFRON_API_KEY"
    base64_keys = ("b64_json",)
    has_jobs = True
    own_hosts = ("onerouter.pro", "infron.ai")
    models: ClassVar = (
        task("openai/gpt-image-2/text-to-image", "OpenAI's GPT Image 2.", 1_776_729_600, 0.211),
        sized_by_ratio(
            "google/nano-banana-pro-text-to-image",
            "Google's Gemini 3 Pro Image, also called Nano Banana Pro.",
            1_763_596_800,
            0.134,
        ),
        sized_by_ratio(
            "google/gemini-2.5-flash-image",
            "Google's Gemini 2.5 Flash Image, also called Nano Banana.",
            1_759_363_200,
            0.039,
        ),
    )

    def build_request(self, order: PaintOrder, model: UpstreamModel) -> Call:
        in_pixels = model.facts.get("in_pixels", order.model.startswith("openai/"))
        body: dict[str, Any] = {
            "model": order.model,
            "prompt": order.prompt,
            "size": str(order.size) if in_pixels else nearest_ratio(order.size, RATIOS),
            "output_format": "url" if in_pixels else "b64_json",
            **seed_field("seed", order, model),
        }
        if len(order.seeds) > 1:
            body["n"] = len(order.seeds)
        if not order.asked.images:
            return Call("POST", "/images/generations", json=body)
        body["image_urls"] = [data_url(picture.data) for picture in order.asked.images]
        return Call("POST", "/images/edits", json=body)

    def read_response(self, answer: Answer, order: PaintOrder) -> Step:
        data = answer.json["data"]
        return read_images(answer) if isinstance(data, list) else self._read_task(data)

    def _read_task(self, data: Mapping[str, Any]) -> Step:
        name, status = str(data["task_id"]), str(data["status"]).lower()
        if status in FAILED:
            raise BackendError(f"{self.title} failed: {str(data.get('fail_reason') or status)[:400]}")
        if status == "completed":
            return Done([Picture(url=url) for url in data["outputs"]])
        query = (data.get("urls") or {}).get("query") or f"/images/tasks/{quote(name, safe='')}"
        return Again(Call("GET", query), name, POLL_SECONDS)

    def read_error(self, answer: Answer, order: PaintOrder) -> PinxitError:
        return read_openai_error(self.title, answer)
