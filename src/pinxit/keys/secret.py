"""The secret itself: 256 random bits behind `sk-`, kept only as its SHA-256.

A plain hash is right here: the secret has full entropy, so there is nothing for a slow hash to protect.
"""

import base64
import hashlib
import re
import secrets

_FORM = re.compile(r"sk-[A-Za-z0-9_-]{43}", re.ASCII)
PREFIX_LENGTH = 7


def new_secret() -> str:
    """`sk-` and 32 bytes in URL-safe base64, 46 characters."""
    return "sk-" + base64.urlsafe_b64encode(secrets.token_bytes(32)).rstrip(b"=").decode()


def has_form(secret: str) -> bool:
    """Whether this could be a key of ours; anything else is refused without asking the database."""
    return _FORM.fullmatch(secret) is not None


def digest(secret: str) -> str:
    """SHA-256 in hex."""
    return hashlib.sha256(secret.encode()).hexdigest()
