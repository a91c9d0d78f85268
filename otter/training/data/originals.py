"""The vector originals of all sets in one small file, and the picking of them from the packages.

The file is a zip with three kinds of members: `index.json` (concepts, and what is known of each original), `vectors.xz`
(the SVG bodies, one JSON string a line) and `pictures/N.webp` (the one set that is not drawn as vectors). It is the
same bytes for the same packages.
"""

import json
import lzma
import re
import zipfile
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from .sets import PERMISSIVE, SETS, PictureSet
from .words import Concept, read_concepts, slug, without_variation

_EPOCH = (1980, 1, 1, 0, 0, 0)

_BLOCKED_WORDS_TEXT = """
    logo android apple google facebook twitter instagram youtube whatsapp linkedin github windows chrome safari
    firefox paypal visa mastercard spotify skype dropbox adobe amazon ebay steve steam reddit slack tumblr pinterest
    vimeo arrow arrows text font align alignment letter letters number numbers paragraph typing type bold italic
    underline abc alphabet english cursor dollar euro pound yen bitcoin currency flag flags html css php java
    javascript sql xml json api code vip gif jpg png pdf doc xls ppt zip svg psd ai txt 3d 4k hd wifi 5g 4g 3g www
    http url seo id ok app upload download expand collapse minus plus add remove subtract delete cancel disable
    check approved bracket brackets grid layout list sort filter column row table swap flip rotate resize crop undo
    redo undo refresh reload previous next forward backward skip shuffle repeat single neutral multiple duo
    alternate code-of-conduct beaufort uv index celsius fahrenheit not-available pressure religion muslim christian
    jewish hindu islam cross pregnancy condom synchronize sync lgbt gay signal coding programming browser coin coins
    atm kindle vine xbox macbook ipad ipod iphone itunes imac lettersymbol blank generic a b c d x percentage
    percent question information info help about registered copyright trademark mark service up down left right user
    users male female man woman girl boy people person human body
"""
BLOCKED_WORDS = frozenset(_BLOCKED_WORDS_TEXT.split())
"""A picture whose name has one of these is text, a logo, a sign of user interfaces or a likeness, and is left out."""

_MOST_WORDS = 2


@dataclass(frozen=True, slots=True)
class Original:
    """One picture as its author drew it."""

    concept: str
    """The key of its `Concept`."""
    style: str
    """The style of its set."""
    name: str
    """Its name in its package."""
    view: tuple[float, float, float, float]
    """Left, top, width and height of the whole drawing, in its units; in pixels if it is a picture."""
    box: tuple[float, float, float, float] = (0, 0, 1, 1)
    """Left, top, width and height of what is drawn, in fractions of the longer side of the view."""
    colour: str | None = None
    """The colour of most of it, if there is one (`colour.main_colour`)."""
    recolourable: bool = False
    """Whether one coat of paint covers so much that it can be given another."""


@dataclass(frozen=True, slots=True)
class Collection:
    """Concepts, originals and the originals' contents, in the same order."""

    concepts: dict[str, Concept]
    originals: tuple[Original, ...]
    contents: tuple[str | bytes, ...]
    """An SVG body, or the bytes of a WebP."""


def collect(packages: Path) -> Collection:
    """Pick the originals from the packages unpacked under `packages`, a folder each, as `fetch` leaves them."""
    concepts = read_concepts(folder(packages, "emojibase-data"), folder(packages, "emojilib"))
    names = _Names(concepts)
    originals: list[Original] = []
    contents: list[str | bytes] = []
    for one in SETS:
        found = _rasters(one, packages, names) if one.style == "3d" else _vectors(one, packages, names)
        for original, content in found:
            originals.append(original)
            contents.append(content)
    used = {original.concept for original in originals}
    kept = {key: concept for key, concept in names.concepts.items() if key in used}
    return Collection(kept, tuple(originals), tuple(contents))


def folder(packages: Path, package: str) -> Path:
    """Where a package is unpacked: its name without the characters that a path gives a meaning."""
    return packages / package.replace("@", "").replace("/", "_")


class _Names:
    """Finds the concept of a picture by code points or by name; makes one up for an icon that is no emoji."""

    def __init__(self, concepts: dict[str, Concept]) -> None:
        self.concepts = dict(concepts)
        self._by_slug = {slug(concept.name): key for key, concept in concepts.items()}
        self._drawable = {word for concept in concepts.values() for name in concept.names for word in name.split()}
        for key, concept in concepts.items():
            for name in concept.other_names:
                self._by_slug.setdefault(slug(name), key)

    def by_code_points(self, hexcode: str) -> str | None:
        key = without_variation(hexcode)
        return key if key in self.concepts else None

    def by_name(self, name: str) -> str | None:
        return self._by_slug.get(name) or self._by_slug.get(name.replace("-", ""))

    def icon(self, name: str) -> str | None:
        """The concept of an icon by its name, new if need be; None if it is to be left out.

        An icon that is no emoji is kept if its words are those of things that emoji show: most others are signs of
        user interfaces ("tags settings"), which nobody would recognise, or characters that belong to somebody.
        """
        words = re.sub(r"(-|\b)\d+\b", "", name).strip("-").split("-")
        words = [word for word in words if word not in ("fill", "flat", "cold", "alt")]
        if not words or len(words) > _MOST_WORDS or BLOCKED_WORDS & set(words):
            return None
        plain = "-".join(words)
        if known := self.by_name(plain):
            return known
        if not self._drawable.issuperset(words):
            return None
        key = f"icon:{plain}"
        self.concepts.setdefault(key, Concept(key, plain.replace("-", " "), (), (), "icon", -1))
        return key


