"""Infron (formerly OneRouter): OpenAI's way of asking, and for some models a task to ask after.

Read on 2026-11-22: https://infronai.gitbook.io/docs/api-reference/generative-model-api/text-to-image and
https://infron.ai/docs/media-apis; and two public clients: AIHappey's `InfronProvider` (edits as JSON with
`image_urls`), and the tests of the `infron__image` tool (tasks: `created`, `in_progress`, `completed` with `outputs`,
`failed` with `fail_reason`; a wrong `size` is a 422).

There is no client of its own to run. The documented curl gives the key bare in `Authorization`, the documented Python
through OpenAI's client as `Bearer`; both are taken. `output_format` is where the answer's form is asked for: `url` (the
default) or `b64_json`.

Not found, and so chosen here: most statuses and bodies of errors (OpenAI's shape, as the API calls itself compatible),
which models are tasks beyond `openai/gpt-image-2/text-to-image`, pixels of a ratio, how many pictures at most (10).
"""

import base64
import time
from collections.abc import Mapping, Sequence
from typing import Any, ClassVar

from aiohttp import web
from simulated import Outcome, Simulated, picture, sides
from strict import Check, Wrong, check, choice, data_url, many, text, whole

RATIOS = ("1:1", "2:3", "3:2", "3:4", "4:3", "4:5", "5:4", "9:16", "16:9", "21:9")
PIXELS = ("1024x1024", "1536x1024", "1024x1536", "1792x1024", "1024x1792")
TASKS = ("openai/gpt-image-2/text-to-image",)
"""Answered with a task; sized in pixels."""


class SimulatedInfron(Simulated):
    """Serves `{url}/v1`, which stands for https://image.onerouter.pro/v1."""

    name = "infron"
    documentation = (
        "https://infronai.gitbook.io/docs/api-reference/generative-model-api/text-to-image (2026-11-22)",
        "https://infron.ai/docs/media-apis (2026-11-22)",
    )
    edits = ("google/nano-banana-image-to-image",)
    models = (
        "google/nano-banana-pro-text-to-image",
        "google/gemini-2.5-flash-image",
        *TASKS,
        *edits,
    )
    impossible: ClassVar[Mapping[Outcome, str]] = {
        Outcome.REFUSE: "no page found says how a refusal is told",
    }

    def __init__(self) -> None:
        super().__init__()
        self.pictures: list[bytes] = []
        self.tasks: dict[str, tuple[dict[str, Any], int]] = {}
        """Orders that are tasks, and how often each was asked for."""
        self.outputs: dict[str, list[str]] = {}

    def routes(self) -> Sequence[web.RouteDef]:
        return [
            web.post("/v1/images/generations", self.generate),
            web.post("/v1/images/edits", self.edit),
            web.get("/v1/images/tasks/{task}", self.task),
            web.get("/outputs/{number}.png", self.show),
        ]

    async def show(self, request: web.Request) -> web.Response:
        return web.Response(body=self.pictures[int(request.match_info["number"])], content_type="image/png")

    async def generate(self, request: web.Request) -> web.Response:
        return self.order(request, ())

    async def edit(self, request: web.Request) -> web.Response:
        return self.order(request, ("image_urls",))

    def order(self, request: web.Request, more: Sequence[str]) -> web.Response:
        if refused := self.unauthorised(request):
            return refused
        body = self.calls[-1].json
        try:
            check(body, self.fields(body, more), ("model", "prompt", *more))
        except Wrong as wrong:
            status = 422 if wrong.param == "size" else 400
            return error(status, f"{wrong.param}: {wrong.detail}", "invalid_request_error")
        if body["model"] not in (self.edits if more else set(self.models) - set(self.edits)):
            return error(404, f"The model {body['model']} does not exist.", "invalid_request_error")
        if self.outcome not in (Outcome.PAINT, Outcome.FAIL_LATER):
            return self.go_wrong()
        if body["model"] in TASKS:
            return self.take(body)
        return web.json_response({"created": int(time.time()), "data": self.paint(body)})

    def fields(self, body: Any, more: Sequence[str]) -> dict[str, Check]:
        sizes = PIXELS if isinstance(body, dict) and body.get("model") in TASKS else RATIOS
        known: dict[str, Check] = {
            "model": text(),
            "prompt": text(shortest=1),
            "n": whole(1, 10),
            "size": choice(*sizes),
            "output_format": choice("url", "b64_json"),
            "seed": whole(),
        }
        return {**known, "image_urls": many(picture_url, least=1)} if more else known

    def take(self, body: dict[str, Any]) -> web.Response:
        name = f"img-task-{len(self.tasks) + 1}"
        self.tasks[name] = body, 0
        query = f"{self.url}/v1/images/tasks/{name}"
        data = {
            "task_id": name,
            "object": "image",
            "model": body["model"],
            "status": "created",
            "urls": {"query": query},
        }
        return web.json_response({"code": 200, "message": "success", "data": data})

    async def task(self, request: web.Request) -> web.Response:
        if refused := self.unauthorised(request):
            return refused
        name = request.match_info["task"]
        if name not in self.tasks:
            return error(404, "Task not found", "invalid_request_error")
        body, asked = self.tasks[name]
        self.tasks[name] = body, asked + 1
        data: dict[str, Any] = {"task_id": name, "status": "in_progress"}
        if asked + 1 >= self.polls_needed and self.outcome is Outcome.FAIL_LATER:
            data |= {"status": "failed", "fail_reason": "upstream 400"}
        elif asked + 1 >= self.polls_needed:
            if name not in self.outputs:
                self.outputs[name] = [item["url"] for item in self.paint(body)]
            data |= {"status": "completed", "outputs": self.outputs[name]}
        return web.json_response({"code": 200, "message": "success", "data": data})

    def paint(self, body: Mapping[str, Any]) -> list[dict[str, Any]]:
        size = body.get("size", "1:1")
        width, height = map(int, size.split("x")) if "x" in size else sides(1024, size)
        painted = [picture(width, height, "png", f"{body['prompt']} {number}") for number in range(body.get("n", 1))]
        self.painted += len(painted)
        if body.get("output_format", "url") == "b64_json" and body["model"] not in TASKS:
            return [{"b64_json": base64.b64encode(data).decode()} for data in painted]
        first = len(self.pictures)
        self.pictures += painted
        return [{"url": f"{self.url}/outputs/{first + number}.png"} for number in range(len(painted))]

    def unauthorised(self, request: web.Request) -> web.Response | None:
        if request.headers.get("Authorization", "").removeprefix("Bearer ") == self.credential:
            return None
        return error(401, "Invalid API key", "invalid_request_error")

    def go_wrong(self) -> web.Response:
        match self.outcome:
            case Outcome.RATE_LIMIT:
                return error(429, "Rate limit exceeded", "rate_limit_error")
            case Outcome.BAD_REQUEST:
                return error(422, "size: literal_error", "invalid_request_error")
            case Outcome.NO_CREDIT:
                return error(402, "Insufficient credits", "insufficient_quota")
            case _:
                return error(503, "Service unavailable", "server_error")


def picture_url(value: Any) -> str | None:
    """A URL or a data URL."""
    if not isinstance(value, str):
        return "expected a string"
    return None if value.startswith(("http://", "https://")) or data_url(value) else "expected the URL of an image"


def error(status: int, message: str, type_: str) -> web.Response:
    return web.json_response({"error": {"message": message, "type": type_, "code": status}}, status=status)
