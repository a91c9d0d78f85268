"""Names of rows, keys and requests. All randomness is from `secrets`."""

import re
import secrets
import uuid

REQUEST_ID = re.compile(r"[A-Za-z0-9_-]{1,64}")
GENERATION_ID = re.compile(r"gen_[0-9a-f]{32}")
_SECRET = re.compile(r"\b(sk-)[A-Za-z0-9_-]{6,}|(sk-)[A-Za-z0-9_-]{43}|\b(whsec_)[A-Za-z0-9_+/=-]{6,}")


def new_id(prefix: str) -> str:
    """`prefix_` and 128 random bits in hex: `gen_3f…`, `img_…`, `key_…`."""
    return f"{prefix}_{secrets.token_hex(16)}"


def new_image_name(extension: str) -> str:
    """The storage key of a new picture, in the form of the seed's URLs: `generated/pinxit_<uuid4>.<ext>` (122
    random bits).
    """
    return f"generated/pinxit_{uuid.UUID(bytes=secrets.token_bytes(16), version=4)}.{extension}"


def request_id(proposed: str | None) -> str:
    """The caller's own request id if it is harmless in a log line and a header, else a new one."""
    if proposed and REQUEST_ID.fullmatch(proposed) and hide_secrets(proposed) == proposed:
        return proposed
    return new_id("req")


def hide_secrets(text: str) -> str:
    """`text` with every API key, ours or an upstream's, and webhook secret cut short: for messages and log lines."""
    return _SECRET.sub(lambda found: (found[1] or found[2] or found[3]) + "…", text)
