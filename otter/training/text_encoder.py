"""The text encoder, all-MiniLM-L6-v2, with a vocabulary cut to what otter-1 needs.

A BERT of six layers (arXiv:1810.04805, arXiv:2002.10957), fine-tuned by sentence-transformers and used as it is. What
leaves it is the last layer's state of each token, and their mean, normalised, as its model card pools sentences.
"""

from collections.abc import Mapping, Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from .hourglass import MASKED, TEXT_TOKENS, TEXT_WIDTH

_HEADS = 12
_LAYERS = 6


class Layer(nn.Module):
    """One transformer layer of BERT: norms after the sums, exact GELU."""

    def __init__(self) -> None:
        super().__init__()
        self.query = nn.Linear(TEXT_WIDTH, TEXT_WIDTH)
        self.key = nn.Linear(TEXT_WIDTH, TEXT_WIDTH)
        self.value = nn.Linear(TEXT_WIDTH, TEXT_WIDTH)
        self.attention_out = nn.Linear(TEXT_WIDTH, TEXT_WIDTH)
        self.attention_norm = nn.LayerNorm(TEXT_WIDTH, eps=1e-12)
        self.up = nn.Linear(TEXT_WIDTH, 4 * TEXT_WIDTH)
        self.down = nn.Linear(4 * TEXT_WIDTH, TEXT_WIDTH)
        self.norm = nn.LayerNorm(TEXT_WIDTH, eps=1e-12)

    def forward(self, x: Tensor, bias: Tensor) -> Tensor:
        query, key, value = (self._split_heads(part(x)) for part in (self.query, self.key, self.value))
        scores = query @ key.transpose(-1, -2) * (TEXT_WIDTH // _HEADS) ** -0.5 + bias
        mixed = (scores.softmax(-1) @ value).transpose(1, 2).reshape(-1, TEXT_TOKENS, TEXT_WIDTH)
        x = self.attention_norm(x + self.attention_out(mixed))
        return self.norm(x + self.down(F.gelu(self.up(x))))

    def _split_heads(self, x: Tensor) -> Tensor:
        return x.view(-1, TEXT_TOKENS, _HEADS, TEXT_WIDTH // _HEADS).transpose(1, 2)


class TextEncoder(nn.Module):
    """Word pieces in, token states and a pooled state out."""

    def __init__(self, vocabulary_size: int) -> None:
        super().__init__()
        self.words = nn.Embedding(vocabulary_size, TEXT_WIDTH)
        self.positions = nn.Parameter(torch.zeros(TEXT_TOKENS, TEXT_WIDTH))
        self.norm = nn.LayerNorm(TEXT_WIDTH, eps=1e-12)
        self.layers = nn.ModuleList(Layer() for _ in range(_LAYERS))

    def forward(self, ids: Tensor, mask: Tensor) -> tuple[Tensor, Tensor]:
        """States (B, 20, 384) and pooled (B, 384) of `ids` (B, 20), int64, where `mask` (B, 20) is 1 and not 0."""
        x = self.norm(self.words(ids) + self.positions)
        bias = ((1 - mask) * MASKED)[:, None, None, :]
        for layer in self.layers:
            x = layer(x, bias)
        weights = mask[..., None]
        pooled = (x * weights).sum(1) / weights.sum(1)
        return x, F.normalize(pooled, dim=-1)


_PUBLISHED_LAYER_NAMES = {
    "query": "attention.self.query",
    "key": "attention.self.key",
    "value": "attention.self.value",
    "attention_out": "attention.output.dense",
    "attention_norm": "attention.output.LayerNorm",
    "up": "intermediate.dense",
    "down": "output.dense",
    "norm": "output.LayerNorm",
}


def from_published(tensors: Mapping[str, Tensor], rows: Sequence[int]) -> TextEncoder:
    """The encoder with the published weights, keeping the `rows` of the word table, in this order.

    Sentences have one segment here, so the segment's embedding is added to the positions'.
    """
    tensors = {name.removeprefix("bert."): tensor.float() for name, tensor in tensors.items()}
    segment = tensors["embeddings.token_type_embeddings.weight"][0]
    weights = {
        "words.weight": tensors["embeddings.word_embeddings.weight"][list(rows)],
        "positions": tensors["embeddings.position_embeddings.weight"][:TEXT_TOKENS] + segment,
    }
    for kind in ("weight", "bias"):
        weights[f"norm.{kind}"] = tensors[f"embeddings.LayerNorm.{kind}"]
        for index in range(_LAYERS):
            for ours, theirs in _PUBLISHED_LAYER_NAMES.items():
                weights[f"layers.{index}.{ours}.{kind}"] = tensors[f"encoder.layer.{index}.{theirs}.{kind}"]
    model = TextEncoder(len(rows))
    model.load_state_dict(weights)
    return model.eval()
