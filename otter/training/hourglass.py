"""What both denoisers have in common: a rectified-flow transformer in the shape of an hourglass.

A few blocks work on all positions of the latents, then each square of 2×2 becomes one token, and most blocks work on
the tokens, looking at the text; the last ones work on all positions again, with what the first ones left as a skip.
Time, guidance and the pooled text steer every block (adaLN-single, PixArt-α, arXiv:2310.00426).

Sizes are plain numbers in `forward`, not read off tensors: the exported graph then has no arithmetic on shapes.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional as F

TEXT_TOKENS = 20
TEXT_WIDTH = 384

MASKED = -1e4
"""What is added to the attention score of a token that is not there; small enough for half precision."""


def plain_layer_norm(x: Tensor) -> Tensor:
    """Layer norm without weights of its own: the modulation around it scales and shifts."""
    return F.layer_norm(x, (int(x.shape[-1]),))


def parts(x: Tensor, count: int, axis: int) -> tuple[Tensor, ...]:
    """`count` equal parts along `axis`; unlike `chunk`, exported as one node."""
    return x.split([int(x.shape[axis]) // count] * count, axis)


def squares_to_tokens(x: Tensor, side: int) -> Tensor:
    """Each square of 2×2 of the positions (B, side · side, width) as one token (B, side · side / 4, 4 · width)."""
    half, width = side // 2, int(x.shape[-1])
    squares = x.view(-1, half, 2, half, 2, width).permute(0, 1, 3, 2, 4, 5)
    return squares.reshape(-1, half * half, 4 * width)


def tokens_to_squares(x: Tensor, side: int) -> Tensor:
    """The way back: tokens (B, side · side / 4, 4 · width) as positions (B, side · side, width)."""
    half, width = side // 2, int(x.shape[-1]) // 4
    squares = x.view(-1, half, half, 2, 2, width).permute(0, 1, 3, 2, 4, 5)
    return squares.reshape(-1, side * side, width)


def time_frequencies() -> Tensor:
    """(128,): by what the time is multiplied before its cosine and sine are taken."""
    return 1000 * torch.exp(-math.log(1e4) * torch.arange(128) / 128)


@dataclass(frozen=True, slots=True)
class Shape:
    """Of an hourglass: its latents, `side` × `side` positions of `channels`, and its blocks."""

    side: int
    channels: int
    width: int
    layers: int
    """Blocks in the middle, on tokens, `width` wide."""
    outer_width: int
    outer_layers: int
    """Blocks at each end, on all positions."""


class Hourglass(nn.Module):
    """Predicts the velocity `noise − data` of latents on their way from noise to data."""

    frequencies: Tensor

    def __init__(
        self, shape: Shape, outer_block: Callable[[], nn.Module], inner_block: Callable[[], nn.Module]
    ) -> None:
        """Blocks are called with what they work on and their modulation (B, 6, width), those in the middle also with
        the text's states and what is added to the attention scores of each of them.
        """
        super().__init__()
        self.shape = shape
        positions = shape.side * shape.side
        self.latent_shape = (positions, shape.channels)
        width, outer_width = shape.width, shape.outer_width
        self.enter = nn.Linear(shape.channels, outer_width)
        self.outer_positions = nn.Parameter(torch.randn(1, positions, outer_width) * 0.02)
        self.inner_positions = nn.Parameter(torch.randn(1, positions // 4, width) * 0.02)
        self.first = nn.ModuleList(outer_block() for _ in range(shape.outer_layers))
        self.merge = nn.Linear(4 * outer_width, width)
        self.middle = nn.ModuleList(inner_block() for _ in range(shape.layers))
        self.split = nn.Linear(width, 4 * outer_width)
        self.last = nn.ModuleList(outer_block() for _ in range(shape.outer_layers))
        self.time = nn.Sequential(nn.Linear(256, width), nn.SiLU(), nn.Linear(width, width))
        self.guidance = nn.Sequential(nn.Linear(2, width), nn.SiLU(), nn.Linear(width, width))
        self.pooled_text = nn.Linear(TEXT_WIDTH, width)
        self.inner_modulation = nn.Linear(width, 6 * width)
        self.outer_modulation = nn.Linear(width, 6 * outer_width)
        self.final_modulation = nn.Linear(width, 2 * outer_width)
        self.leave = nn.Linear(outer_width, shape.channels)
        self.null_states = nn.Parameter(torch.zeros(1, 1, TEXT_WIDTH))
        self.null_pooled = nn.Parameter(torch.zeros(1, TEXT_WIDTH))
        for layer in (
            self.guidance[2],
            self.inner_modulation,
            self.outer_modulation,
            self.final_modulation,
            self.leave,
        ):
            nn.init.zeros_(layer.weight)
            nn.init.zeros_(layer.bias)
        self.register_buffer("frequencies", time_frequencies(), persistent=False)

    def forward(
        self, latents: Tensor, t: Tensor, guidance: Tensor, states: Tensor, pooled: Tensor, mask: Tensor
    ) -> Tensor:
        """Velocity of `latents` (B, positions, channels), rows from the top left.

        `t` (B,) in 0..1, 1 is noise; `guidance` (B,) is 1 for the plain velocity, more for what guidance would make of
        it, once that is distilled; `states` (B, 20, 384) and `pooled` (B, 384) come from the text encoder; `mask`
        (B, 20) is 1 where there is a word piece and 0 where there is padding.
        """
        shape, kind = self.shape, self.enter.weight.dtype
        text_bias = ((1 - mask) * MASKED)[:, None, None, :].to(kind)
        angles = t[:, None] * self.frequencies[None]
        time = self.time(torch.cat([angles.cos(), angles.sin()], 1).to(kind))
        wish = self.guidance(torch.stack([guidance - 1, guidance.log()], 1).to(kind))
        steer = F.silu(time + wish + self.pooled_text(pooled.to(kind)))
        inner = self.inner_modulation(steer).view(-1, 6, shape.width)
        outer = self.outer_modulation(steer).view(-1, 6, shape.outer_width)

        x = self.enter(latents.to(kind)) + self.outer_positions
        for block in self.first:
            x = block(x, outer)
        skip = x
        x = self.merge(squares_to_tokens(x, shape.side)) + self.inner_positions
        text = states.to(kind)
        for block in self.middle:
            x = block(x, inner, text, text_bias)
        x = tokens_to_squares(self.split(plain_layer_norm(x)), shape.side) + skip
        for block in self.last:
            x = block(x, outer)

        scale, shift = parts(self.final_modulation(steer).unsqueeze(1), 2, -1)
        return self.leave(plain_layer_norm(x) * (1 + scale) + shift)

    def without_text(self, count: int) -> tuple[Tensor, Tensor, Tensor]:
        """States, pooled and mask of what it learnt to read when nothing is said."""
        mask = torch.zeros(count, TEXT_TOKENS, device=self.null_pooled.device)
        mask[:, 0] = 1
        states = self.null_states.expand(count, TEXT_TOKENS, TEXT_WIDTH)
        return states, self.null_pooled.expand(count, TEXT_WIDTH), mask
