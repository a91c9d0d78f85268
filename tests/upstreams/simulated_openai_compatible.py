"""A server of one's own that speaks OpenAI's Images API, with what such servers have in common and where they differ.

Read on 2026-11-22: vLLM-Omni's pages on its image generation and edit APIs (fields, `image` and `image[]` of an edit,
FastAPI's 422 with `detail`), SGLang's page on its OpenAI API, LocalAI's page on image generation (URLs unless
`response_format` says otherwise), LiteLLM 1.109.1 (`budget_exceeded`, 422).

Fewer features than OpenAI: one picture an answer, whatever `n` says; PNG alone; unknown fields are ignored, known ones
of a wrong type are not; no credential is needed, and none is looked at.
"""

import base64
import time
from collections.abc import Mapping, Sequence
from typing import Any, ClassVar

from aiohttp import web
from simulated import Outcome, picture
from simulated_openai import SimulatedOpenai
from strict import Check, choice, number, parts, picture_format, text, whole

from pinxit.backends.interface import Capabilities, ModelSpec, Range
from pinxit.backends.upstream._provider import UpstreamModel
from pinxit.images.request import Encoding
from pinxit.images.size import Size

FIELDS: Mapping[str, Check] = {
    "model": text(),
    "prompt": text(),
    "n": whole(1, 10),
    "size": text(),
    "response_format": choice("b64_json", "url"),
    "seed": whole(0),
    "num_inference_steps": whole(1, 200),
    "guidance_scale": number(0, 20),
    "negative_prompt": text(),
    "strength": number(0, 1),
}
NUMBERS = {"n": int, "seed": int, "num_inference_steps": int, "guidance_scale": float, "strength": float}


class SimulatedOpenaiCompatible(SimulatedOpenai):
    """Serves `{url}/v1`. `answers_with`: what it does when `response_format` is left out."""

    name = "openai_compatible"
    documentation = (
        "https://docs.vllm.ai/projects/vllm-omni/en/stable/serving/image_generation_api/ (2026-11-22)",
        "https://docs.vllm.ai/projects/vllm-omni/en/latest/serving/image_edit_api/ (2026-11-22)",
        "https://docs.sglang.io/diffusion/api/openai_api.html (2026-11-22)",
        "https://localai.io/features/image-generation/ (2026-11-22)",
    )
    models = ("Qwen/Qwen-Image", "flux.1-dev")
    edits = ("Qwen/Qwen-Image",)
    impossible: ClassVar[Mapping[Outcome, str]] = SimulatedOpenai.impossible

    def __init__(self) -> None:
        super().__init__()
        self.answers_with = "url"
        self.ignores_response_format = False
        self.gives_paths = False
        """Whether its URLs are paths on its own host."""
        self.pictures: list[bytes] = []

    def base_path(self, path: str) -> str:
        return "/v1"

    def configured_models(self) -> Sequence[UpstreamModel]:
        sizes = (Size(512, 512), Size(1024, 768))
        can = Capabilities(
            sizes=sizes,
            default_size=sizes[0],
            native_size=sizes[0],
            num_inference_steps=Range(1, 50, 20),
            guidance_scale=Range(0, 20, 4.5),
            negative_prompt=True,
            encodings=(Encoding.PNG,),
            edits=True,
            max_images=2,
        )
        plain = Capabilities(sizes, sizes[1], sizes[1], max_n=4, seed=False, encodings=(Encoding.PNG,))
        return [
            UpstreamModel(ModelSpec(id_, "A model of one's own.", capabilities, "upstream", "unknown", 0))
            for id_, capabilities in zip(self.models, (can, plain), strict=True)
        ]

    def routes(self) -> Sequence[web.RouteDef]:
        return [*super().routes(), web.get("/generated-images/{number}.png", self.show)]

    async def show(self, request: web.Request) -> web.Response:
        return web.Response(body=self.pictures[int(request.match_info["number"])], content_type="image/png")

    def unauthorised(self, request: web.Request) -> web.Response | None:
        return None

    async def generate(self, request: web.Request) -> web.Response:
        return self.order(self.calls[-1].json)

    async def edit(self, request: web.Request) -> web.Response:
        body: dict[str, Any] = {}
        pictures = []
        for part in parts(request.headers.get("content-type", ""), self.calls[-1].body):
            if part.name in ("image", "image[]"):
                pictures.append(part.raw)
            else:
                body[part.name] = NUMBERS.get(part.name, str)(part.value)
        if not pictures or not all(map(picture_format, pictures)):
            return wrong("image", "Field required")
        return self.order(body)

    def order(self, body: Mapping[str, Any]) -> web.Response:
        if "prompt" not in body:
            return wrong("prompt", "Field required")
        for name, look in FIELDS.items():
            if name in body and (detail := look(body[name])):
                return wrong(name, detail)
        if body.get("model", self.models[0]) not in self.models:
            return self.error(404, f"The model `{body['model']}` does not exist.", "NotFoundError", code="404")
        if self.outcome is not Outcome.PAINT:
            return self.go_wrong(dict(body))
        return self.answer(dict(body), [])

    def answer(self, body: dict[str, Any], pictures: Sequence[bytes]) -> web.Response:
        width, height = map(int, body.get("size", "1024x1024").split("x"))
        data = picture(width, height, "png", body["prompt"])
        self.painted += 1
        wanted = self.answers_with if self.ignores_response_format else body.get("response_format", self.answers_with)
        if wanted == "b64_json":
            return web.json_response(
                {"created": int(time.time()), "data": [{"b64_json": base64.b64encode(data).decode(), "url": None}]}
            )
        self.pictures.append(data)
        url = f"{'' if self.gives_paths else self.url}/generated-images/{len(self.pictures) - 1}.png"
        return web.json_response({"created": int(time.time()), "data": [{"url": url, "b64_json": None}]})

    def go_wrong(self, body: Mapping[str, Any]) -> web.Response:
        match self.outcome:
            case Outcome.REFUSE:
                message = "Your request was rejected as a result of our safety system."
                return self.error(400, message, "invalid_request_error", code="content_policy_violation")
            case Outcome.RATE_LIMIT:
                return self.error(429, "Too many requests", "None")
            case Outcome.BAD_REQUEST:
                return wrong("size", "Invalid size format")
            case Outcome.NO_CREDIT:
                message = "Budget has been exceeded! Current cost: 10.2, Max budget: 10.0"
                return self.error(422, message, "budget_exceeded", code="422")
            case _:
                return self.error(503, "The model is still loading", "ServiceUnavailableError")


def wrong(name: str, detail: str) -> web.Response:
    """As FastAPI has it."""
    return web.json_response({"detail": [{"loc": ["body", name], "msg": detail, "type": "value_error"}]}, status=422)
