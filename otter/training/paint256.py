"""Pictures from trained weights in PyTorch, for evaluation and for looking at; the server has its own way."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from pinxit.images.size import Size
from pinxit_otter.familiarity import KnownCaptions
from pinxit_otter.layers import compose
from pinxit_otter.manifest import KNOWN
from pinxit_otter.sampler import noise
from pinxit_otter.scene import SceneReader
from pinxit_otter.spec import DEFAULT_STYLE, STYLE_WORDS

from .autoencoder import to_bytes
from .data.raster import SIDE
from .families import Family, load_autoencoder
from .learn import load_halves, weights_file
from .text256 import Text

Floats = npt.NDArray[np.float32]


@dataclass(frozen=True, slots=True)
class _Read:
    states: Floats
    pooled: Floats


class Painter:
    """Text in, RGBA pictures out, as the server paints: Euler steps along straight paths, with guidance."""

    def __init__(
        self, family: Family, models: Path, weights: Path, device: torch.device, distilled: bool, proof: bool = False
    ) -> None:
        """`models` has the family's trained weights, `weights` the text encoder that ships."""
        self.device = device
        self.text = Text(weights, device)
        self._known = KnownCaptions.read((weights / KNOWN).read_bytes(), self.text.pieces)
        self._reader = SceneReader(self._known.captions, self._likeness)
        self.denoiser = family.smaller() if proof else family.denoiser(None)
        load_halves(self.denoiser, weights_file(models, "distilled" if distilled else "denoiser"))
        self.denoiser = self.denoiser.to(device).eval().requires_grad_(False)
        self.autoencoder = load_autoencoder(models, family).to(device)
        self.distilled = distilled

    def _likeness(self, phrase: str) -> float:
        states, pooled, _ = (one[0].float().cpu().numpy() for one in self.text.read([phrase]))
        return self._known.judge(self.text.pieces.sentence(phrase), _Read(states, pooled)).similarity

    @torch.no_grad()
    def paint(
        self, captions: Sequence[str], seeds: Sequence[int], steps: int = 8, guidance: float = 3.0, batch: int = 16
    ) -> npt.NDArray[np.uint8]:
        """Pictures (N, 256, 256, 4), red, green and blue multiplied by alpha."""
        scenes = [self._reader.read(caption) for caption in captions]
        captions_of = [
            [*(_with_style(thing + scene.manner) for thing in scene.things), *scene.parts[len(scene.things) :]]
            for scene in scenes
        ]
        sheets = [
            (words, noise(seed, part, self.denoiser.latent_shape))
            for own, seed in zip(captions_of, seeds, strict=True)
            for part, words in enumerate(own)
        ]
        painted = iter(
            picture
            for start in range(0, len(sheets), batch)
            for picture in self._paint(sheets[start : start + batch], steps, guidance)
        )
        parts = [[next(painted) for _ in scene.parts] for scene in scenes]
        whole = Size(SIDE, SIDE)
        return np.stack(
            [own[0] if scene.is_whole else compose(scene, own, whole) for scene, own in zip(scenes, parts, strict=True)]
        )

    def _paint(self, sheets: Sequence[tuple[str, Floats]], steps: int, guidance: float) -> npt.NDArray[np.uint8]:
        said = self.text.read([words for words, _ in sheets])
        latents = torch.from_numpy(np.stack([start for _, start in sheets])).to(self.device)
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
