"""The originals of all sets in one file, in one command:

    python -m otter.training.data.build --out originals.zip

Fetches the packages (npm), picks the pictures, draws each once to cut it and to measure its colour, and writes the file
that training needs. A quarter of an hour on two cores, most of it drawing.
"""

import argparse
from collections import Counter
from pathlib import Path

from . import originals, raster
from .fetch import fetch_all
from .sets import BY_STYLE


def main() -> None:
    parser = argparse.ArgumentParser(description="Collect the vector originals otter-1 learns from.")
    parser.add_argument("--packages", type=Path, default=Path("build/otter/packages"), help="where packages are kept")
    parser.add_argument("--out", type=Path, default=Path("build/otter/originals.zip"), help="the file to write")
    parser.add_argument("--processes", type=int, default=2)
    wishes = parser.parse_args()
    fetch_all(wishes.packages)
    collection = raster.describe(originals.collect(wishes.packages), wishes.processes)
    wishes.out.parent.mkdir(parents=True, exist_ok=True)
    originals.write(collection, wishes.out)
    print(table(collection))
    print(f"{wishes.out}: {wishes.out.stat().st_size / 2**20:.1f} MiB, {len(collection.concepts)} concepts")


def table(collection: originals.Collection) -> str:
    """The sets with their licences and how many pictures were taken of each, in Markdown."""
    taken = Counter(original.style for original in collection.originals)
    lines = ["| set | style | pictures | author | licence |", "| --- | --- | --- | --- | --- |"]
    for style, pictures in taken.most_common():
        one = BY_STYLE[style]
        lines.append(
            f"| [{one.title}]({one.url}), `{one.package}` {one.version} "
            f"| {style} | {pictures} | {one.author} | {one.licence} |"
        )
    return "\n".join(lines)


if __name__ == "__main__":
    main()
