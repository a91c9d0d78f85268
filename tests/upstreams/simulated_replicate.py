"""Replicate's predictions API, simulated from its public documentation and its OpenAPI document.

`Authorization: Bearer …`; a model of the official set is asked at `/v1/models/{owner}/{name}/predictions`, any version
at `/v1/predictions`; a prediction is `starting`, `processing` and then `succeeded`, `failed` or `canceled`; with
`Prefer: wait` (or `wait=1` to `wait=60`) the request is held until it is done, or for that time: the simulation takes
it that the time is enough unless `wait_is_enough` is false. Pictures come as addresses, one in a list for the models
with `num_outputs`, one alone for the others.

The input tables are those of the models' own schema pages. Sizes by ratio of FLUX.1 are those of the model's published
source (replicate/cog-flux, `predict.py`); FLUX.2 [pro] publishes no table, so a ratio gives the nearest size of the
asked megapixels in multiples of 16 here. The refusal comes as Replicate's error E005 in a failed prediction, as users
published it, and so do the bodies of 401, 402 and 422. The body of 429 is documented. The OpenAPI document says that
files want the `Authorization` header; the addresses themselves are public in practice, and are public here.
Not simulated: webhooks, the files API, streaming, deployments; `Cancel-After` is accepted and has no effect.

A prediction whose wait ran out is still `starting`: the official client takes any other word for the end.

Run against it by hand: replicate 1.0.7 (run that is done in time and not in time, refusal, cancel).
"""

import math
import secrets
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from aiohttp import web
from checking import Accepts, Problem, Wrong, problems
from hosting import Host
from simulated import Outcome, Simulated, picture

FLUX_1_SIZES = {
    "1:1": (1024, 1024),
    "16:9": (1344, 768),
    "21:9": (1536, 640),
    "3:2": (1216, 832),
    "2:3": (832, 1216),
    "4:5": (896, 1088),
    "5:4": (1088, 896),
    "3:4": (896, 1152),
    "4:3": (1152, 896),
    "9:16": (768, 1344),
    "9:21": (640, 1536),
}
QUALITY = Accepts((int,), minimum=0, maximum=100)
FORMAT = Accepts(choices=("webp", "jpg", "png"))
FLUX_1 = {
    "prompt": Accepts(required=True),
    "aspect_ratio": Accepts(choices=tuple(FLUX_1_SIZES)),
    "num_outputs": Accepts((int,), minimum=1, maximum=4),
    "seed": Accepts((int,)),
    "output_format": FORMAT,
    "output_quality": QUALITY,
    "disable_safety_checker": Accepts((bool,)),
    "go_fast": Accepts((bool,)),
    "megapixels": Accepts(choices=("1", "0.25")),
}
FLUX_2_RATIOS = ("1:1", "16:9", "3:2", "2:3", "4:5", "5:4", "9:16", "3:4", "4:3")
INPUTS: Mapping[str, Mapping[str, Accepts]] = {
    "black-forest-labs/flux-schnell": {
        **FLUX_1,
        "num_inference_steps": Accepts((int,), minimum=1, maximum=4),
    },
    "black-forest-labs/flux-dev": {
        **FLUX_1,
        "num_inference_steps": Accepts((int,), minimum=1, maximum=50),
        "guidance": Accepts((float,), minimum=0, maximum=10),
        "image": Accepts(),
        "prompt_strength": Accepts((float,), minimum=0, maximum=1),
    },
    "black-forest-labs/flux-2-pro": {
        "prompt": Accepts(required=True),
        "input_images": Accepts((list,)),
        "aspect_ratio": Accepts(choices=("match_input_image", "custom", *FLUX_2_RATIOS)),
        "resolution": Accepts(choices=("match_input_image", "0.5 MP", "1 MP", "2 MP", "4 MP")),
        "width": Accepts((int,), minimum=256, maximum=2048),
        "height": Accepts((int,), minimum=256, maximum=2048),
        "safety_tolerance": Accepts((int,), minimum=1, maximum=5),
        "seed": Accepts((int,)),
        "output_format": FORMAT,
        "output_quality": QUALITY,
    },
}
BODY = {
    "input": Accepts((dict,), required=True),
    "stream": Accepts((bool,)),
    "webhook": Accepts(),
    "webhook_events_filter": Accepts((list,)),
}


