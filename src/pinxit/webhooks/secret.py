"""Signing secrets that are not kept anywhere.

To sign we need the secret itself, so a hash of it would not do, and in clear it would be in every backup of the
database. So it is derived: HMAC-SHA-256, keyed with the installation's own secret (a file beside the database), over
the endpoint's id and a random salt. The row holds the salt, of no use to anybody without that file, and a short hash by
which we notice that the file has been replaced. A new salt is a new secret. HMAC is a pseudo-random function, which is
all that a derivation from a uniformly random key needs (RFC 5869 §3.3).

Signatures are those of Standard Webhooks (https://github.com/standard-webhooks/standard-webhooks, v1, symmetric).
"""

import base64
import hmac
import secrets
from datetime import datetime
from hashlib import sha256

from standardwebhooks.webhooks import Webhook

from pinxit.errors import PinxitError
from pinxit.webhooks.model import Endpoint

PREFIX = "whsec_"
_PURPOSE = b"pinxit webhook secret v1\n"


class SecretLost(PinxitError):
    """This server's signing key has been replaced, and the webhook's secret with it. Give the webhook a new secret."""


def new_salt() -> str:
    """128 random bits in hex."""
    return secrets.token_hex(16)


class WebhookSecrets:
    """Derives secrets and signs with them."""

    def __init__(self, installation_secret: bytes) -> None:
        self._installation_secret = installation_secret

    def show(self, endpoint_id: str, salt: str) -> str:
        """The secret as its receiver needs it: `whsec_` and 32 bytes in base64."""
        return PREFIX + base64.b64encode(self._derive(endpoint_id, salt)).decode()

    def check(self, endpoint_id: str, salt: str) -> str:
        """By this a later process sees that it derives the same secret."""
        return sha256(self._derive(endpoint_id, salt)).hexdigest()[:16]

    def signature(self, endpoint: Endpoint, message_id: str, moment: datetime, body: str) -> str:
        """The header `webhook-signature`: by the secret, and by the one before it as long as that still counts.

        Raises SecretLost.
        """
        if not hmac.compare_digest(self.check(endpoint.id, endpoint.secret_salt), endpoint.secret_check):
            raise SecretLost
        salts = [endpoint.secret_salt]
        if endpoint.previous_salt and endpoint.previous_until and moment < endpoint.previous_until:
            salts.append(endpoint.previous_salt)
        return " ".join(Webhook(self._derive(endpoint.id, salt)).sign(message_id, moment, body) for salt in salts)

    def _derive(self, endpoint_id: str, salt: str) -> bytes:
        return hmac.digest(self._installation_secret, _PURPOSE + f"{endpoint_id}\n{salt}".encode(), "sha256")
