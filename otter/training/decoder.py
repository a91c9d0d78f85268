"""The decoder of the autoencoder: 8×8 latents of 16 channels become a picture of 128×128; 2.5 million weights."""

from collections.abc import Mapping

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from .denoiser import LATENT_CHANNELS, LATENT_SIDE

_WIDTHS = (256, 192, 96)


class Residual(nn.Module):
    """Two 3×3 convolutions beside a straight path."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.a = nn.Conv2d(width, width, 3, padding=1)
        self.b = nn.Conv2d(width, width, 3, padding=1)

    def forward(self, x: Tensor) -> Tensor:
        return x + self.b(F.relu(self.a(F.relu(x))))


class Enlarge(nn.Module):
    """Twice the side: a 1×1 convolution to four times the channels, dealt out over 2×2 pixels."""

    def __init__(self, width: int, next_width: int) -> None:
        super().__init__()
        self.c = nn.Conv2d(width, 4 * next_width, 1)

    def forward(self, x: Tensor) -> Tensor:
        return F.pixel_shuffle(self.c(x), 2)


class Decoder(nn.Module):
    """From normalised latents, as the denoiser knows them, to a picture."""

    mean: Tensor
    deviation: Tensor

    def __init__(self, mean: Tensor, deviation: Tensor) -> None:
        """`mean` and `deviation` (16,) are those of the training pictures' latents, channel by channel."""
        super().__init__()
        wide, medium, narrow = _WIDTHS
        self.net = nn.Sequential(
            nn.Conv2d(LATENT_CHANNELS, wide, 3, padding=1),
            Residual(wide),
            Enlarge(wide, medium),
            Residual(medium),
            Enlarge(medium, narrow),
            Residual(narrow),
            Residual(narrow),
            nn.ReLU(),
            nn.Conv2d(narrow, 48, 3, padding=1),
        )
        self.register_buffer("mean", mean)
        self.register_buffer("deviation", deviation)

    def forward(self, latents: Tensor) -> Tensor:
        """Pictures (B, 128, 128, 3), 0..255, not yet rounded, of `latents` (B, 64, 16)."""
        x = latents * self.deviation + self.mean
        # The encoder's latents have unit length at each position; the decoder has never seen others.
        x = x * torch.rsqrt(x.pow(2).mean(-1, keepdim=True) + 1e-6)
        x = x.transpose(1, 2).reshape(-1, LATENT_CHANNELS, LATENT_SIDE, LATENT_SIDE)
        picture = F.pixel_shuffle(self.net(x), 4)
        return ((picture + 1) * 127.5).clamp(0, 255).permute(0, 2, 3, 1)


def from_study(tensors: Mapping[str, Tensor]) -> Decoder:
    """The decoder with the weights of the feasibility study's autoencoder; its encoder is left behind."""
    decoder = Decoder(tensors["latent_mean"].float(), tensors["latent_std"].float())
    weights = {name[len("dec.") :]: tensor.float() for name, tensor in tensors.items() if name.startswith("dec.")}
    decoder.load_state_dict({**weights, "mean": decoder.mean, "deviation": decoder.deviation})
    return decoder.eval()
