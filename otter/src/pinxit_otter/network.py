"""The four networks of otter-1 in onnxruntime: text encoder, denoiser, and the decoder and encoder of pictures.

Their weights lie in the files as int8 and half precision; onnxruntime turns them into single precision while loading
and computes in that.
"""

import io
import logging
import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
import onnxruntime as ort

from pinxit_otter import manifest
from pinxit_otter.enlarge import Picture
from pinxit_otter.manifest import Manifest
from pinxit_otter.sampler import Latents, noise
from pinxit_otter.wordpiece import TEXT_TOKENS, WordPieces

Floats = npt.NDArray[np.float32]

MAX_BATCH = 8
"""More pictures at once make each step slower and hardly paint more of them a second."""

MAX_THREADS = 8
"""The layers are small: more threads than this wait for each other."""

_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Text:
    """A prompt as the denoiser reads it: `states` (20, 384), `pooled` (384,), `mask` (20,) with 1 for a piece."""

    states: Floats
    pooled: Floats
    mask: Floats


@dataclass(frozen=True, slots=True)
class StepInput:
    """One picture's part of a step, from time `t` to `t_next`."""

    latents: Latents
    t: float
    t_next: float
    guidance: float
    wanted: Text
    unwanted: Text


class Network:
    """Loaded and ready. Not to be used by two threads at once."""

    def __init__(self, files: Manifest, threads: int | None = None) -> None:
        """Read, verify and load. Raises StartupError for damaged files, and whatever onnxruntime raises."""
        self.threads = threads or available_cores()
        self.word_pieces = WordPieces(files.read_verified(manifest.VOCABULARY).decode().splitlines())
        self._text = self._session(files, manifest.TEXT)
        self._denoiser = self._session(files, manifest.DENOISER)
        self._decoder = self._session(files, manifest.DECODER)
        self._encoder = self._session(files, manifest.ENCODER)
        with np.load(io.BytesIO(files.read_verified(manifest.NULL_TEXT))) as null:
            self.null_text = Text(null["states"], null["pooled"], null["mask"])
        """What the denoiser learnt to read when nothing is said: the default of the unwanted text."""

    def _session(self, files: Manifest, name: str) -> ort.InferenceSession:
        options = ort.SessionOptions()
        options.intra_op_num_threads = self.threads
        options.inter_op_num_threads = 1
        options.log_severity_level = 3
        # Four pools of threads share the cores with each other and with the API: they must sleep while they wait.
        options.add_session_config_entry("session.intra_op.allow_spinning", "0")
        return ort.InferenceSession(files.read_verified(name), options, providers=["CPUExecutionProvider"])

    def encode(self, sentence: Sequence[int]) -> Text:
        """Read word pieces (at most 20, with start and end), always one text at a time, padded to 20."""
        ids = np.full((1, TEXT_TOKENS), self.word_pieces.pad, np.int64)
        mask = np.zeros((1, TEXT_TOKENS), np.float32)
        ids[0, : len(sentence)] = sentence
        mask[0, : len(sentence)] = 1
        states, pooled = self._text.run(None, {"ids": ids, "mask": mask})
        return Text(states[0], pooled[0], mask[0])

    def step(self, inputs: Sequence[StepInput], *, ends: bool = False) -> tuple[Floats, Floats | None]:
        """Latents (B, 64, 32) after the step and, with `ends`, where a straight line would lead from here."""
        results = self._denoiser.run(
            ["x_next", "x_end"] if ends else ["x_next"],
            {
                "x": np.stack([one.latents for one in inputs]),
                "t": np.array([one.t for one in inputs], np.float32),
                "t_next": np.array([one.t_next for one in inputs], np.float32),
                "guidance": np.array([one.guidance for one in inputs], np.float32),
                "states": np.stack([one.wanted.states for one in inputs]),
                "pooled": np.stack([one.wanted.pooled for one in inputs]),
                "mask": np.stack([one.wanted.mask for one in inputs]),
                "negative_states": np.stack([one.unwanted.states for one in inputs]),
                "negative_pooled": np.stack([one.unwanted.pooled for one in inputs]),
                "negative_mask": np.stack([one.unwanted.mask for one in inputs]),
            },
        )
        return results[0], results[1] if ends else None

    def decode(self, latents: Latents) -> Picture:
        """The picture (256, 256, 4), colours multiplied by alpha, always one at a time."""
        (pictures,) = self._decoder.run(None, {"latents": latents[None]})
        picture: Picture = np.rint(pictures[0]).astype(np.uint8)
        return picture

    def encode_picture(self, picture: Picture) -> Latents:
        """The latents that `decode` makes this picture (256, 256, 4) of, or nearly, always one at a time."""
        (latents,) = self._encoder.run(None, {"picture": picture[None].astype(np.float32)})
        encoded: Latents = latents[0]
        return encoded

    def prove_batch_size(self, at_most: int = MAX_BATCH) -> int:
        """The largest batch in which, and in all smaller ones, pictures have the bits they have when painted alone.

        A kernel may sum in another order when there are more rows, and then the last bits differ. Whether it does
        depends on the processor and on the number of threads; so it is tried here, at every place of every batch,
        before any picture is promised.
        """
        inputs = [self._trial(place) for place in range(at_most)]
        alone = [self.step([one])[0][0] for one in inputs]
        for size in range(2, at_most + 1):
            together, _ = self.step(inputs[-size:])
            if not all(np.array_equal(a, b) for a, b in zip(together, alone[-size:], strict=True)):
                _log.info("otter-1: batches of %d differ in bits from single pictures on this processor", size)
                return size - 1
        return at_most

    def _trial(self, place: int) -> StepInput:
        sentence = self.word_pieces.sentence("otter " * (place + 1))
        t = 1 - place / MAX_BATCH
        return StepInput(noise(place), t, t - 0.125, 3.0, self.encode(sentence), self.null_text)


def available_cores() -> int:
    """How many cores this process may use, at most `MAX_THREADS`; a container's CPU quota is heeded."""
    try:
        cores = len(os.sched_getaffinity(0))
    except AttributeError:  # not Linux
        cores = os.cpu_count() or 1
    return max(1, min(cores, MAX_THREADS, _cgroup_cores()))


def _cgroup_cores() -> int:
    """CPU time the control group grants, in whole cores (cgroup v2, `cpu.max`: microseconds granted and period)."""
    try:
        granted, period = Path("/sys/fs/cgroup/cpu.max").read_text(encoding="ascii").split()
        return MAX_THREADS if granted == "max" else -(-int(granted) // int(period))
    except (OSError, ValueError):
        return MAX_THREADS
