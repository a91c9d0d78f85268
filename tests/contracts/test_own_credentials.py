"""Accounts that bring credentials of their own: whose is sent, who pays, and that nobody else notices."""

import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

import pytest
from aiohttp import web
from simulated import Outcome
from simulated_openai import SimulatedOpenai

from front import Front, MakeFront
from pinxit.database.tables import accounts, attempts, generations, holds, provider_credentials, transfers
from pinxit.ledger import ledger
from pinxit.ledger.invariants import check
from pinxit.routing import router
from pinxit.routing.breaker import BreakerState
from pinxit.runners.interface import Status

MODEL = "gpt-image-1-mini"
SIZE = "1024x1024"
PRICE_MICROS = 50_000
CREDITS_MICROS = 10_000_000
HOUSE = "house-credential-of-the-tests-1111"
ADA, BOB = "own-credential-of-ada-222222", "own-credential-of-bob-333333"


class Sharing(SimulatedOpenai):
    """Lets several in, and goes wrong for each as `outcomes` says."""

    def __init__(self) -> None:
        super().__init__()
        self.outcomes: dict[str, Outcome] = dict.fromkeys((HOUSE, ADA, BOB), Outcome.PAINT)
        self.peers: list[tuple[str, tuple[str, int]]] = []
        """Who came over which connection."""

    def unauthorised(self, request: web.Request) -> web.Response | None:
        shown = request.headers.get("Authorization", "").removeprefix("Bearer ")
        assert request.transport is not None
        self.peers.append((shown, request.transport.get_extra_info("peername")))
        if shown not in self.outcomes:
            # As careless as a provider can be: the message has the credential in it.
            return self.error(401, f"Incorrect API key provided: {shown}.", "invalid_request_error")
        self.outcome = self.outcomes[shown]
        return None

    @property
    def shown(self) -> list[str]:
        return [shown for shown, _ in self.peers]


@dataclass
class There:
    """A house whose model `far` is painted by the provider `studio`, and two accounts."""

    front: Front
    studio: Sharing
    ada: str
    bob: str
    keys: dict[str, str] = field(default_factory=dict)

    async def bring(self, account: str, credential: str, *, may_fall_back: bool = False) -> None:
        await self.front.house.services.credentials.set(
            "studio", credential, account_id=account, may_fall_back=may_fall_back
        )

    async def order(self, account: str, **body: Any) -> Any:
        self.front.key = self.keys[account]
        return await self.front.generate(**{"model": "far", "size": SIZE, "response_format": "b64_json", **body})

    async def balance(self, account: str) -> tuple[int, int]:
        """What the account has and what of it is held; the books are proven on the way."""
        database = self.front.house.database
        assert await database.read(check) == []
        return await database.read(lambda connection: ledger.balance(connection, account))

    async def record(self, number: int = -1) -> dict[str, Any]:
        ended = (await self.front.rows(generations))[number]
        return {**ended.parameters, "cost_micros": ended.cost_micros}

    @property
    def breakers(self) -> dict[str, tuple[BreakerState, int]]:
        standings = self.front.house.services.generations._router.standings()
        return {standing.key: (standing.state, standing.failures) for standing in standings}


@asynccontextmanager
async def there(
    make_front: MakeFront, *, house: str | None = HOUSE, provider: dict[str, Any] | None = None, **settings: Any
) -> AsyncIterator[There]:
    studio = Sharing()
    async with studio.serving():
        entry = {"kind": "openai", "base_url": f"{studio.url}/v1", "models": [MODEL], **(provider or {})}
        model = {
            "model_name": "far",
            "params": {"model": f"studio/{MODEL}"},
            "prices": [{"usd": PRICE_MICROS / 1_000_000}],
        }
        front = await make_front(
            billing="credits",
            providers={"studio": entry if house is None else {**entry, "credential": house}},
            model_list=[model],
            **settings,
        )
        ada, bob = "acct_ada", "acct_bob"
        place = There(front, studio, ada, bob)
        for account in (ada, bob):
            await front.make_account(account)
            place.keys[account] = await front.make_key(account=account)
            await front.house.database.write(
                lambda connection, account=account: ledger.top_up(
                    connection, account, CREDITS_MICROS, reference=account, now=front.house.services.now()
                )
            )
        yield place


