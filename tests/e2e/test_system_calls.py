"""One order, and every system call in it that has to do with keeping it or telling of it: the server is killed there,
or the call fails there.

What is there to be hit is counted in a run without harm. A point is the nth call of that name by that thread.
`PINXIT_TEST_LONG=1` takes all of them, else a few, evenly.
"""

import os
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import httpx2
import pytest
from customers import Wanted
from nursery import Child
from running import eventually
from shop import Shop, assert_fetchable, assert_replayed, assert_sound, open_shop
from tracing import Point, find_injected, points_in, strace, tampering, threads_of

from pinxit.ids import new_id

pytestmark = [pytest.mark.system("strace"), pytest.mark.timeout(3600)]

IS_LONG = os.environ.get("PINXIT_TEST_LONG") == "1"
SYNCS = ("fsync", "fdatasync")
WRITES = ("write", "pwrite64")
CALLS = (*SYNCS, *WRITES, "writev", "rename", "unlink", "sendto", "sendmsg")


class Orders:
    """One client, its orders one after another, and what became of them."""

    def __init__(self, shop: Shop) -> None:
        self.shop = shop
        self.all: list[Wanted] = []
        self.trace = shop.folder / "trace"

    def new(self) -> Wanted:
        prompt = f"order {len(self.all)}"
        wanted = Wanted("keyed", prompt, new_id("key"), {"prompt": prompt, "size": "256x256"})
        self.all.append(wanted)
        return wanted

    def send(self, wanted: Wanted) -> httpx2.Response | None:
        """The answer, None if the server dies of it."""
        with self.shop.client() as client:
            try:
                answer = client.post(
                    "/v1/images/generations", json=wanted.body, headers={"Idempotency-Key": wanted.key}
                )
            except httpx2.TransportError:
                return None
        if answer.status_code == 200:
            wanted.pictures = {datum["id"]: "" for datum in answer.json()["data"]}
            wanted.is_acknowledged = True
        return answer

    @property
    def acknowledged(self) -> list[Wanted]:
        return [wanted for wanted in self.all if wanted.is_acknowledged]

    def warm_up(self) -> None:
        """Everything is loaded, made and cached, and every thread has begun."""
        answer = self.send(self.new())
        assert answer is not None
        assert answer.status_code == 200, answer.text

    def count_points(self) -> list[Point]:
        """Every call of an order that succeeds."""
        with self.shop.serving() as child:
            self.warm_up()
            threads = threads_of(child.pid)
            with strace(child.pid, self.trace, "-e", f"trace={','.join(CALLS)}"):
                answer = self.send(self.new())
            assert answer is not None
            assert answer.status_code == 200
            return points_in(self.trace, threads)

    def check_at_the_end(self) -> None:
        """Every key tells of one order, painted and charged once."""
        with self.shop.serving(), self.shop.client() as client:
            for wanted in self.all:
                assert_replayed(client, wanted)
                assert_fetchable(client, wanted)
            eventually(lambda: not self.shop.books().open_orders, "the last order to end", 90)
        books = self.shop.books()
        assert set(books.charged.values()) == {1}
        assert sum(books.charged.values()) == len(self.all)
        assert self.shop.fsck() == ""


@pytest.fixture
def orders(tmp_path: Path) -> Iterator[Orders]:
    with open_shop(tmp_path) as shop:
        yield Orders(shop)


