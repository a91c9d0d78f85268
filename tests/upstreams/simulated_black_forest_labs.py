"""Black Forest Labs' API, simulated from its public documentation.

The key goes in the header `x-key`; a job is ordered at `/v1/{model}` and answered with an `id` and a `polling_url`,
which must be used as it is; the result is `Pending`, then `Ready` with an address in `result.sample` that lives for
ten minutes, or one of the documented words for what went wrong. One job paints one picture: there is no `n`.

422 has the form of the OpenAPI document (`HTTPValidationError`). For the other errors the error page names the codes
alone; their bodies are those of the company's own published skills, except that a wrong key is answered with 403 as
on the error page (the skills say 401). The status code of "Task not found" is not documented; 404 here. Sizes are
those of the documentation (multiples of 16, at least 64, at most 4 megapixels, 1024 x 1024 by default; an edit without
a size keeps that of its first picture, if that came as base64).
The reference itself bounds a side from below only. Fields that a model does not have are a 422 here.
Not simulated: webhooks, finetunes, expand and erase.

The bodies of 402 and 429 and the rate limit headers have this one source and deserve distrust; status codes do not.
There is no official client in the package index to run against it.
"""

import base64
import binascii
import io
import secrets
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from aiohttp import web
from checking import Accepts, Problem, Wrong, problems
from hosting import Host
from PIL import Image, UnidentifiedImageError
from simulated import Outcome, Simulated, picture

COMMON = {
    "prompt": Accepts(required=True),
    "seed": Accepts((int,)),
    "safety_tolerance": Accepts((int,), minimum=0, maximum=5),
    "output_format": Accepts(choices=("jpeg", "png")),
    "webhook_url": Accepts(),
    "webhook_secret": Accepts(),
}
FLUX_2 = {
    **COMMON,
    "width": Accepts((int,), minimum=64, multiple_of=16),
    "height": Accepts((int,), minimum=64, multiple_of=16),
    "input_image": Accepts(),
    **{f"input_image_{number}": Accepts() for number in range(2, 9)},
}
KLEIN = {name: field for name, field in FLUX_2.items() if name not in {f"input_image_{n}" for n in range(5, 9)}}
INPUTS: Mapping[str, Mapping[str, Accepts]] = {
    "flux-2-pro": FLUX_2,
    "flux-2-max": FLUX_2,
    "flux-2-flex": {
        **FLUX_2,
        "steps": Accepts((int,), minimum=1, maximum=50),
        "guidance": Accepts((float,), minimum=1.5, maximum=10),
        "prompt_upsampling": Accepts((bool,)),
    },
    "flux-2-klein-4b": KLEIN,
    "flux-2-klein-9b": KLEIN,
    "flux-pro-1.1": {
        **COMMON,
        "width": Accepts((int,), minimum=256, maximum=1440, multiple_of=32),
        "height": Accepts((int,), minimum=256, maximum=1440, multiple_of=32),
        "safety_tolerance": Accepts((int,), minimum=0, maximum=6),
        "prompt_upsampling": Accepts((bool,)),
        "image_prompt": Accepts(),
    },
}
LARGEST = 4 * 1024 * 1024


@dataclass(slots=True)
class Job:
    """One job and what it will come to."""

    given: dict[str, Any]
    outcome: Outcome
    polls: int = 0
    sample: str = ""


