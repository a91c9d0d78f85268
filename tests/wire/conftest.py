"""The front door as a client of the contract sees it: every answer is held against the OpenAPI document."""

import json
import re
from collections.abc import Awaitable, Callable
from functools import lru_cache
from typing import Any

import httpx2
import pytest
from jsonschema import Draft202012Validator

from front import Front, MakeFront
from pinxit.api.openapi import openapi_document


class Contract:
    """The OpenAPI document, able to judge answers."""

    def __init__(self, document: dict[str, Any]) -> None:
        self.document = document
        self._paths = [(_pattern(path), operations) for path, operations in document["paths"].items()]

    def validator(self, schema: dict[str, Any]) -> Draft202012Validator:
        return Draft202012Validator({**schema, "components": self.document["components"]})

    def check(self, response: httpx2.Response) -> None:
        """Raises AssertionError or ValidationError unless this answer is one that the document promises."""
        assert response.headers["x-request-id"]
        method, path = response.request.method, response.request.url.path
        operation = self._find(method, path)
        if path == "/openapi.json" or method == "HEAD":
            return
        if operation is None:
            assert response.status_code in (401, 404, 405), f"{method} {path} is not in the OpenAPI document"
            schema = {"$ref": "#/components/schemas/Error"}
        else:
            content = operation["responses"][str(response.status_code)].get("content", {})
            if response.headers.get("content-type", "").startswith("image/") or not response.content:
                return
            if response.headers.get("content-type") == "text/event-stream" and "text/event-stream" in content:
                self._check_events(response.text, content["text/event-stream"]["schema"])
                return
            schema = content["application/json"]["schema"]
        assert response.headers["content-type"] == "application/json"
        self.validator(schema).validate(response.json())

    def _check_events(self, text: str, event: dict[str, Any]) -> None:
        schema = event["properties"]["data"]["contentSchema"]
        for line in text.splitlines():
            if line.startswith("data: ") and line != "data: [DONE]":
                self.validator(schema).validate(json.loads(line.removeprefix("data: ")))

    def _find(self, method: str, path: str) -> dict[str, Any] | None:
        for pattern, operations in self._paths:
            if pattern.fullmatch(path) and method.lower() in operations:
                return operations[method.lower()]
        return None


def _pattern(path: str) -> re.Pattern[str]:
    """A template's pattern; a model's id and a picture's key may hold slashes, an id may not."""
    pattern = re.escape(path)
    pattern = re.sub(r"\\{(key|model)\\}", ".*", pattern)
    return re.compile(re.sub(r"\\{[a-z_]+\\}", "[^/]+_[0-9a-f]{32}", pattern))


@lru_cache
def contract_of(document: bytes) -> Contract:
    return Contract(json.loads(document))


@pytest.fixture
def make_wire(make_front: MakeFront) -> Callable[..., Awaitable[Front]]:
    """As `make_front`; every JSON answer is held against the OpenAPI document."""

    async def make(*arguments: Any, **settings: Any) -> Front:
        front = await make_front(*arguments, **settings)
        contract = contract_of(openapi_document(front.app))

        async def check(response: httpx2.Response) -> None:
            await response.aread()
            contract.check(response)

        front.client.event_hooks = {"response": [check]}
        for runner in front.house.services.runners.values():
            await runner.wait_ready()
        return front

    return make


@pytest.fixture
async def wire(make_wire: Callable[..., Awaitable[Front]]) -> Front:
    return await make_wire()
