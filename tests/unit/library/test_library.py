"""Deleting and listing pictures where files and rows could come apart."""

import asyncio

import pytest
from sqlalchemy import update

from front import Front
from pinxit.database.tables import images
from pinxit.errors import NotFound, StorageUnavailable
from pinxit.library.library import ROOMY_BYTES

ACCOUNT = "acct_default"


async def paint(front: Front, n: int = 1) -> list[str]:
    """Ids of new pictures."""
    return [datum["id"] for datum in (await front.generate(n=n)).json()["data"]]


async def test_a_file_that_cannot_be_removed_is_removed_with_the_next(front: Front, monkeypatch: pytest.MonkeyPatch):
    def fail(*_: object) -> None:
        raise OSError(5, "Input/output error")

    library = front.house.services.library
    first, second = await paint(front, 2)
    with monkeypatch.context() as patch:
        patch.setattr("pinxit.storage.local._delete", fail)
        with pytest.raises(StorageUnavailable):
            await library.delete(ACCOUNT, first)
    with pytest.raises(NotFound):
        await library.get(ACCOUNT, first)
    assert len(front.files()) == 2

    await library.delete(ACCOUNT, second)
    assert front.files() == []
    assert all(row.purged_at for row in await front.rows(images))


async def test_of_two_deletions_at_once_one_is_told_it_was_there(front: Front):
    (image,) = await paint(front)
    paths = [f"/v1/images/{image}"] * 5
    answers = await asyncio.gather(*[front.client.delete(path, headers=front.authorization) for path in paths])
    assert sorted(answer.status_code for answer in answers) == [200, 404, 404, 404, 404]


async def test_deleting_one_of_many_leaves_the_others(front: Front):
    first, *others = await paint(front, 3)
    await front.house.services.library.delete(ACCOUNT, first)
    listed = await front.house.services.library.list(ACCOUNT, after=None, limit=10)
    assert {stored.image.id for stored in listed} == set(others)
    assert len(front.files()) == 2


async def test_a_row_without_its_file_is_404(front: Front):
    (image,) = await paint(front)
    stored = await front.house.services.library.get(ACCOUNT, image)
    front.files()[0].unlink()
    with pytest.raises(NotFound):
        await front.house.services.library.read(stored.image)


async def test_pictures_of_the_same_instant_are_all_listed(front: Front):
    """Pages are cut by time and id, so equal times lose nobody."""
    ids = await paint(front, 7)
    when = (await front.rows(images))[0].created_at
    await front.house.database.write(lambda connection: connection.execute(update(images).values(created_at=when)))
    seen: list[str] = []
    after = None
    for _ in range(7):
        (stored,) = await front.house.services.library.list(ACCOUNT, after=after, limit=1)
        after = stored.image.id
        seen.append(after)
    assert sorted(seen) == sorted(ids)
    assert await front.house.services.library.list(ACCOUNT, after=after, limit=1) == []


async def test_a_disk_with_much_room_is_not_looked_at_for_every_order(front: Front, monkeypatch: pytest.MonkeyPatch):
    library = front.house.services.library
    free, looks = [ROOMY_BYTES * 2], []

    async def free_bytes(*_: object) -> int:
        looks.append(free[0])
        return free[0]

    monkeypatch.setattr(front.house.storage, "free_bytes", free_bytes)
    await library.require_room()
    await library.require_room()
    assert len(looks) == 1

    monkeypatch.setattr("pinxit.library.library.monotonic", lambda: float("inf"))
    free[0] = ROOMY_BYTES // 2
    await library.require_room()
    await library.require_room()
    assert len(looks) == 3, "where it is nearly full, each order looks"
    free[0] = 0
    with pytest.raises(StorageUnavailable):
        await library.require_room()
