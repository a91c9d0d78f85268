"""Somebody with a browser, in process: keeps cookies, sends forms with their tokens, follows one redirect."""

import re
from typing import Any

import httpx2

from front import BASE_URL, Front
from pinxit.accounts.user import Role

PASSWORD = "four words make one"


class Visitor:
    """One browser. Its address can be chosen, as if by a trusted proxy the front has none of."""

    def __init__(self, front: Front, address: str = "127.0.0.1") -> None:
        transport = httpx2.ASGITransport(front.app, client=(address, 50000))
        self.front = front
        self.tokens: dict[str | None, str] = {}
        self.http = httpx2.AsyncClient(transport=transport, base_url=BASE_URL, timeout=30)

    async def get(self, path: str, **options: Any) -> httpx2.Response:
        return await self.http.get(path, headers={"accept": "text/html", **options.pop("headers", {})}, **options)

    async def csrf(self) -> str:
        """The token of this browser's forms, from a page; it is asked for again when somebody else is signed in."""
        session = self.http.cookies.get("pinxit_session")
        if session not in self.tokens:
            self.tokens = {session: await self._csrf_of("/console/sign-in")}
        return self.tokens[session]

    async def _csrf_of(self, path: str) -> str:
        found = re.search(r'<meta name="csrf" content="([0-9a-f]{64})">', (await self.get(path)).text)
        if found is None:  # signed in, the sign-in page leads on
            found = re.search(r'<meta name="csrf" content="([0-9a-f]{64})">', (await self.get("/console/profile")).text)
        assert found is not None
        return found[1]

    async def post(self, path: str, headers: dict[str, str] | None = None, /, **fields: Any) -> httpx2.Response:
        """Send a form as a page of ours would. A field None is left out; `csrf` is added unless it is given."""
        fields = {"csrf": await self.csrf(), **fields} if "csrf" not in fields else fields
        sent = {name: value for name, value in fields.items() if value is not None}
        own = {"origin": BASE_URL, "x-csrf-token": str(fields["csrf"] or "")}
        return await self.http.post(path, data=sent, headers={**own, **(headers or {})})

    async def paint(self, headers: dict[str, str] | None = None, /, **body: Any) -> httpx2.Response:
        """Order a picture as the playground does."""
        return await self.http.send(await self.painting(headers, **body))

    async def painting(self, headers: dict[str, str] | None = None, /, **body: Any) -> httpx2.Request:
        body = {"prompt": "a lighthouse", "size": "256x256", **body}
        return self.http.build_request(
            "POST", "/console/playground/generations", json=body, headers={**await self._own(), **(headers or {})}
        )

    async def edit(self, picture: bytes, headers: dict[str, str] | None = None, /, **fields: str) -> httpx2.Response:
        """Order a picture from a picture as the playground does."""
        return await self.http.send(await self.editing(picture, headers, **fields))

    async def editing(self, picture: bytes, headers: dict[str, str] | None = None, /, **fields: str) -> httpx2.Request:
        fields = {"prompt": "a lighthouse", "size": "256x256", **fields}
        files, headers = {"image": ("picture.png", picture)}, {**await self._own(), **(headers or {})}
        return self.http.build_request("POST", "/console/playground/edits", data=fields, files=files, headers=headers)

    async def _own(self) -> dict[str, str]:
        """The headers of the playground's own requests."""
        return {"origin": BASE_URL, "x-csrf-token": await self.csrf()}

    async def sign_in(self, name: str, password: str = PASSWORD, **fields: Any) -> httpx2.Response:
        return await self.post("/console/sign-in", name=name, password=password, **fields)

    @property
    def is_signed_in(self) -> bool:
        return "pinxit_session" in self.http.cookies

    @property
    def session(self) -> str:
        return self.http.cookies["pinxit_session"]


async def make_user(front: Front, name: str, role: Role = Role.MEMBER, account_id: str | None = None) -> str:
    """A user with `PASSWORD`. Their id."""
    user = await front.house.services.users.create(name, PASSWORD, role=role, account_id=account_id)
    return user.id


async def visitor_as(front: Front, name: str, role: Role = Role.MEMBER, account_id: str | None = None) -> Visitor:
    """A new user, signed in."""
    await make_user(front, name, role, account_id)
    visitor = Visitor(front)
    response = await visitor.sign_in(name)
    assert response.status_code == 303, response.text
    return visitor
