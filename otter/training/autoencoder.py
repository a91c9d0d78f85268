"""What both autoencoders have in common, and how they learn.

Pixels have red, green and blue multiplied by alpha, and all four run from −1 to 1. Latents have unit mean square at
each position, and the decoder learns from latents with noise on them, so near latents mean near pictures: that is what
the denoiser needs, and it takes the place of a variational loss.
"""

import torch
from torch import Tensor, nn
from torch.nn import functional as F

SIDE = 256


def unit(latents: Tensor, groups: int = 1) -> Tensor:
    """Mean square 1 at each position, over the channels of each of so many groups."""
    grouped = latents.unflatten(1, (groups, -1))
    return (grouped * torch.rsqrt(grouped.pow(2).mean(2, keepdim=True) + 1e-6)).flatten(1, 2)


class Autoencoder(nn.Module):
    """Both halves, and the latents' mean and deviation by which the denoiser's are normalised.

    Pictures are (B, 4, 256, 256), latents (B, channels, side, side), tokens (B, side · side, channels).
    """

    mean: Tensor
    deviation: Tensor

    def __init__(
        self, encoder: nn.Module, decoder: nn.Module, side: int, channels: int, last_noise: float, groups: int = 1
    ) -> None:
        super().__init__()
        self.encoder = encoder
        self.decoder = decoder
        self.side, self.channels, self.groups, self.stride = side, channels, groups, SIDE // side
        self._last_noise = last_noise
        self.register_buffer("mean", torch.zeros(channels))
        self.register_buffer("deviation", torch.ones(channels))

    def forward(self, pictures: Tensor, noise: Tensor) -> tuple[Tensor, Tensor]:
        """Pictures again, through latents with `noise` added, of their shape; and those latents without it."""
        latents = self.encoder(pictures)
        return self.decoder(latents.to(noise.dtype) + noise), latents

    def tokens(self, pictures: Tensor) -> Tensor:
        """Normalised latents as the denoiser knows them, rows from the top left."""
        tokens = self.encoder(pictures).flatten(2).transpose(1, 2)
        return (tokens - self.mean) / self.deviation

    def pictures(self, tokens: Tensor) -> Tensor:
        """Pictures of normalised latents."""
        latents = (tokens * self.deviation + self.mean).transpose(1, 2)
        return self.decoder(unit(latents.reshape(-1, self.channels, self.side, self.side), self.groups))

    def noise_for(self, pictures: Tensor) -> Tensor:
        """Noise for the latents of these pictures, of another strength for each."""
        count, side = len(pictures), pictures.shape[-1] // self.stride
        strength = torch.rand(count, 1, 1, 1, device=pictures.device) * self._last_noise
        return strength * torch.randn(count, self.channels, side, side, device=pictures.device)


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