def _vectors(one: PictureSet, packages: Path, names: _Names) -> Iterator[tuple[Original, str]]:
    source = folder(packages, one.package)
    information = json.loads((source / "info.json").read_text(encoding="utf-8"))
    licence = information["license"]["spdx"]
    if licence != one.licence or licence not in PERMISSIVE:
        raise ValueError(f"{one.package} is under {licence}, not under {one.licence}")
    icons = json.loads((source / "icons.json").read_text(encoding="utf-8"))
    code_points = _code_points(one, packages)
    seen: set[str] = set()
    for name, icon in icons["icons"].items():
        if icon.get("hidden"):
            continue
        key = _key_of(one, name, code_points, names)
        # One set draws several pictures of a concept and numbers them; in the others a second one is a variant.
        if key is None or (one.emoji and one.style != "outlined" and key in seen):
            continue
        seen.add(key)
        width = float(icon.get("width", icons.get("width", 16)))
        height = float(icon.get("height", icons.get("height", 16)))
        view = (float(icon.get("left", 0)), float(icon.get("top", 0)), width, height)
        yield Original(key, one.style, name, view), str(icon["body"])


def _code_points(one: PictureSet, packages: Path) -> dict[str, str]:
    # The two vector sets of Fluent Emoji share their names; only one comes with code points.
    package = "@iconify-json/fluent-emoji-flat" if one.style == "glossy" else one.package
    path = folder(packages, package) / "chars.json"
    return {name: code for code, name in json.loads(path.read_text(encoding="utf-8")).items()} if path.exists() else {}


def _key_of(one: PictureSet, name: str, code_points: dict[str, str], names: _Names) -> str | None:
    if not one.emoji:
        return names.icon(name)
    if name in code_points:
        return names.by_code_points(code_points[name])
    found = names.by_name(name)
    if found is None and one.style in ("outlined", "fx"):
        found = names.by_name(re.sub(r"-\d$", "", name))
    return found


def _rasters(one: PictureSet, packages: Path, names: _Names) -> Iterator[tuple[Original, bytes]]:
    source = folder(packages, one.package)
    licence = json.loads((source / "package.json").read_text(encoding="utf-8"))["license"]
    if licence != one.licence:
        raise ValueError(f"{one.package} is under {licence}, not under {one.licence}")
    for path in sorted((source / "assets").glob("*.webp")):
        if key := names.by_code_points(path.stem):
            yield Original(key, one.style, path.stem, (0, 0, 256, 256)), path.read_bytes()


def write(collection: Collection, path: Path) -> None:
    """Write the collection as one file."""
    vectors = "\n".join(json.dumps(content) for content in collection.contents if isinstance(content, str))
    index = {
        "concepts": [asdict(concept) for concept in collection.concepts.values()],
        "originals": [asdict(original) for original in collection.originals],
    }
    with zipfile.ZipFile(path, "w") as archive:
        _add(archive, "index.json", json.dumps(index, separators=(",", ":")).encode(), zipfile.ZIP_DEFLATED)
        _add(archive, "vectors.xz", lzma.compress(vectors.encode(), preset=9), zipfile.ZIP_STORED)
        for place, content in enumerate(collection.contents):
            if isinstance(content, bytes):
                _add(archive, f"pictures/{place}.webp", content, zipfile.ZIP_STORED)


def _add(archive: zipfile.ZipFile, name: str, content: bytes, method: int) -> None:
    archive.writestr(zipfile.ZipInfo(name, _EPOCH), content, compress_type=method)


def read(path: Path, with_contents: bool = True) -> Collection:
    """Read a collection; without contents it is read in a moment, and planning needs no more."""
    with zipfile.ZipFile(path) as archive:
        index = json.loads(archive.read("index.json"))
        concepts = [_concept(entry) for entry in index["concepts"]]
        originals = tuple(_original(entry) for entry in index["originals"])
        contents = tuple(_contents(archive, originals)) if with_contents else ()
    return Collection({concept.key: concept for concept in concepts}, originals, contents)


def _contents(archive: zipfile.ZipFile, originals: Sequence[Original]) -> Iterator[str | bytes]:
    vectors = iter(lzma.decompress(archive.read("vectors.xz")).decode().split("\n"))
    for place, original in enumerate(originals):
        yield archive.read(f"pictures/{place}.webp") if original.style == "3d" else str(json.loads(next(vectors)))


def _concept(entry: dict[str, Any]) -> Concept:
    return Concept(**{**entry, "other_names": tuple(entry["other_names"]), "keywords": tuple(entry["keywords"])})


def _original(entry: dict[str, Any]) -> Original:
    return Original(**{**entry, "view": tuple(entry["view"]), "box": tuple(entry["box"])})


def keep(collection: Collection, described: Iterable[Original | None]) -> Collection:
    """The collection with these descriptions in place of its own, without the originals that have None."""
    pairs = [
        (original, content)
        for original, content in zip(described, collection.contents, strict=True)
        if original is not None
    ]
    used = {original.concept for original, _ in pairs}
    concepts = {key: concept for key, concept in collection.concepts.items() if key in used}
    return replace(
        collection,
        concepts=concepts,
        originals=tuple(original for original, _ in pairs),
        contents=tuple(content for _, content in pairs),
    )
