import asyncio
from collections.abc import Iterator

import pytest
from painting import MakeOrder

from pinxit.backends.interface import PaintOrder
from pinxit.images.size import Size
from pinxit_otter.backend import OtterBackend


@pytest.fixture(scope="session")
def otter() -> Iterator[OtterBackend]:
    """The real weights, loaded once; the painter's thread does not care which event loop asks."""
    backend = OtterBackend()
    asyncio.run(backend.open())
    yield backend
    asyncio.run(backend.close())


@pytest.fixture
def make_order() -> MakeOrder:
    def make(prompt: str = "a robot", **changes: object) -> PaintOrder:
        facts: dict[str, object] = {
            "model": "otter-1",
            "prompt": prompt,
            "size": Size(256, 256),
            "seeds": (1,),
            "num_inference_steps": 3,
            "guidance_scale": 3.0,
        }
        return PaintOrder(**{**facts, **changes})  # type: ignore[arg-type]

    return make
