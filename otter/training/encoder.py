"""The encoder of the autoencoder: a picture of 128×128 becomes 8×8 latents of 16 channels; 2.6 million weights."""

from collections.abc import Mapping

import torch
from torch import Tensor, nn

from .decoder import Residual
from .denoiser import LATENT_CHANNELS

_WIDTHS = (192, 256)


class Encoder(nn.Module):
    """From a picture to normalised latents, as the denoiser knows them: what `Decoder` undoes."""

    mean: Tensor
    deviation: Tensor

    def __init__(self, mean: Tensor, deviation: Tensor) -> None:
        """`mean` and `deviation` (16,) are those of the training pictures' latents, channel by channel."""
        super().__init__()
        medium, wide = _WIDTHS
        self.net = nn.Sequential(
            nn.PixelUnshuffle(8),
            nn.Conv2d(3 * 8 * 8, medium, 3, padding=1),
            Residual(medium),
            nn.Conv2d(medium, wide, 3, stride=2, padding=1),
            Residual(wide),
            nn.ReLU(),
            nn.Conv2d(wide, LATENT_CHANNELS, 1),
        )
        self.register_buffer("mean", mean)
        self.register_buffer("deviation", deviation)

    def forward(self, pictures: Tensor) -> Tensor:
        """Latents (B, 64, 16) of `pictures` (B, 128, 128, 3), 0..255."""
        x = self.net(pictures.permute(0, 3, 1, 2) / 127.5 - 1).flatten(2).transpose(1, 2)
        x = x * torch.rsqrt(x.pow(2).mean(-1, keepdim=True) + 1e-6)
        return (x - self.mean) / self.deviation


def from_study(tensors: Mapping[str, Tensor]) -> Encoder:
    """The encoder with the weights of the feasibility study's autoencoder."""
    encoder = Encoder(tensors["latent_mean"].float(), tensors["latent_std"].float())
    weights = {name[len("enc.") :]: tensor.float() for name, tensor in tensors.items() if name.startswith("enc.")}
    encoder.load_state_dict({**weights, "mean": encoder.mean, "deviation": encoder.deviation})
    return encoder.eval()
