"""Addresses of pictures: `/image/generated%2Fpinxit_<uuid4>.<ext>`, signed where the deployment or the key asks for it.

A signature is HMAC-SHA-256 over method-independent facts (storage key and expiry), in URL-safe base64, compared in
constant time.
"""

import base64
import hmac
import os
from datetime import UTC, datetime
from hashlib import sha256
from pathlib import Path
from urllib.parse import quote

from pinxit import durable
from pinxit.errors import NotFound, StartupError, UrlExpired
from pinxit.library.image import Image

SECRET_BYTES = 32
_NOT_THERE = "There is no such picture."


def load_secret(path: Path) -> bytes:
    """The installation's own signing secret, made at the first start. Raises StartupError."""
    try:
        if not path.exists():
            durable.put(path, os.urandom(SECRET_BYTES), unless_there=True)
        secret = path.read_bytes()
    except OSError as error:
        raise StartupError(f"The signing secret {path} cannot be read or made: {error.strerror}.") from error
    if len(secret) != SECRET_BYTES:
        raise StartupError(
            f"The signing secret {path} is damaged: restore it, or delete it (signed URLs given out so far end)."
        )
    return secret


class ImageUrls:
    """Makes and checks the addresses of pictures."""

    def __init__(self, secret: bytes) -> None:
        self._secret = secret

    def path(self, image: Image) -> str:
        """Path and query of the picture's address, the slash of its name percent-encoded."""
        path = f"/image/{quote(image.storage_key, safe='')}"
        if image.url_expires_at is None:
            return path
        expires = int(image.url_expires_at.timestamp())
        return f"{path}?expires={expires}&signature={self._sign(image.storage_key, expires)}"

    def check(self, image: Image, expires: str, signature: str, now: datetime) -> None:
        """Let in who shows a right signature, where one is needed.

        Raises:
            NotFound: no or a wrong signature, the same as for a picture that is not there.
            UrlExpired: the signature is right and its time is over.
        """
        if image.url_expires_at is None:
            return
        due = int(image.url_expires_at.timestamp())
        right = self._sign(image.storage_key, due)
        if not hmac.compare_digest(signature.encode(), right.encode()) or expires != str(due):
            raise NotFound(_NOT_THERE)
        if now >= datetime.fromtimestamp(due, UTC):
            raise UrlExpired

    def _sign(self, storage_key: str, expires: int) -> str:
        mac = hmac.new(self._secret, f"{storage_key}\n{expires}".encode(), sha256).digest()
        return base64.urlsafe_b64encode(mac).rstrip(b"=").decode()
