"""What a model can do and costs, as its page shows it."""

from collections.abc import Sequence
from dataclasses import dataclass

from pinxit.backends.interface import MAX_SEED, Range
from pinxit.catalog.entry import OPENAI_STYLES, Entry

EDITS, MASKS, TRANSPARENT, STREAMING, SEEDS, NEGATIVE = "edits", "masks", "transparent", "partial", "seeds", "negative"
ABILITIES = {
    EDITS: "edits",
    MASKS: "masks",
    TRANSPARENT: "transparent ground",
    STREAMING: "partial pictures",
    SEEDS: "seeds",
    NEGATIVE: "negative prompts",
}
"""What not every model can, by the name that the filter has for it."""


@dataclass(frozen=True, slots=True)
class PriceTable:
    """Micro-dollars a picture, by size and quality; or one price for all."""

    qualities: tuple[str, ...]
    rows: tuple[tuple[str, tuple[int, ...]], ...]

    @property
    def least(self) -> int:
        return min(price for _, row in self.rows for price in row)

    @property
    def most(self) -> int:
        return max(price for _, row in self.rows for price in row)


@dataclass(frozen=True, slots=True)
class Parameter:
    """A field of an order. `allowed`: what it may be, one by one where they are few names, else in words."""

    name: str
    meaning: str
    allowed: tuple[str, ...] = ()
    usual: str = ""


def price_table(entry: Entry) -> PriceTable:
    """By every size and quality the model has."""
    can = entry.capabilities
    qualities = tuple(can.qualities) or ("auto",)
    rows = [(str(size), tuple(entry.prices.micros(size, quality) for quality in qualities)) for size in can.sizes]
    return PriceTable(qualities, tuple(rows))


def abilities(entry: Entry) -> list[str]:
    """Those of ABILITIES that the model has."""
    can = entry.capabilities
    has = {
        EDITS: can.edits,
        MASKS: can.mask,
        TRANSPARENT: can.transparent,
        STREAMING: can.streaming,
        SEEDS: can.seed,
        NEGATIVE: can.negative_prompt,
    }
    return [name for name in ABILITIES if has[name]]


def parameters(entry: Entry, max_prompt_characters: int) -> list[Parameter]:
    """What an order for this model can say, in the order in which people look for it."""
    can, usual = entry.capabilities, {name: str(value) for name, value in entry.defaults.items()}
    encodings = tuple(encoding.value for encoding in can.encodings)
    found = [
        Parameter("prompt", "What to paint.", (f"up to {max_prompt_characters} characters",)),
        Parameter("n", "How many pictures.", (f"1 to {can.max_n}",), "1"),
        Parameter("size", "Width and height, or their ratio.", _sizes(entry), usual.get("size", str(can.default_size))),
    ]
    if can.qualities:
        qualities = ("auto", *can.qualities)
        found.append(Parameter("quality", "How much work to put in.", qualities, usual.get("quality", "auto")))
    found += _numbers(entry, usual)
    if can.seed:
        found.append(Parameter("seed", "The same seed paints the same picture.", (f"0 to {MAX_SEED}",), "random"))
    if can.negative_prompt:
        found.append(Parameter("negative_prompt", "What not to paint.", (), usual.get("negative_prompt", "")))
    if can.styles:
        styles = tuple(dict.fromkeys((*can.styles, *OPENAI_STYLES)))
        found.append(Parameter("style", "How it should look.", styles, usual.get("style", "")))
    if can.transparent:
        grounds = ("auto", "transparent", "opaque")
        found.append(Parameter("background", "What is behind it; transparent as PNG or WebP.", grounds, "auto"))
    found.append(Parameter("output_format", "The kind of file.", encodings, "png" if "png" in encodings else ""))
    if can.streaming:
        found.append(Parameter("stream", "Send events while it is painted.", ("true", "false"), "false"))
        found.append(Parameter("partial_images", "Unfinished pictures in a stream.", ("0 to 3",), "0"))
    return found + _pictures(entry, usual)


def _sizes(entry: Entry) -> tuple[str, ...]:
    can = entry.capabilities
    range_ = () if can.size_range is None else (str(can.size_range),)
    return ("auto", *map(str, can.sizes), *can.aspect_ratios, *range_)


def _numbers(entry: Entry, usual: dict[str, str]) -> list[Parameter]:
    can = entry.capabilities
    found = [
        ("num_inference_steps", "How many steps the model takes.", can.num_inference_steps),
        ("guidance_scale", "How closely to follow the prompt.", can.guidance_scale),
    ]
    return [_number(name, meaning, range_, usual) for name, meaning, range_ in found if range_ is not None]


def _number(name: str, meaning: str, range_: Range, usual: dict[str, str]) -> Parameter:
    allowed = (f"{range_.minimum:g} to {range_.maximum:g}",)
    return Parameter(name, meaning, allowed, usual.get(name, f"{range_.default:g}"))


def _pictures(entry: Entry, usual: dict[str, str]) -> list[Parameter]:
    """Of /v1/images/edits."""
    can = entry.capabilities
    if not can.edits:
        return []
    most = "one picture" if can.max_images == 1 else f"1 to {can.max_images} pictures"
    found = [Parameter("image", "What to begin from.", (most,))]
    if can.mask:
        found.append(Parameter("mask", "Where to paint: the transparent part.", ("a picture of the same size",)))
    if can.strength is not None:
        found.append(_number("strength", "How far to go from the picture.", can.strength, usual))
    return found


def is_like(entry: Entry, words: Sequence[str], ability: str) -> bool:
    """Whether a search for these words (in lower case), and for an ability if it is not empty, finds the model."""
    text = " ".join([entry.id, *entry.aliases, entry.description, entry.backend, entry.spec.owned_by]).lower()
    return all(word in text for word in words) and (not ability or ability in abilities(entry))
