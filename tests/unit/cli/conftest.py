"""Commands run in the tests' own process here, so they must not set its logging up."""

import pytest


@pytest.fixture(autouse=True)
def _logging_as_it_is(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("pinxit.logs.configure", lambda *_: None)
