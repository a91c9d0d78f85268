"""A job far away, written down so that the next process can ask for it; never with a credential."""

import json
from collections.abc import Mapping
from typing import Any

from pinxit.backends.upstream._provider import Again, Call

MAX_STATE_CHARACTERS = 16 * 1024
"""Two addresses and an id are a few hundred."""


def write_job(step: Again, credential: str) -> Mapping[str, Any] | None:
    """How to ask for the job, as JSON; None if it cannot be written: a call with a body that is no JSON, or one that
    holds the credential.
    """
    calls = [call for call in (step.call, step.cancel) if call is not None]
    if any(call.form or call.content for call in calls):
        return None
    state = {
        "poll": _written(step.call),
        "cancel": step.cancel and _written(step.cancel),
        "seconds": step.seconds,
        "cost_micros": step.cost_micros,
    }
    try:
        text = json.dumps(state, ensure_ascii=False)
    except (TypeError, ValueError):
        return None
    if len(text) > MAX_STATE_CHARACTERS or (credential and credential in text):
        return None
    return state


def read_job(upstream_id: str, state: Mapping[str, Any]) -> Again:
    """What `write_job` has written. Raises KeyError, TypeError or ValueError if it was not."""
    cancel = state["cancel"]
    return Again(
        _read(state["poll"]),
        upstream_id,
        seconds=float(state["seconds"]),
        cancel=None if cancel is None else _read(cancel),
        cost_micros=state["cost_micros"],
    )


def _written(call: Call) -> dict[str, Any]:
    return {"method": call.method, "url": call.url, "json": call.json, "headers": dict(call.headers)}


def _read(written: Mapping[str, Any]) -> Call:
    return Call(str(written["method"]), str(written["url"]), json=written["json"], headers=dict(written["headers"]))
