"""Addresses and signatures as pure functions; through the door they are tested in tests/threats."""

import os
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from pinxit.errors import NotFound, StartupError, UrlExpired
from pinxit.images.request import Encoding
from pinxit.images.size import Size
from pinxit.library.image import Image
from pinxit.library.urls import ImageUrls, load_secret

NOW = datetime(2026, 11, 22, 12, tzinfo=UTC)
URLS = ImageUrls(b"s" * 32)
KEY = "generated/pinxit_3f0a6b1c-0000-4000-8000-000000000000.png"


def make_image(url_expires_at: datetime | None = None, storage_key: str = KEY) -> Image:
    return Image(
        "img_1", "gen_1", "acct_1", 0, storage_key, Encoding.PNG, Size(1, 1), 1, "0", 0, 0.1, NOW, url_expires_at
    )


def query(image: Image) -> tuple[str, str]:
    """Expiry and signature."""
    expires, signature = URLS.path(image).partition("?")[2].split("&")
    return expires.removeprefix("expires="), signature.removeprefix("signature=")


def test_the_slash_is_encoded():
    assert URLS.path(make_image()) == "/image/generated%2Fpinxit_3f0a6b1c-0000-4000-8000-000000000000.png"


def test_an_unsigned_picture_opens_with_anything():
    URLS.check(make_image(), "", "", NOW)
    URLS.check(make_image(), "1", "x", NOW)


def test_the_same_picture_has_the_same_url():
    image = make_image(NOW)
    assert URLS.path(image) == URLS.path(image)
    assert URLS.path(image) == URLS.path(replace(image, created_at=NOW + timedelta(days=1)))


def test_secret_name_and_expiry_are_all_in_the_signature():
    image = make_image(NOW)
    others = [
        URLS.path(make_image(NOW + timedelta(seconds=1))),
        URLS.path(make_image(NOW, KEY.replace("3f", "40"))),
        ImageUrls(b"t" * 32).path(image),
    ]
    signatures = {path.rpartition("=")[2] for path in [URLS.path(image), *others]}
    assert len(signatures) == 4


@pytest.mark.parametrize(("seconds", "opens"), [(-300, True), (-1, True), (0, False), (300, False)])
def test_expiry_is_to_the_second(seconds: int, opens: bool):
    image = make_image(NOW)
    if opens:
        URLS.check(image, *query(image), NOW + timedelta(seconds=seconds))
    else:
        with pytest.raises(UrlExpired):
            URLS.check(image, *query(image), NOW + timedelta(seconds=seconds))


def test_parts_of_a_second_do_not_make_a_url_last_longer():
    image = make_image(NOW + timedelta(microseconds=999_999))
    with pytest.raises(UrlExpired):
        URLS.check(image, *query(image), NOW)


@pytest.mark.parametrize("signature", ["", "x", "é", "\ud800".encode("utf-8", "replace").decode(), "\0", "x" * 10_000])
def test_a_strange_signature_is_not_found(signature: str):
    image = make_image(NOW)
    with pytest.raises(NotFound):
        URLS.check(image, query(image)[0], signature, NOW - timedelta(seconds=1))


# --- the secret -----------------------------------------------------------------------------------------------------


def test_a_secret_is_made_once_and_for_its_owner_only(tmp_path: Path):
    path = tmp_path / "signing.key"
    secret = load_secret(path)
    assert (len(secret), path.stat().st_mode & 0o777) == (32, 0o600)
    assert load_secret(path) == secret


def test_two_installations_have_different_secrets(tmp_path: Path):
    assert load_secret(tmp_path / "a") != load_secret(tmp_path / "b")


@pytest.mark.parametrize("content", [b"", b"short", b"x" * 33])
def test_a_damaged_secret_is_said(tmp_path: Path, content: bytes):
    path = tmp_path / "signing.key"
    path.write_bytes(content)
    with pytest.raises(StartupError, match="is damaged"):
        load_secret(path)
    assert path.read_bytes() == content


def test_a_secret_that_cannot_be_read_is_said(tmp_path: Path):
    os.mkdir(tmp_path / "signing.key")
    for path in (tmp_path / "signing.key", tmp_path / "nowhere" / "signing.key"):
        with pytest.raises(StartupError, match="cannot be read or made"):
            load_secret(path)
