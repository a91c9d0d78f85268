"""Sends what the outbox holds: at least once, signed, in order for each subject, until it arrives or a day is over.

A try is leased and counted before anything is sent, and its outcome noted after. A process that dies in between leaves
a lease that runs out, and the event is sent again with the same id: receivers that remember ids see each event once.
"""

import asyncio
import random
from collections.abc import Callable
from contextlib import suppress
from datetime import datetime, timedelta
from functools import partial

import structlog

from pinxit import __version__
from pinxit.database.interface import Database
from pinxit.errors import StorageUnavailable
from pinxit.network.http import GuardedHttp, RequestFailed
from pinxit.network.target import UrlRefused
from pinxit.webhooks import outbox
from pinxit.webhooks.model import Job, Outcome
from pinxit.webhooks.secret import SecretLost, WebhookSecrets

log = structlog.get_logger(__name__)

RETRY_SECONDS = (5, 30, 120, 600, 1800, 3600, 7200, 14_400, 28_800, 28_800)
"""The pause after each failed try, give or take a tenth: eleven tries in 24 hours, then the delivery is dead."""
MAX_UNDER_WAY = 64
MAX_UNDER_WAY_PER_ENDPOINT = 4
LEASE = timedelta(seconds=60)
"""Longer than a try can take (`GuardedHttp`'s deadline), so that no live one is taken over."""
LOOK_SECONDS = 5.0
"""How often to look for what no event tells of: pauses that are over, and what other processes wrote."""
RETENTION = timedelta(days=30)
SWEEP = timedelta(hours=1)


def pause_after(attempts: int, chance: float) -> timedelta | None:
    """How long to wait after so many failed tries, None to give up. `chance`: from 0 to 1."""
    if attempts > len(RETRY_SECONDS):
        return None
    return timedelta(seconds=RETRY_SECONDS[attempts - 1] * (0.9 + 0.2 * chance))


class Deliverer:
    """The one task of this process that delivers webhooks."""

    def __init__(
        self,
        database: Database,
        http: GuardedHttp,
        secrets: WebhookSecrets,
        *,
        now: Callable[[], datetime],
        chance: Callable[[], float] = random.random,
    ) -> None:
        self._database = database
        self._http = http
        self._secrets = secrets
        self._now = now
        self._chance = chance
        self._woken = asyncio.Event()
        self._under_way: set[asyncio.Task[None]] = set()
        self._working: asyncio.Task[None] | None = None
        self._swept_at: datetime | None = None

    def wake(self) -> None:
        """There may be something to deliver. To be called after the commit, on the event loop."""
        self._woken.set()

    async def start(self, *, is_alone: bool) -> None:
        """Begin to deliver. `is_alone`: no other process uses the database, so every lease is a dead one's."""
        if is_alone:
            await self._database.write(outbox.release_leases)
        self._working = asyncio.create_task(self._work())

    async def close(self, grace_seconds: float) -> None:
        """Take nothing on any more, and wait at most `grace_seconds` for what is under way; the rest is sent again."""
        if self._working is not None:
            self._working.cancel()
            with suppress(asyncio.CancelledError):
                await self._working
        if self._under_way:
            await asyncio.wait(self._under_way, timeout=grace_seconds)
        for task in self._under_way:
            task.cancel()
        if self._under_way:
            await asyncio.wait(self._under_way)

    async def deliver_due(self) -> None:
        """Deliver until nothing more is due."""
        while await self._take() or self._under_way:
            if self._under_way:
                await asyncio.wait(self._under_way, return_when=asyncio.FIRST_COMPLETED)

    async def _work(self) -> None:
        while True:
            try:
                await self._take()
                await self._sweep()
            except StorageUnavailable as error:
                log.error("webhooks_not_looked_at", error=error.message)
            except Exception:
                log.exception("webhooks_crashed")
            with suppress(TimeoutError):
                async with asyncio.timeout(LOOK_SECONDS):
                    await self._woken.wait()
            self._woken.clear()

    async def _take(self) -> int:
        """Begin what is due and has room. Returns how much that was."""
        room = MAX_UNDER_WAY - len(self._under_way)
        if room <= 0:
            return 0
        now = self._now()
        due = await self._database.read(
            partial(outbox.list_due, now=now, limit_per_endpoint=MAX_UNDER_WAY_PER_ENDPOINT)
        )
        if not due:
            return 0
        jobs = await self._database.write(
            partial(outbox.lease, delivery_ids=due[:room], now=now, lease_until=now + LEASE)
        )
        for job in jobs:
            task = asyncio.create_task(self._deliver(job))
            self._under_way.add(task)
            task.add_done_callback(self._ended)
        return len(jobs)

    def _ended(self, task: "asyncio.Task[None]") -> None:
        self._under_way.discard(task)
        self.wake()
        error = None if task.cancelled() else task.exception()
        if error is not None:
            log.error("webhook_delivery_crashed", exc_info=error)

    async def _deliver(self, job: Job) -> None:
        outcome = await self._send(job)
        now = self._now()
        pause = pause_after(job.delivery.attempts, self._chance())
        due_at = None if pause is None else now + pause
        try:
            await self._database.write(partial(outbox.finish, job=job, outcome=outcome, now=now, due_at=due_at))
        except StorageUnavailable as error:
            log.error("webhook_outcome_not_kept", **_facts(job, outcome), reason=error.message)
            return
        log.info("webhook_delivered" if outcome.is_delivered else "webhook_not_delivered", **_facts(job, outcome))

    async def _send(self, job: Job) -> Outcome:
        moment, message_id = self._now(), job.delivery.event_id
        try:
            headers = {
                "content-type": "application/json",
                "user-agent": f"Pinxit/{__version__}",
                "webhook-id": message_id,
                "webhook-timestamp": str(int(moment.timestamp())),
                "webhook-signature": self._secrets.signature(job.endpoint, message_id, moment, job.body),
            }
            answer = await self._http.send("POST", job.endpoint.options.url, headers=headers, body=job.body.encode())
        except (UrlRefused, RequestFailed, SecretLost) as error:
            return Outcome(error=error.message)
        outcome = Outcome(answered_status=answer.status)
        if outcome.is_delivered:
            return outcome
        return Outcome(answer.status, f"The receiver answered {answer.status}.")

    async def _sweep(self) -> None:
        now = self._now()
        if self._swept_at is None or now - self._swept_at >= SWEEP:
            self._swept_at = now
            await self._database.write(partial(outbox.forget_old, before=now - RETENTION))


def _facts(job: Job, outcome: Outcome) -> dict[str, object]:
    """What a log line may say: never the URL, which may hold a secret of the receiver's, nor the body."""
    return {
        "webhook_id": job.endpoint.id,
        "delivery_id": job.delivery.id,
        "event_id": job.delivery.event_id,
        "attempt": job.delivery.attempts,
        "status": outcome.answered_status,
        "error": outcome.error,
    }
