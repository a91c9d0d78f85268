"""What storing weights small costs, and how fast it paints:

    PYTHONPATH=otter/src:src python -m otter.training.measure --shipped otter/src/pinxit_otter/weights --full DIR

`DIR` is what `export --full` wrote. Paints the same prompts with the same seeds both ways and prints the PSNR.
"""

import argparse
import time
from pathlib import Path

import numpy as np

from pinxit_otter.enlarge import Picture
from pinxit_otter.manifest import Manifest
from pinxit_otter.network import Network, StepInput
from pinxit_otter.sampler import noise, time_at

STEPS = 8
GUIDANCE = 3.0
PROMPTS = (
    "A cute baby sea otter",
    "red sports car",
    "a slice of pizza with cheese",
    "a happy robot",
    "delicious hamburger",
    "a scary ghost",
    "a glass of red wine",
    "big green dinosaur",
    "owl, 3d style",
    "guitar, flat style",
    "sunflower, noto style",
    "rocket, twemoji style",
    "a purple octopus",
    "a robot on a blue background",
    "a cat wearing sunglasses",
    "a golden crown on a purple background",
    "castle",
    "fox, flat style",
    "a green apple",
    "snowy mountain at night",
    "panda",
    "a red umbrella",
    "penguin",
    "pineapple",
)


def paint(network: Network, prompts: tuple[str, ...], seed: int) -> list[Picture]:
    """One picture (256, 256, 4) for each prompt, all in one batch, with seeds from `seed` on."""
    texts = [network.encode(network.word_pieces.sentence(prompt)) for prompt in prompts]
    latents = [noise(seed + place) for place in range(len(prompts))]
    for step in range(STEPS):
        t, t_next = time_at(step, STEPS), time_at(step + 1, STEPS)
        inputs = [
            StepInput(one, t, t_next, GUIDANCE, text, network.null_text)
            for one, text in zip(latents, texts, strict=True)
        ]
        latents = list(network.step(inputs)[0])
    return [network.decode(one) for one in latents]


def psnr(a: Picture, b: Picture) -> float:
    """Peak signal-to-noise ratio in dB of two 8-bit pictures."""
    error = np.mean((a.astype(float) - b.astype(float)) ** 2)
    return float(10 * np.log10(255**2 / max(error, 1e-6)))


def best_milliseconds(network: Network, pictures: int, rounds: int = 9) -> float:
    seconds = []
    for _ in range(rounds):
        begun = time.perf_counter()
        paint(network, PROMPTS[:pictures], seed=0)
        seconds.append(time.perf_counter() - begun)
    return min(seconds) * 1000


def main() -> None:
    parser = argparse.ArgumentParser(description="Compare otter-1 as it ships with otter-1 in single precision.")
    parser.add_argument("--shipped", type=Path, required=True)
    parser.add_argument("--full", type=Path, required=True)
    wishes = parser.parse_args()
    shipped, full = (Network(Manifest.read(folder)) for folder in (wishes.shipped, wishes.full))
    values = sorted(
        psnr(*pair)
        for place, prompt in enumerate(PROMPTS)
        for pair in zip(paint(shipped, (prompt,), place), paint(full, (prompt,), place), strict=True)
    )
    print(f"PSNR of {len(values)} pictures: mean {np.mean(values):.1f} dB, least {values[:3]}")
    for pictures in (1, 4):
        times = [best_milliseconds(network, pictures) for network in (shipped, full)]
        print(
            f"{pictures} picture(s), {STEPS} steps: {times[0]:.0f} ms as shipped, {times[1]:.0f} ms from full weights"
        )


if __name__ == "__main__":
    main()
