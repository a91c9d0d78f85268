"""Rows of pictures. Every statement names its account, but for the one that serves bytes: there the random name
is the key.
"""

from datetime import datetime
from typing import Any

from sqlalchemy import Connection, Row, and_, or_, select

from pinxit.database.tables import generations, images
from pinxit.images.request import Encoding
from pinxit.images.size import Size
from pinxit.library.image import Image

_INSERT = images.insert()

NO_SEED = -1
"""In a row: the painter has no seeds."""


def insert(connection: Connection, image: Image) -> None:
    connection.execute(
        _INSERT,
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
        start = connection.execute(
            select(images.c.created_at, images.c.id).where(images.c.account_id == account_id, images.c.id == after)
        ).first()
        if start is None:
            return None
        older = or_(
            images.c.created_at < start.created_at,
            and_(images.c.created_at == start.created_at, images.c.id < start.id),
        )
        query = query.where(images.c.created_at <= start.created_at, older)
    rows = connection.execute(query.order_by(images.c.created_at.desc(), images.c.id.desc()).limit(limit)).all()
    wanted = {row.generation_id for row in rows}
    found = connection.execute(select(generations).where(generations.c.id.in_(wanted)))
    by_id = {generation.id: generation for generation in found}
    return [(from_row(row), by_id[row.generation_id]) for row in rows]


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
