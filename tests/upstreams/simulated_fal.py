"""fal's queue API, simulated from its public documentation.

What the documentation says and this does: `Authorization: Key …`; POST of the model's input answers at once with
`IN_QUEUE`, a `request_id` and three addresses that name the owner and the app only (a model's further path is left
out); the status is 202 until the job is done and 200 then; what went wrong with the input (422) or on the way (5xx)
shows at `response_url`, after a status of COMPLETED; requests over the concurrency limit wait and are never rejected.
`sync_mode` gives a data URI in place of an address.

The field tables are those of the official JavaScript client (`libs/client/src/types/endpoints.ts`, 2026-08-02); the
bounds of `num_images`, `num_inference_steps` and `guidance_scale` are those of the models' own pages. Stricter than
documented: a field that the model does not have is a 422 here, while fal's pages do not say what becomes of it.
Not found in the documentation, so taken from answers that users published: the texts of 401 and 403 (the reason
"Exhausted balance" is an enumerated value in fal's own REST schema). Not simulated: webhooks, uploads to fal's
content network (`rest.fal.ai`), streaming of the status.

Run against it by hand: fal-client 1.0.3 (subscribe, status, cancel).
"""

import base64
import secrets
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

from aiohttp import web
from checking import Accepts, Problem, Wrong, problems
from hosting import MIME, Host
from simulated import Outcome, Simulated, picture

SIZES = {
    "square_hd": (1024, 1024),
    "square": (512, 512),
    "portrait_4_3": (768, 1024),
    "portrait_16_9": (576, 1024),
    "landscape_4_3": (1024, 768),
    "landscape_16_9": (1024, 576),
}
COMMON = {
    "prompt": Accepts(required=True),
    "seed": Accepts((int,)),
    "num_images": Accepts((int,), minimum=1, maximum=4),
    "sync_mode": Accepts((bool,)),
    "image_size": Accepts((str, dict), choices=tuple(SIZES)),
}
FLUX_1 = {
    **COMMON,
    "acceleration": Accepts(choices=("none", "regular", "high")),
    "enable_safety_checker": Accepts((bool,)),
    "guidance_scale": Accepts((float,), minimum=1, maximum=20),
    "num_inference_steps": Accepts((int,), minimum=1, maximum=50),
    "output_format": Accepts(choices=("jpeg", "png")),
}
FLUX_2 = {
    **FLUX_1,
    "enable_prompt_expansion": Accepts((bool,)),
    "guidance_scale": Accepts((float,), minimum=0, maximum=20),
    "num_inference_steps": Accepts((int,), minimum=4, maximum=50),
    "output_format": Accepts(choices=("jpeg", "png", "webp")),
}
INPUTS: Mapping[str, Mapping[str, Accepts]] = {
    "fal-ai/flux/schnell": {**FLUX_1, "num_inference_steps": Accepts((int,), minimum=1, maximum=12)},
    "fal-ai/flux/dev": FLUX_1,
    "fal-ai/flux-pro/v1.1": {
        **COMMON,
        "enhance_prompt": Accepts((bool,)),
        "output_format": Accepts(choices=("jpeg", "png")),
        "safety_tolerance": Accepts(choices=("1", "2", "3", "4", "5", "6")),
    },
    "fal-ai/flux-2": FLUX_2,
    "fal-ai/flux-2/edit": {**FLUX_2, "image_urls": Accepts((list,), required=True)},
}
BOUNDS = {"fal-ai/flux-2": (512, 2048), "fal-ai/flux-2/edit": (512, 2048)}
"""The smallest and largest side where the model's page gives one."""
KINDS = {
    Wrong.MISSING: "missing",
    Wrong.UNKNOWN: "extra_forbidden",
    Wrong.CHOICE: "literal_error",
    Wrong.SMALL: "greater_than_equal",
    Wrong.LARGE: "less_than_equal",
}


@dataclass(slots=True)
class Job:
    """One request in the queue."""

    model: str
    given: Any
    outcome: Outcome
    polls: int = 0
    answer: tuple[int, Any, Mapping[str, str]] | None = None


