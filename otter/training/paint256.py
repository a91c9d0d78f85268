"""Pictures from trained weights in PyTorch, for evaluation and for looking at; the server has its own way."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from pinxit_otter.spec import DEFAULT_STYLE, STYLE_WORDS

from .autoencoder import to_bytes
from .families import Family, load_autoencoder
from .learn import load_halves, weights_file
from .text256 import Text


class Painter:
    """Text in, RGBA pictures out, as the server paints: Euler steps along straight paths, with guidance."""

    def __init__(
        self, family: Family, models: Path, weights: Path, device: torch.device, distilled: bool, proof: bool = False
    ) -> None:
        """`models` has the family's trained weights, `weights` the text encoder that ships."""
        self.device = device
        self.text = Text(weights, device)
        self.denoiser = family.smaller() if proof else family.denoiser(None)
        load_halves(self.denoiser, weights_file(models, "distilled" if distilled else "denoiser"))
        self.denoiser = self.denoiser.to(device).eval().requires_grad_(False)
        self.autoencoder = load_autoencoder(models, family).to(device)
        self.distilled = distilled

    @torch.no_grad()
    def paint(
        self, captions: Sequence[str], seeds: Sequence[int], steps: int = 8, guidance: float = 3.0, batch: int = 16
    ) -> npt.NDArray[np.uint8]:
        """Pictures (N, 256, 256, 4), red, green and blue multiplied by alpha."""
        parts = [
            self._paint(captions[start : start + batch], seeds[start : start + batch], steps, guidance)
            for start in range(0, len(captions), batch)
        ]
        return np.concatenate(parts)

    def _paint(
        self, captions: Sequence[str], seeds: Sequence[int], steps: int, guidance: float
    ) -> npt.NDArray[np.uint8]:
        said = self.text.read([_with_style(caption) for caption in captions])
        latents = torch.from_numpy(np.stack([noise(seed, self.denoiser.latent_shape) for seed in seeds])).to(
            self.device
        )
        with torch.autocast(self.device.type, torch.bfloat16, enabled=self.device.type == "cuda"):
            for step in range(steps):
                t = torch.full((len(latents),), (steps - step) / steps, device=self.device)
                latents = latents - self._velocity(latents, t, said, guidance) / steps
            return to_bytes(self.autoencoder.pictures(latents)).cpu().numpy()

    def _velocity(self, latents: Tensor, t: Tensor, said: tuple[Tensor, Tensor, Tensor], guidance: float) -> Tensor:
        if self.distilled:
            return self.denoiser(latents, t, torch.full_like(t, guidance), *said).float()
        plain = torch.ones_like(t)
        wanted = self.denoiser(latents, t, plain, *said).float()
        unwanted = self.denoiser(latents, t, plain, *self.denoiser.without_text(len(t))).float()
        return unwanted + guidance * (wanted - unwanted)


def _with_style(caption: str) -> str:
    """In the style in which the server paints what names none."""
    return caption if "style" in caption else caption + STYLE_WORDS[DEFAULT_STYLE]


def noise(seed: int, shape: tuple[int, int]) -> npt.NDArray[np.float32]:
    """Where the picture of this seed begins, as `pinxit_otter.sampler.noise` draws it."""
    generator = np.random.Generator(np.random.PCG64(seed))
    return generator.standard_normal(shape, dtype=np.float32)
