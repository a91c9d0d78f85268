"""A server is killed, and the next one stopped, while a provider paints for them: nothing is ordered twice."""

import base64
import json
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path

import httpx2
import pytest
from books import damaged_files, read_books
from hosted import hosted
from running import Server, eventually, is_png, serving
from simulated_fal import SimulatedFal

PRICE_MICROS = 50_000
ORDER = {"size": "512x512", "response_format": "b64_json"}


class Fal(SimulatedFal):
    """Paints once it is let. `wanted`: prompts of orders that came in."""

    def __init__(self) -> None:
        super().__init__()
        self.polls_needed = 10**9

    @property
    def wanted(self) -> list[str]:
        return [call.json["prompt"] for call in [*self.calls] if call.method == "POST"]

    @property
    def cancelled(self) -> int:
        return sum(call.path.endswith("/cancel") for call in [*self.calls])

    def is_polled(self, prompt: str) -> bool:
        return any(job.polls and job.given["prompt"] == prompt for job in [*self._jobs.values()])


def configure(folder: Path, fal: Fal) -> Path:
    config = folder / "pinxit.yaml"
    model = {"model": "fal/fal-ai/flux-2"}
    prices = [{"usd": PRICE_MICROS / 1e6}]
    document = {
        "providers": {"fal": {"base_url": fal.url, "credential": fal.credential, "poll_seconds": 0.05}},
        "model_list": [{"model_name": "far", "params": model, "prices": prices}],
        "settings": {"default_model": "far", "shutdown_grace_seconds": 0},
    }
    config.write_text(json.dumps(document))
    return config


def ask(server: Server, prompt: str) -> httpx2.Response:
    return server.generate({"Idempotency-Key": prompt}, prompt=prompt, **ORDER)


def begin(server: Server, fal: Fal, prompt: str, pool: ThreadPoolExecutor) -> None:
    """Have an order under way at the provider, and its client lose its answer."""

    def ask_in_vain() -> None:
        with suppress(httpx2.TransportError):
            assert ask(server, prompt).status_code == 503

    pool.submit(ask_in_vain)
    eventually(lambda: fal.is_polled(prompt), "the provider to be asked for the picture")


def check_picture(server: Server, prompt: str) -> None:
    answer = ask(server, prompt)
    assert answer.status_code == 200, answer.text
    assert is_png(base64.b64decode(answer.json()["data"][0]["b64_json"], validate=True))


@pytest.mark.timeout(120)
def test_no_job_is_lost_with_the_server_and_none_is_sent_twice(tmp_path: Path):
    fal = Fal()
    with hosted(fal), ThreadPoolExecutor(4) as pool:
        config = ["--config", str(configure(tmp_path, fal))]
        with serving(tmp_path, *config, wait_ready=False) as server:
            key = server.key
            begin(server, fal, "a fox", pool)
            begin(server, fal, "a hare", pool)
            server.kill()
        with serving(tmp_path, *config, key=key, wait_ready=False) as server:
            polled = len(fal.calls)
            eventually(lambda: len(fal.calls) > polled + 4, "the jobs to be asked for")
            unwanted = find(server, "a hare")
            cancelled = server.client.delete(f"/v1/generations/{unwanted}", headers=server.authorization)
            assert cancelled.json()["status"] == "cancelled"
            assert fal.cancelled == 1
            begin(server, fal, "an owl", pool)
            server.stop()
        assert fal.painted == 0
        with serving(tmp_path, *config, key=key, wait_ready=False) as server:
            fal.polls_needed = 0
            check_picture(server, "a fox")
            check_picture(server, "an owl")
            check_picture(server, "an owl")
            server.stop()
    assert sorted(fal.wanted) == ["a fox", "a hare", "an owl"], "each was ordered once"
    assert (fal.painted, fal.cancelled) == (2, 1)
    books = read_books(tmp_path / "data")
    assert (books.problems, books.open_orders, damaged_files(tmp_path / "data", books)) == ([], [], [])
    assert books.charged == {"a fox": 1, "an owl": 1}
    assert (books.spent_micros, books.held_micros) == (2 * PRICE_MICROS, 0)


def find(server: Server, prompt: str) -> str:
    orders = server.client.get("/v1/generations", headers=server.authorization).json()["data"]
    return next(order["id"] for order in orders if order["prompt"] == prompt)
