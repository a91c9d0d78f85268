"""KeyService over a real database: what is believed, for how long, and what is kept of its use."""

import asyncio
from collections.abc import AsyncIterator, Callable
from datetime import UTC, datetime, timedelta

import pytest
from sqlalchemy import Engine, event, select

from pinxit import accounts
from pinxit.database.interface import Database
from pinxit.database.tables import api_keys
from pinxit.errors import AuthenticationFailed, NotFound, PermissionDenied
from pinxit.images.request import Delivery
from pinxit.keys import service
from pinxit.keys.model import ApiKey, Caller, KeyOptions, Scope
from pinxit.keys.secret import digest, has_form, new_secret
from pinxit.keys.service import KeyService, local_caller

pytestmark = pytest.mark.both_databases

OPERATOR = local_caller("acct_default")
NOW = datetime(2026, 11, 22, 12, tzinfo=UTC)


@pytest.fixture
async def database(make_database: Callable[[], Database]) -> Database:
    database = make_database()
    await database.write(lambda connection: accounts.ensure_default(connection, NOW))
    return database


@pytest.fixture
async def keys(database: Database) -> AsyncIterator[KeyService]:
    keys = KeyService(database, now=lambda: NOW)
    yield keys
    await keys.close()


class Lookups:
    """How often the database was asked for a key."""

    def __init__(self) -> None:
        self.count = 0

    def __call__(self, _: object, __: object, statement: str, *___: object) -> None:
        self.count += "WHERE api_keys.secret_sha256 = " in statement


@pytest.fixture
def lookups():
    lookups = Lookups()
    event.listen(Engine, "before_cursor_execute", lookups)
    yield lookups
    event.remove(Engine, "before_cursor_execute", lookups)


async def last_used(database: Database) -> list[datetime | None]:
    query = select(api_keys.c.last_used_at)
    return list(await database.read(lambda connection: connection.execute(query).scalars().all()))


async def test_a_new_key_is_verified(keys: KeyService):
    key, secret = await keys.create(OPERATOR, KeyOptions(name="mine"))
    caller = await keys.verify(secret)
    assert (caller.account_id, caller.key_id, caller.scopes) == ("acct_default", key.id, set(key.options.scopes))
    assert (key.prefix, key.last4) == (secret[:7], secret[-4:])


async def test_every_option_is_kept(keys: KeyService):
    options = KeyOptions(
        "mine", (Scope.ADMIN,), ("a", "b"), Delivery.BOTH, True, 60, NOW + timedelta(days=1, microseconds=1)
    )
    key, _ = await keys.create(OPERATOR, options)
    assert (await keys.get(OPERATOR, key.id)).options == options


async def test_only_the_hash_is_kept(keys: KeyService, database: Database):
    _, secret = await keys.create(OPERATOR, KeyOptions())
    (row,) = await database.read(lambda connection: connection.execute(select(api_keys)).all())
    assert row.secret_sha256 == digest(secret)
    assert secret not in str(row)


async def test_keys_are_listed_from_the_newest(database: Database):
    now = NOW
    keys = KeyService(database, now=lambda: now)
    made = []
    for _ in range(3):
        made.insert(0, (await keys.create(OPERATOR, KeyOptions()))[0].id)
        now += timedelta(seconds=1)
    assert [key.id for key in await keys.list(OPERATOR)] == made


@pytest.mark.parametrize("seconds", [-1, 0])
async def test_an_expired_key_is_refused(keys: KeyService, seconds: int):
    _, secret = await keys.create(OPERATOR, KeyOptions(expires_at=NOW + timedelta(seconds=seconds)))
    with pytest.raises(AuthenticationFailed):
        await keys.verify(secret)


async def test_a_verified_key_is_believed_for_a_while(keys: KeyService, lookups: Lookups):
    _, secret = await keys.create(OPERATOR, KeyOptions())
    for _ in range(50):
        await keys.verify(secret)
    assert lookups.count < 50


