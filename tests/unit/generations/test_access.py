"""With whose credential an order is sent, also by the next process."""

from types import SimpleNamespace
from typing import Any

import pytest

from pinxit.backends.interface import Credential
from pinxit.catalog.entry import CheckedOrder, Entry
from pinxit.credentials.service import Access
from pinxit.errors import BackendUnavailable, CredentialMissing
from pinxit.generations.access import Accesses, credential_of
from pinxit.images.request import ImageRequest
from pinxit.testing.fake_backend import FakeBackend


class Shown(Credential):
    def __init__(self, *, is_own: bool) -> None:
        self._is_own = is_own

    @property
    def is_own(self) -> bool:
        return self._is_own

    def reveal(self) -> str:
        return "own" if self._is_own else "house"


OWN, HOUSE = Shown(is_own=True), Shown(is_own=False)


@pytest.fixture
def order() -> CheckedOrder:
    spec = FakeBackend().models()[0]
    entry = Entry("far", "studio", spec, "A model far away.")
    checked = entry.check(ImageRequest(model="far", prompt="x"))
    return CheckedOrder(entry, checked.request, checked.paint, checked.quality, 1001)


def accesses(access: Access | None, **options: Any) -> Accesses:
    return Accesses(SimpleNamespace(find=lambda *_: access), **options)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("access", "ways"),
    [
        (None, [(None, 1001)]),
        (Access(own=OWN, may_fall_back=False, house=None, has_house=True), [(OWN, 25)]),
        (Access(own=OWN, may_fall_back=True, house=None, has_house=True), [(OWN, 25), (None, 1001)]),
        (Access(own=OWN, may_fall_back=True, house=HOUSE, has_house=True), [(OWN, 25), (HOUSE, 1001)]),
        (Access(own=OWN, may_fall_back=True, house=None, has_house=False), [(OWN, 25)]),
        (Access(own=None, may_fall_back=True, house=HOUSE, has_house=True), [(HOUSE, 1001)]),
    ],
)
def test_the_ways_of_an_order(order: CheckedOrder, access: Access | None, ways: list[tuple[Credential | None, int]]):
    (found,) = accesses(access, fee_percent=2.5).ways("acct_a", [order])
    assert [(way.paint.credential, way.price_micros_per_image) for way in found] == ways
    assert [credential_of(way) for way in found] == [{"credential": "own"} if way[0] is OWN else {} for way in ways]


def test_an_order_that_nobody_has_a_credential_for(order: CheckedOrder):
    nobody = Access(own=None, may_fall_back=True, house=None, has_house=False)
    with pytest.raises(CredentialMissing, match="far is painted by studio"):
        accesses(nobody).ways("acct_a", [order])


def test_the_next_process_sends_it_with_the_same_one_at_the_price_of_that_time(order: CheckedOrder):
    both = Access(own=OWN, may_fall_back=True, house=HOUSE, has_house=True)
    for was_own, credential in ((True, OWN), (False, HOUSE)):
        again = accesses(both).again("acct_a", order, was_own=was_own)
        assert (again.paint.credential, again.price_micros_per_image) == (credential, 1001)
    assert accesses(None).again("acct_a", order, was_own=False) is order
    for gone in (None, Access(own=None, may_fall_back=True, house=HOUSE, has_house=True)):
        with pytest.raises(BackendUnavailable, match="was removed"):
            accesses(gone).again("acct_a", order, was_own=True)
