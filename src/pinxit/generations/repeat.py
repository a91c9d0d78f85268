"""The same order sent again: by an Idempotency-Key, or by a client that left without its answer."""

import hashlib
import json
import re
from dataclasses import asdict, dataclass, fields
from datetime import timedelta

from pinxit.errors import InvalidRequest
from pinxit.images.request import ANYWHERE, ImageRequest

KEY_LIFETIME = timedelta(hours=24)
"""How long a key answers with the order it began, as Stripe's do (https://docs.stripe.com/api/idempotent_requests)."""
ADOPTION = timedelta(seconds=120)
"""How long after its client left an order can be taken over by a retry without a key."""

_CANONICAL = json.JSONEncoder(sort_keys=True, separators=(",", ":"), ensure_ascii=True)
_KEY = re.compile(r"[\x21-\x7e][\x20-\x7e]{0,254}", re.ASCII)


_PLAIN_FIELDS = tuple(found.name for found in fields(ImageRequest) if found.name not in ("images", "mask", "routing"))


@dataclass(frozen=True, slots=True)
class Repeat:
    """What a request says about being sent again. `is_retry`: the client's own count of retries is above zero."""

    key: str | None = None
    is_retry: bool = False


def check_key(key: str) -> str:
    """Raises InvalidRequest unless the key is 1 to 255 printable ASCII characters."""
    if _KEY.fullmatch(key) is None:
        raise InvalidRequest("Idempotency-Key must be 1 to 255 printable ASCII characters.", param="Idempotency-Key")
    return key


def fingerprint(request: ImageRequest) -> str:
    """SHA-256 in hex of the order as it was understood, never of raw bytes: a retried body may be written otherwise."""
    facts = {name: getattr(request, name) for name in _PLAIN_FIELDS}
    if request.routing != ANYWHERE:  # this and the next are fields that fingerprints once did not have
        facts["routing"] = asdict(request.routing)
    if not request.fallback_models:
        del facts["fallback_models"]
    if request.images:
        facts["images"] = [picture.sha256 for picture in request.images]
        facts["mask"] = request.mask and request.mask.sha256
    return hashlib.sha256(_CANONICAL.encode(facts).encode()).hexdigest()
