"""The frozen text encoder in training: read from what ships, so that training and painting see the same numbers.

`text.onnx` holds all-MiniLM-L6-v2 rounded to 8 bits, with the vocabulary beside it. Its weights are put back into the
PyTorch definition in `text_encoder.py`; the package with the published weights is then not needed.
"""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn

from pinxit_otter.wordpiece import WordPieces

from .hourglass import TEXT_TOKENS
from .text_encoder import TextEncoder

_MATRICES = ("query", "key", "value", "attention_out", "up", "down")


class Text:
    """Captions to word pieces, and word pieces to states."""

    def __init__(self, weights: Path, device: torch.device) -> None:
        """`weights` is the folder of `text.onnx` and `vocab.txt`."""
        self.pieces = WordPieces.read(weights / "vocab.txt")
        self.encoder = load_shipped(weights / "text.onnx").to(device).eval()
        self.device = device
        if device.type == "cpu":
            self.encoder = self.encoder.to(torch.bfloat16)

    def ids(self, texts: Sequence[str]) -> Tensor:
        """(len(texts), 20), int16, padded."""
        rows = np.full((len(texts), TEXT_TOKENS), self.pieces.pad, np.int16)
        for row, text in zip(rows, texts, strict=True):
            sentence = self.pieces.sentence(text)
            row[: len(sentence)] = sentence
        return torch.from_numpy(rows)

    @torch.no_grad()
    def encode(self, ids: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """States (B, 20, 384), pooled (B, 384) and mask (B, 20) of padded word pieces (B, 20)."""
        ids = ids.to(self.device, torch.long)
        mask = (ids != self.pieces.pad).to(self.encoder.positions.dtype)
        with torch.autocast(self.device.type, torch.bfloat16, enabled=self.device.type == "cuda"):
            states, pooled = self.encoder(ids, mask)
        return states, pooled, mask.float()

    def read(self, texts: Sequence[str]) -> tuple[Tensor, Tensor, Tensor]:
        return self.encode(self.ids(texts))


def load_shipped(path: Path) -> nn.Module:
    """The encoder with the weights in `text.onnx`, as `quantise.store_int8` wrote them."""
    import onnx
    from onnx import numpy_helper

    stored = {tensor.name: numpy_helper.to_array(tensor) for tensor in onnx.load(str(path)).graph.initializer}
    words = stored["words.weight.int8"].astype(np.float32) * stored["words.weight.scale"]
    # Biases and norms keep their names; matrices lose theirs, but not their order.
    matrices = iter(
        stored[name].astype(np.float32) * stored[name.removesuffix(".int8") + ".scale"]
        for name in stored
        if name.startswith("onnx::MatMul") and name.endswith(".int8")
    )
    weights = {name: torch.tensor(value) for name, value in stored.items() if "::" not in name and "words" not in name}
    weights["words.weight"] = torch.from_numpy(words)
    encoder = TextEncoder(len(words))
    for layer in range(len(encoder.layers)):
        for name in _MATRICES:
            weights[f"layers.{layer}.{name}.weight"] = torch.from_numpy(next(matrices).T.copy())
    encoder.load_state_dict(weights)
    return encoder
