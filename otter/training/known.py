"""The captions that otter-1 knows and their meanings, by which it tells how near a prompt is:

    PYTHONPATH=otter/src:src:. python -m otter.training.known --originals build/otter/originals.zip

Writes `known.npz` beside the other weights and its line into `manifest.json`. The meanings are those of the `text.onnx`
that lies there, read as at run time; so run it again whenever that file or the originals change. The same inputs give
the same bytes.
"""

import argparse
import hashlib
import io
import json
from collections.abc import Iterable
from pathlib import Path

import numpy as np

from pinxit_otter.manifest import KNOWN, WEIGHTS, Manifest
from pinxit_otter.network import Floats, Network

from .data import originals
from .data.words import Concept


def captions_of(concepts: Iterable[Concept], network: Network) -> tuple[list[str], Floats]:
    """All names of the concepts, each once and in alphabetical order, and the meaning of each in a row."""
    names = sorted({name for concept in concepts for name in concept.names})
    return names, np.stack([network.encode(network.word_pieces.sentence(name)).pooled for name in names])


def packed(captions: list[str], vectors: Floats) -> bytes:
    """The file: captions as lines of UTF-8, vectors as int8 with one scale. numpy dates its members 1980."""
    scale = np.float32(np.abs(vectors).max() / 127)
    contents = io.BytesIO()
    np.savez(
        contents,
        captions=np.frombuffer("\n".join(captions).encode(), np.uint8),
        vectors=np.rint(vectors / scale).astype(np.int8),
        scale=scale,
    )
    return contents.getvalue()


def put_into(folder: Path, contents: bytes) -> None:
    """Write the file and what the manifest says of it; the other files stay as they are."""
    (folder / KNOWN).write_bytes(contents)
    path = folder / "manifest.json"
    manifest = json.loads(path.read_text(encoding="utf-8"))
    manifest["files"][KNOWN] = {"bytes": len(contents), "sha256": hashlib.sha256(contents).hexdigest()}
    manifest["files"] = dict(sorted(manifest["files"].items()))
    path.write_text(json.dumps(manifest, indent=2) + "\n", encoding="utf-8")


def main() -> None:
    parser = argparse.ArgumentParser(description="Write down what otter-1 knows.")
    parser.add_argument("--originals", type=Path, required=True, help="originals.zip, as `make otter-data` leaves it")
    parser.add_argument("--weights", type=Path, default=WEIGHTS, help="folder of what ships")
    wishes = parser.parse_args()
    collection = originals.read(wishes.originals, with_contents=False)
    network = Network(Manifest.read(wishes.weights, without=(KNOWN,)), threads=1)
    captions, vectors = captions_of(collection.concepts.values(), network)
    contents = packed(captions, vectors)
    put_into(wishes.weights, contents)
    print(f"{len(captions)} captions of {len(collection.concepts)} concepts, {len(contents) / 1e6:.2f} MB")


if __name__ == "__main__":
    main()
