"""What every phase of training has in common: time, precision, averages, and going on after an interruption."""

import copy
import json
import math
import time
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path

import torch
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

_CLIP = 1.0
_AVERAGE_EVERY = 4


@dataclass(slots=True)
class Progress:
    """How far a phase has come; kept beside its weights."""

    steps: int = 0
    samples: int = 0
    minutes: float = 0.0


class Clock:
    """A phase's time, over all of its runs: `minutes` of it now, `total` for the shape of its learning rate."""

    def __init__(self, progress: Progress, minutes: float, total: float | None = None) -> None:
        self.progress = progress
        self._before = progress.minutes
        self._begun = time.monotonic()
        self._minutes = minutes
        self.total = max(total or 0.0, 0.0) or progress.minutes + minutes

    @property
    def here(self) -> float:
        """Minutes of this run."""
        return (time.monotonic() - self._begun) / 60

    def is_running(self) -> bool:
        self.progress.minutes = self._before + self.here
        return self.here < self._minutes

    @property
    def fraction(self) -> float:
        """How much of the phase is over, in 0..1."""
        return min(1.0, (self._before + self.here) / self.total)

    def rate(self, peak: float, warm_steps: int, steps_here: int, flat: float = 0.35) -> float:
        """The learning rate: up over the first steps of a run, flat, then down to nearly nothing at the end."""
        down = 1.0 if self.fraction < flat else max(0.01, (1 - self.fraction) / (1 - flat))
        return peak * min(1.0, (steps_here + 1) / warm_steps) * down


class Trainee:
    """A model that learns: its weights in single precision, a running average of them, and how to step.

    On CUDA the model runs under autocast. On a CPU it runs on a copy whose weights are bfloat16, which the matrix units
    multiply several times as fast, and the gradients go back to the weights in single precision.

    The average is what is saved (as halves, small enough to carry about and to go on from) and what paints. Beside it,
    `resume.pt` keeps everything for going on exactly; it stays on the machine.
    """

    def __init__(
        self, name: str, model: nn.Module, work: Path, device: torch.device, decay: float = 0.9995, low: bool = True
    ) -> None:
        """`low` allows weights of bfloat16 where they help. Goes on from what lies in `work`, if anything does."""
        self.name, self.work, self.device, self.decay = name, work, device, decay
        self.progress = Progress()
        self.master = model.to(device)
        self._load()
        self.average = copy.deepcopy(self.master).eval().requires_grad_(False)
        self.low = low and device.type == "cpu"
        self.model = copy.deepcopy(self.master).to(torch.bfloat16) if self.low else self.master
        if self.low:
            for kept, shared in zip(self.model.buffers(), self.master.buffers(), strict=True):
                kept.data = shared.data.clone()  # Tables of frequencies must not be rounded.
        matrices = [weight for weight in self.master.parameters() if weight.requires_grad and weight.ndim > 1]
        others = [weight for weight in self.master.parameters() if weight.requires_grad and weight.ndim <= 1]
        self.optimiser = torch.optim.AdamW(
            [{"params": matrices, "weight_decay": 0.01}, {"params": others, "weight_decay": 0.0}],
            lr=1e-3,
            betas=(0.9, 0.98),
            fused=True,
        )
        self.steps_here = 0
        self._load_exactly()

    def autocast(self) -> torch.autocast:
        return torch.autocast(self.device.type, torch.bfloat16, enabled=not self.low)

    def cast(self, x: Tensor) -> Tensor:
        """What goes into the model, in the precision that its weights have."""
        return x.to(torch.bfloat16) if self.low else x

    def step(self, rate: float) -> None:
        """Follow the gradients that `backward` has left."""
        for group in self.optimiser.param_groups:
            group["lr"] = rate
        learning = [weight for weight in self.master.parameters() if weight.requires_grad]
        if self.low:
            for weight, copied in zip(self.master.parameters(), self.model.parameters(), strict=True):
                if weight.requires_grad:
                    # In the weight's own order of memory: the fused optimiser goes by that, whatever the gradient's is.
                    weight.grad = None if copied.grad is None else torch.empty_like(weight).copy_(copied.grad)
                copied.grad = None
        nn.utils.clip_grad_norm_(learning, _CLIP, foreach=True)
        self.optimiser.step()
        self.optimiser.zero_grad(set_to_none=True)
        if self.low:
            with torch.no_grad():
                torch._foreach_copy_(list(self.model.parameters()), list(self.master.parameters()))
        self.progress.steps += 1
        self.steps_here += 1
        if self.progress.steps % _AVERAGE_EVERY == 0:
            self._average()

    @torch.no_grad()
    def _average(self) -> None:
        count = self.progress.steps / _AVERAGE_EVERY
        decay = min(self.decay**_AVERAGE_EVERY, (1 + count) / (10 + count))
        torch._foreach_lerp_(list(self.average.parameters()), list(self.master.parameters()), 1 - decay)

    # --- files --------------------------------------------------------------------------------------------------------

    @property
    def weights_file(self) -> Path:
        return weights_file(self.work, self.name)

    def save(self) -> None:
        """Write the average as halves, the progress, and everything for going on exactly."""
        self.work.mkdir(parents=True, exist_ok=True)
        for average, master in zip(self.average.buffers(), self.master.buffers(), strict=True):
            average.copy_(master)
        save_halves(self.average, self.weights_file)
        self.weights_file.with_suffix(".json").write_text(json.dumps(asdict(self.progress)) + "\n", encoding="utf-8")
        exact = {
            "master": self.master.state_dict(),
            "average": self.average.state_dict(),
            "optimiser": self.optimiser.state_dict(),
            "steps": self.progress.steps,
        }
        unfinished = self._exact_file.with_suffix(".part")
        torch.save(exact, unfinished)
        unfinished.rename(self._exact_file)

    @property
    def _exact_file(self) -> Path:
        return self.work / f"{self.name}.resume.pt"

    def _load(self) -> None:
        if self.weights_file.exists():
            load_halves(self.master, self.weights_file)
            state = self.weights_file.with_suffix(".json")
            if state.exists():
                self.progress = Progress(**json.loads(state.read_text(encoding="utf-8")))
            print(f"{self.name}: goes on after {self.progress.steps} steps", flush=True)

    def _load_exactly(self) -> None:
        if not self._exact_file.exists():
            return
        exact = torch.load(self._exact_file, map_location=self.device, weights_only=True)
        if exact["steps"] != self.progress.steps:
            return  # Of another training than the weights beside it.
        self.master.load_state_dict(exact["master"])
        self.average.load_state_dict(exact["average"])
        self.optimiser.load_state_dict(exact["optimiser"])
        if self.low:
            with torch.no_grad():
                torch._foreach_copy_(list(self.model.parameters()), list(self.master.parameters()))