@dataclass(slots=True)
class Prediction:
    """One prediction. `model` carries the schema; `outcome` is what it will come to."""

    id: str
    model: str
    given: dict[str, Any]
    outcome: Outcome
    polls: int = 0
    status: str = "starting"
    output: Any = None
    error: str | None = None

    @property
    def over(self) -> bool:
        return self.status in {"succeeded", "failed", "canceled"}


class SimulatedReplicate(Simulated):
    """https://api.replicate.com"""

    name = "replicate"
    documentation = (
        "https://replicate.com/docs/reference/http (OpenAPI document, 2026-11-22)",
        "https://replicate.com/docs/topics/predictions/lifecycle (2026-11-22)",
        "https://replicate.com/docs/topics/predictions/create-a-prediction (2026-11-22)",
        "https://replicate.com/docs/topics/predictions/rate-limits (2026-11-22)",
        "https://replicate.com/black-forest-labs/flux-schnell/api (2026-11-22)",
        "https://replicate.com/black-forest-labs/flux-dev/api (2026-11-22)",
        "https://replicate.com/black-forest-labs/flux-2-pro/api (2026-11-22)",
        "https://github.com/replicate/replicate-python (2026-11-22)",
    )
    models = tuple(INPUTS)
    edits = ("black-forest-labs/flux-dev", "black-forest-labs/flux-2-pro")

    def __init__(self) -> None:
        super().__init__()
        self.wait_is_enough = True
        """Whether a prediction ends within the time of `Prefer: wait`."""
        self._predictions: dict[str, Prediction] = {}
        self._host = Host()

    def routes(self) -> Sequence[web.RouteDef]:
        return [
            self._host.route(),
            web.post("/v1/models/{owner}/{name}/predictions", self._create),
            web.post("/v1/predictions", self._create),
            web.get("/v1/predictions/{id}", self._get),
            web.post("/v1/predictions/{id}/cancel", self._cancel),
        ]

    async def _create(self, request: web.Request) -> web.Response:
        if (refused := self._refused(request)) is not None:
            return refused
        body = self.calls[-1].json
        model = self._model(request, body)
        if model not in INPUTS:
            return _problem(404, "The requested resource could not be found.")
        table = BODY if "owner" in request.match_info else {**BODY, "version": Accepts(required=True)}
        found = problems(body, table)
        if not found:
            found = problems(body["input"], INPUTS[model]) + _picture_problems(body["input"])
            found = [Problem(f"input.{each.field}", each.wrong, each.value, each.limit) for each in found]
        if self.outcome is Outcome.BAD_REQUEST and not found:
            found = [Problem("input.prompt", Wrong.TYPE, None, "string")]
        if found:
            return _invalid(found)
        prediction = Prediction(secrets.token_hex(13), model, body["input"], self.outcome)
        self._predictions[prediction.id] = prediction
        if not request.headers.get("Prefer", "").startswith("wait"):
            return web.json_response(self._shape(prediction), status=201)
        if not self.wait_is_enough:
            return web.json_response(self._shape(prediction), status=202)
        self._finish(prediction)
        return web.json_response(self._shape(prediction), status=201)

    def _refused(self, request: web.Request) -> web.Response | None:
        if (refused := self._unauthorized(request)) is not None:
            return refused
        if self.outcome is Outcome.RATE_LIMIT:
            text = "Request was throttled. Your rate limit resets in ~30s."
            return web.json_response({"detail": text}, status=429, headers={"Retry-After": "30"})
        if self.outcome is Outcome.NO_CREDIT:
            text = (
                "You have insufficient credit to run this model. Go to "
                "https://replicate.com/account/billing#billing to purchase credit."
            )
            return _problem(402, text, "Insufficient credit")
        if self.outcome is Outcome.OUTAGE:
            return _problem(503, "Service unavailable")
        return None

    def _unauthorized(self, request: web.Request) -> web.Response | None:
        if request.headers.get("Authorization") == f"Bearer {self.credential}":
            return None
        return _problem(401, "You did not pass a valid authentication token", "Unauthenticated")

    def _model(self, request: web.Request, body: Any) -> str:
        if "owner" in request.match_info:
            return f"{request.match_info['owner']}/{request.match_info['name']}"
        version = body.get("version", "") if isinstance(body, dict) else ""
        return str(version).partition(":")[0]

    async def _get(self, request: web.Request) -> web.Response:
        if (refused := self._unauthorized(request)) is not None:
            return refused
        prediction = self._predictions.get(request.match_info["id"])
        if prediction is None:
            return _problem(404, "The requested resource could not be found.")
        prediction.polls += 1
        if not prediction.over:
            prediction.status = "processing"
            if prediction.polls > self.polls_needed:
                self._finish(prediction)
        return web.json_response(self._shape(prediction))

    async def _cancel(self, request: web.Request) -> web.Response:
        if (refused := self._unauthorized(request)) is not None:
            return refused
        prediction = self._predictions.get(request.match_info["id"])
        if prediction is None:
            return _problem(404, "The requested resource could not be found.")
        if not prediction.over:
            prediction.status = "canceled"
        return web.json_response(self._shape(prediction))

    def _finish(self, prediction: Prediction) -> None:
        if prediction.outcome is Outcome.REFUSE:
            prediction.status = "failed"
            prediction.error = (
                "The input or output was flagged as sensitive. Please try again with different inputs. (E005)"
            )
        elif prediction.outcome is Outcome.FAIL_LATER:
            prediction.status = "failed"
            prediction.error = "Prediction interrupted; please retry (code: PA)"
        else:
            prediction.status = "succeeded"
            prediction.output = self._paint(prediction)

    def _paint(self, prediction: Prediction) -> Any:
        given = prediction.given
        encoding = {"jpg": "jpeg"}.get(given.get("output_format", "webp"), given.get("output_format", "webp"))
        width, height = _size(prediction)
        urls = []
        for number in range(given.get("num_outputs") or 1):
            data = picture(width, height, encoding, f"{given['prompt']} {given.get('seed')} {number}")
            urls.append(self._host.put(self.url, data, encoding))
            self.painted += 1
        return urls if "num_outputs" in INPUTS[prediction.model] else urls[0]

    def _shape(self, prediction: Prediction) -> dict[str, Any]:
        now = datetime.now(UTC).isoformat().replace("+00:00", "Z")
        here = f"{self.url}/v1/predictions/{prediction.id}"
        return {
            "id": prediction.id,
            "model": prediction.model,
            "version": "hidden",
            "input": prediction.given,
            "logs": "",
            "output": prediction.output,
            "data_removed": False,
            "error": prediction.error,
            "source": "api",
            "status": prediction.status,
            "created_at": now,
            **({"started_at": now, "completed_at": now, "metrics": {"predict_time": 0.5}} if prediction.over else {}),
            "urls": {"cancel": f"{here}/cancel", "get": here, "web": f"https://replicate.com/p/{prediction.id}"},
        }


