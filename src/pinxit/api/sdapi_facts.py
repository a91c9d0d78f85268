"""What clients of AUTOMATIC1111's web UI ask for around a picture: models, options, lists, progress, interruption.

By their sources, read on 2026-11-22, SillyTavern asks for all of these (`src/endpoints/stable-diffusion.js`), and Open
WebUI for options and sd-models (`backend/open_webui/routers/images.py`).
"""

from collections.abc import Awaitable, Callable
from typing import Any

from starlette.types import Receive, Scope, Send

from pinxit.api.adapting import MAX_IGNORED, compact, showable
from pinxit.api.auth import authenticate
from pinxit.api.body import read_json_object
from pinxit.api.context import Services
from pinxit.api.fields import Fields
from pinxit.api.images import JSON, send_parts
from pinxit.api.request_schema import MAX_NAME_CHARACTERS
from pinxit.api.sdapi import SAMPLER, list_checkpoints
from pinxit.errors import InvalidValue
from pinxit.generations.generation import Generation
from pinxit.keys.model import Caller
from pinxit.keys.model import Scope as KeyScope

LOOKED_THROUGH = 20
"""How many of an account's newest orders are looked through for the caller's own."""
IDLE_STATE = {
    "skipped": False,
    "interrupted": False,
    "stopping_generation": False,
    "job": "",
    "job_count": 0,
    "job_timestamp": "0",
    "job_no": 0,
    "sampling_step": 0,
    "sampling_steps": 0,
}
SAMPLERS = [{"name": SAMPLER, "aliases": [], "options": {}}]
SCHEDULERS = [{"name": "automatic", "label": SAMPLER, "aliases": None, "default_rho": -1.0, "need_inner_model": False}]
UPSCALERS = [{"name": "None", "model_name": None, "model_path": None, "model_url": None, "scale": 4.0}]
NOTHING: list[Any] = []


class FactsEndpoint:
    """A plain ASGI callable that answers a holder of a key with JSON. `answer`: one of the functions below."""

    def __init__(
        self,
        services: Services,
        required: KeyScope,
        answer: Callable[[Services, Caller], Awaitable[Any]],
    ) -> None:
        self._services = services
        self._required = required
        self._answer = answer

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        caller = await authenticate(scope, self._services.keys, takes_basic=True)
        caller.require(self._required)
        await send_json(send, await self._answer(self._services, caller))


class SetOptionsEndpoint:
    """The plain ASGI callable behind POST /sdapi/v1/options.

    Nothing is remembered: the checkpoint has to be the one that it is already (ADR 0023).
    """

    def __init__(self, services: Services) -> None:
        self._services = services

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        services = self._services
        caller = await authenticate(scope, services.keys, takes_basic=True)
        caller.require(KeyScope.MODELS_READ)
        body = await read_json_object(
            scope, receive, max_bytes=services.settings.max_body_bytes, budget=services.byte_budget
        )
        wanted = Fields(body).text("sd_model_checkpoint", max_characters=MAX_NAME_CHARACTERS)
        current = current_checkpoint(services, caller)
        if wanted is not None and wanted != current:
            raise InvalidValue(
                "This server remembers no checkpoint: send override_settings.sd_model_checkpoint with each order, or"
                " use an API key that is for this model alone.",
                param="sd_model_checkpoint",
                allowed=[current] if current else [],
            )
        ignored = [showable(name) for name in body if name != "sd_model_checkpoint"][:MAX_IGNORED]
        await send_json(send, None, ignored)


async def send_json(send: Send, content: Any, ignored: list[str] | None = None) -> None:
    headers = [JSON]
    if ignored:
        headers.append((b"x-pinxit-ignored", ", ".join(ignored).encode()))
    await send_parts(send, [compact(content)], headers)


def constant(content: Any) -> Callable[[Services, Caller], Awaitable[Any]]:
    """An answer that is always the same."""

    async def answer(services: Services, caller: Caller) -> Any:
        return content

    return answer


def current_checkpoint(services: Services, caller: Caller) -> str | None:
    found = list_checkpoints(services.catalog, caller)
    return found[0].id if found else None


async def get_options(services: Services, caller: Caller) -> dict[str, Any]:
    return {
        "sd_model_checkpoint": current_checkpoint(services, caller),
        "sd_vae": "Automatic",
        "CLIP_stop_at_last_layers": 1,
        "samples_format": "png",
    }


async def list_models(services: Services, caller: Caller) -> list[dict[str, Any]]:
    return [
        {
            "title": entry.id,
            "model_name": entry.id,
            "hash": None,
            "sha256": None,
            "filename": entry.id,
            "config": None,
        }
        for entry in list_checkpoints(services.catalog, caller)
    ]


async def get_progress(services: Services, caller: Caller) -> dict[str, Any]:
    """Of the caller's own order that is under way, the oldest if there are several."""
    order = await _find_under_way(services, caller)
    if order is None:
        return {"progress": 0.0, "eta_relative": 0.0, "state": IDLE_STATE, "current_image": None, "textinfo": None}
    step, steps = (order.progress.step, order.progress.steps) if order.progress else (0, 0)
    done = step / steps if steps else 0.0
    seconds = (services.now() - (order.started_at or order.created_at)).total_seconds()
    return {
        "progress": done,
        "eta_relative": max(0.0, seconds * (1 - done) / done) if done else 0.0,
        "state": {
            **IDLE_STATE,
            "job": order.id,
            "job_count": order.parameters["n"],
            "job_timestamp": order.created_at.strftime("%Y%m%d%H%M%S"),
            "job_no": order.progress.images_done if order.progress else 0,
            "sampling_step": step,
            "sampling_steps": steps,
        },
        "current_image": None,
        "textinfo": None,
    }


async def interrupt(services: Services, caller: Caller) -> dict[str, Any]:
    """Give up the order that `get_progress` shows."""
    order = await _find_under_way(services, caller)
    if order is not None:
        await services.generations.cancel(caller, order.id)
    return {}


async def _find_under_way(services: Services, caller: Caller) -> Generation | None:
    newest = await services.generations.list_newest(caller, after=None, limit=LOOKED_THROUGH)
    own = [order for order in newest if order.status.is_open and order.api_key_id == caller.key_id]
    return own[-1] if own else None