def weights_file(work: Path, name: str) -> Path:
    """Where a model's averaged weights lie."""
    return work / f"{name}.safetensors"


def save_halves(model: nn.Module, path: Path) -> None:
    """Write the weights in half precision, atomically; they are also the point from which training goes on."""
    unfinished = path.with_suffix(".part")
    tensors = {name: tensor.detach().half().cpu().contiguous() for name, tensor in model.state_dict().items()}
    save_file(tensors, unfinished)
    unfinished.rename(path)


def load_halves(model: nn.Module, path: Path) -> None:
    """Read weights that `save_halves` wrote."""
    model.load_state_dict({name: tensor.float() for name, tensor in load_file(path).items()})


class Log:
    """Prints a line of means every so often, and returns the last for tests."""

    def __init__(self, name: str, every: int) -> None:
        self.name, self.every = name, every
        self._tensors: dict[str, Tensor] = {}
        self._count = 0
        self._samples = 0
        self._begun = time.monotonic()
        self.lines: list[dict[str, float]] = []

    def add(self, trainee: Trainee, samples: int, **values: Tensor) -> None:
        """Take in a step; nothing is read off the device until a line is due."""
        trainee.progress.samples += samples
        self._samples += samples
        self._count += 1
        for name, value in values.items():
            self._tensors[name] = self._tensors.get(name, torch.zeros_like(value.detach())) + value.detach()
        if trainee.steps_here % self.every == 0:
            self._print(trainee)

    def _print(self, trainee: Trainee) -> None:
        means = {name: float(value) / self._count for name, value in self._tensors.items()}
        if any(math.isnan(mean) for mean in means.values()):
            raise ArithmeticError(f"{self.name}: the loss is no number any more after {trainee.progress.steps} steps")
        rate = self._samples / (time.monotonic() - self._begun)
        said = " ".join(f"{name} {mean:.4f}" for name, mean in means.items())
        print(f"{self.name} step {trainee.progress.steps} {said} {rate:.0f} pictures/s", flush=True)
        self.lines.append(means)
        self._tensors, self._count, self._samples, self._begun = {}, 0, 0, time.monotonic()


def every_minutes(minutes: float) -> Iterator[bool]:
    """True once every so many minutes, for saving."""
    last = time.monotonic()
    while True:
        due = time.monotonic() - last > 60 * minutes
        if due:
            last = time.monotonic()
        yield due
