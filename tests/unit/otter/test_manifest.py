import json
import shutil
from pathlib import Path

import pytest

from pinxit.errors import StartupError
from pinxit_otter.backend import OtterBackend
from pinxit_otter.manifest import WEIGHTS, Manifest
from pinxit_otter.spec import OTTER_1

MEGABYTE = 1_000_000
FILES = sorted(path.name for path in WEIGHTS.iterdir())


@pytest.fixture
def weights(tmp_path: Path) -> Path:
    """The shipped files, linked, so that single ones can be replaced."""
    for path in WEIGHTS.iterdir():
        (tmp_path / path.name).symlink_to(path)
    return tmp_path


def replace(path: Path, contents: bytes) -> None:
    path.unlink()
    path.write_bytes(contents)


def assert_one_sentence_about(error: StartupError, path: Path) -> None:
    assert str(path) in error.message
    assert error.message.endswith("; install Pinxit again.")
    assert error.message.replace(str(path), "").count(". ") == 0


def test_what_ships_is_whole() -> None:
    manifest = Manifest.read(WEIGHTS)
    manifest.check_sizes()
    for name in manifest.files:
        manifest.read_verified(name)
    assert {*manifest.files, "manifest.json"} == set(FILES)


def test_manifest_and_catalogue_agree() -> None:
    manifest = Manifest.read(WEIGHTS)
    assert (manifest.model, manifest.created) == (OTTER_1.id, OTTER_1.created)


def test_what_ships_is_small() -> None:
    assert sum(path.stat().st_size for path in WEIGHTS.iterdir()) < 55 * MEGABYTE


@pytest.mark.parametrize("name", FILES)
async def test_a_missing_file_is_named(weights: Path, name: str) -> None:
    (weights / name).unlink()
    backend = OtterBackend(weights)
    with pytest.raises(StartupError, match="missing") as raised:
        backend.check()
    assert_one_sentence_about(raised.value, weights / name)
    with pytest.raises(StartupError, match="missing"):
        await backend.open()


@pytest.mark.parametrize("name", [name for name in FILES if name != "manifest.json"])
async def test_a_truncated_file_is_named(weights: Path, name: str) -> None:
    replace(weights / name, (WEIGHTS / name).read_bytes()[:-1])
    backend = OtterBackend(weights)
    with pytest.raises(StartupError, match="bytes instead of") as raised:
        backend.check()
    assert_one_sentence_about(raised.value, weights / name)
    with pytest.raises(StartupError, match="bytes instead of"):
        await backend.open()


@pytest.mark.parametrize("name", ["vocab.txt", "denoiser.onnx", "encoder.onnx", "null_text.npz", "known.npz"])
async def test_a_corrupt_file_is_named(weights: Path, name: str) -> None:
    contents = bytearray((WEIGHTS / name).read_bytes())
    contents[len(contents) // 2] ^= 0x10
    replace(weights / name, bytes(contents))
    backend = OtterBackend(weights)
    backend.check()
    with pytest.raises(StartupError, match="SHA-256") as raised:
        await backend.open()
    assert_one_sentence_about(raised.value, weights / name)


@pytest.mark.parametrize("contents", [b"", b"{", b"[]", b"{}", b'{"files": 3}', b"\xff\xfe"])
async def test_a_damaged_manifest_is_named(weights: Path, contents: bytes) -> None:
    replace(weights / "manifest.json", contents)
    with pytest.raises(StartupError) as raised:
        OtterBackend(weights).check()
    assert_one_sentence_about(raised.value, weights / "manifest.json")


def test_a_manifest_must_name_what_is_needed(weights: Path) -> None:
    said = json.loads((WEIGHTS / "manifest.json").read_text())
    del said["files"]["decoder.onnx"]
    replace(weights / "manifest.json", json.dumps(said).encode())
    with pytest.raises(StartupError, match=r"does not name decoder\.onnx") as raised:
        OtterBackend(weights).check()
    assert_one_sentence_about(raised.value, weights / "manifest.json")


async def test_a_file_that_is_no_model_is_one_sentence(tmp_path: Path) -> None:
    """The manifest agrees with the file, but onnxruntime does not."""
    shutil.copytree(WEIGHTS, tmp_path, dirs_exist_ok=True, ignore=shutil.ignore_patterns("*.onnx"))
    said = json.loads((WEIGHTS / "manifest.json").read_text())
    for name in ("text.onnx", "denoiser.onnx", "decoder.onnx", "encoder.onnx"):
        (tmp_path / name).write_bytes(b"")
        said["files"][name] = {
            "bytes": 0,
            "sha256": "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855",
        }
    (tmp_path / "manifest.json").write_text(json.dumps(said))
    with pytest.raises(StartupError, match=r"cannot be loaded .*; install Pinxit again\."):
        await OtterBackend(tmp_path).open()
