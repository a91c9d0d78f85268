"""The networks of otter-1 that a few CPU cores can train: RGBA pictures of 256 pixels in 8×8 latents of 32 channels.

They grow out of the feasibility study's weights instead of beginning anew. The encoder still computes the study's 16
channels, held near what they were while it learns 16 more, for alpha and for what those leave out; few positions with
many channels are DC-AE's way (arXiv:2410.10733). So the study's denoiser understands half of each latent from the first
step on, and what it has learnt of words is kept. What is new in it begins as nothing: blocks that add zero, channels
whose velocity is predicted as zero.

The decoder begins as the study's, with pixels twice as fine to learn. Pixels and noise are as in `autoencoder`.
"""

from collections.abc import Mapping
from itertools import chain

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from . import autoencoder
from . import decoder as study_decoder
from . import denoiser as study_denoiser
from . import encoder as study_encoder
from .autoencoder import unit
from .decoder import Enlarge, Residual
from .denoiser import LATENT_SIDE, Block
from .hourglass import TEXT_WIDTH, Hourglass, Shape

STUDY_CHANNELS = study_denoiser.LATENT_CHANNELS
LATENT_CHANNELS = 2 * STUDY_CHANNELS

_LAST_NOISE = 0.25
_LEAK = 0.1
_FINE_WIDTH = 64


class LeakyResidual(nn.Module):
    """Two 3×3 convolutions beside a straight path; what is negative passes, too, or narrow layers soon pass nothing."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.a = nn.Conv2d(width, width, 3, padding=1)
        self.b = nn.Conv2d(width, width, 3, padding=1)

    def forward(self, x: Tensor) -> Tensor:
        return x + self.b(F.leaky_relu(self.a(F.leaky_relu(x, _LEAK)), _LEAK))


class Encoder(nn.Module):
    """Pictures (B, 4, 256, 256) to latents (B, 32, 8, 8); 2.7 million weights.

    It looks at half the pixels, as the study's did: the picture on white, and its alpha beside it.
    """

    def __init__(self) -> None:
        super().__init__()
        medium, wide = 192, 256
        self.net = nn.Sequential(
            nn.PixelUnshuffle(8),
            nn.Conv2d(4 * 8 * 8, medium, 3, padding=1),
            Residual(medium),
            nn.Conv2d(medium, wide, 3, stride=2, padding=1),
            Residual(wide),
            nn.ReLU(),
            nn.Conv2d(wide, LATENT_CHANNELS, 1),
        )

    def forward(self, pictures: Tensor) -> Tensor:
        colours, alpha = F.avg_pool2d(pictures, 2).split([3, 1], 1)
        return unit(self.net(torch.cat([on_white(colours, alpha), alpha], 1)).float(), groups=2)


class Decoder(nn.Module):
    """Latents (B, 32, 8, 8) to pictures (B, 4, 256, 256); 2.8 million weights.

    The study's decoder paints 128 pixels, now with alpha; a finer branch adds what is missing at 256. Inside, colours
    are those on white, as the study's were.
    """

    is_fine = True
    """Whether it paints all of 256 pixels; 128 are all that the encoder sees, and it learns from them much faster."""

    def __init__(self) -> None:
        super().__init__()
        wide, medium, narrow = 256, 192, 96
        self.trunk = nn.Sequential(
            nn.Conv2d(LATENT_CHANNELS, wide, 3, padding=1),
            Residual(wide),
            Enlarge(wide, medium),
            Residual(medium),
            Enlarge(medium, narrow),
            Residual(narrow),
            Residual(narrow),
        )
        self.coarse = nn.Sequential(nn.ReLU(), nn.Conv2d(narrow, 64, 3, padding=1), nn.PixelShuffle(4))
        self.fine = nn.Sequential(
            Enlarge(narrow, _FINE_WIDTH),
            LeakyResidual(_FINE_WIDTH),
            LeakyResidual(_FINE_WIDTH),
            nn.LeakyReLU(_LEAK),
            nn.Conv2d(_FINE_WIDTH, 64, 3, padding=1),
            nn.PixelShuffle(4),
        )
        _keep_scale(self.fine)
        nn.init.zeros_(_convolution(self.fine[4]).weight)

    def forward(self, latents: Tensor) -> Tensor:
        features = self.trunk(latents)
        painted = self.coarse(features)
        if self.is_fine:
            painted = F.interpolate(painted, scale_factor=2, mode="bilinear") + self.fine(features)
        seen, alpha = painted.split([3, 1], 1)
        return torch.cat([seen + alpha - 1, alpha], 1)


class Autoencoder(autoencoder.Autoencoder):
    """Latents of two groups, the study's channels and the new ones, each with unit mean square at every position."""

    encoder: Encoder
    decoder: Decoder

    def __init__(self) -> None:
        super().__init__(Encoder(), Decoder(), LATENT_SIDE, LATENT_CHANNELS, _LAST_NOISE, groups=2)

    @classmethod
    def from_study(cls, tensors: Mapping[str, Tensor]) -> "Autoencoder":
        """Begin with the feasibility study's autoencoder: its 16 channels, and the first stages of its decoder."""
        model = cls()
        old = study_encoder.from_study(tensors).net
        with torch.no_grad():
            first = _convolution(model.encoder.net[1])
            first.weight.zero_()
            first.weight[:, : 3 * 64] = _convolution(old[1]).weight
            _same(first.bias, _convolution(old[1]).bias)
            for place in (2, 3, 4):
                model.encoder.net[place].load_state_dict(old[place].state_dict())
            last = _convolution(model.encoder.net[6])
            last.weight[:STUDY_CHANNELS] = _convolution(old[6]).weight
            assert last.bias is not None
            last.bias[:STUDY_CHANNELS] = _convolution(old[6]).bias
            painting = study_decoder.from_study(tensors).net
            opening = _convolution(model.decoder.trunk[0])
            opening.weight[:, :STUDY_CHANNELS] = _convolution(painting[0]).weight
            opening.weight[:, STUDY_CHANNELS:] *= 0.3
            _same(opening.bias, _convolution(painting[0]).bias)
            for place in range(1, 7):
                model.decoder.trunk[place].load_state_dict(painting[place].state_dict())
            closing, ending = _convolution(model.decoder.coarse[1]), _convolution(painting[8])
            closing.weight.zero_()
            closing.weight[:48] = ending.weight
            assert closing.bias is not None
            closing.bias.fill_(1)  # Opaque, until it is learnt what is not.
            _same(closing.bias[:48], ending.bias)
        return model


