"""The matching model: judges whether a picture shows what a caption says; for evaluation only.

A small image encoder and a small head on the frozen text encoder learn to bring pictures and their captions together
(arXiv:2103.00020). It learns from other samples than the denoiser (other seeds), and from what is held out as well: it
has to know a pink guitar to judge one. It never sees a generated picture.
"""

import math
from pathlib import Path

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from .autoencoder import to_signed
from .hourglass import TEXT_WIDTH
from .learn import Clock, Log, Trainee, every_minutes, load_halves, weights_file
from .shards import Resident
from .text256 import Text

FEATURES = 256
"""How many numbers describe a picture or a caption."""


class _Stage(nn.Module):
    """Half the side, then a residual of two 3×3 convolutions, with group norms."""

    def __init__(self, width: int, next_width: int) -> None:
        super().__init__()
        self.reduce = nn.Conv2d(width, next_width, 3, stride=2, padding=1)
        self.norm = nn.GroupNorm(8, next_width)
        self.a = nn.Conv2d(next_width, next_width, 3, padding=1)
        self.b = nn.Conv2d(next_width, next_width, 3, padding=1)

    def forward(self, x: Tensor) -> Tensor:
        x = self.norm(self.reduce(x))
        return x + self.b(F.silu(self.a(F.silu(x))))


class ImageEncoder(nn.Module):
    """Pictures (B, 4, 256, 256) to directions (B, 256); looks at 128 pixels, and where things are counts."""

    def __init__(self) -> None:
        super().__init__()
        self.stages = nn.Sequential(_Stage(4, 32), _Stage(32, 64), _Stage(64, 128), _Stage(128, 320))
        self.positions = nn.Parameter(torch.randn(1, 64, 320) * 0.02)
        self.attend = nn.MultiheadAttention(320, 5, batch_first=True)
        self.norm = nn.LayerNorm(320)
        self.out = nn.Sequential(nn.Linear(640, 640), nn.SiLU(), nn.Linear(640, FEATURES))

    def forward(self, pictures: Tensor) -> Tensor:
        places = self.stages(F.avg_pool2d(pictures, 2)).flatten(2).transpose(1, 2)
        places = places + self.positions
        mixed = places + self.attend(self.norm(places), self.norm(places), self.norm(places), need_weights=False)[0]
        return F.normalize(self.out(torch.cat([mixed.mean(1), mixed.amax(1)], 1)).float(), dim=-1)


class TextHead(nn.Module):
    """The text encoder's states to directions (B, 256)."""

    def __init__(self) -> None:
        super().__init__()
        layer = nn.TransformerEncoderLayer(TEXT_WIDTH, 6, 2 * TEXT_WIDTH, 0.0, batch_first=True, norm_first=True)
        self.layers = nn.TransformerEncoder(layer, 2, enable_nested_tensor=False)
        self.out = nn.Linear(2 * TEXT_WIDTH, FEATURES)

    def forward(self, states: Tensor, pooled: Tensor, mask: Tensor) -> Tensor:
        read = self.layers(states, src_key_padding_mask=mask == 0)
        weights = mask[..., None].to(read.dtype)
        mean = (read * weights).sum(1) / weights.sum(1)
        return F.normalize(self.out(torch.cat([mean, pooled], 1)).float(), dim=-1)


class Matcher(nn.Module):
    """Both encoders and the temperature of their likeness."""

    def __init__(self) -> None:
        super().__init__()
        self.image = ImageEncoder()
        self.text = TextHead()
        self.log_scale = nn.Parameter(torch.tensor(math.log(10.0)))

    def forward(self, pictures: Tensor, states: Tensor, pooled: Tensor, mask: Tensor) -> tuple[Tensor, Tensor]:
        return self.image(pictures), self.text(states, pooled, mask)


def train_matcher(
    models: Path,
    pictures: Resident,
    text: Text,
    batch: int,
    minutes: float,
    total: float | None,
    warm_steps: int,
    log_every: int,
) -> Log:
    """Bring pictures and captions of the same sample together, and no others."""
    trainee = Trainee("matcher", Matcher(), models, pictures.device)
    clock, log, due = Clock(trainee.progress, minutes, total), Log("matcher", log_every), every_minutes(4)
    pictures.refresh(max(1, len(pictures.pictures) // 256))
    same = torch.arange(batch, device=pictures.device)
    while clock.is_running():
        if trainee.steps_here % 50 == 0:
            pictures.refresh()
        pixels, ids = pictures.batch(batch)
        states, pooled, mask = text.encode(ids)
        with trainee.autocast():
            shown, said = trainee.model(
                trainee.cast(to_signed(pixels)), trainee.cast(states), trainee.cast(pooled), mask
            )
        scale = trainee.model.get_parameter("log_scale").float().clamp(max=math.log(60)).exp()
        likeness = shown @ said.T * scale
        loss = (F.cross_entropy(likeness, same) + F.cross_entropy(likeness.T, same)) / 2
        loss.backward()
        trainee.step(clock.rate(6e-4, warm_steps, trainee.steps_here))
        found = (likeness.argmax(1) == same).float().mean()
        log.add(trainee, batch, loss=loss, found=found)
        if next(due):
            trainee.save()
    trainee.save()
    return log


def load_matcher(models: Path) -> Matcher:
    """The averaged weights in `models`, for judging."""
    model = Matcher()
    load_halves(model, weights_file(models, "matcher"))
    return model.eval().requires_grad_(False)
