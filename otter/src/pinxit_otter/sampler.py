"""From a seed to noise, and from noise to a picture in Euler steps along straight paths."""

import numpy as np
import numpy.typing as npt

from pinxit_otter.spec import LATENT_TOKENS

LATENT_CHANNELS = 32
LATENT_SIDE = 8

Latents = npt.NDArray[np.float32]
"""(64, 32): the positions of an 8×8 grid, row by row from the top left."""


def noise(seed: int, part: int = 0, shape: tuple[int, int] = (LATENT_TOKENS, LATENT_CHANNELS)) -> Latents:
    """Where this part of the picture of this seed begins: standard normal numbers.

    From numpy's PCG64, whose bits are the same on every machine and in every release. `standard_normal` is the same on
    every machine for one release of numpy; a new release may, with notice, draw other numbers (NEP 19).
    """
    generator = np.random.Generator(np.random.PCG64(np.random.SeedSequence(seed, spawn_key=(part,) if part else ())))
    return generator.standard_normal(shape, dtype=np.float32)


def steps_from(start: float, steps: int) -> int:
    """How many of `steps` from noise to picture are left for the way from the time `start`: at least one."""
    return max(1, round(start * steps))


def time_at(step: int, steps: int, start: float = 1.0) -> float:
    """The time after `step` of `steps` that begin at `start`: 1 is noise, 0 is the picture."""
    return start * ((steps - step) / steps)


def preview_steps(previews: int, steps: int) -> frozenset[int]:
    """After which steps to show a preview: `previews` of them, spread evenly, never after the last."""
    wanted = (round(place * steps / (previews + 1)) for place in range(1, previews + 1))
    return frozenset(step for step in wanted if 1 <= step < steps)
