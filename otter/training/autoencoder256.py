"""The autoencoder of otter-1 at 256 pixels: RGBA pictures to 16×16 latents of 16 channels and back.

`autoencoder` has what it shares with the compact one.
"""

from torch import Tensor, nn
from torch.nn import functional as F

from . import autoencoder
from .autoencoder import unit

LATENT_SIDE = 16
LATENT_CHANNELS = 16
LATENT_TOKENS = LATENT_SIDE * LATENT_SIDE

_LAST_NOISE = 0.2


class Residual(nn.Module):
    """Two 3×3 convolutions beside a straight path; at first nothing but the path."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.a = nn.Conv2d(width, width, 3, padding=1)
        self.b = nn.Conv2d(width, width, 3, padding=1)
        nn.init.zeros_(self.b.weight)
        nn.init.zeros_(self.b.bias)

    def forward(self, x: Tensor) -> Tensor:
        return x + self.b(F.silu(self.a(F.silu(x))))


class Reduce(nn.Module):
    """Half the side: 2×2 pixels become channels, mixed by a 1×1 convolution."""

    def __init__(self, width: int, next_width: int) -> None:
        super().__init__()
        self.mix = nn.Conv2d(4 * width, next_width, 1)

    def forward(self, x: Tensor) -> Tensor:
        return self.mix(F.pixel_unshuffle(x, 2))


class Enlarge(nn.Module):
    """Twice the side: a 1×1 convolution to four times the channels, dealt out over 2×2 pixels."""

    def __init__(self, width: int, next_width: int) -> None:
        super().__init__()
        self.mix = nn.Conv2d(width, 4 * next_width, 1)

    def forward(self, x: Tensor) -> Tensor:
        return F.pixel_shuffle(self.mix(x), 2)


def _keep_scale(model: nn.Module) -> None:
    """Begin with convolutions that leave the scale of what passes them as it is; without norms it would fade away."""
    for part in model.modules():
        if isinstance(part, nn.Conv2d) and part.weight.abs().sum() > 0:
            nn.init.kaiming_normal_(part.weight, nonlinearity="linear")
            assert part.bias is not None
            nn.init.zeros_(part.bias)


def _residuals(width: int, count: int) -> list[nn.Module]:
    return [Residual(width) for _ in range(count)]


class Encoder(nn.Module):
    """Pictures (B, 4, 256, 256) to latents (B, 16, 16, 16); needed in training and for image-to-image."""

    def __init__(self, widths: tuple[int, int, int, int] = (48, 96, 160, 256)) -> None:
        super().__init__()
        a, b, c, d = widths
        self.net = nn.Sequential(
            nn.PixelUnshuffle(2),
            nn.Conv2d(16, a, 3, padding=1),
            *_residuals(a, 1),
            Reduce(a, b),
            *_residuals(b, 2),
            Reduce(b, c),
            *_residuals(c, 2),
            Reduce(c, d),
            *_residuals(d, 1),
            nn.SiLU(),
            nn.Conv2d(d, LATENT_CHANNELS, 3, padding=1),
        )
        _keep_scale(self)

    def forward(self, pictures: Tensor) -> Tensor:
        return unit(self.net(pictures).float())


class Decoder(nn.Module):
    """Latents (B, 16, 16, 16) to pictures (B, 4, 256, 256); 3.7 million weights, 7.5 MB as halves."""

    def __init__(
        self, widths: tuple[int, int, int, int] = (256, 192, 128, 64), depths: tuple[int, int, int, int] = (1, 2, 2, 3)
    ) -> None:
        super().__init__()
        a, b, c, d = widths
        self.net = nn.Sequential(
            nn.Conv2d(LATENT_CHANNELS, a, 3, padding=1),
            *_residuals(a, depths[0]),
            Enlarge(a, b),
            *_residuals(b, depths[1]),
            Enlarge(b, c),
            *_residuals(c, depths[2]),
            Enlarge(c, d),
            *_residuals(d, depths[3]),
            nn.SiLU(),
            nn.Conv2d(d, 16, 3, padding=1),
            nn.PixelShuffle(2),
        )
        _keep_scale(self)

    def forward(self, latents: Tensor) -> Tensor:
        return self.net(latents)


class Autoencoder(autoencoder.Autoencoder):
    """Latents of one group, with unit mean square at each position."""

    def __init__(self) -> None:
        super().__init__(Encoder(), Decoder(), LATENT_SIDE, LATENT_CHANNELS, _LAST_NOISE)
