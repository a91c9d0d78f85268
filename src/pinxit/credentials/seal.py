"""Seals credentials for the database: AES-256-GCM under a key that is not in there.

A sealed value is `v1.<name of the key>.<nonce, ciphertext and tag in URL-safe base64>`. Provider and account are its
associated data, so that it opens in its own row only. Nonces are 96 random bits, which one key may have 2^32 of
(NIST SP 800-38D §8.3); the library is https://cryptography.io/en/50.0.2/hazmat/primitives/aead/ (read 2026-11-22).

A ring may have several keys, of which the first seals and all open: so a key is replaced while servers run.
"""

import base64
import secrets
from collections.abc import Sequence
from hashlib import sha256
from pathlib import Path

from pinxit import durable
from pinxit.errors import ConfigurationError, PinxitError, StartupError

KEY_FILE = "credentials.key"
"""In the data folder, if the settings name no key."""
KEY_BYTES = 32
MAX_KEYS = 16
_NONCE_BYTES = 12
_VERSION = "v1"


class KeyLost(PinxitError):
    """This server lacks the key that sealed this credential: bring the key back, or set the credential again."""


class SealBroken(PinxitError):
    """This credential was changed by somebody without the key: set the credential again."""


class KeyRing:
    """Keys of which the first one seals. Values of `seal` are opened by `open` with the same provider and account."""

    def __init__(self, keys: Sequence[bytes]) -> None:
        self._keys = {name_of(key): key for key in keys}
        self._first = name_of(keys[0])

    @property
    def first(self) -> str:
        """The name of the key that seals."""
        return self._first

    def joined(self, earlier: "KeyRing | None") -> "KeyRing":
        """With the keys of `earlier` too, which open what was read before they were replaced."""
        old = [] if earlier is None else [key for name, key in earlier._keys.items() if name not in self._keys]
        return KeyRing([*self._keys.values(), *old][:MAX_KEYS])

    def __contains__(self, key_name: str) -> bool:
        return key_name in self._keys

    def seal(self, value: str, *, provider: str, account_id: str | None) -> str:
        # Here, not above: the library takes long to load, and servers without stored credentials do not need it.
        from cryptography.hazmat.primitives.ciphers.aead import AESGCM

        nonce = secrets.token_bytes(_NONCE_BYTES)
        sealed = AESGCM(self._keys[self._first]).encrypt(nonce, value.encode(), _context(provider, account_id))
        return f"{_VERSION}.{self._first}.{base64.urlsafe_b64encode(nonce + sealed).decode()}"

    def open(self, sealed: str, *, provider: str, account_id: str | None) -> str:
        """Raises KeyLost, SealBroken."""
        from cryptography.exceptions import InvalidTag
        from cryptography.hazmat.primitives.ciphers.aead import AESGCM

        key = self._keys.get(key_name_of(sealed))
        if key is None:
            raise KeyLost
        try:
            whole = base64.urlsafe_b64decode(sealed.split(".")[2])
            nonce, rest = whole[:_NONCE_BYTES], whole[_NONCE_BYTES:]
            return AESGCM(key).decrypt(nonce, rest, _context(provider, account_id)).decode()
        except (InvalidTag, ValueError, IndexError) as error:
            raise SealBroken from error


def name_of(key: bytes) -> str:
    """By which a sealed value says what opens it; it tells nothing of the key."""
    return sha256(b"pinxit name of a credentials key\n" + key).hexdigest()[:12]


def key_name_of(sealed: str) -> str:
    """The name of the key that opens it. Empty if it is no sealed value of ours."""
    version, _, rest = sealed.partition(".")
    return rest.partition(".")[0] if version == _VERSION else ""


def new_key() -> bytes:
    return secrets.token_bytes(KEY_BYTES)


def _context(provider: str, account_id: str | None) -> bytes:
    """Length before content, so that no two rows have the same."""
    account = "" if account_id is None else f"account {account_id}"
    return f"pinxit credential v1\n{len(provider)} {provider}\n{account}".encode()


class Keys:
    """Where the keys come from: the settings, or else a file in the data folder, made when it is first needed."""

    def __init__(self, own_file: Path, *, text: str | None = None, file: Path | None = None) -> None:
        """`text`: keys in base64, with commas between them; `file`: such keys, one a line.

        Raises ConfigurationError, StartupError.
        """
        self._own_file = own_file
        self._file = file
        self._given = None if text is None else _read_keys(text, "credentials_key")
        self.read()

    @property
    def is_given(self) -> bool:
        """Whether the settings name the keys, so that replacing them is up to the operator."""
        return self._given is not None or self._file is not None

    def read(self) -> KeyRing | None:
        """The keys as they are now, None if there are none yet. Raises ConfigurationError, StartupError."""
        if self._given is not None:
            return KeyRing(self._given)
        if self._file is not None:
            return KeyRing(_read_keys(_content(self._file), f"credentials_key_file {self._file}"))
        if not self._own_file.exists():
            return None
        return KeyRing(_read_keys(_content(self._own_file), str(self._own_file)))

    def ready(self) -> KeyRing:
        """The keys, the first one made if there are none yet. Raises ConfigurationError, StartupError."""
        ring = self.read()
        if ring is None:
            self._write([new_key()], is_first=True)
            ring = self.read()
            assert ring is not None
        return ring

    def begin_replacing(self) -> None:
        """Put a new key before the one that there is, unless an earlier replacement is still to be ended; those of the
        settings are left as they are.
        """
        if self.is_given:
            return
        self.ready()
        there = _read_keys(_content(self._own_file), str(self._own_file))
        if len(there) == 1:
            self._write([new_key(), *there])

    def end_replacing(self) -> None:
        """Forget all keys but the first; those of the settings are left as they are."""
        if not self.is_given:
            self._write(_read_keys(_content(self._own_file), str(self._own_file))[:1])

    def _write(self, keys: Sequence[bytes], *, is_first: bool = False) -> None:
        """Whole or not at all; of two processes that make the first one, one wins. Raises StartupError."""
        lines = "".join(f"{base64.b64encode(key).decode()}\n" for key in keys)
        try:
            durable.put(self._own_file, lines.encode(), unless_there=is_first)
        except OSError as error:
            raise StartupError(
                f"The key of credentials {self._own_file} cannot be written: {error.strerror}."
            ) from error


def _content(file: Path) -> str:
    try:
        return file.read_text("ascii")
    except (OSError, UnicodeDecodeError) as error:
        raise StartupError(f"The key of credentials {file} cannot be read ({type(error).__name__}).") from error


def _read_keys(text: str, source: str) -> list[bytes]:
    """Raises ConfigurationError, which never shows one."""
    keys = []
    for word in text.replace(",", " ").split():
        try:
            key = base64.b64decode(word.translate(_STANDARD), validate=True)
        except ValueError:
            key = b""
        if len(key) != KEY_BYTES:
            raise ConfigurationError(
                f"{source} must hold keys of {KEY_BYTES} bytes in base64, as `openssl rand -base64 {KEY_BYTES}` makes "
                "them."
            )
        keys.append(key)
    if not 0 < len(keys) <= MAX_KEYS:
        raise ConfigurationError(f"{source} must hold 1 to {MAX_KEYS} keys.")
    return keys


_STANDARD = str.maketrans("-_", "+/")
