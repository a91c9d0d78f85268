"""Commands run in the tests' own process here, so they must not set its logging up."""

import pytest


@pytest.fixture(autouse=True)
def _logging_as_it_is(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("pinxit.logs.configure", lambda *_: None)


@pytest.fixture(autouse=True)
def _over_the_test_s_database(database_url: str | None, monkeypatch: pytest.MonkeyPatch) -> None:
    if database_url is not None:
        monkeypatch.setenv("PINXIT_DATABASE_URL", database_url)