async def test_and_not_for_long(keys: KeyService, lookups: Lookups, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(service, "CACHE_SECONDS", 0.0)
    _, secret = await keys.create(OPERATOR, KeyOptions())
    for _ in range(5):
        await keys.verify(secret)
    assert lookups.count == 5


async def test_an_unknown_key_is_remembered_too(keys: KeyService, lookups: Lookups):
    secret = new_secret()
    for _ in range(20):
        with pytest.raises(AuthenticationFailed):
            await keys.verify(secret)
    assert lookups.count < 20


@pytest.mark.parametrize("text", ["", "sk-", "sk-short", "x" * 46, "sk-" + "x" * 44, "SK-" + "x" * 43, "é" * 46])
async def test_what_has_not_the_form_is_not_looked_for(keys: KeyService, lookups: Lookups, text: str):
    with pytest.raises(AuthenticationFailed):
        await keys.verify(text)
    assert lookups.count == 0


async def test_the_cache_is_bounded(keys: KeyService, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(service, "CACHE_ENTRIES", 10)
    for _ in range(50):
        with pytest.raises(AuthenticationFailed):
            await keys.verify(new_secret())
        await keys.verify((await keys.create(OPERATOR, KeyOptions()))[1])
    assert len(keys._known) <= 10
    assert len(keys._touched) <= 10


async def test_a_change_counts_at_once(keys: KeyService):
    key, secret = await keys.create(OPERATOR, KeyOptions())
    await keys.verify(secret)
    await keys.change(OPERATOR, key.id, lambda _: KeyOptions(scopes=(Scope.MODELS_READ,)))
    assert (await keys.verify(secret)).scopes == {Scope.MODELS_READ}


async def test_a_revocation_counts_at_once_and_keeps_its_time(database: Database):
    now = NOW
    keys = KeyService(database, now=lambda: now)
    key, secret = await keys.create(OPERATOR, KeyOptions())
    await keys.verify(secret)
    assert (await keys.revoke(OPERATOR, key.id)).revoked_at == NOW
    now += timedelta(hours=1)
    assert (await keys.revoke(OPERATOR, key.id)).revoked_at == NOW
    with pytest.raises(AuthenticationFailed):
        await keys.verify(secret)
    await keys.close()


async def test_the_last_use_is_kept(keys: KeyService, database: Database):
    _, secret = await keys.create(OPERATOR, KeyOptions())
    assert await last_used(database) == [None]
    await keys.verify(secret)
    await keys.close()
    assert await last_used(database) == [NOW]


async def test_but_not_every_use(keys: KeyService, database: Database):
    _, secret = await keys.create(OPERATOR, KeyOptions())
    before = database.commits
    for _ in range(20):
        await keys.verify(secret)
    await keys.close()
    assert database.commits == before + 1


async def test_a_use_that_cannot_be_kept_refuses_nobody(
    keys: KeyService, database: Database, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(service, "CACHE_SECONDS", 60.0)
    _, secret = await keys.create(OPERATOR, KeyOptions())
    await keys._find(digest(secret))
    await database.close()
    assert (await keys.verify(secret)).account_id == "acct_default"
    await keys.close()


@pytest.mark.parametrize("call", ["get", "change", "revoke"])
async def test_another_account_s_key_is_not_there(keys: KeyService, call: str):
    key, _ = await keys.create(OPERATOR, KeyOptions())
    stranger = local_caller("acct_other")
    arguments = (lambda options: options,) if call == "change" else ()
    with pytest.raises(NotFound):
        await getattr(keys, call)(stranger, key.id, *arguments)


async def test_what_a_change_raises_comes_through_and_changes_nothing(keys: KeyService):
    def refuse(_: KeyOptions) -> KeyOptions:
        raise PermissionDenied("no")

    key, _ = await keys.create(OPERATOR, KeyOptions(name="old"))
    with pytest.raises(PermissionDenied):
        await keys.change(OPERATOR, key.id, refuse)
    assert (await keys.get(OPERATOR, key.id)).options.name == "old"


# --- the model ------------------------------------------------------------------------------------------------------


def make_caller(*scopes: Scope, models: tuple[str, ...] | None = None) -> Caller:
    key = ApiKey("key_1", "acct_default", "sk-", "abcd", KeyOptions(scopes=scopes, models=models), NOW)
    return Caller("acct_default", key, frozenset(scopes))


def test_a_scope_is_required():
    make_caller(Scope.IMAGES_READ).require(Scope.IMAGES_READ)
    with pytest.raises(PermissionDenied, match="images:write"):
        make_caller(Scope.IMAGES_READ).require(Scope.IMAGES_WRITE)


@pytest.mark.parametrize("scope", Scope)
def test_admin_includes_every_scope(scope: Scope):
    make_caller(Scope.ADMIN).require(scope)
    OPERATOR.require(scope)


def test_a_model_may_be_allowed_by_either_name():
    make_caller(models=("alias",)).require_model("alias", "model-1")
    make_caller(models=("model-1",)).require_model("alias", "model-1")
    make_caller(models=None).require_model("anything")
    OPERATOR.require_model("anything")
    for allowed in ((), ("other",)):
        with pytest.raises(PermissionDenied) as refused:
            make_caller(models=allowed).require_model("alias", "model-1")
        assert refused.value.param == "model"


def test_secrets_are_random_and_of_one_form():
    secrets = {new_secret() for _ in range(1000)}
    assert len(secrets) == 1000
    assert all(has_form(secret) and len(secret) == 46 for secret in secrets)


async def test_many_at_once(keys: KeyService, lookups: Lookups):
    made = [await keys.create(OPERATOR, KeyOptions()) for _ in range(20)]
    callers = await asyncio.gather(*[keys.verify(secret) for _, secret in made for _ in range(10)])
    assert [caller.key_id for caller in callers] == [key.id for key, _ in made for _ in range(10)]
