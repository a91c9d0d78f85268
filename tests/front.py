"""A house in process behind its front door: what the fixtures `front` and `make_front` give."""

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import httpx2
from fastapi import FastAPI
from sqlalchemy import Connection, Row, Select, Table, select

from pinxit.accounts import DEFAULT_ACCOUNT
from pinxit.app import House
from pinxit.database.tables import accounts
from pinxit.keys.model import KeyOptions
from pinxit.keys.service import local_caller
from pinxit.testing.fake_backend import FakeBackend

BASE_URL = "http://127.0.0.1:8000"


@dataclass
class Front:
    """The front door of a house in process: the application over a real database and real files, with a FakeBackend."""

    client: httpx2.AsyncClient
    app: FastAPI
    house: House
    backend: FakeBackend
    key: str

    @property
    def authorization(self) -> dict[str, str]:
        return {"Authorization": f"Bearer {self.key}"}

    async def make_key(self, *, account: str = DEFAULT_ACCOUNT, **options: Any) -> str:
        """A new key's secret."""
        return (await self.house.services.keys.create(local_caller(account), KeyOptions(**options)))[1]

    async def make_account(self, account: str = "acct_other") -> str:
        """The id of a further account."""
        row = {"id": account, "name": "other", "created_at": datetime.now(UTC)}
        await self.house.database.write(lambda connection: connection.execute(accounts.insert().values(row)))
        return account

    async def rows(self, source: Table | Select[Any]) -> list[Row[Any]]:
        """All rows of a table or query."""
        query = select(source) if isinstance(source, Table) else source

        def fetch(connection: Connection) -> list[Row[Any]]:
            return list(connection.execute(query))

        return await self.house.database.read(fetch)

    def files(self) -> list[Path]:
        """Everything that lies among the pictures."""
        return [path for path in (self.house.services.settings.data_dir / "pictures").rglob("*") if not path.is_dir()]

    async def generate(self, headers: dict[str, str] | None = None, /, **body: Any) -> httpx2.Response:
        """POST /v1/images/generations with the front's key."""
        body = {"prompt": "a lighthouse", "size": "256x256", **body}
        return await self.client.post(
            "/v1/images/generations", json=body, headers={**self.authorization, **(headers or {})}
        )


MakeFront = Callable[..., Awaitable[Front]]
