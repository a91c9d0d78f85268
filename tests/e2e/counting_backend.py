"""A backend that writes down every order it is given, outside the data folder: how often something was truly painted.

It is installed by `install` as a plugin into a folder for PYTHONPATH, under the distribution name of Pinxit itself,
so that it hides the model in the box: a server then starts without loading one.

PINXIT_TEST_HITS      file to which each order adds a line of JSON: prompt and seeds
PINXIT_TEST_SECONDS   how long a picture takes; ten times as long where the prompt has the word "slow"
PINXIT_TEST_PAINTER   "process": paint in a painter process, not in the server's own
"""

import asyncio
import json
import os
import shutil
from collections import Counter
from collections.abc import AsyncGenerator, Sequence
from dataclasses import replace
from pathlib import Path

from pinxit.backends.interface import ModelSpec, PaintEvent, PaintOrder
from pinxit.testing.fake_backend import FAKE_1, FakeBackend

SLOW = "slow"
SLOW_TIMES = 10
PRICE_MICROS = 10_000
COUNTED = "counting/counted-1"


def configuration(model: str = COUNTED) -> str:
    """A configuration file in which `model` costs a cent a picture, under the name "priced"."""
    return f"""
model_list:
  - model_name: priced
    description: Pictures at a price
    params: {{model: {model}}}
    prices: [{{usd: {PRICE_MICROS / 1_000_000}}}]
"""


class CountingBackend(FakeBackend):
    """Paints what `fake-1` paints."""

    name = "counting"
    runs_in = "process" if os.environ.get("PINXIT_TEST_PAINTER") == "process" else "inline"

    def __init__(self) -> None:
        super().__init__()
        self._hits = os.environ.get("PINXIT_TEST_HITS")
        self._seconds = float(os.environ.get("PINXIT_TEST_SECONDS", "0"))

    def models(self) -> Sequence[ModelSpec]:
        return [replace(FAKE_1, id="counted-1")]

    async def generate(self, order: PaintOrder) -> AsyncGenerator[PaintEvent, None]:
        if self._hits:
            _append(self._hits, {"prompt": order.prompt, "seeds": order.seeds})
        async for event in super().generate(order):
            yield event

    async def do_step(self, order: PaintOrder, step: int) -> None:
        times = SLOW_TIMES if SLOW in order.prompt.split() else 1
        await asyncio.sleep(times * self._seconds / order.num_inference_steps)
        await super().do_step(order, step)


def _append(file: str, content: dict[str, object]) -> None:
    """One write to the end of a file, which outlives the process that is killed right after it."""
    descriptor = os.open(file, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
    try:
        os.write(descriptor, json.dumps(content).encode() + b"\n")
    finally:
        os.close(descriptor)


def read_hits(file: Path) -> Counter[str]:
    """How often each prompt was painted."""
    if not file.exists():
        return Counter()
    return Counter(json.loads(line)["prompt"] for line in file.read_text().splitlines())


def install(folder: Path) -> Path:
    """Make the plugin's folder for PYTHONPATH. Returns it."""
    information = folder / "pinxit-0.1.0.dist-info"
    information.mkdir(parents=True)
    (information / "METADATA").write_text("Metadata-Version: 2.1\nName: pinxit\nVersion: 0.1.0\n")
    (information / "entry_points.txt").write_text("[pinxit.backends]\ncounting = counting_backend:CountingBackend\n")
    shutil.copy(__file__, folder / "counting_backend.py")
    return folder