def _keep_scale(net: nn.Module) -> None:
    """Begin with convolutions that leave the scale of what passes them as it is, and residuals that add nothing."""
    for part in net.modules():
        if isinstance(part, nn.Conv2d):
            nn.init.kaiming_normal_(part.weight, nonlinearity="linear")
            _zero(part.bias)
    for part in net.modules():
        if isinstance(part, LeakyResidual):
            nn.init.zeros_(part.b.weight)


def _zero(bias: Tensor | None) -> None:
    assert bias is not None
    nn.init.zeros_(bias)


def _convolution(part: nn.Module) -> nn.Conv2d:
    assert isinstance(part, nn.Conv2d)
    return part


def _same(to: Tensor | None, of: Tensor | None) -> None:
    assert to is not None
    assert of is not None
    to.copy_(of)


def on_white(colours: Tensor, alpha: Tensor) -> Tensor:
    """Signed colours multiplied by alpha, laid on white: with p = (P + 1)/2, a = (A + 1)/2, it is p + 1 − a, signed."""
    return colours - alpha + 1


class StudyLatents(nn.Module):
    """What the study's encoder makes of a picture: where the first 16 channels are to stay."""

    def __init__(self, tensors: Mapping[str, Tensor]) -> None:
        super().__init__()
        self.net = study_encoder.from_study(tensors).net
        self.requires_grad_(False)

    def forward(self, pictures: Tensor) -> Tensor:
        colours, alpha = F.avg_pool2d(pictures, 2).split([3, 1], 1)
        return unit(self.net(on_white(colours, alpha)).float())


class Denoiser(Hourglass):
    """The study's hourglass (see `denoiser`) with twice the channels, one more block at each end, and guidance
    among what steers it.
    """

    def __init__(self, width: int = 384, layers: int = 8, outer_width: int = 192, outer_layers: int = 2) -> None:
        super().__init__(
            Shape(LATENT_SIDE, LATENT_CHANNELS, width, layers, outer_width, outer_layers),
            outer_block=lambda: Block(outer_width, outer_width // 64),
            inner_block=lambda: Block(width, width // 64, TEXT_WIDTH),
        )
        for block in chain(self.first, self.middle, self.last):
            assert isinstance(block, Block)
            _add_nothing(block)

    @classmethod
    def from_study(cls, tensors: Mapping[str, Tensor]) -> "Denoiser":
        """Begin with the feasibility study's denoiser: of the first 16 channels it says what that said."""
        model = cls()
        model.begin_as(study_denoiser.from_study(tensors))
        return model

    def begin_as(self, study: study_denoiser.Denoiser) -> None:
        """Take over the weights of the study's denoiser; all that it does not have adds nothing."""
        new = self.state_dict()
        for name, tensor in study.state_dict().items():
            if name in ("enter.weight", "leave.weight", "leave.bias"):
                new[name].zero_()
                new[name][tuple(slice(length) for length in tensor.shape)] = tensor
            elif name.startswith("first."):
                new[name.replace("first.", "first.0.", 1)] = tensor
            elif name.startswith("last."):
                new[name.replace("last.", f"last.{len(self.last) - 1}.", 1)] = tensor
            else:
                new[name] = tensor
        self.load_state_dict(new)


def _add_nothing(block: Block) -> None:
    """Let it begin as a block that leaves everything as it is."""
    layers = [block.self_attention.out, block.down]
    if block.cross_attention is not None:
        layers.append(block.cross_attention.out)
    for layer in layers:
        nn.init.zeros_(layer.weight)
        nn.init.zeros_(layer.bias)


def smaller() -> Denoiser:
    """For proofs that training runs; it paints nothing worth seeing."""
    return Denoiser(width=128, layers=2, outer_width=64, outer_layers=1)
