"""Training otter-1 at 256 pixels: one command for each phase, and one for all.

    PYTHONPATH=otter/src:src python -m otter.training.train256 all --work build/otter --minutes 24

Every phase has a budget in minutes, goes on where it was, and leaves its averaged weights in `--work`. Phases, in their
order: `render` (samples from the originals), `autoencoder`, `latents`, `denoiser`, `decoder` (crisp edges), `distil`
(guidance into the weights), `matcher` (for evaluation). `render` may run beside the others. GPU.md has the plan for
half an hour on one H100.
"""

import argparse
import copy
import os
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor
from torch.nn import functional as F

from . import compact, shards
from .autoencoder import Autoencoder, Critic, reconstruction_loss, to_signed
from .families import FAMILIES, Family, load_autoencoder
from .hourglass import TEXT_TOKENS, TEXT_WIDTH, Hourglass
from .learn import Clock, Log, Trainee, every_minutes, load_halves, weights_file
from .matcher import train_matcher
from .text256 import Text

_SAVE_MINUTES = 4.0
_NO_TEXT = 0.1
_MOST_GUIDANCE = 6.0


@dataclass(frozen=True, slots=True)
class Scale:
    """How much of everything: one for a large GPU, one for a CPU, one for a proof."""

    samples: int
    matching_samples: int
    resident: int
    autoencoder_batch: int
    crop: int
    """Side of the part of each picture that the autoencoder learns from; it is the same everywhere on a picture."""
    denoiser_batch: int
    autoencoder_rate: float
    denoiser_rate: float
    warm_steps: int
    log_every: int
    decay: float
    critic_width: int = 64


SCALES = {
    "cuda": Scale(320_000, 40_000, 60_000, 96, 256, 768, 6e-4, 8e-4, 300, 200, 0.9995),
    "cpu": Scale(32_000, 16_000, 6_000, 6, 128, 64, 8e-4, 5e-4, 100, 50, 0.999, 24),
    "proof": Scale(512, 256, 512, 8, 64, 16, 1e-3, 2e-3, 5, 5, 0.9),
}


@dataclass(frozen=True, slots=True)
class Workshop:
    """What every phase needs to know."""

    work: Path
    originals: Path
    weights: Path
    device: torch.device
    scale: Scale
    proof: bool
    processes: int
    family: Family
    is_plain: bool
    """Whether the decoder learns without a critic."""
    is_coarse: bool
    """Whether the compact autoencoder learns from half the pixels."""
    study: Path | None
    """The feasibility study's weights, for a family that begins with them."""

    @property
    def models(self) -> Path:
        """Where the family's weights and latents lie; samples are everybody's."""
        return self.work / self.family.name

    def denoiser(self) -> Hourglass:
        return self.family.smaller() if self.proof else self.family.denoiser(self.study)

    def compiled(self, function: Callable[..., Tensor]) -> Callable[..., Tensor]:
        """Faster on CUDA; on a CPU the backward of compiled bfloat16 code fails."""
        return torch.compile(function) if self.device.type == "cuda" else function


def render(shop: Workshop, split: shards.Split) -> None:
    """Paint all samples of a split."""
    samples = shop.scale.matching_samples if split is shop.family.matching else shop.scale.samples
    shards.render(shop.originals, shop.weights / "vocab.txt", shop.work, split, samples, shop.processes)


