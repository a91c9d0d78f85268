"""What an edit begins from, and how what was painted comes back into the picture that was sent.

Image-to-image: a picture's latents, with as much noise over them as the strength says, are denoised from there (SDEdit,
arXiv:2108.01073). Masks: after each step the positions that are to be kept are put back to the picture's own latents at
that time (RePaint, arXiv:2201.09865, without going back and forth; Blended Latent Diffusion, arXiv:2206.02779), so that
what is painted fits to them; the pixels that are kept are then taken from the picture that was sent.
"""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from PIL import Image

from pinxit.backends.interface import PaintOrder
from pinxit.images.pixels import Pixels
from pinxit_otter.enlarge import Picture
from pinxit_otter.sampler import LATENT_SIDE, Latents
from pinxit_otter.spec import NATIVE_SIDE

Positions = npt.NDArray[np.bool_]
"""(64, 1): for each position of the latents whether there is anything to paint."""


@dataclass(frozen=True, slots=True)
class Part:
    """What a mask says: `positions` may change, and of the `shares` (mode L) of each pixel the rest is `picture`'s."""

    picture: Image.Image
    shares: Image.Image
    positions: Positions


@dataclass(frozen=True, slots=True)
class Beginning:
    """The latents of the picture that was sent, and which part of it is to be painted; None: all of it."""

    latents: Latents
    part: Part | None

    def at(self, time: float, noise: Latents) -> Latents:
        """The picture's latents under noise: all picture at 0, all noise at 1."""
        mixed: Latents = (np.float32(1 - time) * self.latents + np.float32(time) * noise).astype(np.float32)
        return mixed

    def kept_at(self, time: float, noise: Latents, painted: Latents) -> Latents:
        """`painted`, with the positions that are kept put back to what they are at that time."""
        if self.part is None:
            return painted
        return np.where(self.part.positions, painted, self.at(time, noise))

    def put_back(self, painted: Pixels) -> Pixels:
        """What was painted, in the order's size, within the picture that was sent."""
        if self.part is None:
            return painted
        image = Image.frombytes(painted.mode, (painted.width, painted.height), painted.data)
        whole = _blended(image, self.part.picture, self.part.shares)
        return Pixels(painted.width, painted.height, painted.mode, whole.tobytes())


def begin(order: PaintOrder, encode: Callable[[Picture], Latents]) -> Beginning:
    """Where an order with a picture begins; a second picture would change nothing."""
    pixels = order.images[0]
    sent = Image.frombytes(pixels.mode, (pixels.width, pixels.height), pixels.data)
    # The model knows transparency; whether it is kept or laid on white in the end is another matter.
    square = _middle(sent.convert("RGBA")).convert("RGBa")
    latents = encode(np.asarray(square.resize((NATIVE_SIDE, NATIVE_SIDE), Image.Resampling.BICUBIC)))
    if order.mask is None:
        return Beginning(latents, None)
    mask = Image.frombytes("L", (order.mask.width, order.mask.height), order.mask.data)
    return Beginning(
        latents, Part(_as_asked(sent, order.transparent), _shares(mask), _positions(np.asarray(_middle(mask))))
    )


def _as_asked(image: Image.Image, transparent: bool) -> Image.Image:
    """On white (RGB), unless a transparent ground is asked for (RGBA)."""
    if transparent:
        return image.convert("RGBA")
    if image.mode == "RGBA":
        return Image.alpha_composite(Image.new("RGBA", image.size, "white"), image).convert("RGB")
    return image


def _blended(painted: Image.Image, kept: Image.Image, shares: Image.Image) -> Image.Image:
    """Both in the shares of the mask. Where there is alpha, colours count by it: those of clear pixels are not seen."""
    if painted.mode != "RGBA":
        return Image.composite(painted, kept, shares)
    mixed = Image.composite(painted.convert("RGBa"), kept.convert("RGBa"), shares).convert("RGBA")
    # Dividing by alpha again rounds: what is wholly the one or the other stays as it is.
    either = Image.composite(painted, kept, shares.point(lambda share: 255 * (share == 255)))
    return Image.composite(mixed, either, shares.point(lambda share: 255 * (0 < share < 255)))


def _middle(image: Image.Image) -> Image.Image:
    """The square that `enlarge` fills with the model's picture."""
    side = min(image.size)
    left, top = (image.width - side) // 2, (image.height - side) // 2
    return image.crop((left, top, left + side, top + side))


def _positions(mask: npt.NDArray[np.uint8]) -> Positions:
    """Those with any pixel to paint: a border through a position leaves it free, so that it fits on both sides."""
    starts = np.arange(LATENT_SIDE) * len(mask) // LATENT_SIDE
    most = np.maximum.reduceat(np.maximum.reduceat(mask, starts, axis=0), starts, axis=1)
    return (most > 0).reshape(-1, 1)


def _shares(mask: Image.Image) -> Image.Image:
    """The mask, softened inside its border over one of the model's own pixels, so that no seam is seen.

    The mean of the mask and of what is left of it after taking off one row of pixels after the other.
    """
    rows = min(mask.size) // NATIVE_SIDE
    left = np.asarray(mask)
    total = left.astype(np.uint32)
    for _ in range(rows):
        left = _shrunk(left)
        total += left
    return Image.fromarray((total // (rows + 1)).astype(np.uint8))


def _shrunk(mask: npt.NDArray[np.uint8]) -> npt.NDArray[np.uint8]:
    """The least of each pixel and its eight neighbours, the border continued."""
    padded = np.pad(mask, 1, mode="edge")
    across = np.minimum(np.minimum(padded[:, :-2], padded[:, 1:-1]), padded[:, 2:])
    least: npt.NDArray[np.uint8] = np.minimum(np.minimum(across[:-2], across[1:-1]), across[2:])
    return least
