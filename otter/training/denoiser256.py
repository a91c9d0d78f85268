"""The denoiser of otter-1 at 256 pixels, for a GPU: 16×16 positions of 16 channels, 64 tokens in the middle.

Queries and keys are normalised (arXiv:2302.05442), which lets it learn quickly in half precision.
"""

import math

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from .autoencoder256 import LATENT_CHANNELS, LATENT_SIDE
from .hourglass import TEXT_WIDTH, Hourglass, Shape, parts, plain_layer_norm

HEAD_WIDTH = 64


class Attention(nn.Module):
    """Multi-head attention of `x` (B, N, width) over itself or over `context` (B, M, context_width)."""

    def __init__(self, width: int, context_width: int | None = None) -> None:
        super().__init__()
        self.heads = width // HEAD_WIDTH
        self.query = nn.Linear(width, width)
        self.key_value = nn.Linear(context_width or width, 2 * width)
        self.out = nn.Linear(width, width)
        self.scale = nn.Parameter(torch.full((self.heads, 1, 1), math.sqrt(HEAD_WIDTH)))
        nn.init.zeros_(self.out.weight)
        nn.init.zeros_(self.out.bias)

    def forward(self, x: Tensor, context: Tensor | None = None, bias: Tensor | None = None) -> Tensor:
        query = self._split_heads(self.query(x))
        key, value = map(self._split_heads, parts(self.key_value(x if context is None else context), 2, -1))
        # Normalised vectors of 64 numbers have products of up to 64; the scale begins where usual attention has it.
        query = (plain_layer_norm(query) * self.scale * HEAD_WIDTH**-0.5).to(value.dtype)
        mixed = _attend(query, plain_layer_norm(key).to(value.dtype), value, bias)
        return self.out(mixed.transpose(1, 2).reshape(-1, int(x.shape[1]), self.heads * HEAD_WIDTH))

    def _split_heads(self, x: Tensor) -> Tensor:
        return x.reshape(-1, int(x.shape[1]), self.heads, HEAD_WIDTH).transpose(1, 2)


def _attend(query: Tensor, key: Tensor, value: Tensor, bias: Tensor | None) -> Tensor:
    if query.is_cuda and bias is None:
        return F.scaled_dot_product_attention(query, key, value, scale=HEAD_WIDTH**-0.5)
    # The fused kernel's backward is slow on a CPU, it gains nothing on the few tokens of a text, and ONNX has none.
    scores = query @ key.transpose(-1, -2) * HEAD_WIDTH**-0.5
    return (scores if bias is None else scores + bias).softmax(-1).to(value.dtype) @ value


class Block(nn.Module):
    """Self-attention, cross-attention where there is text, and a feed-forward layer.

    `modulation` (B, 6, width) steers it: scale, shift and gate of the self-attention and of the feed-forward layer.
    """

    def __init__(self, width: int, text_width: int | None = None) -> None:
        super().__init__()
        self.self_attention = Attention(width)
        self.cross_attention = Attention(width, text_width) if text_width else None
        self.up = nn.Linear(width, 4 * width)
        self.down = nn.Linear(4 * width, width)
        self.own_modulation = nn.Parameter(torch.zeros(1, 6, width))
        nn.init.zeros_(self.down.weight)
        nn.init.zeros_(self.down.bias)

    def forward(
        self, x: Tensor, modulation: Tensor, text: Tensor | None = None, text_bias: Tensor | None = None
    ) -> Tensor:
        scale_1, shift_1, gate_1, scale_2, shift_2, gate_2 = parts(modulation + self.own_modulation, 6, 1)
        x = x + (1 + gate_1) * self.self_attention(plain_layer_norm(x) * (1 + scale_1) + shift_1)
        if self.cross_attention is not None:
            x = x + self.cross_attention(plain_layer_norm(x), text, text_bias)
        hidden = self.up(plain_layer_norm(x) * (1 + scale_2) + shift_2)
        return x + (1 + gate_2) * self.down(F.silu(hidden))


class Denoiser(Hourglass):
    """32 million weights."""

    def __init__(self, width: int = 448, layers: int = 8, outer_width: int = 256, outer_layers: int = 2) -> None:
        super().__init__(
            Shape(LATENT_SIDE, LATENT_CHANNELS, width, layers, outer_width, outer_layers),
            outer_block=lambda: Block(outer_width),
            inner_block=lambda: Block(width, TEXT_WIDTH),
        )


def smaller() -> Denoiser:
    """For proofs that training runs; it paints nothing worth seeing."""
    return Denoiser(width=128, layers=2, outer_width=64, outer_layers=1)
