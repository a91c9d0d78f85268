"""One server for all tests that do not hurt it, and a folder for those that need their own."""

from collections.abc import Iterator
from pathlib import Path

import openai
import pytest
from running import Server, serving


@pytest.fixture(scope="session")
def shared_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    with serving(tmp_path_factory.mktemp("server")) as server:
        yield server


@pytest.fixture
def server(shared_server: Server) -> Server:
    """A server that is ready."""
    shared_server.wait_ready()
    return shared_server


@pytest.fixture
def client(server: Server) -> Iterator[openai.OpenAI]:
    """The official client, as its documentation sets it up, with nothing but the address and the key changed."""
    with openai.OpenAI(base_url=f"{server.url}/v1", api_key=server.key, max_retries=0) as client:
        yield client


@pytest.fixture
def readme() -> str:
    return (Path(__file__).parents[2] / "README.md").read_text(encoding="utf-8")
