"""Fetches the npm packages of the sets and of the words, each once, and unpacks them."""

import subprocess
import tarfile
import tempfile
from pathlib import Path

from .originals import folder
from .sets import SETS, WORD_PACKAGES


def fetch_all(packages: Path) -> None:
    """Leave every package unpacked under `packages`. Needs `npm`; what is there already is left alone."""
    for name, version in [*((one.package, one.version) for one in SETS), *WORD_PACKAGES]:
        place = folder(packages, name)
        if not place.exists():
            print(f"fetching {name}@{version}", flush=True)
            fetch(name, version, place)


def fetch(name: str, version: str, place: Path) -> None:
    """Unpack one package at `place`. Raises subprocess.CalledProcessError if npm has none of that name and version."""
    place.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=place.parent) as scratch:
        command = ["npm", "pack", "--silent", "--pack-destination", scratch, f"{name}@{version}"]
        subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
        (tarball,) = Path(scratch).glob("*.tgz")
        with tarfile.open(tarball) as archive:
            archive.extractall(scratch, filter="data")
        (Path(scratch) / "package").rename(place)
