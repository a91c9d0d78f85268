"""Who asks: one extractor of credentials for every route."""

import base64
import binascii

from starlette.types import Scope

from pinxit.api.context import headers
from pinxit.errors import AuthenticationFailed, InvalidRequest
from pinxit.keys.model import Caller
from pinxit.keys.secret import has_form
from pinxit.keys.service import KeyService

_OTHER_CREDENTIALS = (b"x-api-key", b"api-key")
_MAX_CREDENTIAL_CHARACTERS = 512


async def authenticate(scope: Scope, keys: KeyService, *, takes_basic: bool = False) -> Caller:
    """The verified caller. The key is the whole `Authorization` header, or stands behind `Bearer`; with `takes_basic`,
    for clients that know nothing else, it may also be the password or the name of `Basic` (RFC 7617).

    Raises:
        AuthenticationFailed: no valid key.
        InvalidRequest: two different credentials.
    """
    credentials = {each for value in headers(scope, b"authorization") for each in _credentials(value, takes_basic)}
    other = {value.strip() for name in _OTHER_CREDENTIALS for value in headers(scope, name)}
    if len(credentials | other) > 1:
        raise InvalidRequest("Two different credentials were sent. Send one API key, as `Authorization: Bearer sk-…`.")
    if len(credentials) != 1:
        raise AuthenticationFailed
    return await keys.verify(credentials.pop())


def _credentials(value: str, takes_basic: bool) -> set[str]:
    """One, unless a name and a password are two."""
    if len(value) > _MAX_CREDENTIAL_CHARACTERS:
        raise AuthenticationFailed
    scheme, _, rest = value.strip().partition(" ")
    if takes_basic and scheme.lower() == "basic":
        return _of_basic(rest.strip())
    return {rest.strip() if scheme.lower() == "bearer" else value.strip()}


def _of_basic(encoded: str) -> set[str]:
    """The name and the password, as far as they could be keys of ours. Raises AuthenticationFailed."""
    try:
        name, _, password = base64.b64decode(encoded, validate=True).decode().partition(":")
    except (binascii.Error, UnicodeDecodeError) as error:
        raise AuthenticationFailed from error
    found = {each for each in (name, password) if has_form(each)}
    if not found:
        raise AuthenticationFailed
    return found
