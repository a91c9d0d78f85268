"""T11: the text of an API key is nowhere but in the answer that made it: not in logs, errors or the database."""

import json
from pathlib import Path

import httpx2
import pytest
from aiohttp import web
from logged import Log

from asgi import Answer, call
from front import Front, MakeFront
from pinxit.accounts import DEFAULT_ACCOUNT
from pinxit.accounts.user import Role
from pinxit.database.tables import generations
from pinxit.errors import BackendError
from pinxit.keys.model import Scope
from pinxit.routing import router
from pinxit.testing.fake_backend import FakeBackend
from visitor import PASSWORD, Visitor, visitor_as

JSON = (b"content-type", b"application/json")


async def everywhere(front: Front, canary: str) -> list[Answer]:
    """The answers to requests that carry `canary` in every place there is, also where no key belongs."""
    bearer = (b"authorization", f"Bearer {canary}".encode())
    coded = canary.encode()
    headers = [
        [bearer],
        [(b"authorization", coded)],
        [(b"authorization", b"Basic " + coded)],
        [bearer, (b"authorization", b"other")],
        [bearer, (b"x-api-key", b"other")],
        [bearer, (b"x-request-id", coded)],
        [bearer, (b"x-pinxit-generation", coded)],
        [bearer, (b"idempotency-key", coded), (b"prefer", coded), (b"user-agent", coded), (b"cookie", coded)],
        [bearer, (b"host", coded), (b"x-forwarded-host", coded)],
        [bearer, (b"content-type", coded)],
        [bearer, (b"content-encoding", coded), JSON],
        [bearer, (b"content-length", coded), JSON],
    ]
    bodies = [
        b"",
        coded,
        b'"' + coded + b'"',
        b'{"prompt": "x", "size": "256x256"}',
        *[
            json.dumps({"prompt": "x", "size": "256x256", name: value}).encode()
            for name in ("model", "size", "quality", "output_format", "background", "user", "n", "api_key", canary)
            for value in (canary, f"Bearer {canary}", [canary], {canary: canary})
        ],
        f'{{"prompt": "x", "{canary}": 1, "{canary}": 2}}'.encode(),
        f'{{"prompt": "x", "{canary}": NaN}}'.encode(),
    ]
    targets = ["/v1/models", "/v1/keys", f"/v1/models/{canary}", f"/v1/{canary}", f"/image/{canary}", f"/v1/x{canary}"]
    targets += [f"/v1/models?key={canary}", f"/v1/images?after={canary}", f"/v1/images?limit={canary}", f"/{canary}"]
    answers = [await call(front.app, "GET", target.encode(), lines) for target in targets for lines in headers]
    for body in bodies:
        answers.append(await call(front.app, "POST", b"/v1/images/generations", [bearer, JSON], body))
        answers.append(await call(front.app, "PATCH", b"/v1/keys/key_" + b"0" * 32, [bearer, JSON], body))
    answers.append(await call(front.app, canary, b"/v1/models", [bearer]))
    return answers


def leaks(canary: str, answers: list[Answer]) -> list[Answer]:
    """The answers in which a telling part of the key can be read."""
    telling = canary[:24]
    return [answer for answer in answers if telling in answer.body.decode() or telling in json.dumps(answer.headers)]


def assert_not_in_files(canary: str, folder: Path) -> None:
    files = [path for path in folder.rglob("*") if path.is_file()]
    assert {path.name for path in files} >= {"pinxit.db", "pinxit.db-wal"}
    assert [path.name for path in files if canary.encode() in path.read_bytes()] == []


@pytest.mark.parametrize("is_valid", [True, False])
async def test_a_key_is_nowhere(log: Log, make_front: MakeFront, is_valid: bool):
    front = await make_front(log_level="debug")
    canary = await front.make_key(scopes=tuple(Scope)) if is_valid else "sk-" + "CANARY-" * 6 + "C"
    assert len(canary) == 46

    answers = await everywhere(front, canary)

    assert {answer.status for answer in answers} >= ({200, 400, 404, 422} if is_valid else {401})
    assert not any(answer.status == 500 for answer in answers)
    assert leaks(canary, answers) == []
    assert canary[:24] not in log.getvalue()
    assert len(log.events()) > len(answers)
    assert_not_in_files(canary, front.house.services.settings.data_dir)


async def test_a_new_key_is_shown_once(log: Log, front: Front):
    front.key = await front.make_key(scopes=tuple(Scope))
    created = await front.client.post("/v1/keys", json={}, headers=front.authorization)
    secret = created.json()["key"]
    path = f"/v1/keys/{created.json()['id']}"
    for response in (
        await front.client.get(path, headers=front.authorization),
        await front.client.get("/v1/keys", headers=front.authorization),
        await front.client.patch(path, json={"name": secret}, headers=front.authorization),
        await front.client.delete(path, headers=front.authorization),
    ):
        shown = response.text.replace(f'"name":"{secret}"', "")
        assert secret not in shown
        assert secret[7:-4] not in shown
    assert secret not in log.getvalue()


async def test_the_signing_secret_is_nowhere(log: Log, make_front: MakeFront):
    front = await make_front(signed_urls=True)
    folder = front.house.services.settings.data_dir
    secret = (folder / "signing.key").read_bytes()
    answer = await front.generate()
    await front.client.get(answer.json()["data"][0]["url"])
    for text in (secret, secret.hex().encode(), repr(secret).encode()):
        assert text not in log.getvalue().encode()
        assert text not in (folder / "pinxit.db-wal").read_bytes()
    assert (folder / "signing.key").stat().st_mode & 0o777 == 0o600