def train_autoencoder(shop: Workshop, minutes: float, total: float | None) -> Log:
    """Pictures to latents and back."""
    trainee = Trainee("autoencoder", shop.family.autoencoder(shop.study), shop.models, shop.device, shop.scale.decay)
    tie = shop.family.tie(shop.study, shop.device)
    if isinstance(trainee.model, compact.Autoencoder):
        trainee.model.decoder.is_fine = not shop.is_coarse
    trainee.model.to(memory_format=torch.channels_last)
    pictures = shards.Resident(shop.work, shop.family.split, shop.scale.resident, shop.device)
    forward = shop.compiled(trainee.model)
    clock, log, due = (
        Clock(trainee.progress, minutes, total),
        Log("autoencoder", shop.scale.log_every),
        every_minutes(4),
    )
    while clock.is_running():
        if trainee.steps_here % 50 == 0:
            pictures.refresh()
        real = to_signed(_cropped(_varied(pictures.batch(shop.scale.autoencoder_batch)[0]), shop))
        with trainee.autocast():
            painted, latents = forward(trainee.cast(real), trainee.cast(trainee.model.noise_for(real)))
        loss, plain = reconstruction_loss(painted, F.avg_pool2d(real, real.shape[-1] // painted.shape[-1]))
        away = tie(trainee.cast(real), latents)
        (loss + away).backward()
        trainee.step(clock.rate(shop.scale.autoencoder_rate, shop.scale.warm_steps, trainee.steps_here))
        log.add(trainee, len(real), loss=loss, error=plain, away=away)
        if next(due):
            trainee.save()
    _measure_latents(trainee, pictures, shop)
    trainee.save()
    return log


def _varied(pixels: Tensor) -> Tensor:
    """Some pictures mirrored, some with their colours exchanged: more pictures for nothing."""
    flip = torch.rand(len(pixels), 1, 1, 1, device=pixels.device) < 0.5
    pixels = torch.where(flip, pixels.flip(2), pixels)
    exchange = torch.rand(len(pixels), 1, 1, 1, device=pixels.device) < 0.2
    order = [*torch.randperm(3).tolist(), 3]
    return torch.where(exchange, pixels[..., order], pixels)


def _cropped(pixels: Tensor, shop: Workshop) -> Tensor:
    """The same part of each picture, on the latents' grid."""
    side, stride = max(shop.scale.crop, shop.family.least_crop), shop.family.stride
    steps = (pixels.shape[1] - side) // stride + 1
    y, x = (stride * int(torch.randint(steps, ())) for _ in range(2))
    return pixels[:, y : y + side, x : x + side]


@torch.no_grad()
def _measure_latents(trainee: Trainee, pictures: shards.Resident, shop: Workshop) -> None:
    """Mean and deviation of each channel of the latents, for all that comes after."""
    model = trainee.average
    batches = max(1, min(2048, pictures.count) // shop.scale.autoencoder_batch)
    latents = torch.cat(
        [model.encoder(to_signed(pictures.batch(shop.scale.autoencoder_batch)[0])).cpu() for _ in range(batches)]
    )
    trainee.master.mean.copy_(latents.mean((0, 2, 3)))
    trainee.master.deviation.copy_(latents.std((0, 2, 3)))


class _Opponent:
    """The critic that the decoder is to deceive."""

    def __init__(self, shop: Workshop) -> None:
        self.trainee = Trainee(
            "critic", Critic(shop.scale.critic_width), shop.models, shop.device, shop.scale.decay, low=False
        )
        self.trainee.model.to(memory_format=torch.channels_last)
        self._warm_steps = 4 * shop.scale.warm_steps

    def push(self, fake: Tensor, wanted: Tensor) -> Tensor:
        """Where it would have these pictures go, held to a part of what the reconstruction wants, whatever scale it has
        learnt to speak in.
        """
        with self.trainee.autocast():
            deceived = -self.trainee.model(fake).float().mean()
        (liked,) = torch.autograd.grad(deceived, fake)
        part = 0.5 * min(1.0, self.trainee.steps_here / self._warm_steps)
        return part * wanted.norm() / (liked.norm() + 1e-8) * liked

    def learn(self, real: Tensor, fake: Tensor, rate: float) -> Tensor:
        """Tell them apart a little better. Returns how badly it does."""
        with self.trainee.autocast():
            on_real, on_fake = (self.trainee.model(pictures).float() for pictures in (real, fake.detach()))
        doubt = F.relu(1 - on_real).mean() + F.relu(1 + on_fake).mean()
        doubt.backward()
        self.trainee.step(rate)
        return doubt


def train_decoder(shop: Workshop, minutes: float, total: float | None) -> Log:
    """The decoder alone goes on, against a critic for crisp edges. Latents stay as they are, so this may come any
    time. Without a critic it is quicker, and soft.
    """
    both = _autoencoder(shop)
    start = copy.deepcopy(both.decoder).requires_grad_()
    trainee = Trainee("decoder", start, shop.models, shop.device, shop.scale.decay)
    opponent = None if shop.is_plain else _Opponent(shop)
    for model in (both, trainee.model):
        model.to(memory_format=torch.channels_last)
    pictures = shards.Resident(shop.work, shop.family.split, shop.scale.resident // 4, shop.device)
    clock, log, due = Clock(trainee.progress, minutes, total), Log("decoder", shop.scale.log_every), every_minutes(4)
    decode = shop.compiled(trainee.model)
    while clock.is_running():
        if trainee.steps_here % 50 == 0:
            pictures.refresh()
        real = to_signed(_cropped(pictures.batch(shop.scale.autoencoder_batch)[0], shop))
        with torch.no_grad(), torch.autocast(shop.device.type, torch.bfloat16):
            latents = both.encoder(real) + 0.3 * both.noise_for(real)
        with trainee.autocast():
            painted = decode(trainee.cast(latents))
        fake = painted.float().detach().requires_grad_()
        loss, plain = reconstruction_loss(fake, real)
        (way,) = torch.autograd.grad(loss, fake)
        if opponent is not None:
            way = way + opponent.push(fake, way)
        painted.backward(way.to(painted.dtype))
        peak = shop.scale.autoencoder_rate if opponent is None else shop.scale.autoencoder_rate / 3
        rate = clock.rate(peak, shop.scale.warm_steps, trainee.steps_here)
        trainee.step(rate)
        doubt = torch.zeros(()) if opponent is None else opponent.learn(real, fake, rate)
        log.add(trainee, len(real), loss=loss, error=plain, doubt=doubt)
        if next(due):
            trainee.save()
    trainee.save()
    if opponent is not None:
        opponent.trainee.save()
    return log


def _autoencoder(shop: Workshop) -> Autoencoder:
    """The trained one, with the crisp decoder if there is one."""
    return load_autoencoder(shop.models, shop.family).to(shop.device)


@torch.no_grad()
def write_latents(shop: Workshop) -> None:
    """Encode every shard that is there, once; `latents.npy` and `ids.npy` are what the denoiser learns from."""
    model = _autoencoder(shop).to(memory_format=torch.channels_last)
    encode = shop.compiled(model.tokens)
    paths = shards.finished(shop.work, shop.family.split)
    latents, ids = [], []
    begun = time.monotonic()
    for shard in shards.load_all(paths):
        pixels = torch.from_numpy(shard.pictures).to(shop.device)
        with torch.autocast(shop.device.type, torch.bfloat16):
            parts = [encode(to_signed(part)) for part in pixels.split(64)]
        latents.append(torch.cat(parts).half().cpu())
        ids.append(torch.from_numpy(shard.ids))
    np.save(shop.models / "latents.npy", torch.cat(latents).numpy())
    np.save(shop.models / "ids.npy", torch.cat(ids).numpy())
    count = len(paths) * shards.SHARD
    print(f"latents of {count} samples, {count / (time.monotonic() - begun):.0f} a second", flush=True)


def write_captions(shop: Workshop) -> None:
    """Read every caption once, where reading takes a good part of a step: 15 KB for each on disk."""
    ids = np.load(shop.models / "ids.npy")
    unlike, places = np.unique(ids.reshape(-1, ids.shape[-1]), axis=0, return_inverse=True)
    text = Text(shop.weights, shop.device)
    states = np.lib.format.open_memmap(
        shop.models / "states.npy", "w+", np.float16, (len(unlike), TEXT_TOKENS, TEXT_WIDTH)
    )
    pooled = np.empty((len(unlike), TEXT_WIDTH), np.float16)
    begun = time.monotonic()
    for start in range(0, len(unlike), 256):
        part = slice(start, start + 256)
        read, meaning, _ = text.encode(torch.from_numpy(unlike[part]))
        states[part], pooled[part] = read.half().cpu().numpy(), meaning.half().cpu().numpy()
    states.flush()
    np.save(shop.models / "pooled.npy", pooled)
    np.save(shop.models / "places.npy", places.reshape(ids.shape[:2]).astype(np.int32))
    print(f"{len(unlike)} captions read, {len(unlike) / (time.monotonic() - begun):.0f} a second", flush=True)


Words = tuple[Tensor, Tensor, Tensor]
"""States, pooled and mask, as `Text.encode` returns them."""


class Latents:
    """All latents, on the device, and their captions."""

    def __init__(self, shop: Workshop) -> None:
        self.latents, self.ids = (
            torch.from_numpy(np.load(shop.models / name)).to(shop.device) for name in ("latents.npy", "ids.npy")
        )
        self._text = Text(shop.weights, shop.device)
        self._device = shop.device
        self._places: npt.NDArray[np.int32] | None = None
        if (shop.models / "places.npy").exists():
            places = np.load(shop.models / "places.npy")
            if len(places) == len(self.ids):  # of these samples, not of fewer
                self._places = places
                self._states = np.load(shop.models / "states.npy", mmap_mode="r")
                self._pooled = np.load(shop.models / "pooled.npy")

    def batch(self, size: int) -> tuple[Tensor, Words]:
        """Latents (size, tokens, channels), and what one of each one's captions says."""
        rows = torch.randint(len(self.latents), (size,), device=self._device)
        wordings = torch.randint(self.ids.shape[1], (size,), device=self._device)
        ids = self.ids[rows, wordings]
        return self.latents[rows].float(), self._text.encode(ids) if self._places is None else self._read_before(
            self._places[rows.cpu().numpy(), wordings.cpu().numpy()], ids
        )

    def _read_before(self, places: npt.NDArray[np.int32], ids: Tensor) -> Words:
        states, pooled = (torch.from_numpy(kept[places]).to(self._device) for kept in (self._states, self._pooled))
        return states, pooled, (ids != self._text.pieces.pad).float()


def _on_the_way(data: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Latents at a time between data (0) and noise (1), the time (logit-normal, arXiv:2403.03206), and the velocity."""
    noise = torch.randn_like(data)
    t = torch.sigmoid(torch.randn(len(data), device=data.device))
    part = t[:, None, None]
    return (1 - part) * data + part * noise, t, noise - data


def train_denoiser(shop: Workshop, minutes: float, total: float | None) -> Log:
    """Latents out of noise, as the text says."""
    trainee = Trainee("denoiser", shop.denoiser(), shop.models, shop.device, shop.scale.decay)
    model = trainee.model
    data = Latents(shop)
    forward = shop.compiled(model)
    clock, log, due = Clock(trainee.progress, minutes, total), Log("denoiser", shop.scale.log_every), every_minutes(4)
    size = shop.scale.denoiser_batch
    plain = torch.ones(size, device=shop.device)
    while clock.is_running():
        clean, words = data.batch(size)
        noisy, t, velocity = _on_the_way(clean)
        with trainee.autocast():
            words = _sometimes_silent(model, words, _NO_TEXT)
            loss = F.mse_loss(forward(noisy, t, plain, *words).float(), velocity)
        loss.backward()
        trainee.step(clock.rate(shop.scale.denoiser_rate, shop.scale.warm_steps, trainee.steps_here))
        log.add(trainee, size, loss=loss)
        if next(due):
            trainee.save()
    trainee.save()
    return log


def _sometimes_silent(model: Hourglass, words: Words, probability: float) -> Words:
    """The words, but for some of the batch what stands for none."""
    silent = torch.rand(len(words[0]), device=words[0].device) < probability
    nothing = model.without_text(len(silent))
    states, pooled, mask = (
        torch.where(silent.view(-1, *[1] * (said.ndim - 1)), unsaid.to(said.dtype), said)
        for said, unsaid in zip(words, nothing, strict=True)
    )
    return states, pooled, mask


def distil(shop: Workshop, minutes: float, total: float | None) -> Log:
    """Guidance into the weights: one evaluation then does for two (arXiv:2210.03142).

    The denoiser goes on with what guidance of any strength from 1 to 6 makes of its own velocity as the goal. At a
    strength of 1 it stays what it was, so a negative prompt still works with two evaluations.
    """
    teacher = shop.denoiser().to(shop.device).eval().requires_grad_(False)
    load_halves(teacher, weights_file(shop.models, "denoiser"))
    start = copy.deepcopy(teacher).requires_grad_()
    trainee = Trainee("distilled", start, shop.models, shop.device, min(shop.scale.decay, 0.999))
    model = trainee.model
    data = Latents(shop)
    forward, ask = shop.compiled(model), shop.compiled(teacher)
    clock, log, due = Clock(trainee.progress, minutes, total), Log("distil", shop.scale.log_every), every_minutes(4)
    size = shop.scale.denoiser_batch // 2
    while clock.is_running():
        clean, words = data.batch(size)
        noisy, t, _ = _on_the_way(clean)
        guidance = 1 + (_MOST_GUIDANCE - 1) * torch.rand(size, device=shop.device)
        guidance = torch.where(torch.rand_like(guidance) < 0.2, torch.ones_like(guidance), guidance)
        with torch.no_grad(), torch.autocast(shop.device.type, torch.bfloat16):
            plain = torch.ones(size, device=shop.device)
            wanted = ask(noisy, t, plain, *words).float()
            unwanted = ask(noisy, t, plain, *teacher.without_text(size)).float()
            goal = unwanted + guidance[:, None, None] * (wanted - unwanted)
            silent = torch.rand(size, device=shop.device) < _NO_TEXT
            goal = torch.where(silent[:, None, None], unwanted, goal)
        with trainee.autocast():
            nothing = model.without_text(size)
            heard = [
                torch.where(silent.view(-1, *[1] * (said.ndim - 1)), unsaid.to(said.dtype), said)
                for said, unsaid in zip(words, nothing, strict=True)
            ]
            loss = F.mse_loss(forward(noisy, t, guidance, *heard).float(), goal)
        loss.backward()
        trainee.step(clock.rate(shop.scale.denoiser_rate / 4, shop.scale.warm_steps, trainee.steps_here))
        log.add(trainee, size, loss=loss)
        if next(due):
            trainee.save()
    trainee.save()
    return log


def matcher(shop: Workshop, minutes: float, total: float | None) -> Log:
    """The model that judges pictures by their captions; see `matcher`."""
    batch = {"cuda": 512, "cpu": 96}[shop.device.type] if not shop.proof else 16
    pictures = shards.Resident(shop.work, shop.family.matching, shop.scale.matching_samples, shop.device)
    text = Text(shop.weights, shop.device)
    return train_matcher(
        shop.models, pictures, text, batch, minutes, total, shop.scale.warm_steps, shop.scale.log_every
    )


_SHARES = {"autoencoder": 0.30, "denoiser": 0.50, "decoder": 0.08, "distil": 0.06, "matcher": 0.06}
"""What part of the time each phase gets in `all` on a GPU."""

_CPU_SHARES = {"autoencoder": 0.15, "denoiser": 0.62, "decoder": 0.12, "distil": 0.05, "matcher": 0.06}
"""And on a CPU."""


def everything(shop: Workshop, minutes: float) -> None:
    """All phases one after the other, while a process of its own renders. Again, it goes on: but not with the
    autoencoder, whose latents the denoiser has learnt by then.
    """
    is_slow = shop.device.type == "cpu"
    shares = _CPU_SHARES if is_slow else _SHARES
    quick = replace(shop, is_coarse=is_slow, is_plain=is_slow)
    background = _render_beside(shop)
    if not weights_file(shop.models, "denoiser").exists():
        train_autoencoder(quick, minutes * shares["autoencoder"], None)
    write_latents(shop)
    if is_slow:
        write_captions(shop)
    train_denoiser(shop, minutes * shares["denoiser"], None)
    train_decoder(quick, minutes * shares["decoder"], None)
    distil(shop, minutes * shares["distil"], None)
    background.wait()
    matcher(shop, minutes * shares["matcher"], None)


def _render_beside(shop: Workshop) -> "subprocess.Popen[bytes]":
    command = [sys.executable, "-m", "otter.training.train256", "render", *sys.argv[2:]]
    return subprocess.Popen(command)


def main() -> None:
    phases: dict[str, Callable[[Workshop, float, float | None], object]] = {
        "autoencoder": train_autoencoder,
        "decoder": train_decoder,
        "denoiser": train_denoiser,
        "distil": distil,
        "matcher": matcher,
    }
    parser = argparse.ArgumentParser(description="Train otter-1 at 256 pixels.")
    parser.add_argument("phase", choices=["render", "latents", "captions", *phases, "all"])
    parser.add_argument("--work", type=Path, default=Path("build/otter"))
    parser.add_argument("--originals", type=Path, default=Path("build/otter/originals.zip"))
    parser.add_argument(
        "--weights", type=Path, default=Path("otter/src/pinxit_otter/weights"), help="of the text encoder"
    )
    parser.add_argument("--family", choices=list(FAMILIES), help="which networks: large for a GPU, compact for a CPU")
    parser.add_argument("--study", type=Path, help="folder of the feasibility study's weights, to begin with them")
    parser.add_argument(
        "--coarse", action="store_true", help="compact autoencoder: learn from half the pixels, quickly"
    )
    parser.add_argument("--plain", action="store_true", help="decoder: without a critic, quickly")
    parser.add_argument("--minutes", type=float, default=10, help="of this run")
    parser.add_argument("--total", type=float, help="minutes of the phase over all runs, if this is not the only one")
    parser.add_argument("--samples", type=int, help="how many to render")
    parser.add_argument("--processes", type=int, default=os.cpu_count() or 1)
    parser.add_argument("--threads", type=int, help="of PyTorch on a CPU")
    parser.add_argument("--proof", action="store_true", help="tiny: proves that it runs")
    wishes = parser.parse_args()
    shop = _workshop(wishes)
    torch.manual_seed(time.time_ns() % (1 << 31))
    torch.set_float32_matmul_precision("high")
    if wishes.threads:
        torch.set_num_threads(wishes.threads)
    if wishes.phase == "render":
        render(shop, shop.family.split)
        render(shop, shop.family.matching)
    elif wishes.phase == "latents":
        write_latents(shop)
    elif wishes.phase == "captions":
        write_captions(shop)
    elif wishes.phase == "all":
        everything(shop, wishes.minutes)
    else:
        phases[wishes.phase](shop, wishes.minutes, wishes.total)


def _workshop(wishes: argparse.Namespace) -> Workshop:
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    scale = SCALES["proof" if wishes.proof else device.type]
    if wishes.samples:
        scale = Scale(**{**{name: getattr(scale, name) for name in scale.__slots__}, "samples": wishes.samples})
    family = FAMILIES[wishes.family or ("compact" if device.type == "cpu" else "large")]
    return Workshop(
        wishes.work,
        wishes.originals,
        wishes.weights,
        device,
        scale,
        wishes.proof,
        max(1, wishes.processes),
        family,
        wishes.plain,
        wishes.coarse,
        wishes.study,
    )


if __name__ == "__main__":
    main()
