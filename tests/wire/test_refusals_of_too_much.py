"""402 and 429 as the contract promises them: rows 27 and 28 of the bad inputs."""

from collections.abc import Awaitable, Callable
from typing import Any

import httpx2
import pytest

from front import Front
from pinxit.keys.model import Budgets, Limits, Scope

PRICED: list[dict[str, Any]] = [{"model_name": "priced", "params": {"model": "fake/fake-1"}, "prices": [{"usd": 0.01}]}]
MakeWire = Callable[..., Awaitable[Front]]


async def refusal(front: Front, **options: Any) -> httpx2.Response:
    """The answer to the second order of a key of which the first was good."""
    key = await front.make_key(**options)
    headers = {"Authorization": f"Bearer {key}"}
    assert (await front.generate(headers)).status_code == 200
    answer = await front.generate(headers)
    assert key not in answer.text
    assert len(front.backend.orders) == 1
    return answer


@pytest.mark.parametrize(
    ("budget", "name"),
    [("total_micros", "total_usd"), ("per_day_micros", "per_day_usd"), ("per_month_micros", "per_month_usd")],
)
async def test_over_budget(make_wire: MakeWire, budget: str, name: str) -> None:
    front = await make_wire(model_list=PRICED, default_model="priced")
    answer = await refusal(front, budgets=Budgets(**{budget: 10_000}))
    error = answer.json()["error"]
    assert (answer.status_code, error["type"], error["param"]) == (402, "insufficient_credits", "")
    assert name in error["message"]
    assert answer.headers["x-should-retry"] == "false"
    assert "retry-after" not in answer.headers


@pytest.mark.parametrize(
    ("limits", "kind"),
    [(Limits(requests_per_minute=1), "requests"), (Limits(images_per_minute=1), "images")],
)
async def test_over_the_rate(make_wire: MakeWire, limits: Limits, kind: str) -> None:
    answer = await refusal(await make_wire(), limits=limits)
    error = answer.json()["error"]
    assert (answer.status_code, error["type"], error["param"]) == (429, "rate_limit_error", "")
    assert kind in error["message"]
    assert "x-should-retry" not in answer.headers
    assert 0 < int(answer.headers["retry-after-ms"]) <= 1000 * int(answer.headers["retry-after"]) <= 60_000
    assert (answer.headers[f"x-ratelimit-limit-{kind}"], answer.headers[f"x-ratelimit-remaining-{kind}"]) == ("1", "0")
    assert answer.headers[f"x-ratelimit-reset-{kind}"].endswith("s")


async def test_usage_keys_and_their_limits_are_as_documented(make_wire: MakeWire) -> None:
    front = await make_wire(model_list=PRICED, default_model="priced")
    admin = {"Authorization": f"Bearer {await front.make_key(scopes=(Scope.ADMIN,))}"}
    await front.generate(n=2)
    for group_by in ("day", "model", "key", "key,day,model"):
        answer = await front.client.get("/v1/usage", params={"group_by": group_by}, headers=admin)
        assert answer.json()["total"]["cost_micros"] == 20_000
    body = {"limits": {"concurrency": 1}, "budgets": {"total_usd": 1, "per_day_usd": "0.5", "per_month_usd": 0.75}}
    made = await front.client.post("/v1/keys", json=body, headers=admin)
    assert made.status_code == 201
    assert (await front.client.get("/v1/keys", headers=admin)).json()["data"][0]["budgets"]["per_day_usd"] == 0.5
