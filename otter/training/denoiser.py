"""The denoiser of the feasibility study, with which the compact one begins.

Latents are 8×8 positions of 16 channels, 16 tokens in the middle. It is an `hourglass` with one block at each end and
without guidance; the paths are straight from noise (t = 1) to data (t = 0) (rectified flow, arXiv:2209.03003).
"""

from collections.abc import Mapping

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from .hourglass import (
    MASKED,
    TEXT_WIDTH,
    parts,
    plain_layer_norm,
    squares_to_tokens,
    time_frequencies,
    tokens_to_squares,
)

LATENT_SIDE = 8
LATENT_CHANNELS = 16
LATENT_TOKENS = LATENT_SIDE * LATENT_SIDE


class Attention(nn.Module):
    """Multi-head attention of `x` (B, N, width) over itself or over `context` (B, M, context_width)."""

    def __init__(self, width: int, heads: int, context_width: int | None = None) -> None:
        super().__init__()
        self.heads = heads
        self.head_width = width // heads
        self.query = nn.Linear(width, width)
        self.key_value = nn.Linear(context_width or width, 2 * width)
        self.out = nn.Linear(width, width)

    def forward(self, x: Tensor, context: Tensor | None = None, bias: Tensor | None = None) -> Tensor:
        query = self._split_heads(self.query(x))
        key, value = map(self._split_heads, parts(self.key_value(x if context is None else context), 2, -1))
        scores = (query * self.head_width**-0.5) @ key.transpose(-1, -2)
        if bias is not None:
            scores = scores + bias
        mixed = scores.softmax(-1) @ value
        return self.out(mixed.transpose(1, 2).reshape(-1, int(x.shape[1]), self.heads * self.head_width))

    def _split_heads(self, x: Tensor) -> Tensor:
        return x.reshape(-1, int(x.shape[1]), self.heads, self.head_width).transpose(1, 2)


class Block(nn.Module):
    """Self-attention, cross-attention where there is text, and a feed-forward layer.

    `modulation` (B, 6, width) steers it: scale, shift and gate of the self-attention and of the feed-forward layer.
    """

    def __init__(self, width: int, heads: int, text_width: int | None = None) -> None:
        super().__init__()
        self.self_attention = Attention(width, heads)
        self.cross_attention = Attention(width, heads, text_width) if text_width else None
        self.up = nn.Linear(width, 4 * width)
        self.down = nn.Linear(4 * width, width)
        self.own_modulation = nn.Parameter(torch.zeros(1, 6, width))

    def forward(
        self, x: Tensor, modulation: Tensor, text: Tensor | None = None, text_bias: Tensor | None = None
    ) -> Tensor:
        scale_1, shift_1, gate_1, scale_2, shift_2, gate_2 = parts(modulation + self.own_modulation, 6, 1)
        x = x + (1 + gate_1) * self.self_attention(plain_layer_norm(x) * (1 + scale_1) + shift_1)
        if self.cross_attention is not None:
            x = x + self.cross_attention(plain_layer_norm(x), text, text_bias)
        hidden = self.up(plain_layer_norm(x) * (1 + scale_2) + shift_2)
        return x + (1 + gate_2) * self.down(F.silu(hidden))


