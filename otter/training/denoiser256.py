"""The denoiser of otter-1 at 256 pixels: a rectified-flow transformer in the shape of an hourglass.

Latents are 16×16 positions of 16 channels. A few blocks work on all 256 positions (width 256), then each square of 2×2
becomes one token, and most blocks work on the 64 tokens (width 448), looking at the text; the last ones work on the 256
positions again, with what the first ones left as a skip. Time, guidance and the pooled text steer every block
(adaLN-single, PixArt-α, arXiv:2310.00426); queries and keys are normalised (arXiv:2302.05442), which lets it learn
quickly in half precision.

Sizes are plain numbers in `forward`, not read off tensors: the exported graph then has no arithmetic on shapes.
"""

import math

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from .autoencoder256 import LATENT_CHANNELS, LATENT_SIDE, LATENT_TOKENS

TEXT_TOKENS = 20
TEXT_WIDTH = 384
HEAD_WIDTH = 64

MASKED = -1e4
"""What is added to the attention score of a token that is not there; small enough for half precision."""


def plain_layer_norm(x: Tensor) -> Tensor:
    """Layer norm without weights of its own: the modulation around it scales and shifts."""
    return F.layer_norm(x, (int(x.shape[-1]),))


def _parts(x: Tensor, count: int, axis: int) -> tuple[Tensor, ...]:
    """`count` equal parts along `axis`; unlike `chunk`, exported as one node."""
    return x.split([int(x.shape[axis]) // count] * count, axis)


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
        key, value = map(self._split_heads, _parts(self.key_value(x if context is None else context), 2, -1))
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
        scale_1, shift_1, gate_1, scale_2, shift_2, gate_2 = _parts(modulation + self.own_modulation, 6, 1)
        x = x + (1 + gate_1) * self.self_attention(plain_layer_norm(x) * (1 + scale_1) + shift_1)
        if self.cross_attention is not None:
            x = x + self.cross_attention(plain_layer_norm(x), text, text_bias)
        hidden = self.up(plain_layer_norm(x) * (1 + scale_2) + shift_2)
        return x + (1 + gate_2) * self.down(F.silu(hidden))


class Denoiser(nn.Module):
    """Predicts the velocity `noise − data` of latents on their way from noise to data."""

    frequencies: Tensor
    latent_shape = (LATENT_TOKENS, LATENT_CHANNELS)

    def __init__(self, width: int = 448, layers: int = 8, outer_width: int = 256, outer_layers: int = 2) -> None:
        super().__init__()
        self.width = width
        self.outer_width = outer_width
        self.enter = nn.Linear(LATENT_CHANNELS, outer_width)
        self.outer_positions = nn.Parameter(torch.randn(1, LATENT_TOKENS, outer_width) * 0.02)
        self.inner_positions = nn.Parameter(torch.randn(1, LATENT_TOKENS // 4, width) * 0.02)
        self.first = nn.ModuleList(Block(outer_width) for _ in range(outer_layers))
        self.merge = nn.Linear(4 * outer_width, width)
        self.middle = nn.ModuleList(Block(width, TEXT_WIDTH) for _ in range(layers))
        self.split = nn.Linear(width, 4 * outer_width)
        self.last = nn.ModuleList(Block(outer_width) for _ in range(outer_layers))
        self.time = nn.Sequential(nn.Linear(256, width), nn.SiLU(), nn.Linear(width, width))
        self.guidance = nn.Sequential(nn.Linear(2, width), nn.SiLU(), nn.Linear(width, width))
        self.pooled_text = nn.Linear(TEXT_WIDTH, width)
        self.inner_modulation = nn.Linear(width, 6 * width)
        self.outer_modulation = nn.Linear(width, 6 * outer_width)
        self.final_modulation = nn.Linear(width, 2 * outer_width)
        self.leave = nn.Linear(outer_width, LATENT_CHANNELS)
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
        frequencies = 1000 * torch.exp(-math.log(1e4) * torch.arange(128) / 128)
        self.register_buffer("frequencies", frequencies, persistent=False)

    def forward(
        self, latents: Tensor, t: Tensor, guidance: Tensor, states: Tensor, pooled: Tensor, mask: Tensor
    ) -> Tensor:
        """Velocity (B, 256, 16) of `latents` (B, 256, 16), rows of the 16×16 grid from the top left.

        `t` (B,) in 0..1, 1 is noise; `guidance` (B,) is 1 for the plain velocity, more for what guidance would make of
        it, once that is distilled; `states` (B, 20, 384) and `pooled` (B, 384) come from the text encoder; `mask`
        (B, 20) is 1 where there is a word piece and 0 where there is padding.
        """
        kind = self.enter.weight.dtype
        text_bias = ((1 - mask) * MASKED)[:, None, None, :].to(kind)
        angles = t[:, None] * self.frequencies[None]
        time = self.time(torch.cat([angles.cos(), angles.sin()], 1).to(kind))
        wish = self.guidance(torch.stack([guidance - 1, guidance.log()], 1).to(kind))
        steer = F.silu(time + wish + self.pooled_text(pooled.to(kind)))
        inner = self.inner_modulation(steer).view(-1, 6, self.width)
        outer = self.outer_modulation(steer).view(-1, 6, self.outer_width)

        x = self.enter(latents.to(kind)) + self.outer_positions
        for block in self.first:
            x = block(x, outer)
        skip = x
        x = self.merge(self._squares_to_tokens(x)) + self.inner_positions
        text = states.to(kind)
        for block in self.middle:
            x = block(x, inner, text, text_bias)
        x = self._tokens_to_squares(self.split(plain_layer_norm(x))) + skip
        for block in self.last:
            x = block(x, outer)

        scale, shift = _parts(self.final_modulation(steer).unsqueeze(1), 2, -1)
        return self.leave(plain_layer_norm(x) * (1 + scale) + shift)

    def without_text(self, count: int) -> tuple[Tensor, Tensor, Tensor]:
        """States, pooled and mask of what it learnt to read when nothing is said."""
        mask = torch.zeros(count, TEXT_TOKENS, device=self.null_pooled.device)
        mask[:, 0] = 1
        states = self.null_states.expand(count, TEXT_TOKENS, TEXT_WIDTH)
        return states, self.null_pooled.expand(count, TEXT_WIDTH), mask

    def _squares_to_tokens(self, x: Tensor) -> Tensor:
        half = LATENT_SIDE // 2
        squares = x.view(-1, half, 2, half, 2, self.outer_width).permute(0, 1, 3, 2, 4, 5)
        return squares.reshape(-1, half * half, 4 * self.outer_width)

    def _tokens_to_squares(self, x: Tensor) -> Tensor:
        half = LATENT_SIDE // 2
        squares = x.view(-1, half, half, 2, 2, self.outer_width).permute(0, 1, 3, 2, 4, 5)
        return squares.reshape(-1, LATENT_TOKENS, self.outer_width)


def smaller() -> Denoiser:
    """For proofs that training runs; it paints nothing worth seeing."""
    return Denoiser(width=128, layers=2, outer_width=64, outer_layers=1)
