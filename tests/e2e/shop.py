"""A data folder with credits, a price and a painter that counts, and servers over it that may be killed at any time."""

import hashlib
import os
import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx2
from books import Books, damaged_files, files_below, read_books
from counting_backend import COUNTED, PRICE_MICROS, configuration, install, read_hits
from customers import Customers, Wanted
from nursery import Child, Nursery, nursery
from running import environment, eventually, pinxit

PAID_USD = 1_000_000
_KEY = re.compile(r"^ {2}(sk-\S+)$", re.MULTILINE)


@dataclass
class Shop:
    """`key` is the API key of its customers."""

    folder: Path
    nursery: Nursery
    environ: Mapping[str, str]
    key: str = ""

    @property
    def data(self) -> Path:
        return self.nursery.data

    def is_ready(self) -> bool:
        try:
            return httpx2.get(f"{self.nursery.url}/health/ready").status_code == 200
        except httpx2.TransportError:
            return False

    @contextmanager
    def serving(self, **environ: str) -> Iterator[Child]:
        """A server that is ready, and stopped politely at the end."""
        child = self.nursery.serve(**environ)
        eventually(lambda: self.is_ready() or child.has_ended(), "the server to be ready", 60)
        assert not child.has_ended(), self.nursery.log
        try:
            yield child
        finally:
            child.stop()

    def client(self) -> httpx2.Client:
        return httpx2.Client(base_url=self.nursery.url, headers={"Authorization": f"Bearer {self.key}"}, timeout=60)

    def books(self) -> Books:
        return read_books(self.data, self.environ.get("PINXIT_DATABASE_URL", ""))

    def hits(self) -> Mapping[str, int]:
        return read_hits(self.folder / "hits")

    def fsck(self) -> str:
        """What is wrong, empty if nothing is."""
        done = pinxit("fsck", "--data-dir", str(self.data), cwd=self.folder, environ=self.environ)
        return "" if done.returncode == 0 else done.stdout + done.stderr


@contextmanager
def open_shop(folder: Path, *, model: str = COUNTED, **environ: str) -> Iterator[Shop]:
    """A new folder, with a key and paid credits. The server that made it has ended.

    `model`: of which backend; one that is not the counting one's must be installed.
    """
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "pinxit.yaml").write_text(configuration(model))
    plugin = [str(install(folder / "plugin"))] if model == COUNTED else []
    path = os.pathsep.join([*plugin, *filter(None, [os.environ.get("PYTHONPATH")])])
    settings = {
        **({"PYTHONPATH": path} if path else {}),
        "PINXIT_TEST_HITS": str(folder / "hits"),
        "PINXIT_DEFAULT_MODEL": "priced",
        "PINXIT_BILLING": "credits",
        "PINXIT_LOG_FORMAT": "json",
        **environ,
    }
    with nursery(folder, environment(**settings)) as opened:
        shop = Shop(folder, opened, settings)
        with shop.serving():
            shop.key = eventually(lambda: _KEY.search(opened.output), "the server to print a key")[1]
        paid = pinxit(
            "accounts", "top-up", "acct_default", str(PAID_USD), "--reference=first", "--data-dir", str(shop.data),
            cwd=folder, environ=settings,
        )  # fmt: skip
        assert paid.returncode == 0, paid.stderr
        yield shop


# --- what must hold at any time, and at the end ---


def assert_sound(shop: Shop, acknowledged: list[Wanted]) -> None:
    """What must hold in every committed state, of what was acknowledged before: no server runs now."""
    books = shop.books()
    assert books.problems == []
    for wanted in acknowledged:
        assert books.charged[wanted.prompt] >= 1, f"acknowledged and not charged: {wanted}"
        for id_, sha in wanted.pictures.items():
            assert id_ in books.pictures, f"acknowledged and lost: {wanted}"
            assert sha in ("", books.pictures[id_][1]), f"other bytes: {wanted}"
    assert damaged_files(shop.data, books) == []


def assert_kept(shop: Shop, customers: Customers) -> dict[str, int]:
    """What must hold at the end, over a server that is up. Returns what was found."""
    assert customers.surprises == []
    eventually(lambda: not shop.books().open_orders, "the last order to end", 90)
    with shop.client() as client:
        for wanted in customers.wanted:
            if wanted.is_acknowledged:
                assert_fetchable(client, wanted)
            if wanted.is_accepted:
                found = client.get(f"/v1/generations/{wanted.order_id}")
                assert found.status_code == 200, wanted
                assert is_well_ended(found.json()), (wanted, found.text)
            if wanted.key:
                assert_replayed(client, wanted)
    books = shop.books()
    assert books.problems == []
    assert books.files == files_below(shop.data)
    assert damaged_files(shop.data, books) == []
    assert books.held_micros == 0
    assert books.balance_micros == PAID_USD * 1_000_000 - books.spent_micros
    assert books.spent_micros == PRICE_MICROS * len(books.pictures)
    twice = [wanted for wanted in customers.wanted if books.charged[wanted.prompt] > 1]
    for wanted in customers.wanted:
        assert books.charged[wanted.prompt] >= wanted.is_acknowledged, f"painted for nothing: {wanted}"
    assert [wanted for wanted in twice if not may_be_charged_again(wanted, books)] == []
    assert shop.fsck() == ""
    return {
        "orders": len(customers.wanted),
        "acknowledged": len(customers.acknowledged),
        "calls without an answer": sum(wanted.broken_calls for wanted in customers.wanted),
        "charged": sum(books.charged.values()),
        "without a key, sent again to another server, charged again": len(twice),
    }


def may_be_charged_again(wanted: Wanted, books: Books) -> bool:
    """A retry without a key that reaches another server than the first try did: nothing says that it is the same order.

    Adoption needs a server that saw its client leave; one that was killed saw nothing.
    """
    return wanted.kind == "openai" and books.charged[wanted.prompt] <= 1 + wanted.broken_calls


def is_well_ended(order: dict[str, Any]) -> bool:
    """Painted, or given up since each of its three servers was killed, or since there was no room on the disk."""
    if order["status"] == "failed":
        error = order["error"]
        return error["type"] == "storage_unavailable" or error["message"].startswith("The server stopped 3 times")
    return bool(order["status"] == "completed")


def assert_fetchable(client: httpx2.Client, wanted: Wanted) -> None:
    for id_, sha in wanted.pictures.items():
        shown = client.get(f"/v1/images/{id_}")
        assert shown.status_code == 200, wanted
        data = client.get(shown.json()["url"])
        assert data.status_code == 200, wanted
        assert sha in ("", hashlib.sha256(data.content).hexdigest()), wanted
    for url in wanted.urls:
        assert client.get(url).status_code == 200, wanted


def assert_replayed(client: httpx2.Client, wanted: Wanted) -> None:
    """The same key again tells the same pictures."""
    answer = client.post("/v1/images/generations", json=wanted.body, headers={"Idempotency-Key": wanted.key})
    assert answer.status_code == 200, (wanted, answer.text)
    told = {datum["id"] for datum in answer.json()["data"]}
    assert not wanted.pictures or told == set(wanted.pictures), wanted
    wanted.pictures = wanted.pictures or dict.fromkeys(told, "")
    wanted.is_acknowledged = True
