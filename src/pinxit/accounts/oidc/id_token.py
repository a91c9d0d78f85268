"""Proving an ID token: OpenID Connect Core 1.0 §3.1.3.7 (https://openid.net/specs/openid-connect-core-1_0.html).

Signatures are joserfc's, the checks of claims Authlib's; here is what they leave to their caller.
"""

import base64
from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import TYPE_CHECKING, Any

import structlog

from pinxit.accounts.oidc.refusal import Reason, Refused

if TYPE_CHECKING:
    from joserfc.jwk import ECKey, RSAKey

log = structlog.get_logger(__name__)

KEY_TYPES = {"RS256": "RSA", "ES256": "EC"}
"""The algorithms that are taken, and the keys they need. `none` and those with shared secrets are not among them."""
MIN_RSA_BITS = 2048
MAX_KEYS = 100
LEEWAY_SECONDS = 60
"""How far the provider's clock may be from ours."""
MAX_SUBJECT_CHARACTERS = 255
"""OpenID Connect Core 1.0 §2."""


class UnknownKey(Exception):
    """None of the keys is the one that signed: the provider may have new ones."""


def read_keys(document: object) -> "list[RSAKey | ECKey]":
    """The keys of a JWK Set that sign. Those that cannot be used are left out, as RFC 7517 §5 has it: nothing that they
    sign is believed then. Raises Refused.
    """
    from joserfc.errors import JoseError
    from joserfc.jwk import ECKey, RSAKey

    entries = document.get("keys") if isinstance(document, dict) else None
    if not isinstance(entries, list):
        raise Refused(Reason.MISTAKEN, "its keys are no JWK Set")
    found: list[RSAKey | ECKey] = []
    for entry in entries[:MAX_KEYS]:
        if (
            not isinstance(entry, dict)
            or entry.get("kty") not in KEY_TYPES.values()
            or entry.get("use", "sig") != "sig"
        ):
            continue
        if entry["kty"] == "RSA" and _rsa_bits(entry) < MIN_RSA_BITS:
            log.warning("oidc_key_left_out", error="too short")
            continue
        try:
            found.append(RSAKey.import_key(entry) if entry["kty"] == "RSA" else ECKey.import_key(entry))
        except (JoseError, ValueError, TypeError, KeyError) as error:
            log.warning("oidc_key_left_out", error=type(error).__name__)
    return found


def _rsa_bits(entry: Mapping[str, Any]) -> int:
    """How long the modulus is (RFC 7518 §6.3.1.1); 0 if there is none."""
    try:
        modulus = base64.urlsafe_b64decode(f"{entry['n']}===")
    except (KeyError, ValueError):
        return 0
    return int.from_bytes(modulus, "big").bit_length()


def verify(
    token: str,
    keys: "Sequence[RSAKey | ECKey]",
    *,
    issuer: str,
    client_id: str,
    nonce: str,
    access_token: str | None,
    now: datetime,
) -> Mapping[str, Any]:
    """The claims of a token that is genuine, meant for us and this sign-in, and in force.

    Raises UnknownKey, Refused.
    """
    from authlib.oidc.core import CodeIDToken
    from joserfc import jwt
    from joserfc.errors import JoseError
    from joserfc.jws import JWSRegistry

    registry = JWSRegistry(algorithms=list(KEY_TYPES), strict_check_header=False)
    try:
        read = jwt.decode(token, lambda signed: _find_key(signed.headers(), keys), registry=registry)
        claims = CodeIDToken(
            read.claims,
            read.header,
            options={"iss": {"essential": True, "value": issuer}, "aud": {"essential": True, "value": client_id}},
            params={"nonce": nonce, "client_id": client_id, "access_token": access_token},
        )
        claims.validate(now=int(now.timestamp()), leeway=LEEWAY_SECONDS)
    except JoseError as error:
        raise Refused(
            Reason.UNPROVEN, f"{type(error).__name__} {getattr(error, 'claim', None) or ''}".strip()
        ) from error
    except (ValueError, TypeError, AttributeError) as error:
        raise Refused(Reason.UNPROVEN, "it cannot be read") from error
    if not 0 < len(claims["sub"]) <= MAX_SUBJECT_CHARACTERS or "\0" in claims["sub"]:
        raise Refused(Reason.UNPROVEN, "sub is not of the right length")
    return read.claims


def _find_key(header: Mapping[str, Any], keys: "Sequence[RSAKey | ECKey]") -> "RSAKey | ECKey":
    """The one key that the header names, or the only one there is for its algorithm.

    The header's own `jwk`, `jku` and `x5c` are not looked at: whoever forges a token writes them too.
    """
    algorithm, name = header.get("alg"), header.get("kid")
    key_type = KEY_TYPES.get(algorithm) if isinstance(algorithm, str) else None
    if key_type is None:
        raise Refused(Reason.UNPROVEN, "it is signed by an algorithm that is not taken")
    fits = [key for key in keys if key.key_type == key_type and key.get("alg") in (None, algorithm)]
    if name is not None:
        fits = [key for key in fits if key.get("kid") == name]
    if not fits:
        raise UnknownKey
    if len(fits) > 1:
        raise Refused(Reason.UNPROVEN, "it does not say which of several keys has signed")
    return fits[0]
