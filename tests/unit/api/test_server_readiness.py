"""A server is ready once its default model can be painted; a provider far away does not make it so."""

from types import SimpleNamespace

import pytest

from pinxit.api.handlers import Handlers
from pinxit.runners.interface import RunnerState, Status


def entry(backend: str, *others: str) -> SimpleNamespace:
    return SimpleNamespace(backend=backend, others=tuple(entry(name) for name in others))


@pytest.mark.parametrize(
    ("default", "states", "status"),
    [
        (entry("bare"), {"otter": Status.STARTING, "bare": Status.READY}, 503),
        (entry("bare"), {"otter": Status.READY, "bare": Status.READY}, 200),
        (entry("otter"), {"otter": Status.READY}, 200),
        (entry("otter"), {"otter": Status.STARTING}, 503),
        (entry("otter"), {"otter": Status.STARTING, "studio": Status.READY}, 503),
        (entry("otter"), {"otter": Status.READY, "studio": Status.FAILED}, 200),
        (entry("otter"), {"otter": Status.FAILED, "studio": Status.READY}, 200),
        (entry("otter"), {"otter": Status.FAILED, "studio": Status.FAILED}, 503),
        (entry("studio", "otter"), {"otter": Status.READY, "studio": Status.FAILED}, 200),
    ],
)
async def test_who_has_to_be_ready(default: SimpleNamespace, states: dict[str, Status], status: int):
    runners = {name: SimpleNamespace(state=RunnerState(state)) for name, state in states.items()}
    credentials = SimpleNamespace(has_house=lambda backend: backend != "bare")
    services = SimpleNamespace(runners=runners, catalog=SimpleNamespace(default=default), credentials=credentials)
    answer = await Handlers(services).ready()
    assert answer.status_code == status