@pytest.mark.both_databases
async def test_own_and_house_s_side_by_side(make_front: MakeFront):
    async with there(make_front, byok_fee_percent=5) as place:
        await place.bring(place.ada, ADA)
        dry = (await place.order(place.ada, dry_run=True)).json()
        assert [step["cost"] for step in dry["route"]] == [0.0025]
        own = await place.order(place.ada)
        assert own.status_code == 200, own.text
        assert own.headers["x-pinxit-backend"] == f"studio/{MODEL}"
        assert await place.balance(place.ada) == (CREDITS_MICROS - 2_500, 0)
        record = await place.record()
        assert (record["credential"], record["cost_micros"]) == ("own", 2_500)
        house = await place.order(place.bob, n=2)
        assert house.status_code == 200, house.text
        assert await place.balance(place.bob) == (CREDITS_MICROS - 2 * PRICE_MICROS, 0)
        assert "credential" not in await place.record()
        assert place.studio.shown == [ADA, HOUSE]
        assert [hold.amount_micros for hold in await place.front.rows(holds)] == [2_500, 2 * PRICE_MICROS]
        costs = {row.account_id: row.cost_micros for row in await place.front.rows(attempts)}
        assert costs[place.ada] == 0, "what is on Ada's own bill is not on ours"
        assert costs[place.bob] > 0
        listed = (await place.front.client.get("/v1/models/far", headers=place.front.authorization)).json()
        assert "credential" not in listed
        place.front.key = place.keys[place.ada]
        listed = (await place.front.client.get("/v1/models/far", headers=place.front.authorization)).json()
        assert listed["credential"] == "own"
        usage = (await place.front.client.get("/v1/usage", headers=place.front.authorization)).json()
        assert usage["total"] == {"orders": 1, "images": 1, "errors": 0, "cost_micros": 2_500}


async def test_nothing_is_charged_without_a_fee(make_front: MakeFront):
    async with there(make_front) as place:
        await place.bring(place.ada, ADA)
        assert (await place.order(place.ada)).status_code == 200
        assert await place.balance(place.ada) == (CREDITS_MICROS, 0)
        assert {row.kind for row in await place.front.rows(transfers)} == {"top_up"}


async def test_one_connection_carries_each_request_s_own_credential(make_front: MakeFront):
    async with there(make_front, provider={"max_concurrency": 1}) as place:
        await place.bring(place.ada, ADA)
        await place.bring(place.bob, BOB)
        for account in (place.ada, place.bob, place.ada):
            assert (await place.order(account)).status_code == 200
        await place.front.house.services.credentials.remove("studio", account_id=place.bob)
        assert (await place.order(place.bob)).status_code == 200
        assert place.studio.shown == [ADA, BOB, ADA, HOUSE]
        assert len({peer for _, peer in place.studio.peers}) == 1, "this is about connections that are used again"


@pytest.mark.parametrize(
    ("outcome", "status", "type_"),
    [
        (None, 403, "credential_error"),
        (Outcome.NO_CREDIT, 403, "credential_error"),
        (Outcome.RATE_LIMIT, 429, "rate_limit_error"),
    ],
)
async def test_an_own_credential_that_fails_is_its_account_s_affair(
    make_front: MakeFront, outcome: Outcome | None, status: int, type_: str
):
    async with there(make_front, byok_fee_percent=5) as place:
        await place.bring(place.ada, ADA)
        if outcome is None:
            del place.studio.outcomes[ADA]
        else:
            place.studio.outcomes[ADA] = outcome
        for _ in range(4):
            failed = await place.order(place.ada)
            assert (failed.status_code, failed.json()["error"]["type"]) == (status, type_), failed.text
            assert "our own" in failed.json()["error"]["message"]
            assert ADA not in failed.text
            assert ("retry-after" in failed.headers) is (status == 429)
        assert place.studio.shown == [ADA] * 4, "nothing is sent twice, and never with the house's"
        assert await place.balance(place.ada) == (CREDITS_MICROS, 0)
        assert all(state is BreakerState.CLOSED and not count for state, count in place.breakers.values())
        assert (await place.order(place.bob)).status_code == 200
        assert (await place.record(0))["credential"] == "own"
        ended = (await place.front.rows(generations))[0]
        assert ADA not in json.dumps([str(value) for value in ended])


