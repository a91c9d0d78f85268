"""What training on another machine needs, in parts small enough to carry, and what comes back, in parts as well:

    python -m otter.training.pack send --originals originals.zip --wheels FOLDER --out parts --part-mib 15
    python -m otter.training.pack unpack --parts parts --out FOLDER
    python -m otter.training.pack collect --work FOLDER --out parts --part-mib 15 --names denoiser distilled

`send` takes the originals, the wheels of the renderer, and what there is of weights to go on from; the code and the
text encoder are in the repository. `unpack` joins parts again and checks them. Nothing is compressed twice.
"""

import argparse
import hashlib
import io
import tarfile
from collections.abc import Iterable
from pathlib import Path

WEIGHTS = ("autoencoder", "decoder", "denoiser", "distilled", "matcher")
_SUM = "sha256"


def archive(files: Iterable[tuple[str, Path]]) -> bytes:
    """An uncompressed tar of the files under these names."""
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as tar:
        for name, path in files:
            tar.add(path, name)
    return buffer.getvalue()


def split(content: bytes, folder: Path, part_bytes: int) -> list[Path]:
    """Write `part.000`, `part.001` … of at most so many bytes, and their sum."""
    folder.mkdir(parents=True, exist_ok=True)
    for old in folder.glob("part.*"):
        old.unlink()
    paths = []
    for number, start in enumerate(range(0, len(content), part_bytes)):
        paths.append(folder / f"part.{number:03}")
        paths[-1].write_bytes(content[start : start + part_bytes])
    (folder / f"part.{_SUM}").write_text(hashlib.sha256(content).hexdigest() + "\n", encoding="utf-8")
    return paths


def join(folder: Path) -> bytes:
    """The content of all parts. Raises ValueError if one is missing or damaged."""
    content = b"".join(path.read_bytes() for path in sorted(folder.glob("part.[0-9]*")))
    if hashlib.sha256(content).hexdigest() != (folder / f"part.{_SUM}").read_text(encoding="utf-8").strip():
        raise ValueError(f"the parts in {folder} are not whole")
    return content


def send(originals: Path, wheels: Path, work: Path) -> list[tuple[str, Path]]:
    """The files to take along, with their names there."""
    files = [("originals.zip", originals)]
    files += [(f"wheels/{path.name}", path) for path in sorted(wheels.glob("*.whl"))]
    return files + collect(work, WEIGHTS)


def collect(work: Path, names: Iterable[str]) -> list[tuple[str, Path]]:
    """The averaged weights of these models in the families' folders of `work`, where there are any."""
    files = [f"{name}.{ending}" for name in names for ending in ("safetensors", "json")]
    paths = [path for file in files for path in sorted(work.glob(f"*/{file}"))]
    return [(str(path.relative_to(work)), path) for path in paths]


def main() -> None:
    parser = argparse.ArgumentParser(description="Pack for another machine.")
    parser.add_argument("what", choices=("send", "unpack", "collect"))
    parser.add_argument("--originals", type=Path, default=Path("build/otter/originals.zip"))
    parser.add_argument("--wheels", type=Path, default=Path("build/otter/wheels"))
    parser.add_argument("--work", type=Path, default=Path("build/otter"))
    parser.add_argument("--names", nargs="+", default=list(WEIGHTS), choices=WEIGHTS)
    parser.add_argument("--parts", type=Path, default=Path("build/otter/parts"))
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--part-mib", type=float, default=15)
    wishes = parser.parse_args()
    if wishes.what == "unpack":
        with tarfile.open(fileobj=io.BytesIO(join(wishes.parts))) as tar:
            tar.extractall(wishes.out, filter="data")
        return
    if wishes.what == "send":
        files = send(wishes.originals, wishes.wheels, wishes.work)
    else:
        files = collect(wishes.work, wishes.names)
    for path in split(archive(files), wishes.out, int(wishes.part_mib * 2**20)):
        print(f"{path}: {path.stat().st_size / 2**20:.1f} MiB")


if __name__ == "__main__":
    main()
