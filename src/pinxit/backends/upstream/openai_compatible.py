"""Whatever speaks OpenAI's Images API: LocalAI, vLLM-Omni, SGLang, Aquiles-Image, Xinference, LiteLLM, another Pinxit.

The operator says where it is, which models it has and what each can do; nothing is sent that the model is not said to
understand, so that strict servers do not refuse and lenient ones do not surprise. It copes with servers that

- need no credential;
- answer with base64, a URL, a path on their own host or a data URL, whichever was asked for;
- paint one picture whatever `n` says: `per_call` is 1 unless configured, and then `n` is not sent at all;
- refuse `response_format` (what has GPT image models behind it) or know nothing but it: `options.response_format` is
  `b64_json` (the default), `url`, or `none`, which does not send it;
- have other names for a field (`options.rename: {num_inference_steps: step}` for LocalAI) or fields of their own
  (`options.extra: {output_format: webp}`).
"""

from collections.abc import Mapping
from dataclasses import replace
from typing import Any
from urllib.parse import urljoin

from pinxit.backends.interface import PaintOrder
from pinxit.backends.upstream._openai_dialect import (
    edit_call,
    read_images,
    read_openai_error,
    read_stream_event,
    streamed,
)
from pinxit.backends.upstream._provider import (
    Access,
    Answer,
    Call,
    Done,
    Partial,
    Picture,
    Provider,
    Step,
    UpstreamModel,
)
from pinxit.errors import ConfigurationError, PinxitError

RESPONSE_FORMATS = ("b64_json", "url", "none")


class OpenAICompatible(Provider):
    """Models by configuration alone."""

    name = "openai_compatible"
    title = "The OpenAI-compatible server"
    documentation = (
        "https://docs.vllm.ai/projects/vllm-omni/en/stable/serving/image_generation_api/ (2026-11-22)",
        "https://docs.vllm.ai/projects/vllm-omni/en/latest/serving/image_edit_api/ (2026-11-22)",
        "https://docs.sglang.io/diffusion/api/openai_api.html (2026-11-22)",
        "https://localai.io/features/image-generation/ (2026-11-22)",
        "litellm 1.109.1, exceptions.py, llms/openai/image_edit/transformation.py (2026-11-22)",
    )
    base64_keys = ("b64_json",)
    option_names = frozenset({"response_format", "rename", "extra"})

    def __init__(self, access: Access) -> None:
        super().__init__(access)
        self._format = access.options.get("response_format", RESPONSE_FORMATS[0])
        if self._format not in RESPONSE_FORMATS:
            raise ConfigurationError(f"options.response_format is one of {', '.join(RESPONSE_FORMATS)}.")
        self._rename = _mapping(access, "rename")
        self._extra = _mapping(access, "extra")

    def build_request(self, order: PaintOrder, model: UpstreamModel) -> Call:
        return self._call(order, self.fields(order, model))

    def stream_request(self, order: PaintOrder, model: UpstreamModel) -> Call:
        return self._call(order, streamed(self.fields(order, model), order))

    def _call(self, order: PaintOrder, fields: Mapping[str, Any]) -> Call:
        if order.asked.images:
            name = "image" if len(order.asked.images) == 1 else "image[]"
            return edit_call("/images/edits", fields, order, name)
        return Call("POST", "/images/generations", json=fields)

    def fields(self, order: PaintOrder, model: UpstreamModel) -> dict[str, Any]:
        """The body but for its files: what every server knows, and what this model is said to understand."""
        can, asked = model.spec.capabilities, order.asked
        fields: dict[str, Any] = {"model": order.model, "prompt": order.prompt, "size": str(order.size)}
        if len(order.seeds) > 1:
            fields["n"] = len(order.seeds)
        if self._format != "none":
            fields["response_format"] = self._format
        if asked.quality in can.qualities:
            fields["quality"] = asked.quality
        if can.seed and len(order.seeds) == 1:
            fields["seed"] = order.seeds[0]
        if can.num_inference_steps is not None:
            fields["num_inference_steps"] = order.num_inference_steps
        if can.guidance_scale is not None:
            fields["guidance_scale"] = order.guidance_scale
        if can.negative_prompt and order.negative_prompt:
            fields["negative_prompt"] = order.negative_prompt
        if asked.images and asked.strength is not None:
            fields["strength"] = asked.strength
        if can.transparent and order.transparent:
            fields["background"] = "transparent"
        renamed = {str(self._rename.get(name, name)): value for name, value in fields.items()}
        return {**renamed, **self._extra}

    def read_response(self, answer: Answer, order: PaintOrder) -> Step:
        done = read_images(answer)
        pictures = [self._whole(picture) for picture in done.pictures[: len(order.seeds)]]
        return replace(done, pictures=pictures)

    def read_event(self, event: Answer, order: PaintOrder) -> Partial | Done | None:
        found = read_stream_event(self.title, event)
        if not isinstance(found, Done):
            return found
        return replace(found, pictures=[self._whole(picture) for picture in found.pictures])

    def read_error(self, answer: Answer, order: PaintOrder) -> PinxitError:
        return read_openai_error(self.title, answer)

    def _whole(self, picture: Picture) -> Picture:
        """With a whole URL where it is a mere path on the server."""
        return replace(picture, url=urljoin(self.access.base_url, picture.url)) if picture.url else picture


def _mapping(access: Access, name: str) -> Mapping[str, Any]:
    """Raises ConfigurationError if the option is something else."""
    found = access.options.get(name, {})
    if not isinstance(found, Mapping):
        raise ConfigurationError(f"options.{name} is a mapping.")
    return found
