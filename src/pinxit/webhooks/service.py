"""Making, changing and trying out endpoints, and looking after their deliveries."""

from collections.abc import Callable, Sequence
from dataclasses import replace
from datetime import datetime, timedelta

import structlog
from sqlalchemy import Connection

from pinxit import audit
from pinxit.audit import Action
from pinxit.database.interface import Database
from pinxit.errors import InvalidValue, NotFound
from pinxit.ids import new_id
from pinxit.network.http import GuardedHttp
from pinxit.webhooks import outbox, repository
from pinxit.webhooks.auditing import thing, told
from pinxit.webhooks.model import Delivery, DeliveryStatus, Endpoint, EndpointOptions
from pinxit.webhooks.secret import WebhookSecrets, new_salt

log = structlog.get_logger(__name__)

MAX_ENDPOINTS = 20
"""Of one account: each order writes a row for every one."""
OVERLAP = timedelta(hours=24)
"""How long the secret before a new one still signs too."""


class WebhookService:
    """Webhooks of all accounts. Another account's are not there: NotFound."""

    def __init__(
        self,
        database: Database,
        http: GuardedHttp,
        secrets: WebhookSecrets,
        *,
        now: Callable[[], datetime],
        wake: Callable[[], None],
    ) -> None:
        """`wake`: told when there is something to deliver."""
        self._database = database
        self._http = http
        self._secrets = secrets
        self._now = now
        self._wake = wake

    async def create(self, account_id: str, options: EndpointOptions) -> tuple[Endpoint, str]:
        """A new endpoint, and its secret, which is never shown again. Raises UrlRefused, InvalidValue."""
        self._http.check(options.url)
        id_, salt = new_id("wh"), new_salt()
        endpoint = Endpoint(id_, account_id, options, salt, self._secrets.check(id_, salt), self._now())
        origin = audit.current()

        def unit(connection: Connection) -> bool:
            if not repository.insert(connection, endpoint, most=MAX_ENDPOINTS):
                return False
            audit.note(
                connection,
                origin,
                Action.WEBHOOK_CREATED,
                thing(endpoint),
                account_id=account_id,
                at=endpoint.created_at,
                after=told(options),
            )
            return True

        if not await self._database.write(unit):
            raise InvalidValue(f"An account has at most {MAX_ENDPOINTS} webhooks. Delete one first.")
        log.info("webhook_created", webhook_id=id_, account_id=account_id)
        return endpoint, self._secrets.show(id_, salt)

    async def list(self, account_id: str) -> list[Endpoint]:
        return await self._database.read(lambda connection: repository.list_newest(connection, account_id))

    async def get(self, account_id: str, endpoint_id: str) -> Endpoint:
        found = await self._database.read(lambda connection: repository.find(connection, account_id, endpoint_id))
        return _there(found)

    async def change(
        self,
        account_id: str,
        endpoint_id: str,
        change: Callable[[EndpointOptions], EndpointOptions],
        *,
        rotates_secret: bool = False,
    ) -> tuple[Endpoint, str | None]:
        """Give the endpoint other options, or a new secret, which is then shown this once. Raises UrlRefused.

        For a day both secrets sign. One that we made inactive is asked again once it is made active.
        """
        before = await self.get(account_id, endpoint_id)
        options = change(before.options)
        self._http.check(options.url)
        salt = new_salt() if rotates_secret else None
        origin, at = audit.current(), self._now()

        def update(connection: Connection) -> Endpoint:
            now = _there(repository.find_to_change(connection, account_id, endpoint_id))
            changed = replace(now, options=change(now.options))
            if changed.options.is_active:
                changed = replace(changed, disabled_reason=None)
            if salt is not None:
                changed = replace(
                    changed,
                    secret_salt=salt,
                    secret_check=self._secrets.check(endpoint_id, salt),
                    previous_salt=now.secret_salt,
                    previous_until=at + OVERLAP,
                )
            repository.update(connection, changed)
            audit.note(
                connection,
                origin,
                Action.WEBHOOK_CHANGED if salt is None else Action.WEBHOOK_SECRET_CHANGED,
                thing(changed),
                account_id=account_id,
                at=at,
                before=told(now.options),
                after=told(changed.options),
            )
            return changed

        changed = await self._database.write(update)
        log.info("webhook_changed", webhook_id=endpoint_id, account_id=account_id, new_secret=rotates_secret)
        self._wake()
        return changed, None if salt is None else self._secrets.show(endpoint_id, salt)

    async def delete(self, account_id: str, endpoint_id: str) -> None:
        """Delete the endpoint and its deliveries; what is under way may still arrive."""
        origin, at = audit.current(), self._now()

        def unit(connection: Connection) -> None:
            endpoint = _there(repository.find_to_change(connection, account_id, endpoint_id))
            repository.delete(connection, account_id, endpoint_id)
            audit.note(
                connection,
                origin,
                Action.WEBHOOK_DELETED,
                thing(endpoint),
                account_id=account_id,
                at=at,
                before=told(endpoint.options),
            )

        await self._database.write(unit)
        log.info("webhook_deleted", webhook_id=endpoint_id, account_id=account_id)

    async def list_deliveries(
        self, account_id: str, endpoint_id: str, *, status: DeliveryStatus | None, after: str | None, limit: int
    ) -> Sequence[Delivery]:
        """Newest first. Raises NotFound, also if `after` is not a delivery of this endpoint."""
        await self.get(account_id, endpoint_id)
        found = await self._database.read(
            lambda connection: outbox.list_newest(
                connection, account_id, endpoint_id, status=status, after=after, limit=limit
            )
        )
        if found is None:
            raise NotFound(NO_DELIVERY, param="after")
        return found

    async def count_pending(self) -> int:
        """Deliveries of all accounts that are under way or will be tried."""
        return await self._database.read(outbox.count_pending)

    async def replay(self, account_id: str, endpoint_id: str, delivery_id: str) -> Delivery:
        """Send an event again, with the same id. Raises NotFound; InvalidValue if the endpoint is not active."""

        def again(connection: Connection) -> Delivery:
            _require_active(_there(repository.find(connection, account_id, endpoint_id)))
            outbox.replay(connection, account_id, endpoint_id, delivery_id, self._now())
            found = outbox.find(connection, account_id, endpoint_id, delivery_id)
            if found is None:
                raise NotFound(NO_DELIVERY)
            return found

        delivery = await self._database.write(again)
        self._wake()
        return delivery

    async def ping(self, account_id: str, endpoint_id: str) -> Delivery:
        """Send a `ping`. Raises NotFound; InvalidValue if the endpoint is not active."""

        def append(connection: Connection) -> Delivery:
            endpoint = _there(repository.find(connection, account_id, endpoint_id))
            _require_active(endpoint)
            return outbox.append_ping(connection, endpoint, self._now())

        delivery = await self._database.write(append)
        self._wake()
        return delivery


NO_WEBHOOK = "There is no such webhook."
NO_DELIVERY = "There is no such delivery."


def _there(found: Endpoint | None) -> Endpoint:
    if found is None:
        raise NotFound(NO_WEBHOOK)
    return found


def _require_active(endpoint: Endpoint) -> None:
    if not endpoint.options.is_active:
        raise InvalidValue("This webhook is not active. Set `active` to true first.", param="active")
