"""A real server that is killed between sending an event and noting that it arrived."""

from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread

import pytest
from running import Server, eventually, pinxit, serving
from standardwebhooks.webhooks import Webhook

ADMITTED = {"PINXIT_WEBHOOK_ALLOWED_NETWORKS": "127.0.0.0/8"}


class Ear:
    """Hears events; the first one kills the server that sends it, before it has its answer."""

    def __init__(self) -> None:
        self.heard: list[tuple[dict[str, str], bytes]] = []
        self.victim: Server | None = None
        ear = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["content-length"]))
                ear.heard.append(({name.lower(): value for name, value in self.headers.items()}, body))
                if ear.victim is not None:
                    ear.victim.kill()
                    ear.victim = None
                    self.close_connection = True
                    return
                self.send_response(204)
                self.end_headers()

            def log_message(self, *_: object) -> None:
                """Not on the terminal."""

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.server.server_port}/"


@pytest.fixture
def ear() -> Iterator[Ear]:
    ear = Ear()
    thread = Thread(target=ear.server.serve_forever)
    thread.start()
    yield ear
    ear.server.shutdown()
    ear.server.server_close()
    thread.join()


def test_a_killed_server_tells_again_with_the_same_id(tmp_path: Path, ear: Ear) -> None:
    with serving(tmp_path, environ=ADMITTED) as server:
        made = pinxit("webhooks", "create", ear.url, "--data-dir", str(server.folder), cwd=tmp_path, environ=ADMITTED)
        secret = made.stdout.strip()
        ear.victim = server
        answer = server.client.post(
            "/v1/images/generations",
            json={"prompt": "a red apple", "size": "256x256", "async": True},
            headers=server.authorization,
        )
        assert answer.status_code == 202
        eventually(lambda: server.process.poll() is not None, "the event to kill its sender", 60)
    with serving(tmp_path, key=server.key, environ=ADMITTED, wait_ready=False) as again:
        eventually(lambda: len(ear.heard) >= 2, "the event to come again")
        shown = again.find_generation(answer.json()["id"])
    (first, first_body), (second, second_body) = ear.heard[:2]
    assert (first["webhook-id"], first_body) == (second["webhook-id"], second_body)
    content = Webhook(secret).verify(second_body, second)
    assert (content["type"], content["data"]["id"]) == ("generation.completed", answer.json()["id"])
    assert shown is not None
    assert shown["status"] == "completed"
