"""T1: nobody reads the database through the key look-up, or through any other text: SQL never contains user text."""

import re
from collections.abc import Iterator

import pytest
from sqlalchemy import Engine, event

from asgi import call
from front import Front
from pinxit.database.tables import api_keys, generations
from pinxit.keys.model import Scope

pytestmark = pytest.mark.both_databases

MARK = "zebrafinch"
TEXTS = [
    f"{MARK}' OR '1'='1",
    f'{MARK}" OR 1=1 --',
    f"{MARK}'; DROP TABLE api_keys; --",
    f"{MARK}\\' UNION SELECT secret_sha256 FROM api_keys --",
    f"%{MARK}%_" * 10,
    f":{MARK} ?1 $1 @{MARK}",
    f"{MARK}/*",
    f"{MARK})) OR ((1=1",
]


@pytest.fixture
def statements() -> Iterator[list[str]]:
    """The text of every SQL statement that is run meanwhile."""
    seen: list[str] = []

    def note(_: object, __: object, statement: str, *___: object) -> None:
        seen.append(statement)

    event.listen(Engine, "before_cursor_execute", note)
    yield seen
    event.remove(Engine, "before_cursor_execute", note)


@pytest.mark.parametrize("text", TEXTS)
async def test_no_text_of_a_caller_is_in_any_statement(front: Front, statements: list[str], text: str):
    front.key = await front.make_key(scopes=tuple(Scope))
    headers = front.authorization
    await front.generate(prompt=text, negative_prompt=text, user=text, safety_identifier=text)
    await front.generate(model=text)
    for path in ("/v1/images", "/v1/keys", "/v1/models/x", "/image/x"):
        await front.client.get(path, params={"after": text, "limit": text, "signature": text}, headers=headers)
    await front.client.post("/v1/keys", json={"name": text}, headers=headers)
    for path in ("/v1/models/", "/image/", "/v1/images/"):
        await front.client.get(path + text, headers=headers)
    assert len(statements) > 10
    assert [statement for statement in statements if MARK in statement] == []
    assert len(await front.rows(api_keys)) == 3
    (kept,) = await front.rows(generations)
    assert kept.prompt == text


WELL_FORMED = "sk-" + "_" * 43
KEYS = [
    "' OR '1'='1",
    "sk-' OR secret_sha256 LIKE '%",
    "sk-" + "'" * 43,
    "sk-" + "%" * 43,
    WELL_FORMED,
    "sk-\0" + "a" * 42,
    "sk-" + "a" * 43 + "\0",
    "sk-" + "a" * 2**20,
    "sk-" + "é" * 43,
    "sk-" + "a" * 42,
    "sk-" + "a" * 44,
    "SK-" + "a" * 43,
    "",
    " ",
]


@pytest.mark.parametrize("scheme", ["", "Bearer ", "bearer   "])
@pytest.mark.parametrize("key", KEYS, ids=range(len(KEYS)))
async def test_a_strange_key_is_refused(front: Front, statements: list[str], scheme: str, key: str):
    header = (b"authorization", f"{scheme}{key}".encode("utf-8", "surrogateescape"))
    answer = await call(front.app, "GET", b"/v1/models", [header])
    assert answer.status == 401
    # What has not the form of a key is never looked for; the rest is looked for by its hash.
    assert sum("secret_sha256 =" in statement for statement in statements) == (key == WELL_FORMED)


async def test_a_key_is_looked_for_by_its_whole_hash(front: Front, statements: list[str]):
    await front.client.get("/v1/models", headers=front.authorization)
    assert any(re.search(r"WHERE api_keys\.secret_sha256 = (\?|%\()", statement) for statement in statements)
