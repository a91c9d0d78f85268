"""The files otter-1 paints with, and whether they are whole."""

import hashlib
import json
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Self

from pinxit.errors import StartupError

WEIGHTS = Path(__file__).parent / "weights"

TEXT = "text.onnx"
DENOISER = "denoiser.onnx"
DECODER = "decoder.onnx"
ENCODER = "encoder.onnx"
VOCABULARY = "vocab.txt"
NULL_TEXT = "null_text.npz"
KNOWN = "known.npz"
_NEEDED = frozenset({TEXT, DENOISER, DECODER, ENCODER, VOCABULARY, NULL_TEXT, KNOWN})

_MANIFEST = "manifest.json"
_REMEDY = "install Pinxit again"


@dataclass(frozen=True, slots=True)
class ShippedFile:
    """One file as it left the export."""

    bytes: int
    sha256: str


@dataclass(frozen=True, slots=True)
class Manifest:
    """What `manifest.json` says about the files beside it."""

    folder: Path
    model: str
    version: str
    created: int
    files: Mapping[str, ShippedFile]

    @classmethod
    def read(cls, folder: Path, without: Collection[str] = ()) -> Self:
        """Raises StartupError if there is no manifest or it does not name every file that is needed, but those in
        `without`.
        """
        path = folder / _MANIFEST
        try:
            said = json.loads(path.read_text(encoding="utf-8"))
            manifest = cls(
                folder=folder,
                model=str(said["model"]),
                version=str(said["version"]),
                created=int(said["created"]),
                files={
                    name: ShippedFile(int(file["bytes"]), str(file["sha256"])) for name, file in said["files"].items()
                },
            )
        except OSError as error:
            raise _cannot_read(path, error) from error
        except (ValueError, KeyError, TypeError, AttributeError) as error:
            raise StartupError(f"The file {path} of the model otter-1 is damaged; {_REMEDY}.") from error
        if missing := sorted(_NEEDED - set(manifest.files) - set(without)):
            raise StartupError(f"The file {path} of the model otter-1 does not name {missing[0]}; {_REMEDY}.")
        return manifest

    def check_sizes(self) -> None:
        """Raises StartupError at the first file that is missing or has another size. Reads no contents."""
        for name, file in self.files.items():
            path = self.folder / name
            try:
                size = path.stat().st_size
            except OSError as error:
                raise _cannot_read(path, error) from error
            if size != file.bytes:
                raise StartupError(
                    f"The file {path} of the model otter-1 has {size} bytes instead of {file.bytes}; {_REMEDY}."
                )

    def read_verified(self, name: str) -> bytes:
        """The contents of a file. Raises StartupError if they are not what left the export."""
        path = self.folder / name
        try:
            contents = path.read_bytes()
        except OSError as error:
            raise _cannot_read(path, error) from error
        if hashlib.sha256(contents).hexdigest() != self.files[name].sha256:
            raise StartupError(f"The file {path} of the model otter-1 is damaged (its SHA-256 is wrong); {_REMEDY}.")
        return contents


def _cannot_read(path: Path, error: OSError) -> StartupError:
    if isinstance(error, FileNotFoundError):
        return StartupError(f"The file {path} of the model otter-1 is missing; {_REMEDY}.")
    return StartupError(f"The file {path} of the model otter-1 cannot be read ({error.strerror}); {_REMEDY}.")
