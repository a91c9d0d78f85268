"""Sealing credentials, and the keys that do it."""

import base64
from pathlib import Path

import pytest

from pinxit.credentials.seal import KEY_FILE, KeyLost, KeyRing, Keys, SealBroken, key_name_of, name_of, new_key
from pinxit.errors import ConfigurationError, StartupError

SECRET = "sk-canary-0123456789"
PLACE = {"provider": "studio", "account_id": "acct_a"}


def text_of(key: bytes) -> str:
    return base64.b64encode(key).decode()


def test_what_is_sealed_opens_in_its_own_place_only():
    ring = KeyRing([new_key()])
    sealed = ring.seal(SECRET, **PLACE)
    assert SECRET not in sealed
    assert ring.open(sealed, **PLACE) == SECRET
    assert ring.seal(SECRET, **PLACE) != sealed, "no two seals are the same"
    for other in (
        {"provider": "studio", "account_id": "acct_b"},
        {"provider": "studio", "account_id": None},
        {"provider": "studio2", "account_id": "acct_a"},
    ):
        with pytest.raises(SealBroken):
            ring.open(sealed, **other)


def test_what_was_changed_does_not_open():
    ring = KeyRing([new_key()])
    version, name, text = ring.seal(SECRET, **PLACE).split(".")
    raw = bytearray(base64.urlsafe_b64decode(text))
    for place in (0, 12, len(raw) - 1):
        raw[place] ^= 1
        with pytest.raises(SealBroken):
            ring.open(f"{version}.{name}.{base64.urlsafe_b64encode(raw).decode()}", **PLACE)
        raw[place] ^= 1
    assert ring.open(f"{version}.{name}.{base64.urlsafe_b64encode(raw).decode()}", **PLACE) == SECRET
    for broken in (f"{version}.{name}", f"{version}.{name}.", f"{version}.{name}.AAAA", f"{version}.{name}.~"):
        with pytest.raises(SealBroken):
            ring.open(broken, **PLACE)
    for unknown in ("", "v2.x.y", "plain text"):
        with pytest.raises(KeyLost):
            ring.open(unknown, **PLACE)


def test_the_first_key_seals_and_all_open():
    old, new = new_key(), new_key()
    sealed = KeyRing([old]).seal(SECRET, **PLACE)
    both = KeyRing([new, old])
    assert both.open(sealed, **PLACE) == SECRET
    assert key_name_of(both.seal(SECRET, **PLACE)) == name_of(new)
    with pytest.raises(KeyLost):
        KeyRing([new]).open(sealed, **PLACE)
    assert KeyRing([new]).joined(KeyRing([old])).open(sealed, **PLACE) == SECRET


def test_the_key_of_the_data_folder_is_made_once(tmp_path: Path):
    keys = Keys(tmp_path / KEY_FILE)
    assert keys.read() is None
    assert not (tmp_path / KEY_FILE).exists(), "no key is made before there is something to seal"
    first = keys.ready().first
    assert (tmp_path / KEY_FILE).stat().st_mode & 0o777 == 0o600
    assert Keys(tmp_path / KEY_FILE).ready().first == first
    keys.begin_replacing()
    ring = keys.ready()
    assert ring.first != first
    assert first in ring
    keys.end_replacing()
    assert first not in keys.ready()
    assert (tmp_path / KEY_FILE).stat().st_mode & 0o777 == 0o600
    assert [file.name for file in tmp_path.iterdir()] == [KEY_FILE]


def test_keys_of_the_settings(tmp_path: Path):
    old, new = new_key(), new_key()
    given = Keys(tmp_path / KEY_FILE, text=f"{text_of(new)}, {text_of(old)}")
    assert given.ready().first == name_of(new)
    assert name_of(old) in given.ready()
    url_safe = base64.urlsafe_b64encode(b"\xff" * 32).decode()
    assert Keys(tmp_path / KEY_FILE, text=url_safe).ready().first == name_of(b"\xff" * 32)
    file = tmp_path / "keys"
    file.write_text(f"{text_of(new)}\n{text_of(old)}\n")
    assert Keys(tmp_path / KEY_FILE, file=file).ready().first == name_of(new)
    given.begin_replacing()
    given.end_replacing()
    assert given.ready().first == name_of(new), "the operator's own are left as they are"
    assert not (tmp_path / KEY_FILE).exists()


@pytest.mark.parametrize("text", ["", "short", "x" * 44, text_of(b"1" * 31), ",".join([text_of(b"1" * 32)] * 17)])
def test_a_key_that_is_none_is_told_and_not_shown(tmp_path: Path, text: str):
    with pytest.raises(ConfigurationError) as told:
        Keys(tmp_path / KEY_FILE, text=text)
    assert not text or text not in told.value.message
    assert "credentials_key" in told.value.message


def test_a_file_that_cannot_be_read_is_told(tmp_path: Path):
    with pytest.raises(StartupError, match="cannot be read"):
        Keys(tmp_path / KEY_FILE, file=tmp_path / "not there")
    (tmp_path / KEY_FILE).write_text("damaged")
    with pytest.raises(ConfigurationError, match=KEY_FILE):
        Keys(tmp_path / KEY_FILE)
