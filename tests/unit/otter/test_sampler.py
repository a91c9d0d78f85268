import numpy as np
import pytest

from pinxit.backends.interface import MAX_SEED
from pinxit_otter.sampler import noise, preview_steps, steps_from, time_at


def test_a_seed_is_always_the_same_noise() -> None:
    first = noise(42)
    assert first.shape == (64, 32)
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


@pytest.mark.parametrize("start", [0.05, 0.3, 0.7, 1.0])
@pytest.mark.parametrize("steps", [1, 3, 8, 50])
def test_an_edit_goes_from_its_strength_in_its_share_of_the_steps(start: float, steps: int) -> None:
    left = steps_from(start, steps)
    times = [time_at(step, left, start) for step in range(left + 1)]
    assert abs(left - start * steps) <= 0.5 or left == 1
    assert (times[0], times[-1]) == (start, 0)
    assert times == sorted(times, reverse=True)


def test_all_the_way_has_all_the_steps_at_the_same_times() -> None:
    for steps in range(1, 51):
        assert steps_from(1.0, steps) == steps
        assert [time_at(step, steps, 1.0) for step in range(steps)] == [(steps - step) / steps for step in range(steps)]


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