def some_of(points: list[Point], few: int) -> list[Point]:
    """All, or a few spread over them."""
    if IS_LONG or len(points) <= few:
        return points
    return [points[number * len(points) // few] for number in range(few)]


def test_killed_at_every_system_call(orders: Orders, capsys: pytest.CaptureFixture[str]) -> None:
    found = kill_at_points(orders, 8)
    with capsys.disabled():
        print(f"\n{found}")


@pytest.mark.system("postgres")
def test_killed_at_every_system_call_over_postgresql(
    tmp_path: Path, postgres_url: str, capsys: pytest.CaptureFixture[str]
) -> None:
    """What is sent to the database is among them; which thread of the pool sends it may change from run to run."""
    with open_shop(tmp_path, PINXIT_DATABASE_URL=postgres_url) as shop:
        found = kill_at_points(Orders(shop), 4, reached=0.25)
    with capsys.disabled():
        print(f"\nPostgreSQL: {found}")


def kill_at_points(orders: Orders, few: int, reached: float = 0.8) -> str:
    """Kill the server at all points of an order, or a few; `reached`: what share must be. Returns what was found."""
    points = orders.count_points()
    chosen = some_of(points, few)
    died = 0
    for point in chosen:
        with orders.shop.serving() as child:
            orders.warm_up()
            with tampering(child.pid, point, "signal=KILL", orders.trace):
                orders.send(orders.new())
                died += child.has_ended(0.2)
        assert_sound(orders.shop, orders.acknowledged)
    orders.check_at_the_end()
    assert died >= len(chosen) * reached, "too few of the points were reached"
    counted = dict(Counter(point.call for point in points))
    return f"killed at {died} of {len(chosen)} chosen out of {len(points)} points {counted}"


def ends_honestly(orders: Orders, child: Child, point: Point, answer: httpx2.Response | None) -> None:
    """A failed call is answered with 503 or not noticed; the server lives."""
    assert answer is not None, f"the server hung up:\n{orders.shop.nursery.log[-2000:]}"
    assert answer.status_code in (200, 503), (point, answer.text)
    if answer.status_code == 503:
        assert answer.json()["error"]["type"] == "storage_unavailable"
        assert "retry-after" in answer.headers
    assert not child.has_ended()
    with orders.shop.client() as client:
        assert client.get("/health/live").status_code == 200


def goes_on(orders: Orders, wanted: Wanted, answer: httpx2.Response) -> None:
    """The next order is painted, and what was refused is not charged, or is there for its retry."""
    orders.warm_up()
    if answer.status_code == 503 and orders.shop.books().charged[wanted.prompt]:
        again = orders.send(wanted)
        assert again is not None
        assert again.status_code == 200, "charged, and told that it was not"


@pytest.mark.parametrize(("error", "calls"), [("EIO", SYNCS), ("ENOSPC", WRITES)], ids=["EIO", "ENOSPC"])
def test_each_call_fails_once(
    orders: Orders, error: str, calls: tuple[str, ...], capsys: pytest.CaptureFixture[str]
) -> None:
    """Nothing is acknowledged that is not on the disk, nothing is charged that is not there; judged after a restart,
    too: SQLite survives some of these without a word.
    """
    ours = (str(orders.shop.data), str(orders.shop.folder / "stderr"))
    points = [point for point in orders.count_points() if point.call in calls and point.path.startswith(ours)]
    chosen = some_of(points, 6)
    answers: Counter[int] = Counter()
    for number, point in enumerate(chosen):
        with orders.shop.serving() as child:
            orders.warm_up()
            wanted = orders.new()
            with tampering(child.pid, point, f"error={error}", orders.trace):
                answer = orders.send(wanted)
            if not any(f"<{each}" in find_injected(orders.trace) for each in ours):
                child.kill()  # the thread did its calls in another order; an event loop may have died of it
                continue
            ends_honestly(orders, child, point, answer)
            assert answer is not None
            if number % 2:  # else what the failed call has left in the log is there at the next start
                goes_on(orders, wanted, answer)
            answers[answer.status_code] += 1
            child.kill()
        assert_sound(orders.shop, orders.acknowledged)
    orders.check_at_the_end()
    assert answers.total() >= len(chosen) * 0.6, "too few of the points were reached"
    assert answers[503] > 0, "no point did any harm"
    with capsys.disabled():
        print(f"\n{error} at {answers.total()} of {len(chosen)} chosen out of {len(points)}: answers {dict(answers)}")
