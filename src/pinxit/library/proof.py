"""Whether rows and files agree: every picture's file is there as it was written, and no file is without a row."""

import hashlib
from functools import partial

from sqlalchemy import Connection, select

from pinxit.database.interface import Database
from pinxit.database.tables import generations, images
from pinxit.errors import StorageUnavailable
from pinxit.library import repository
from pinxit.library.image import Image
from pinxit.storage.interface import Storage, StoredFileMissing

PAGE = 500
"""How many rows are read at a time."""


async def check_files(database: Database, storage: Storage) -> list[str]:
    """What is wrong, a sentence each; empty if all is well. It reads every byte that is kept.

    A server may be running beside: what is wrong is looked at twice, for it may have been changing just then.
    """
    problems = await _look(database, storage)
    if problems:
        again = set(await _look(database, storage))
        problems = [problem for problem in problems if problem in again]
    return problems


async def _look(database: Database, storage: Storage) -> list[str]:
    there = await storage.list_keys()
    expected = await database.read(_list_expected_keys)
    problems = [f"The file {key} belongs to no picture." for key in sorted(there - expected)]
    after = ""
    while page := await database.read(partial(_list_page, after=after)):
        for image in page:
            problem = await _find_problem(image, storage)
            if problem is not None:
                problems.append(problem)
        after = page[-1].id
    return problems


async def _find_problem(image: Image, storage: Storage) -> str | None:
    try:
        data = await storage.get(image.storage_key)
    except StoredFileMissing:
        return f"The picture {image.id} has no file {image.storage_key}."
    except StorageUnavailable as error:
        return f"The file {image.storage_key} of the picture {image.id} cannot be read: {error.message}"
    if len(data) != image.size_bytes:
        return f"The file {image.storage_key} has {len(data)} bytes, not {image.size_bytes}."
    if hashlib.sha256(data).hexdigest() != image.sha256:
        return f"The file {image.storage_key} is not as it was written: its SHA-256 is another."
    return None


def _list_expected_keys(connection: Connection) -> set[str]:
    """Files that may be there: of pictures that are not purged, and of orders that are open or not tidied up."""
    kept = connection.execute(select(images.c.storage_key).where(images.c.purged_at.is_(None))).scalars()
    planned = connection.execute(
        select(generations.c.storage_keys).where(generations.c.status != "completed", generations.c.storage_keys != [])
    ).scalars()
    return {*kept, *(key for keys in planned for key in keys)}


def _list_page(connection: Connection, after: str) -> list[Image]:
    rows = connection.execute(
        select(images).where(images.c.deleted_at.is_(None), images.c.id > after).order_by(images.c.id).limit(PAGE)
    )
    return [repository.from_row(row) for row in rows]
