"""The autoencoder of otter-1 at 256 pixels: RGBA pictures to 16×16 latents of 16 channels and back.

Pixels have red, green and blue multiplied by alpha, and all four run from −1 to 1. Latents have unit mean square at
each position, and the decoder learns from latents with noise on them, so near latents mean near pictures: that is what
the denoiser needs, and it takes the place of a variational loss.
"""

import torch
from torch import Tensor, nn
from torch.nn import functional as F

SIDE = 256
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


class Autoencoder(nn.Module):
    """Both halves, and the latents' mean and deviation by which the denoiser's are normalised."""

    mean: Tensor
    deviation: Tensor
    stride = SIDE // LATENT_SIDE

    def __init__(self) -> None:
        super().__init__()
        self.encoder = Encoder()
        self.decoder = Decoder()
        self.register_buffer("mean", torch.zeros(LATENT_CHANNELS))
        self.register_buffer("deviation", torch.ones(LATENT_CHANNELS))

    def forward(self, pictures: Tensor, noise: Tensor) -> tuple[Tensor, Tensor]:
        """Pictures again, through latents with `noise` (B, 16, 16, 16) added; and those latents without it."""
        latents = self.encoder(pictures)
        return self.decoder(latents.to(noise.dtype) + noise), latents

    def tokens(self, pictures: Tensor) -> Tensor:
        """Normalised latents (B, 256, 16) as the denoiser knows them, rows from the top left."""
        tokens = self.encoder(pictures).flatten(2).transpose(1, 2)
        return (tokens - self.mean) / self.deviation

    def pictures(self, tokens: Tensor) -> Tensor:
        """Pictures (B, 4, 256, 256) of normalised latents (B, 256, 16)."""
        latents = (tokens * self.deviation + self.mean).transpose(1, 2)
        return self.decoder(unit(latents.reshape(-1, LATENT_CHANNELS, LATENT_SIDE, LATENT_SIDE)))

    def noise_for(self, pictures: Tensor) -> Tensor:
        """Noise for the latents of these pictures, of another strength for each."""
        count, side = len(pictures), pictures.shape[-1] // self.stride
        strength = torch.rand(count, 1, 1, 1, device=pictures.device) * _LAST_NOISE
        return strength * torch.randn(count, LATENT_CHANNELS, side, side, device=pictures.device)


def unit(latents: Tensor) -> Tensor:
    """Mean square 1 over the channels of each position."""
    return latents * torch.rsqrt(latents.pow(2).mean(1, keepdim=True) + 1e-6)


def to_signed(pixels: Tensor) -> Tensor:
    """(B, 256, 256, 4) bytes to (B, 4, 256, 256) in −1..1."""
    pictures = pixels.permute(0, 3, 1, 2).float() / 127.5 - 1
    return pictures.contiguous(memory_format=torch.channels_last)


def to_bytes(pictures: Tensor) -> Tensor:
    """(B, 4, 256, 256) in −1..1 to (B, 256, 256, 4) bytes, no colour above its alpha."""
    pixels = ((pictures.float() + 1) * 127.5).round().clamp(0, 255)
    colours, alpha = pixels.split([3, 1], 1)
    return torch.cat([torch.minimum(colours, alpha), alpha], 1).permute(0, 2, 3, 1).to(torch.uint8)


def reconstruction_loss(painted: Tensor, real: Tensor) -> tuple[Tensor, Tensor]:
    """The loss, and the mean absolute error alone for people to read.

    The pictures are compared on a ground of any colour, another for each: what is transparent in one and not in the
    other then counts as much as it can ever be seen. Alpha counts by itself too, and differences between neighbours, at
    three scales, count half: they are what makes edges sharp.
    """
    error = painted.float() - real
    colours, alpha = error.split([3, 1], 1)
    ground = torch.rand(len(error), 3, 1, 1, device=error.device)
    seen = torch.cat([colours - ground * alpha, alpha], 1)
    plain = seen.abs().mean()
    edges = torch.zeros((), device=error.device)
    for scale in range(3):
        edges = (
            edges + (seen[..., 1:] - seen[..., :-1]).abs().mean() + (seen[..., 1:, :] - seen[..., :-1, :]).abs().mean()
        )
        if scale < 2:
            seen = F.avg_pool2d(seen, 2)
    return plain + 0.5 * edges, plain.detach()


class Critic(nn.Module):
    """Tells painted from real patches (PatchGAN, arXiv:1611.07004), with spectral norms (arXiv:1802.05957)."""

    def __init__(self, width: int = 64) -> None:
        super().__init__()
        norm = nn.utils.parametrizations.spectral_norm
        self.net = nn.Sequential(
            norm(nn.Conv2d(4, width, 4, stride=2, padding=1)),
            nn.LeakyReLU(0.2),
            norm(nn.Conv2d(width, 2 * width, 4, stride=2, padding=1)),
            nn.LeakyReLU(0.2),
            norm(nn.Conv2d(2 * width, 4 * width, 4, stride=2, padding=1)),
            nn.LeakyReLU(0.2),
            norm(nn.Conv2d(4 * width, 4 * width, 3, padding=1)),
            nn.LeakyReLU(0.2),
            norm(nn.Conv2d(4 * width, 1, 3, padding=1)),
        )

    def forward(self, pictures: Tensor) -> Tensor:
        return self.net(pictures)
