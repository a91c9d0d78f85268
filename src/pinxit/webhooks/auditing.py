"""What the audit log is told of an endpoint."""

import hashlib
from typing import Any
from urllib.parse import urlsplit

from pinxit.audit import Thing
from pinxit.webhooks.model import Endpoint, EndpointOptions


def thing(endpoint: Endpoint) -> Thing:
    return Thing("webhook", endpoint.id, _host(endpoint.options.url))


def told(options: EndpointOptions) -> dict[str, Any]:
    """Of the address its host only, and what tells it from another: many receivers have their secret in the path."""
    mark = hashlib.sha256(options.url.encode("utf-8", "surrogatepass")).hexdigest()[:8]
    return {
        "url": f"{_host(options.url)}/… ({mark})",
        "events": "all" if options.events is None else options.events,
        "description": options.description,
        "active": options.is_active,
    }


def _host(url: str) -> str:
    """Without the name and the password that may stand before it."""
    parts = urlsplit(url)
    return f"{parts.scheme}://{parts.netloc.rpartition('@')[2]}"
