"""Rows of pictures. Every statement names its account, but for the one that serves bytes: there the random name
is the key.
"""

from collections.abc import Sequence
from datetime import datetime
from typing import Any

from sqlalchemy import ColumnElement, Connection, Row, and_, or_, select

from pinxit.database.prepared import Prepared
from pinxit.database.tables import generations, images
from pinxit.images.request import Encoding
from pinxit.images.size import Size
from pinxit.library.image import Image
from pinxit.library.search import WITHOUT_KEY, Found, Search, StoredImage, spellings

LOOKED_THROUGH = 4000
"""So many pictures one look for some goes through, so that it takes some milliseconds whatever is asked."""

_INSERT = Prepared(
    images.insert(),
    sets=(
        "id",
        "generation_id",
        "account_id",
        "position",
        "storage_key",
        "encoding",
        "width",
        "height",
        "size_bytes",
        "sha256",
        "seed",
        "seconds",
        "url_expires_at",
        "created_at",
    ),
)

NO_SEED = -1
"""In a row: the painter has no seeds."""


def insert(connection: Connection, image: Image) -> None:
    _INSERT.run(
        connection,
        {
            "id": image.id,
            "generation_id": image.generation_id,
            "account_id": image.account_id,
            "position": image.position,
            "storage_key": image.storage_key,
            "encoding": image.encoding.value,
            "width": image.size.width,
            "height": image.size.height,
            "size_bytes": image.size_bytes,
            "sha256": image.sha256,
            "seed": NO_SEED if image.seed is None else image.seed,
            "seconds": image.seconds,
            "url_expires_at": image.url_expires_at,
            "created_at": image.created_at,
        },
    )


def find_by_storage_key(connection: Connection, storage_key: str) -> Image | None:
    row = connection.execute(
        select(images).where(images.c.storage_key == storage_key, images.c.deleted_at.is_(None))
    ).first()
    return from_row(row) if row else None


def find(connection: Connection, account_id: str, image_id: str) -> tuple[Image, Row[Any]] | None:
    """The picture and its generation's row."""
    row = connection.execute(
        select(images).where(images.c.account_id == account_id, images.c.id == image_id, images.c.deleted_at.is_(None))
    ).first()
    if row is None:
        return None
    generation = connection.execute(select(generations).where(generations.c.id == row.generation_id)).one()
    return from_row(row), generation


def list_of_generation(connection: Connection, generation_id: str) -> list[Image]:
    rows = connection.execute(
        select(images)
        .where(images.c.generation_id == generation_id, images.c.deleted_at.is_(None))
        .order_by(images.c.position)
    )
    return [from_row(row) for row in rows]


def list_newest(
    connection: Connection, account_id: str, *, after: str | None, limit: int
) -> list[tuple[Image, Row[Any]]] | None:
    """At most `limit` pictures with their generations' rows, older than the picture `after`; None if there is no
    such picture.
    """
    query = select(images).where(images.c.account_id == account_id, images.c.deleted_at.is_(None))
    if after is not None:
        start = _place(connection, account_id, after)
        if start is None:
            return None
        query = query.where(*_older(start))
    rows = connection.execute(query.order_by(*_NEWEST_FIRST).limit(limit)).all()
    return _with_generations(connection, rows)


_NEWEST_FIRST = (images.c.created_at.desc(), images.c.id.desc())


def _place(connection: Connection, account_id: str, image_id: str) -> Row[Any, Any] | None:
    """Where the picture stands in the list; it may be deleted."""
    return connection.execute(
        select(images.c.created_at, images.c.id).where(images.c.account_id == account_id, images.c.id == image_id)
    ).first()


def _older(start: Row[Any, Any]) -> tuple[ColumnElement[bool], ColumnElement[bool]]:
    """The first condition follows from the second; it is what an index is read by."""
    same_moment = and_(images.c.created_at == start.created_at, images.c.id < start.id)
    return images.c.created_at <= start.created_at, or_(images.c.created_at < start.created_at, same_moment)


