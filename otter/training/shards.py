"""Painted samples on disk, in shards that a pool of processes writes and that training reads as they appear.

A shard is an `.npz` of `SHARD` samples in the order of their seeds: pictures deflated one by one (about a tenth of
their size), and the word pieces of their captions. What is in a shard depends on its number alone, so an interrupted
run goes on where it was, and rendering may run beside training.
"""

import os
import time
import zlib
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from multiprocessing import get_context
from pathlib import Path

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from pinxit_otter.wordpiece import TEXT_TOKENS, WordPieces

from .data import originals
from .data.compose import CAPTIONS, LAYERED, STEADY, VARIED, HeldOut, Mix, Planner, paint
from .data.raster import SIDE, draw_all

SHARD = 256
"""Samples in a shard."""

MATCHING = 1 << 39
"""Seeds from here on are for the matching model, which sees what is held out, but no picture that training sees."""


@dataclass(frozen=True, slots=True)
class Split:
    """Samples for one purpose."""

    name: str
    first_seed: int
    with_held_out: bool
    mix: Mix = VARIED

    def folder(self, work: Path) -> Path:
        return work / "shards" / self.name


TRAINING = Split("training", 0, False)
LAYERED_TRAINING = Split("layered", 0, False, LAYERED)
MATCHING_SPLIT = Split("matching", MATCHING, True)
STEADY_MATCHING = Split("steady-matching", MATCHING, True, STEADY)


class _Painter:
    """What each process of the pool holds."""

    def __init__(self, originals_file: Path, pictures_file: Path, vocabulary: Path, split: Split) -> None:
        collection = originals.read(originals_file, with_contents=False)
        self.planner = Planner(collection, None if split.with_held_out else HeldOut.read(), split.mix)
        self.pictures = np.load(pictures_file, mmap_mode="r")
        self.pieces = WordPieces.read(vocabulary)
        self.split = split

    def shard(self, number: int, path: Path) -> None:
        blobs: list[bytes] = []
        ids = np.full((SHARD, CAPTIONS, TEXT_TOKENS), self.pieces.pad, np.int16)
        for place in range(SHARD):
            plan = self.planner.plan(self.split.first_seed + number * SHARD + place)
            blobs.append(zlib.compress(paint(plan, self.pictures).tobytes(), 1))
            for wording, caption in enumerate(plan.captions):
                sentence = self.pieces.sentence(caption)
                ids[place, wording, : len(sentence)] = sentence
        ends = np.cumsum([len(blob) for blob in blobs])
        unfinished = path.with_suffix(".part")
        with unfinished.open("wb") as file:
            np.savez(file, blob=np.frombuffer(b"".join(blobs), np.uint8), ends=ends, ids=ids)
        unfinished.rename(path)


_painter: _Painter | None = None


def _begin(*wishes: object) -> None:
    global _painter
    _painter = _Painter(*wishes)  # type: ignore[arg-type]


def _paint_shard(work: tuple[int, Path]) -> None:
    assert _painter is not None
    _painter.shard(*work)


def render(originals_file: Path, vocabulary: Path, work: Path, split: Split, samples: int, processes: int) -> None:
    """Paint the shards of `samples` samples that are not there yet; draws the originals first, once."""
    folder = split.folder(work)
    folder.mkdir(parents=True, exist_ok=True)
    pictures_file = work / "pictures.npy"
    draw_all(originals.read(originals_file), pictures_file, processes)
    begun = time.monotonic()
    missing = [
        (number, path) for number in range(-(-samples // SHARD)) if not (path := folder / f"{number:05}.npz").exists()
    ]
    with get_context("spawn").Pool(processes, _begin, (originals_file, pictures_file, vocabulary, split)) as pool:
        for done, _ in enumerate(pool.imap_unordered(_paint_shard, missing), 1):
            if done % 64 == 0 or done == len(missing):
                rate = done * SHARD / (time.monotonic() - begun)
                print(f"painted {done * SHARD} {split.name} samples, {rate:.0f} a second", flush=True)


def finished(work: Path, split: Split) -> list[Path]:
    """The shards that are there, in order."""
    return sorted(split.folder(work).glob("*.npz"))


@dataclass(frozen=True, slots=True)
class Shard:
    """Samples read back."""

    pictures: npt.NDArray[np.uint8]
    """(SHARD, 256, 256, 4)."""
    ids: npt.NDArray[np.int16]
    """(SHARD, CAPTIONS, 20) word pieces."""


def load(path: Path) -> Shard:
    with np.load(path) as file:
        blob, ends, ids = file["blob"].tobytes(), file["ends"], file["ids"]
    pictures = np.empty((len(ends), SIDE, SIDE, 4), np.uint8)
    begin = 0
    for place, end in enumerate(ends):
        pictures[place] = np.frombuffer(zlib.decompress(blob[begin:end]), np.uint8).reshape(SIDE, SIDE, 4)
        begin = int(end)
    return Shard(pictures, ids)


def load_all(paths: list[Path]) -> Iterator[Shard]:
    """The shards one after the other, a few read ahead; unpacking leaves the interpreter free, so threads do."""
    threads = min(8, os.cpu_count() or 1)
    with ThreadPoolExecutor(threads) as pool:
        for start in range(0, len(paths), threads):
            yield from pool.map(load, paths[start : start + threads])


class Resident:
    """Pictures on the device, as many as there is room for; more are taken in as rendering goes on."""

    def __init__(self, work: Path, split: Split, room: int, device: torch.device) -> None:
        self.work, self.split, self.device = work, split, device
        self.pictures = torch.empty(room, SIDE, SIDE, 4, dtype=torch.uint8, device=device)
        self.ids = torch.empty(room, CAPTIONS, TEXT_TOKENS, dtype=torch.int16, device=device)
        self.count = 0
        self._taken: set[Path] = set()
        self._next = 0

    def refresh(self, most: int = 4) -> None:
        """Take in up to `most` new shards; the oldest pictures make room. Waits while there is nothing at all."""
        while not (new := [path for path in finished(self.work, self.split) if path not in self._taken]):
            if self.count:
                return
            time.sleep(1)
        for path, shard in zip(new[:most], load_all(new[:most]), strict=True):
            self._taken.add(path)
            size = min(len(shard.pictures), len(self.pictures))
            if self._next + size > len(self.pictures):
                self._next = 0
            place = slice(self._next, self._next + size)
            self.pictures[place] = torch.from_numpy(shard.pictures[:size]).to(self.device)
            self.ids[place] = torch.from_numpy(shard.ids[:size]).to(self.device)
            self._next += size
            self.count = max(self.count, self._next)

    def batch(self, size: int) -> tuple[Tensor, Tensor]:
        """Bytes (size, 256, 256, 4) and word pieces of one caption each (size, 20)."""
        rows = torch.randint(self.count, (size,), device=self.device)
        wordings = torch.randint(CAPTIONS, (size,), device=self.device)
        return self.pictures[rows], self.ids[rows, wordings]