def _size(prediction: Prediction) -> tuple[int, int]:
    given = prediction.given
    ratio = given.get("aspect_ratio") or "1:1"
    if prediction.model != "black-forest-labs/flux-2-pro":
        width, height = FLUX_1_SIZES[ratio]
        return (width // 2, height // 2) if given.get("megapixels") == "0.25" else (width, height)
    if ratio == "custom":
        return round(given["width"] / 16) * 16, round(given["height"] / 16) * 16
    if ratio == "match_input_image":
        return 1024, 1024
    megapixels = float(str(given.get("resolution", "1 MP")).split()[0].replace("match_input_image", "1"))
    wide, high = (int(part) for part in ratio.split(":"))
    unit = math.sqrt(megapixels * 1024 * 1024 / (wide * high))
    return min(2048, round(unit * wide / 16) * 16), min(2048, round(unit * high / 16) * 16)


def _picture_problems(given: Any) -> list[Problem]:
    if not isinstance(given, dict):
        return []
    pictures = given.get("input_images") or []
    found = [Problem("input_images", Wrong.LARGE, len(pictures), 8)] if len(pictures) > 8 else []
    for name, value in [*(("input_images", each) for each in pictures), ("image", given.get("image"))]:
        if value is not None and not str(value).startswith(("http://", "https://", "data:")):
            found.append(Problem(name, Wrong.TYPE, value, "URI"))
    if given.get("aspect_ratio") == "custom":
        found += [Problem(side, Wrong.MISSING) for side in ("width", "height") if given.get(side) is None]
    return found


def _invalid(found: Sequence[Problem]) -> web.Response:
    fields = [{"type": each.wrong, "field": each.field, "description": each.message} for each in found]
    text = "".join(f"- {each.field}: {each.message}\n" for each in found)
    return _problem(422, text, "Input validation failed", invalid_fields=fields)


def _problem(status: int, detail: str, title: str | None = None, **more: Any) -> web.Response:
    named = {"title": title} if title else {}
    return web.json_response({**named, "detail": detail, "status": status, **more}, status=status)