async def test_what_a_painter_says_of_a_crash_stays_inside(log: Log, make_front: MakeFront):
    """A bug's text may hold anything: the client gets a sentence, the log what happened."""
    front = await make_front(FakeBackend(failure=lambda order: ZeroDivisionError(f"about: {order.prompt}")))
    response = await front.generate(prompt="my secret wish")
    assert response.status_code == 502
    assert "wish" not in response.text
    assert "Traceback" not in response.text


async def test_a_painter_s_own_sentence_holds_no_key(log: Log, make_front: MakeFront):
    key = "sk-" + "k" * 43
    front = await make_front(FakeBackend(failure=lambda _: BackendError(f"The upstream refused {key}.")))
    response = await front.generate()
    assert response.status_code == 502
    assert key not in response.text
    assert key not in log.getvalue()


async def test_prompts_are_not_logged(log: Log, front: Front):
    await front.generate(prompt="a very private otter", negative_prompt="a private blur", user="alice")
    await front.generate(prompt="a very private otter", size="1x1")
    assert "private" not in log.getvalue()
    assert "alice" not in log.getvalue()


async def test_the_console_keeps_its_secrets(log: Log, front: Front) -> None:
    """Passwords, sessions and links are in no log line, also when they are wrong."""
    first = await front.house.services.users.first_link() or ""
    visitor = Visitor(front)
    await visitor.get(f"/console/join?token={first}")
    fields = {"token": first, "name": "ada", "password": PASSWORD, "again": PASSWORD}
    assert (await visitor.post("/console/join", **fields)).status_code == 303
    await visitor.sign_in("ada", "a wrong password 123")
    await visitor.sign_in("ada")
    await visitor.post("/console/people/invite", role="member", account="own", note="")
    await visitor.post("/console/keys", scopes="images:read")
    own = [event for event in log.events() if event["logger"].startswith("pinxit")]  # not the test's own client
    text = json.dumps(own)
    assert "user_joined" in text
    for secret in (first, PASSWORD, "a wrong password 123", visitor.session, await visitor.csrf(), "token="):
        assert secret not in text


async def test_credentials_of_providers_are_nowhere(
    log: Log, make_front: MakeFront, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Those of accounts and the house's, stored and configured: also where a provider repeats what it was shown."""
    monkeypatch.setattr(router, "_RETRY_RESERVE", 0.0)  # no repeats, which take two seconds each
    configured, house, own = (f"canary-{whose}-0123456789-abcdefghij" for whose in ("configured", "house", "own"))
    shown: list[str] = []

    async def careless(request: web.Request) -> web.Response:
        shown.append(request.headers["authorization"].removeprefix("Bearer "))
        message = f"Incorrect API key provided: {request.headers['authorization']}"
        error = {"message": message, "type": "invalid_request_error", "param": shown[-1], "code": None}
        return web.json_response({"error": error}, status=(await request.json())["n"] + 400)

    app = web.Application()
    app.add_routes([web.post("/v1/images/generations", careless)])
    runner = web.AppRunner(app)
    await runner.setup()
    try:
        await web.TCPSite(runner, "127.0.0.1", 0).start()
        entry = {
            "kind": "openai",
            "base_url": f"http://127.0.0.1:{runner.addresses[0][1]}/v1",
            "models": ["gpt-image-2"],
        }
        providers = {"studio": entry, "fixed": {**entry, "credential": configured}}
        front = await make_front(providers=providers, log_level="debug")
        visitor = await visitor_as(front, "ada", Role.ADMIN, DEFAULT_ACCOUNT)
        pages = [await visitor.post("/console/credentials/server/studio", credential=house)]
        answers = [await order(front, provider, n) for n in (1, 2, 4) for provider in ("studio", "fixed")]
        pages.append(await visitor.post("/console/credentials/own/studio", credential=own))
        pages.append(await visitor.post("/console/credentials/own/fixed", credential=f"{own}\nx-evil: 1"))
        answers += [await order(front, "studio", n) for n in (1, 2, 4)]
        for path in ("credentials", "health", "requests", "usage", "profile"):
            pages.append(await visitor.get(f"/console/{path}"))
        for path in ("generations", "models", "usage"):
            answers.append(await front.client.get(f"/v1/{path}", headers=front.authorization))
        assert answers[-4].status_code == 422  # the provider's own words are passed on there
        assert "Incorrect API key provided: Bearer …" in answers[-4].json()["error"]["message"]
        assert set(shown) == {configured, house, own}
        assert {answer.status_code for answer in pages} == {200, 303, 422}
        said = log.getvalue() + "".join(answer.text for answer in (*pages, *answers))
        said += json.dumps([list(map(str, row)) for row in await front.rows(generations)])
        folder = front.house.services.settings.data_dir
        for canary in (configured, house, own):
            assert canary not in said
            assert_not_in_files(canary, folder)
        assert (folder / "credentials.key").read_text().strip() not in said
    finally:
        await runner.cleanup()


async def order(front: Front, provider: str, n: int) -> httpx2.Response:
    return await front.generate(model=f"{provider}/gpt-image-2", size="1024x1024", n=n)
