"""OpenAI's Images API: the GPT image models. https://platform.openai.com/docs/api-reference/images"""

from collections.abc import Mapping
from typing import Any, ClassVar

from pinxit.backends.interface import Capabilities, ModelSpec, PaintOrder
from pinxit.backends.upstream._provider import (
    Answer,
    Call,
    Done,
    Part,
    Picture,
    Provider,
    Step,
    UpstreamModel,
    error_of_status,
    file_part,
    micros,
    refusal,
)
from pinxit.errors import BackendUnavailable, PinxitError
from pinxit.images.price import PriceList, PriceRule
from pinxit.images.size import Size

SQUARE, TALL, WIDE = Size(1024, 1024), Size(1024, 1536), Size(1536, 1024)
QUALITIES = ("low", "medium", "high")
REFUSALS = frozenset({"moderation_blocked", "content_policy_violation"})


def gpt_image(id_: str, description: str, created: int, usd: Mapping[str, tuple[float, float]]) -> UpstreamModel:
    """A GPT image model. `usd`: quality → price of a square picture and of a tall or wide one."""
    rules = [PriceRule(micros(usd["high"][1]))]  # `auto`: at most this
    for quality, (square, other) in usd.items():
        rules.append(PriceRule(micros(square), str(SQUARE), quality))
        rules += [PriceRule(micros(other), str(size), quality) for size in (TALL, WIDE)]
    can = Capabilities(
        sizes=(SQUARE, TALL, WIDE),
        default_size=SQUARE,
        native_size=SQUARE,
        aspect_ratios={"1:1": SQUARE, "2:3": TALL, "3:2": WIDE},
        max_n=10,
        qualities=dict.fromkeys(QUALITIES, 1),
        seed=False,
        transparent=True,
        edits=True,
        mask=True,
        max_images=16,
    )
    spec = ModelSpec(id_, description, can, "openai", "proprietary", created, PriceList(tuple(rules)))
    return UpstreamModel(spec, per_call=10)


class OpenAI(Provider):
    """Base64 answers; sizes, qualities and formats as ours, since ours are OpenAI's."""

    name = "openai"
    title = "OpenAI"
    documentation = (
        "https://platform.openai.com/docs/api-reference/images (2026-11-22)",
        "https://platform.openai.com/docs/guides/image-generation (2026-11-22)",
    )
    base_url = "https://api.openai.com/v1"
    credential_variable = "OPENAI_API_KEY"
    base64_keys = ("b64_json",)
    applies_compression = True
    option_names = frozenset({"organization", "project"})
    # Prices: https://platform.openai.com/docs/guides/image-generation#cost-and-latency (2026-11-22)
    models: ClassVar = (
        gpt_image(
            "gpt-image-1",
            "OpenAI's GPT Image 1.",
            1_745_366_400,
            {"low": (0.011, 0.016), "medium": (0.042, 0.063), "high": (0.167, 0.25)},
        ),
    )

    def authorise(self) -> Mapping[str, str]:
        options = self.access.options
        headers = dict(super().authorise())
        for option in ("organization", "project"):
            if option in options:
                headers[f"openai-{option}"] = str(options[option])
        return headers

    def build_request(self, order: PaintOrder, model: UpstreamModel) -> Call:
        fields = self.fields(order)
        if not order.asked.images:
            return Call("POST", "/images/generations", json=fields)
        parts = [Part(name, str(value)) for name, value in fields.items()]
        for picture in order.asked.images:
            parts.append(file_part("image[]", picture.data))
        if order.asked.mask is not None:
            parts.append(file_part("mask", order.asked.mask.data))
        return Call("POST", "/images/edits", form=tuple(parts))

    def fields(self, order: PaintOrder) -> dict[str, Any]:
        """The body of a generation, and of an edit but for its files."""
        asked = order.asked
        fields: dict[str, Any] = {
            "model": order.model,
            "prompt": order.prompt,
            "n": len(order.seeds),
            "size": str(order.size),
            "quality": asked.quality,
            "background": "transparent" if order.transparent else asked.background,
            "output_format": asked.encoding.value,
        }
        if asked.compression is not None:
            fields["output_compression"] = asked.compression
        if not asked.images:
            fields["moderation"] = asked.moderation
        if asked.end_user is not None:
            fields["user"] = asked.end_user
        return fields

    def read_response(self, answer: Answer, order: PaintOrder) -> Step:
        document = answer.json
        pictures = [read_datum(datum) for datum in document["data"]]
        usage = document.get("usage") or {}
        return Done(pictures, usage.get("input_tokens", 0), usage.get("output_tokens", 0))

    def read_error(self, answer: Answer, order: PaintOrder) -> PinxitError:
        return read_openai_error(self.title, answer)


def read_datum(datum: Mapping[str, Any]) -> Picture:
    """One element of `data`."""
    revised = datum.get("revised_prompt") or ""
    if datum.get("b64_json"):
        return Picture(base64=datum["b64_json"], revised_prompt=revised)
    return Picture(url=datum["url"], revised_prompt=revised)


def read_openai_error(title: str, answer: Answer) -> PinxitError:
    """`{"error": {"message", "type", "param", "code"}}`; https://platform.openai.com/docs/guides/error-codes."""
    code = _code(answer)
    if code in REFUSALS:
        return refusal(title, answer.message())
    if code in ("insufficient_quota", "billing_hard_limit_reached"):
        return BackendUnavailable(f"This server's account at {title} is out of credit. Nothing was charged.")
    return error_of_status(title, answer)


def _code(answer: Answer) -> str:
    try:
        error = answer.json["error"]
        return str(error.get("code") or error.get("type") or "")
    except (PinxitError, KeyError, TypeError, AttributeError):
        return ""