class SimulatedFal(Simulated):
    """https://queue.fal.run"""

    name = "fal"
    documentation = (
        "https://fal.ai/docs/api-reference/inference-api (2026-11-22)",
        "https://docs.fal.ai/documentation/model-apis/inference/queue (2026-11-22)",
        "https://fal.ai/docs/inference-api/queue/cancel (2026-11-22)",
        "https://docs.fal.ai/documentation/model-apis/request-errors (2026-11-22)",
        "https://fal.ai/docs/documentation/model-apis/errors (2026-11-22)",
        "https://docs.fal.ai/documentation/model-apis/concurrency-limits (2026-11-22)",
        "https://github.com/fal-ai/fal-js/blob/main/libs/client/src/types/endpoints.ts (2026-11-22)",
        "https://github.com/fal-ai/fal/tree/main/projects/fal_client (2026-11-22)",
    )
    models = tuple(INPUTS)
    edits = ("fal-ai/flux-2/edit",)
    impossible: ClassVar = {Outcome.RATE_LIMIT: "requests over the limit wait in the queue and are never rejected"}

    def __init__(self) -> None:
        super().__init__()
        self._jobs: dict[str, Job] = {}
        self._host = Host()

    def routes(self) -> Sequence[web.RouteDef]:
        job = "/{owner}/{app}/requests/{id}"
        return [
            self._host.route(),
            web.get(job + "/status", self._status),
            web.put(job + "/cancel", self._cancel),
            web.get(job, self._response),
            web.post("/{owner}/{app}", self._submit),
            web.post("/{owner}/{app}/{path:.+}", self._submit),
        ]

    async def _submit(self, request: web.Request) -> web.Response:
        model = request.path.strip("/")
        if (refused := self._unauthorized(request, model)) is not None:
            return refused
        if self.outcome is Outcome.NO_CREDIT:
            reason = "Exhausted balance. Top up your balance at fal.ai/dashboard/billing."
            return web.json_response({"detail": f"User is locked. Reason: {reason}"}, status=403)
        if self.outcome is Outcome.OUTAGE:
            page = "<html><head><title>503 Service Temporarily Unavailable</title></head><body>nginx</body></html>"
            return web.Response(text=page, status=503, content_type="text/html")
        if model not in INPUTS:
            return web.json_response({"detail": f'Application "{model}" not found'}, status=404)
        if request.content_type != "application/json":
            return web.json_response({"detail": "Unsupported content type"}, status=422)
        key = secrets.token_hex(16)
        key = "-".join((key[:8], key[8:12], key[12:16], key[16:20], key[20:]))
        self._jobs[key] = Job(model, self.calls[-1].json, self.outcome)
        return web.json_response({**self._queued(key), "queue_position": 0}, headers={"x-fal-request-id": key})

    def _queued(self, key: str, status: str = "IN_QUEUE") -> dict[str, Any]:
        owner, app = self._jobs[key].model.split("/")[:2]
        base = f"{self.url}/{owner}/{app}/requests/{key}"
        return {
            "status": status,
            "request_id": key,
            "response_url": base,
            "status_url": f"{base}/status",
            "cancel_url": f"{base}/cancel",
        }

    def _unauthorized(self, request: web.Request, app: str) -> web.Response | None:
        if request.headers.get("Authorization") == f"Key {self.credential}":
            return None
        text = f'Cannot access application "{app}". Authentication is required to access this application.'
        return web.json_response({"detail": text}, status=401)

    def _job(self, request: web.Request) -> Job | web.Response:
        app = f"{request.match_info['owner']}/{request.match_info['app']}"
        if (refused := self._unauthorized(request, app)) is not None:
            return refused
        job = self._jobs.get(request.match_info["id"])
        if job is None or "/".join(job.model.split("/")[:2]) != app:
            return web.json_response({"detail": "Request not found"}, status=404)
        return job

    async def _status(self, request: web.Request) -> web.Response:
        job = self._job(request)
        if isinstance(job, web.Response):
            return job
        job.polls += 1
        key = request.match_info["id"]
        if job.answer is None and job.polls <= self.polls_needed:
            if job.polls < self.polls_needed:
                return web.json_response({**self._queued(key), "queue_position": 0}, status=202)
            return web.json_response({**self._queued(key, "IN_PROGRESS"), "logs": None}, status=202)
        status, answer, _ = self._finish(job)
        done = {**self._queued(key, "COMPLETED"), "logs": None, "metrics": {"inference_time": 0.5}}
        if status >= 500:
            done |= {"error": answer["detail"], "error_type": answer["error_type"]}
        return web.json_response(done)

    async def _response(self, request: web.Request) -> web.Response:
        job = self._job(request)
        if isinstance(job, web.Response):
            return job
        if job.answer is None and job.polls <= self.polls_needed:
            return web.json_response({"detail": "Request is still in progress"}, status=400)
        status, answer, headers = self._finish(job)
        return web.json_response(answer, status=status, headers=dict(headers))

    async def _cancel(self, request: web.Request) -> web.Response:
        job = self._job(request)
        if isinstance(job, web.Response):
            not_found = web.json_response({"status": "NOT_FOUND"}, status=404)
            return not_found if job.status == 404 else job
        if job.answer is not None:
            return web.json_response({"status": "ALREADY_COMPLETED"}, status=400)
        if job.polls >= self.polls_needed:
            return web.json_response({"status": "CANCELLATION_REQUESTED"}, status=202)
        del self._jobs[request.match_info["id"]]
        return web.json_response({"status": "OK"})

    def _finish(self, job: Job) -> tuple[int, Any, Mapping[str, str]]:
        if job.answer is None:
            job.answer = self._answer(job)
        return job.answer

    def _answer(self, job: Job) -> tuple[int, Any, Mapping[str, str]]:
        found = problems(job.given, INPUTS[job.model]) or _size_problems(job) or _url_problems(job.given)
        if job.outcome is Outcome.BAD_REQUEST and not found:
            found = [Problem("prompt", Wrong.TYPE, job.given.get("prompt"), "string")]
        if found:
            return 422, {"detail": [_detail(problem) for problem in found]}, {"X-Fal-Retryable": "false"}
        if job.outcome is Outcome.REFUSE:
            text = "The content could not be processed because it contained material flagged by a content checker."
            kind = "content_policy_violation"
            return (
                422,
                {"detail": [_error(["body", "prompt"], text, kind, job.given["prompt"])]},
                {"X-Fal-Retryable": "false"},
            )
        if job.outcome is Outcome.FAIL_LATER:
            failed = {"detail": "Request timed out", "error_type": "request_timeout"}
            return 504, failed, {"X-Fal-Error-Type": "request_timeout"}
        return 200, self._paint(job), {}

    def _paint(self, job: Job) -> dict[str, Any]:
        given = job.given
        size = given.get("image_size") or "landscape_4_3"
        width, height = SIZES[size] if isinstance(size, str) else (size.get("width", 512), size.get("height", 512))
        encoding = given.get("output_format") or ("png" if job.model.startswith("fal-ai/flux-2") else "jpeg")
        seed = given.get("seed", secrets.randbelow(2**31))
        images = []
        for number in range(given.get("num_images") or 1):
            data = picture(width, height, encoding, f"{given['prompt']} {seed} {number}")
            if given.get("sync_mode"):
                url = f"data:{MIME[encoding]};base64,{base64.b64encode(data).decode()}"
            else:
                url = self._host.put(self.url, data, encoding)
            images.append({"url": url, "width": width, "height": height, "content_type": MIME[encoding]})
            self.painted += 1
        return {
            "images": images,
            "timings": {"inference": 0.5},
            "seed": seed,
            "has_nsfw_concepts": [False] * len(images),
            "prompt": given["prompt"],
        }


def _size_problems(job: Job) -> list[Problem]:
    size = job.given.get("image_size")
    if not isinstance(size, dict):
        return []
    smallest, largest = BOUNDS.get(job.model, (1, 14142))
    side = Accepts((int,), minimum=smallest, maximum=largest)
    return problems(size, {"width": side, "height": side})


def _url_problems(given: Mapping[str, Any]) -> list[Problem]:
    known = ("http://", "https://", "data:image/")
    return [
        Problem("image_urls", Wrong.TYPE, url, "URL")
        for url in given.get("image_urls") or []
        if not (isinstance(url, str) and url.startswith(known))
    ]


def _detail(problem: Problem) -> dict[str, Any]:
    kind = KINDS.get(problem.wrong, f"{problem.limit}_type")
    return _error(["body", problem.field], problem.message, kind, problem.value)


def _error(loc: Sequence[str], text: str, kind: str, value: Any) -> dict[str, Any]:
    return {"loc": loc, "msg": text, "type": kind, "url": f"https://docs.fal.ai/errors/#{kind}", "input": value}