async def test_falling_back_to_the_house_s_costs_the_full_price(make_front: MakeFront):
    async with there(make_front, byok_fee_percent=5) as place:
        await place.bring(place.ada, ADA, may_fall_back=True)
        del place.studio.outcomes[ADA]
        answer = await place.order(place.ada)
        assert answer.status_code == 200, answer.text
        assert place.studio.shown == [ADA, HOUSE]
        assert await place.balance(place.ada) == (CREDITS_MICROS - PRICE_MICROS, 0)
        record = await place.record()
        assert "credential" not in record
        assert record["price_micros_per_image"] == PRICE_MICROS
        painter = f"studio/{MODEL}"
        assert record["route"] == [
            {"backend": painter, "result": "credential_failed", "credential": "own"},
            {"backend": painter, "result": "painted"},
        ]
        only = await place.order(place.ada, provider={"allow_fallbacks": False})
        assert only.status_code == 403


async def test_the_house_s_trouble_is_not_the_account_s(make_front: MakeFront, monkeypatch: pytest.MonkeyPatch):
    """A house whose credential is not accepted leaves the provider alone; who has a credential still gets there."""
    monkeypatch.setattr(router, "_RETRY_RESERVE", 0.0)  # no repeats, which take two seconds each
    async with there(make_front) as place:
        await place.bring(place.ada, ADA)
        del place.studio.outcomes[HOUSE]
        for _ in range(4):
            assert (await place.order(place.bob)).status_code == 503
        assert place.breakers[f"studio/{MODEL}"][0] is BreakerState.OPEN
        assert (await place.order(place.ada)).status_code == 200


async def test_without_the_house_s_only_who_has_one(make_front: MakeFront):
    async with there(make_front, house=None) as place:
        services = place.front.house.services
        refused = await place.order(place.bob)
        assert (refused.status_code, refused.json()["error"]["type"]) == (403, "credential_error")
        assert place.studio.calls == []
        place.front.key = place.keys[place.bob]
        listed = (await place.front.client.get("/v1/models", headers=place.front.authorization)).json()["data"]
        assert [model["id"] for model in listed] == ["fake-1"]
        one = (await place.front.client.get("/v1/models/far", headers=place.front.authorization)).json()
        assert one["credential"] == "missing"
        ready = (await place.front.client.get("/health/ready")).json()["backends"]["studio"]
        assert ready == {"status": "failed", "reason": "There is no credential for studio."}
        assert services.runners["studio"].state.status is Status.READY

        fallen_back = await place.order(place.bob, fallback_models=["fake-1"], size="auto")
        assert (fallen_back.status_code, fallen_back.headers["x-pinxit-backend"]) == (200, "fake/fake-1")
        await place.bring(place.ada, ADA, may_fall_back=True)
        assert (await place.order(place.ada)).status_code == 200
        place.front.key = place.keys[place.ada]
        listed = (await place.front.client.get("/v1/models", headers=place.front.authorization)).json()["data"]
        assert {model["id"]: model.get("credential") for model in listed}["far"] == "own"

        await services.credentials.set("studio", HOUSE, account_id=None)
        assert (await place.order(place.bob)).status_code == 200
        assert place.studio.shown == [ADA, HOUSE]
        assert (await place.front.client.get("/health/ready")).json()["backends"]["studio"]["status"] == "ready"


async def test_who_may_bring_one_is_the_operator_s_to_say(make_front: MakeFront):
    async with there(make_front, provider={"own_credentials": False}) as place:
        assert not place.front.house.services.credentials.providers["studio"].may_be_own
        place.front.house.services.credentials.become({"studio": None})
        assert (await place.order(place.ada)).status_code == 200
        assert place.studio.shown == [HOUSE]


async def test_nothing_of_it_is_in_the_clear(make_front: MakeFront):
    async with there(make_front) as place:
        await place.bring(place.ada, ADA)
        await place.order(place.ada)
        (row,) = await place.front.rows(provider_credentials)
        assert row.hint == ADA[-4:]
        assert ADA not in str(tuple(row))
        folder = place.front.house.services.settings.data_dir
        files = [path for path in folder.rglob("*") if path.is_file()]
        assert [path.name for path in files if ADA.encode() in path.read_bytes()] == []
        assert (folder / "credentials.key").stat().st_mode & 0o777 == 0o600
        assert len(await place.front.rows(accounts)) == 3
