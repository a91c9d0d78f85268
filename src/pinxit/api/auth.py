"""Who asks: one extractor of credentials for every route."""

from starlette.types import Scope

from pinxit.api.context import headers
from pinxit.errors import AuthenticationFailed, InvalidRequest
from pinxit.keys.model import Caller
from pinxit.keys.service import KeyService

_OTHER_CREDENTIALS = (b"x-api-key", b"api-key")
_MAX_CREDENTIAL_CHARACTERS = 512


async def authenticate(scope: Scope, keys: KeyService) -> Caller:
    """The verified caller. The key is the whole `Authorization` header, or stands behind `Bearer`.

    Raises:
        AuthenticationFailed: no valid key.
        InvalidRequest: two different credentials.
    """
    credentials = {_credential(value) for value in headers(scope, b"authorization")}
    other = {value.strip() for name in _OTHER_CREDENTIALS for value in headers(scope, name)}
    if len(credentials | other) > 1:
        raise InvalidRequest("Two different credentials were sent. Send one API key, as `Authorization: Bearer sk-…`.")
    if len(credentials) != 1:
        raise AuthenticationFailed
    return await keys.verify(credentials.pop())


def _credential(value: str) -> str:
    if len(value) > _MAX_CREDENTIAL_CHARACTERS:
        raise AuthenticationFailed
    scheme, _, rest = value.strip().partition(" ")
    return rest.strip() if scheme.lower() == "bearer" else value.strip()