class Denoiser(nn.Module):
    """Predicts the velocity `noise − data` of latents on their way from noise to data; 22.3 million weights."""

    frequencies: Tensor

    def __init__(self, width: int = 384, layers: int = 8, heads: int = 6, outer_width: int = 192) -> None:
        super().__init__()
        self.width = width
        self.outer_width = outer_width
        self.enter = nn.Linear(LATENT_CHANNELS, outer_width)
        self.outer_positions = nn.Parameter(torch.zeros(1, LATENT_TOKENS, outer_width))
        self.inner_positions = nn.Parameter(torch.zeros(1, LATENT_TOKENS // 4, width))
        self.first = Block(outer_width, outer_width // 64)
        self.merge = nn.Linear(4 * outer_width, width)
        self.middle = nn.ModuleList(Block(width, heads, TEXT_WIDTH) for _ in range(layers))
        self.split = nn.Linear(width, 4 * outer_width)
        self.last = Block(outer_width, outer_width // 64)
        self.time = nn.Sequential(nn.Linear(256, width), nn.SiLU(), nn.Linear(width, width))
        self.pooled_text = nn.Linear(TEXT_WIDTH, width)
        self.inner_modulation = nn.Linear(width, 6 * width)
        self.outer_modulation = nn.Linear(width, 6 * outer_width)
        self.final_modulation = nn.Linear(width, 2 * outer_width)
        self.leave = nn.Linear(outer_width, LATENT_CHANNELS)
        self.null_states = nn.Parameter(torch.zeros(1, 1, TEXT_WIDTH))
        self.null_pooled = nn.Parameter(torch.zeros(1, TEXT_WIDTH))
        self.register_buffer("frequencies", time_frequencies(), persistent=False)

    def forward(self, latents: Tensor, t: Tensor, states: Tensor, pooled: Tensor, mask: Tensor) -> Tensor:
        """Velocity (B, 64, 16) of `latents` (B, 64, 16), rows of the 8×8 grid from the top left.

        `t` (B,) in 0..1, 1 is noise; `states` (B, 20, 384) and `pooled` (B, 384) come from the text encoder; `mask`
        (B, 20) is 1 where there is a word piece and 0 where there is padding.
        """
        text_bias = ((1 - mask) * MASKED)[:, None, None, :]
        angles = t[:, None] * self.frequencies[None]
        steer = F.silu(self.time(torch.cat([angles.cos(), angles.sin()], 1)) + self.pooled_text(pooled))
        inner = self.inner_modulation(steer).view(-1, 6, self.width)
        outer = self.outer_modulation(steer).view(-1, 6, self.outer_width)

        skip = self.first(self.enter(latents) + self.outer_positions, outer)
        x = self.merge(squares_to_tokens(skip, LATENT_SIDE)) + self.inner_positions
        for block in self.middle:
            x = block(x, inner, states, text_bias)
        x = self.last(tokens_to_squares(self.split(plain_layer_norm(x)), LATENT_SIDE) + skip, outer)

        scale, shift = parts(self.final_modulation(steer).unsqueeze(1), 2, -1)
        return self.leave(plain_layer_norm(x) * (1 + scale) + shift)


_STUDY_NAMES = {
    "i": "enter",
    "p1": "outer_positions",
    "p2": "inner_positions",
    "dn.0": "first",
    "mg": "merge",
    "mid": "middle",
    "sp": "split",
    "up.0": "last",
    "te": "time",
    "pl": "pooled_text",
    "ad": "inner_modulation",
    "ad1": "outer_modulation",
    "om": "final_modulation",
    "o": "leave",
    "nt": "null_states",
    "np": "null_pooled",
}
_STUDY_BLOCK_NAMES = {
    "a": "self_attention",
    "x": "cross_attention",
    "u": "up",
    "w": "down",
    "m": "own_modulation",
    "q": "query",
    "kv": "key_value",
    "o": "out",
}


def from_study(tensors: Mapping[str, Tensor]) -> Denoiser:
    """The denoiser with the weights of the feasibility study, whose tensors have names of one or two letters."""
    model = Denoiser()
    model.load_state_dict({_readable_name(name): tensor.float() for name, tensor in tensors.items()})
    return model.eval()


def _readable_name(name: str) -> str:
    for short, long in _STUDY_NAMES.items():
        if name == short or name.startswith(short + "."):
            rest = name[len(short) :].split(".")
            if short in ("dn.0", "mid", "up.0"):
                rest = [_STUDY_BLOCK_NAMES.get(part, part) for part in rest]
            return long + ".".join(rest)
    raise KeyError(f"no place for the tensor {name!r}")
