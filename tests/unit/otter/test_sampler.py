import numpy as np
import pytest

from pinxit.backends.interface import MAX_SEED
from pinxit_otter.sampler import noise, preview_steps, time_at


def test_a_seed_is_always_the_same_noise() -> None:
    first = noise(42)
    assert first.shape == (64, 16)
    assert first.dtype == np.float32
    assert np.array_equal(first, noise(42))
    # A numpy that draws other numbers changes every picture: that must be noticed, and said in the changelog.
    assert [round(float(value), 4) for value in first[0, :4]] == [0.1419, -1.6685, -1.3321, 0.5826]


@pytest.mark.parametrize("seed", [0, 1, MAX_SEED])
def test_noise_is_standard_normal(seed: int) -> None:
    drawn = noise(seed)
    assert abs(float(drawn.mean())) < 0.15
    assert abs(float(drawn.std()) - 1) < 0.1


def test_seeds_differ() -> None:
    assert len({noise(seed).tobytes() for seed in range(100)}) == 100


@pytest.mark.parametrize("steps", [1, 3, 8, 50])
def test_time_goes_from_noise_to_picture(steps: int) -> None:
    times = [time_at(step, steps) for step in range(steps + 1)]
    assert times[0] == 1
    assert times[-1] == 0
    assert times == sorted(times, reverse=True)


@pytest.mark.parametrize(
    ("previews", "steps", "expected"),
    [
        (0, 8, set()),
        (1, 8, {4}),
        (3, 8, {2, 4, 6}),
        (2, 9, {3, 6}),
        (3, 1, set()),
        (5, 3, {1, 2}),
        (1, 2, {1}),
    ],
)
def test_previews_are_spread_evenly_before_the_last_step(previews: int, steps: int, expected: set[int]) -> None:
    assert preview_steps(previews, steps) == expected
