"""Clients that people have, unchanged, each in an environment of its own, against one real server."""

import pytest
from registry import clients


@pytest.mark.parametrize(
    "client",
    [pytest.param(client, id=client.name, marks=() if client.quick else pytest.mark.long) for client in clients()],
)
@pytest.mark.system("bash", "curl")
@pytest.mark.timeout(420)
def test_it_works_unchanged(client, exercise, results):
    run = exercise(client)
    results[client.name] = run.passed
    assert list(run.passed) == client.exercises, run.output
    assert [what for what, passed in run.passed.items() if not passed] == [], run.output
    assert run.status == 0, run.output