class SimulatedBlackForestLabs(Simulated):
    """https://api.bfl.ai"""

    name = "black_forest_labs"
    documentation = (
        "https://docs.bfl.ai/api-reference/models/generate-or-edit-an-image-with-flux2-[pro] (2026-11-22)",
        "https://docs.bfl.ai/api_integration/errors (2026-11-22)",
        "https://docs.bfl.ai/quick_start/pricing (2026-11-22)",
        "https://github.com/black-forest-labs/skills skills/bfl-api/references/endpoints.md (2026-11-22)",
        "https://github.com/black-forest-labs/skills skills/bfl-api/references/error-handling.md (2026-11-22)",
        "https://github.com/black-forest-labs/skills skills/bfl-api/references/rate-limiting.md (2026-11-22)",
        "https://github.com/black-forest-labs/skills skills/bfl-api/references/polling-patterns.md (2026-11-22)",
        "https://github.com/vercel/ai packages/black-forest-labs (2026-11-22)",
    )
    models = tuple(INPUTS)
    edits = ("flux-2-pro", "flux-2-max", "flux-2-flex", "flux-2-klein-4b", "flux-2-klein-9b")

    def __init__(self) -> None:
        super().__init__()
        self._jobs: dict[str, Job] = {}
        self._host = Host()

    def routes(self) -> Sequence[web.RouteDef]:
        return [
            self._host.route(),
            web.get("/v1/get_result", self._result),
            web.post("/v1/{model}", self._order),
        ]

    async def _order(self, request: web.Request) -> web.Response:
        if (refused := self._refused(request)) is not None:
            return refused
        table = INPUTS.get(request.match_info["model"])
        if table is None:
            return web.json_response({"detail": "Not Found"}, status=404)
        given = self.calls[-1].json
        found = problems(given, table) or _too_large(given) or _unreadable(given)
        if self.outcome is Outcome.BAD_REQUEST and not found:
            found = [Problem("prompt", Wrong.TYPE, None, "string")]
        if found:
            detail = [{"loc": ["body", each.field], "msg": each.message, "type": each.wrong} for each in found]
            return web.json_response({"detail": detail}, status=422)
        key = secrets.token_hex(16)
        self._jobs[key] = Job(given, self.outcome)
        width, height = _size(given)
        answer = {
            "id": key,
            "polling_url": f"{self.url}/v1/get_result?id={key}",
            "cost": 3.0,
            "input_mp": 0.0,
            "output_mp": round(width * height / 1_000_000, 2),
        }
        return web.json_response(answer)

    def _refused(self, request: web.Request) -> web.Response | None:
        if request.headers.get("x-key") != self.credential:
            return web.json_response({"detail": "Not authenticated - Invalid Authentication"}, status=403)
        if self.outcome is Outcome.RATE_LIMIT:
            body = {"error": "rate_limit_exceeded", "message": "Too many concurrent requests", "retry_after": 5}
            limits = {"Retry-After": "5", "X-RateLimit-Limit": "24", "X-RateLimit-Remaining": "0"}
            return web.json_response(body, status=429, headers=limits)
        if self.outcome is Outcome.NO_CREDIT:
            text = "Your account does not have enough credits"
            return web.json_response({"error": "insufficient_credits", "message": text}, status=402)
        if self.outcome is Outcome.OUTAGE:
            return web.json_response({"detail": "Service Unavailable"}, status=503)
        return None

    async def _result(self, request: web.Request) -> web.Response:
        if request.headers.get("x-key") != self.credential:
            return web.json_response({"detail": "Not authenticated - Invalid Authentication"}, status=403)
        key = request.query.get("id", "")
        job = self._jobs.get(key)
        if job is None:
            return web.json_response(_shape(key, "Task not found"), status=404)
        job.polls += 1
        if job.polls <= self.polls_needed:
            return web.json_response(_shape(key, "Pending") | {"progress": 0.5})
        if job.outcome is Outcome.REFUSE:
            reasons = {"Moderation Reasons": ["Safety Filter"]}
            return web.json_response(_shape(key, "Request Moderated") | {"details": reasons})
        if job.outcome is Outcome.FAIL_LATER:
            return web.json_response(_shape(key, "Error"))
        return web.json_response(_shape(key, "Ready") | {"result": self._paint(job)})

    def _paint(self, job: Job) -> dict[str, Any]:
        given = job.given
        if not job.sample:
            encoding = given.get("output_format") or "jpeg"
            data = picture(*_size(given), encoding, f"{given['prompt']} {given.get('seed')}")
            job.sample = self._host.put(self.url, data, encoding)
            self.painted += 1
        return {
            "sample": job.sample,
            "prompt": given["prompt"],
            "seed": given.get("seed", 42),
            "start_time": 1763800000.0,
            "end_time": 1763800001.5,
            "duration": 1.5,
        }


def _shape(key: str, status: str) -> dict[str, Any]:
    return {"id": key, "status": status, "result": None, "progress": None, "details": None, "preview": None}


def _size(given: Mapping[str, Any]) -> tuple[int, int]:
    width, height = 1024, 1024
    if given.get("input_image") and not str(given["input_image"]).startswith("http"):
        with Image.open(io.BytesIO(base64.b64decode(given["input_image"]))) as image:
            width, height = (max(64, side // 16 * 16) for side in image.size)
    return given.get("width") or width, given.get("height") or height


def _too_large(given: Mapping[str, Any]) -> list[Problem]:
    width, height = given.get("width") or 0, given.get("height") or 0
    return [Problem("width", Wrong.LARGE, width, LARGEST // height)] if width * height > LARGEST else []


def _unreadable(given: Mapping[str, Any]) -> list[Problem]:
    found = []
    for name, value in given.items():
        if not name.startswith("input_image") or value is None or value.startswith(("http://", "https://")):
            continue
        try:
            Image.open(io.BytesIO(base64.b64decode(value, validate=True))).close()
        except (binascii.Error, ValueError, UnidentifiedImageError):
            found.append(Problem(name, Wrong.TYPE, value[:40], "image"))
    return found
