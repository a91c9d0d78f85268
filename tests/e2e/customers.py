"""Clients that order without a break from a server that comes and goes, and remember what it promised them."""

import base64
import hashlib
import random
import threading
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from typing import Any

import httpx2
import openai

from pinxit.ids import new_id

KINDS = ("keyed", "keyed-async", "once", "named", "openai", "openai-keyed")


@dataclass
class Wanted:
    """One logical order: the prompt is its alone."""

    kind: str
    prompt: str
    key: str = ""
    body: dict[str, Any] = field(default_factory=dict)
    order_id: str = ""
    pictures: dict[str, str] = field(default_factory=dict)
    """Picture id → SHA-256 of the bytes that were received, empty if only a URL was."""
    urls: list[str] = field(default_factory=list)
    cost_micros: int = 0
    is_accepted: bool = False
    """Acknowledged with 202: painted some time, or failed and told so."""
    is_acknowledged: bool = False
    """Acknowledged with 200: painted, kept and charged."""
    broken_calls: int = 0
    """How many calls ended without an answer."""


class Customers:
    """`count` threads. Everything random comes from `seed`, but for what the threads and the kills make of it."""

    def __init__(
        self,
        url: str,
        key: str,
        *,
        seed: int,
        count: int = 4,
        model: str = "priced",
        size: str = "256x256",
        patience_seconds: float = 60.0,
        again_seconds: float = 0.02,
    ) -> None:
        """`patience_seconds`: how long to ask for one order; `again_seconds`: the pause after a call without
        success.
        """
        self.url = url
        self.key = key
        self.wanted: list[Wanted] = []
        self.answers: Counter[str] = Counter()
        """How often each status and error type was answered."""
        self._patience_seconds = patience_seconds
        self._again_seconds = again_seconds
        self.surprises: list[str] = []
        self._body = {"model": model, "size": size, "num_inference_steps": 4}
        self._enough = threading.Event()
        self._may_order = threading.Event()
        self._may_order.set()
        self._lock = threading.Lock()
        self._threads = [threading.Thread(target=self._order_on, args=(seed, number)) for number in range(count)]

    def start(self) -> None:
        for thread in self._threads:
            thread.start()

    def stop(self) -> None:
        """No new orders; those under way are asked for until they are answered."""
        self._enough.set()
        self._may_order.set()
        for thread in self._threads:
            thread.join(self._patience_seconds + 30)
        if any(thread.is_alive() for thread in self._threads):
            raise AssertionError("a client still waits")

    @contextmanager
    def resting(self) -> Iterator[None]:
        """No new orders until the end of the block."""
        self._may_order.clear()
        try:
            yield
        finally:
            self._may_order.set()

    @property
    def acknowledged(self) -> list[Wanted]:
        return [wanted for wanted in list(self.wanted) if wanted.is_acknowledged]

    def _order_on(self, seed: int, number: int) -> None:
        chance = random.Random(f"{seed} {number}")
        with (
            httpx2.Client(base_url=self.url, headers={"Authorization": f"Bearer {self.key}"}, timeout=10) as client,
            openai.OpenAI(base_url=f"{self.url}/v1", api_key=self.key, timeout=10, max_retries=2) as official,
        ):
            count = 0
            while self._may_order.wait() and not self._enough.is_set():
                count += 1
                kind = chance.choice(KINDS)
                wanted = Wanted(kind, f"{kind} {seed} {number} {count}", new_id("key"))
                with self._lock:
                    self.wanted.append(wanted)
                try:
                    self._want(client, official, wanted, chance)
                except Exception as error:  # a thread's error would be lost
                    self.surprises.append(f"{wanted}: {error!r}")
                    raise

    def _want(self, client: httpx2.Client, official: openai.OpenAI, wanted: Wanted, chance: random.Random) -> None:
        body = self._body | {
            "prompt": wanted.prompt,
            "n": chance.choice((1, 1, 1, 2)),
            "response_format": chance.choice(("b64_json", "url")),
            "usage": {"include": True},
        }
        wanted.body = body
        if wanted.kind == "keyed":
            self._insist(client, wanted, body, {"Idempotency-Key": wanted.key})
        elif wanted.kind == "keyed-async":
            self._insist(client, wanted, body | {"async": True}, {"Idempotency-Key": wanted.key})
        elif wanted.kind == "once":
            wanted.key = ""
            self._post(client, wanted, body, {})
        elif wanted.kind == "named":
            wanted.key = ""
            self._insist_by_name(client, wanted, body)
        else:
            self._ask_officially(official, wanted, body)

    def _insist(self, client: httpx2.Client, wanted: Wanted, body: dict[str, Any], headers: dict[str, str]) -> None:
        """The same key until there is an answer."""
        give_up_at = time.monotonic() + self._patience_seconds
        while not self._post(client, wanted, body, headers):
            if time.monotonic() > give_up_at:
                raise AssertionError(f"no answer to {wanted}")
            time.sleep(self._again_seconds)

    def _insist_by_name(self, client: httpx2.Client, wanted: Wanted, body: dict[str, Any]) -> None:
        """An order that the client has named can be looked for; a failed one is given up."""
        wanted.order_id = new_id("gen")
        give_up_at = time.monotonic() + self._patience_seconds
        while not self._post(client, wanted, body, {"x-pinxit-generation": wanted.order_id}):
            if time.monotonic() > give_up_at:
                raise AssertionError(f"no answer to {wanted}")
            time.sleep(self._again_seconds)
            with suppress(httpx2.TransportError):
                found = client.get(f"/v1/generations/{wanted.order_id}")
                if found.status_code == 200 and found.json()["status"] == "completed":
                    self._note(wanted, {"data": found.json()["images"]}, None)
                if found.status_code == 200 and found.json()["status"] in ("completed", "failed"):
                    return

    def _post(self, client: httpx2.Client, wanted: Wanted, body: dict[str, Any], headers: dict[str, str]) -> bool:
        """Whether the order was answered for good."""
        try:
            answer = client.post("/v1/images/generations", json=body, headers=headers)
        except httpx2.TransportError:
            wanted.broken_calls += 1
            return False
        content = answer.json()
        self._count(answer.status_code, content)
        if answer.status_code == 200:
            self._note(wanted, content, answer.headers["x-pinxit-generation"])
            return True
        if answer.status_code == 202:
            wanted.is_accepted, wanted.order_id = True, content["id"]
            return True
        return False

    def _ask_officially(self, official: openai.OpenAI, wanted: Wanted, body: dict[str, Any]) -> None:
        """The official client's own two retries, and no more."""
        headers = {"Idempotency-Key": wanted.key} if wanted.kind == "openai-keyed" else {}
        wanted.key = headers.get("Idempotency-Key", "")
        known = ("model", "prompt", "n", "size", "response_format")
        arguments = {name: body[name] for name in known}
        further = {name: value for name, value in body.items() if name not in known}
        try:
            raw = official.images.with_raw_response.generate(**arguments, extra_body=further, extra_headers=headers)
        except openai.APIStatusError as error:
            self._count(error.status_code, {"error": error.body})
            return
        except openai.APIConnectionError:
            wanted.broken_calls += 1
            return
        wanted.broken_calls += raw.retries_taken
        self._count(200, {})
        self._note(wanted, raw.http_response.json(), raw.headers["x-pinxit-generation"])

    def _count(self, status: int, content: dict[str, Any]) -> None:
        with self._lock:
            self.answers[f"{status} {(content.get('error') or {}).get('type', '')}".strip()] += 1

    def _note(self, wanted: Wanted, content: dict[str, Any], order_id: str | None) -> None:
        wanted.order_id = order_id or wanted.order_id
        for datum in content["data"]:
            data = base64.b64decode(datum.get("b64_json") or "")
            wanted.pictures[datum["id"]] = hashlib.sha256(data).hexdigest() if data else ""
            if datum.get("url"):
                wanted.urls.append(datum["url"])
        usage = content.get("usage") or {}
        wanted.cost_micros = (usage.get("cost_details") or {}).get("cost_micros", 0)
        wanted.is_acknowledged = True
