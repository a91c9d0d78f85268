"""All accounts there are, for who looks after them."""

from pinxit import accounts
from pinxit.accounts import Account
from pinxit.database.interface import Database


class Directory:
    """Looks up accounts."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def list(self) -> list[Account]:
        """The oldest first. Raises StorageUnavailable."""
        return await self._database.read(accounts.list_all)

    async def require(self, account_id: str) -> None:
        """Raises NotFound, StorageUnavailable."""
        await self._database.read(lambda connection: accounts.require(connection, account_id))
