"""The two families of networks, for a GPU and for a few CPU cores; training takes either."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import torch
from safetensors.torch import load_file
from torch import Tensor, nn

from . import autoencoder256, compact, denoiser256
from .autoencoder import SIDE, Autoencoder
from .hourglass import Hourglass
from .learn import load_halves, weights_file
from .shards import LAYERED_TRAINING, MATCHING_SPLIT, STEADY_MATCHING, TRAINING, Split

_TIE = 0.5
"""How much it costs to leave the study's latents by one, squared, beside the error of the picture."""


class Tie(Protocol):
    """What is added to the autoencoder's loss so that its latents stay where the denoiser knows them."""

    def __call__(self, pictures: Tensor, latents: Tensor) -> Tensor: ...


@dataclass(frozen=True, slots=True)
class Family:
    """An autoencoder and the denoiser of its latents."""

    name: str
    stride: int
    """Pixels to a position of the latents."""
    least_crop: int
    """Parts of pictures that the autoencoder learns from are at least so many pixels wide."""
    autoencoder: Callable[[Path | None], Autoencoder]
    """Untrained, or as the study's weights in a folder begin it."""
    denoiser: Callable[[Path | None], Hourglass]
    smaller: Callable[[], Hourglass]
    tie: Callable[[Path | None, torch.device], Tie]
    split: Split
    """The samples that it learns from."""
    matching: Split
    """Those from which the matching model learns to judge what it paints."""


def load_autoencoder(models: Path, family: Family) -> Autoencoder:
    """The averaged weights in `models`, with the decoder that went on against the critic if there is one."""
    model = family.autoencoder(None)
    load_halves(model, weights_file(models, "autoencoder"))
    if weights_file(models, "decoder").exists():
        load_halves(model.decoder, weights_file(models, "decoder"))
    return model.eval().requires_grad_(False)


def _no_tie(study: Path | None, device: torch.device) -> Tie:
    return lambda pictures, latents: latents.new_zeros(())


def _study_tie(study: Path | None, device: torch.device) -> Tie:
    if study is None:
        return _no_tie(study, device)
    old: nn.Module = compact.StudyLatents(_study_autoencoder(study)).to(device)
    if device.type == "cpu":
        old = old.to(torch.bfloat16)

    def tie(pictures: Tensor, latents: Tensor) -> Tensor:
        with torch.no_grad():
            before = old(pictures)
        return _TIE * (latents[:, : compact.STUDY_CHANNELS] - before).pow(2).mean()

    return tie


def _study_autoencoder(study: Path) -> dict[str, Tensor]:
    return load_file(study / "autoencoder.fp16.safetensors")


def _compact_autoencoder(study: Path | None) -> compact.Autoencoder:
    return compact.Autoencoder.from_study(_study_autoencoder(study)) if study else compact.Autoencoder()


def _compact_denoiser(study: Path | None) -> compact.Denoiser:
    return compact.Denoiser.from_study(load_file(study / "denoiser.fp16.safetensors")) if study else compact.Denoiser()


FAMILIES = {
    family.name: family
    for family in (
        Family(
            "large",
            SIDE // autoencoder256.LATENT_SIDE,
            0,
            lambda study: autoencoder256.Autoencoder(),
            lambda study: denoiser256.Denoiser(),
            denoiser256.smaller,
            _no_tie,
            TRAINING,
            MATCHING_SPLIT,
        ),
        Family(
            "compact",
            SIDE // compact.LATENT_SIDE,
            SIDE,
            _compact_autoencoder,
            _compact_denoiser,
            compact.smaller,
            _study_tie,
            LAYERED_TRAINING,
            STEADY_MATCHING,
        ),
    )
}