def _with_generations(connection: Connection, rows: Sequence[Row[Any]]) -> list[tuple[Image, Row[Any]]]:
    wanted = {row.generation_id for row in rows}
    found = connection.execute(select(generations).where(generations.c.id.in_(wanted)))
    by_id = {generation.id: generation for generation in found}
    return [(from_row(row), by_id[row.generation_id]) for row in rows]


def search(connection: Connection, account_id: str, wanted: Search, *, after: str | None, limit: int) -> Found | None:
    """At most `limit` pictures older than `after` among the next LOOKED_THROUGH; None if there is no such picture."""
    mine = [images.c.account_id == account_id]
    if after is not None:
        start = _place(connection, account_id, after)
        if start is None:
            return None
        mine.extend(_older(start))
    floor = connection.execute(
        select(images.c.created_at, images.c.id).where(*mine).order_by(*_NEWEST_FIRST).offset(LOOKED_THROUGH).limit(1)
    ).first()
    if floor is not None:
        newer = or_(
            images.c.created_at > floor.created_at,
            and_(images.c.created_at == floor.created_at, images.c.id >= floor.id),
        )
        mine += [images.c.created_at >= floor.created_at, newer]
    query = select(images).where(*mine, images.c.deleted_at.is_(None))
    if not wanted.is_anything:
        query = query.join(generations, generations.c.id == images.c.generation_id).where(*_matches(wanted))
    rows = connection.execute(query.order_by(*_NEWEST_FIRST).limit(limit + 1)).all()
    shown = [StoredImage(*each) for each in _with_generations(connection, rows[:limit])]
    last: Row[Any, Any] | None = rows[limit - 1] if len(rows) > limit else floor
    return Found(shown, None, None) if last is None else Found(shown, last.id, last.created_at)


def _matches(wanted: Search) -> list[ColumnElement[bool]]:
    conditions: list[ColumnElement[bool]] = [
        or_(*(generations.c.prompt.icontains(spelling, autoescape=True) for spelling in spellings(word)))
        for word in wanted.words
    ]
    if wanted.model is not None:
        conditions.append(generations.c.model == wanted.model)
    if wanted.key_id is not None:
        key_id = None if wanted.key_id == WITHOUT_KEY else wanted.key_id
        conditions.append(generations.c.api_key_id.is_not_distinct_from(key_id))
    return conditions


def mark_deleted(connection: Connection, account_id: str, image_id: str, now: datetime) -> str | None:
    """The storage key of the picture that is now deleted, None if there was none."""
    mine = and_(images.c.account_id == account_id, images.c.id == image_id, images.c.deleted_at.is_(None))
    marked = images.update().where(mine).values(deleted_at=now).returning(images.c.storage_key)
    return connection.execute(marked).scalar_one_or_none()


def list_to_purge(connection: Connection) -> list[tuple[str, str]]:
    """Id and storage key of deleted pictures whose file may still be there."""
    rows = connection.execute(
        select(images.c.id, images.c.storage_key).where(images.c.deleted_at.is_not(None), images.c.purged_at.is_(None))
    )
    return [(row.id, row.storage_key) for row in rows]


def mark_purged(connection: Connection, image_ids: list[str], now: datetime) -> None:
    connection.execute(images.update().where(images.c.id.in_(image_ids)).values(purged_at=now))


def from_row(row: Row[Any]) -> Image:
    return Image(
        id=row.id,
        generation_id=row.generation_id,
        account_id=row.account_id,
        position=row.position,
        storage_key=row.storage_key,
        encoding=Encoding(row.encoding),
        size=Size(row.width, row.height),
        size_bytes=row.size_bytes,
        sha256=row.sha256,
        seed=None if row.seed == NO_SEED else row.seed,
        seconds=row.seconds,
        created_at=row.created_at,
        url_expires_at=row.url_expires_at,
    )
