"""Refuses prompts that contain words of a list, also when they are written to get past it.

What is seen through: case, accents, full-width and look-alike characters, zero-width characters, `b4d`, `baaad`,
`b.a.d`, `b a d`, `ba-d`.

What is left alone: a word within another (`class` has no `ass`), also when that is spelled out (`c l a s s`); two words
that would make one (`as sand`, `the rapist`, `he'll`); doubled letters (`good` is not `god`); plain numbers (`455`).

The text is read once, as units: a letter with how often it stands there, or what stands between letters. A set of
states walks along it, each a place in the tree of all words. Only the list decides how many states there can be, so the
time is proportional to the length of the text.
"""

import asyncio
import re
import unicodedata
from collections.abc import Iterable, Iterator, Mapping
from enum import IntEnum
from functools import lru_cache
from pathlib import Path
from typing import NamedTuple

from pinxit.errors import ConfigurationError, ContentPolicyViolation
from pinxit.moderation import Moderator

DEFAULT_CATEGORY = "blocked_words"
MAX_FILE_BYTES = 4 * 1024 * 1024

_LONG_PROMPT_CHARACTERS = 1000
"""From here on a prompt is checked in a thread, for it takes more than a few milliseconds."""

_HEADING = re.compile(r"\[\s*([a-z0-9][a-z0-9_/-]{0,63})\s*\]", re.ASCII)


class WordListModerator(Moderator):
    """Knows which words are unwanted, by category."""

    def __init__(self, words: Mapping[str, Iterable[str]]) -> None:
        """`words`: category → words and phrases. Raises ValueError for one without letters and digits."""
        self._tree = _Tree()
        for category, members in words.items():
            for word in members:
                self._tree.add(word, category)

    async def check_prompt(self, prompt: str) -> None:
        if len(prompt) < _LONG_PROMPT_CHARACTERS:
            categories = self.categories_of(prompt)
        else:
            categories = await asyncio.to_thread(self.categories_of, prompt)
        if categories:
            raise ContentPolicyViolation(stage="input", categories=categories)

    def categories_of(self, text: str) -> list[str]:
        """The categories whose words are in `text`, sorted."""
        if self._tree.is_empty:
            return []
        return sorted(_Walk(self._tree, read_units(text)).categories())


def load_word_list(words: Iterable[str] = (), words_file: Path | None = None) -> WordListModerator:
    """A moderator for `words` and those of a file, if there is one. Raises ConfigurationError."""
    by_category = {DEFAULT_CATEGORY: list(words)}
    for word in by_category[DEFAULT_CATEGORY]:
        if not _symbols_of(word):
            raise ConfigurationError("moderation_words: an entry has neither letters nor digits.")
    if words_file is not None:
        for category, members in read_word_file(words_file).items():
            by_category.setdefault(category, []).extend(members)
    return WordListModerator(by_category)


def read_word_file(path: Path) -> dict[str, list[str]]:
    """Category → words of a file: a word or phrase per line, `# comment`, `[category]` headings.

    Raises ConfigurationError, naming file and line.
    """
    try:
        with path.open("rb") as file:
            data = file.read(MAX_FILE_BYTES + 1)
        text = data.decode("utf-8-sig")
    except OSError as error:
        raise ConfigurationError(f"{path}: cannot be read: {(error.strerror or 'unknown reason').lower()}") from error
    except UnicodeDecodeError as error:
        raise ConfigurationError(f"{path}: is not UTF-8 text") from error
    if len(data) > MAX_FILE_BYTES:
        raise ConfigurationError(f"{path}: is larger than {MAX_FILE_BYTES} bytes")
    words: dict[str, list[str]] = {}
    category = DEFAULT_CATEGORY
    for number, line in enumerate(text.splitlines(), start=1):
        entry = line.partition("#")[0].strip()
        heading = _HEADING.fullmatch(entry)
        if heading is not None:
            category = heading[1]
        elif entry.startswith("["):
            raise ConfigurationError(f"{path}:{number}: a category is [a_word] of lower-case letters and digits")
        elif entry and not _symbols_of(entry):
            raise ConfigurationError(f"{path}:{number}: has neither letters nor digits")
        elif entry:
            words.setdefault(category, []).append(entry)
    return words


# --- reading text ---------------------------------------------------------------------------------------------------


class Gap(IntEnum):
    """What may stand between the letters of a word."""

    NONE = 0
    TIGHT = 1
    """As in `fu-ck`: seen through wherever it stands."""
    LOOSE = 2
    """As in `a s s`: seen through only where every letter stands alone."""
    BREAK = 3
    """Never seen through."""


class Unit(NamedTuple):
    """A letter or digit, or what stands between."""

    symbols: tuple[str, ...] = ()
    """What it may be, without disguise: a letter, with the other letters that it looks like, or a digit."""
    disguised: str = ""
    """The letters that it may stand for: `1` for i and l."""
    gap: Gap = Gap.NONE
    """What it is if it is none of them; NONE for a letter, which cannot be anything else."""
    times: int = 1
    """How often it stands there in a row."""

    @property
    def is_letter(self) -> bool:
        return self.gap is Gap.NONE

    @property
    def is_digit(self) -> bool:
        return bool(self.symbols) and not self.is_letter


_SPACE = " "
_LOOSE = frozenset("'’‘`\",;:/|()[]{}<>\u2800")
_INVISIBLE = frozenset("\u115f\u1160\u3164\uffa0")

_LEET = {"0": "o", "1": "il", "3": "e", "4": "a", "5": "s", "7": "t"}
_LEET_SIGNS = {"@": "a", "$": "s", "!": "i"}

_LOOK_ALIKES = {
    **dict(zip("авекмнорстухіјѕһԁԛԝѵ", "abekmhopctyxijshdqwv", strict=True)),  # Cyrillic
    **dict(zip("αβγεζικορτχω", "abyezikoptxw", strict=True)),  # Greek
    **{"η": "nh", "μ": "um", "ν": "vn", "υ": "uy"},  # Greek: as a small letter and as a capital
    **dict(zip("ıøłđħŧɑɡɩ", "ioldhtagi", strict=True)),  # Latin letters that no decomposition reaches
    **dict(zip("ᴀʙᴄᴅᴇꜰɢʜɪᴊᴋʟᴍɴᴏᴘʀꜱᴛᴜᴠᴡʏᴢ", "abcdefghijklmnoprstuvwyz", strict=True)),  # small capitals
    **{chr(start + offset): chr(ord("a") + offset) for start in (0x1F150, 0x1F170) for offset in range(26)},  # filled
}
"""Letters that look like Latin ones, after folding (https://www.unicode.org/reports/tr39/#Confusable_Detection)."""

_UNSPACED = tuple(
    range(start, end)
    for start, end in (
        (0x0E00, 0x0F00),  # Thai, Lao
        (0x1000, 0x10A0),  # Burmese
        (0x1780, 0x1800),  # Khmer
        (0x3040, 0xA4D0),  # kana and ideographs
        (0xAC00, 0xD7B0),  # Hangul: spaced, but words take endings
        (0xF900, 0xFB00),
        (0x20000, 0x40000),
    )
)


def read_units(text: str) -> list[Unit]:
    """`text` without case, accents and invisible characters, as units; equal letters and gaps in a row are one."""
    units: list[Unit] = []
    for character in _fold(text):
        unit = _unit_of(character)
        if unit is None:
            continue
        last = units[-1] if units else None
        if last is None or last._replace(times=1) != unit or unit.is_digit:
            units.append(unit)
        elif unit.is_letter or unit.disguised:
            units[-1] = last._replace(times=last.times + 1)
    return units


def _fold(text: str) -> str:
    decomposed = unicodedata.normalize("NFKD", unicodedata.normalize("NFKC", text).casefold())
    return unicodedata.normalize("NFKC", "".join(char for char in decomposed if unicodedata.category(char) != "Mn"))


@lru_cache(maxsize=8192)
def _unit_of(character: str) -> Unit | None:
    """None for what is not seen at all."""
    if character in _LOOK_ALIKES:
        return Unit(tuple(_LOOK_ALIKES[character]))
    if character in _LEET_SIGNS:
        return Unit(disguised=_LEET_SIGNS[character], gap=Gap.TIGHT)
    if character.isdecimal():
        digit = str(int(character))
        return Unit((digit,), disguised=_LEET.get(digit, ""), gap=Gap.BREAK)
    if character.isspace() or character in _LOOSE:
        return Unit(gap=Gap.LOOSE)
    if character in _INVISIBLE or unicodedata.category(character) in ("Cf", "Cc", "Cs", "Cn"):
        return None
    if character.isalpha() or unicodedata.category(character) == "Mc":
        return Unit((character,))
    return Unit(gap=Gap.TIGHT)


def _symbols_of(word: str) -> str:
    """How a word of the list is written in the tree: its symbols, with a space between the words of a phrase."""
    symbols = ""
    for unit in read_units(word):
        if unit.symbols or unit.disguised:
            symbols += (unit.symbols[0] if unit.symbols else unit.disguised[0]) * unit.times
        elif unit.gap is Gap.LOOSE:
            symbols += _SPACE
    return " ".join(symbols.split())


# --- matching -------------------------------------------------------------------------------------------------------


class _Tree:
    """All words, letter by letter: nodes are numbers, 0 is the root."""

    def __init__(self) -> None:
        self.children: list[dict[str, int]] = [{}]
        self.symbol: list[str] = [""]
        self.categories: list[set[str]] = [set()]

    @property
    def is_empty(self) -> bool:
        return len(self.children) == 1

    def add(self, word: str, category: str) -> None:
        symbols = _symbols_of(word)
        if not symbols:
            raise ValueError("a word of the list has neither letters nor digits")
        node = 0
        for symbol in symbols:
            if symbol not in self.children[node]:
                self.children[node][symbol] = len(self.children)
                self.children.append({})
                self.symbol.append(symbol)
                self.categories.append(set())
            node = self.children[node][symbol]
        self.categories[node].add(category)


class _Style(IntEnum):
    """How the letters so far stand to each other."""

    FIRST = 0
    """There is one at most."""
    SPELLED = 1
    """Each stands alone, with something tight between them: it may go on either way."""
    SPACED = 2
    """Each stands alone, somewhere with something loose between them: it must go on like that."""
    JOINED = 3
    """Some stand together."""


class _State(NamedTuple):
    """Part of a word has been read."""

    node: int
    style: _Style = _Style.FIRST
    gap: Gap | None = None
    """What was read since the last letter; None at the beginning of a word."""
    is_plain: bool = False
    """Whether something in it is what it is, not a sign that stands for a letter."""
    after_single: bool = False
    """Whether a letter that stands alone comes before it, so that a spelled-out word may have begun earlier."""


class _Walk:
    """One reading of one text."""

    def __init__(self, tree: _Tree, units: list[Unit]) -> None:
        self._tree = tree
        self._units = units
        self._single_before = list(_single_before(units, excused="ai"))
        self._single_after = list(_single_before(units[::-1]))[::-1]

    def categories(self) -> set[str]:
        """The categories of all words that are found."""
        found: set[str] = set()
        states: set[_State] = set()
        for position, unit in enumerate(self._units):
            found |= self._ended(states, position, unit)
            states = self._after(states, position, unit)
        return found | self._ended(states, len(self._units), None)

    def _ended(self, states: set[_State], position: int, following: Unit | None) -> set[str]:
        """The categories of words that end before `following`."""
        found: set[str] = set()
        for state in states:
            if self._tree.categories[state.node] and self._is_whole(state, position, following):
                found |= self._tree.categories[state.node]
        return found

    def _is_whole(self, state: _State, position: int, following: Unit | None) -> bool:
        if state.gap is not Gap.NONE or not state.is_plain or _joins(self._tree.symbol[state.node], following):
            return False
        is_spelled = state.style in (_Style.SPELLED, _Style.SPACED)
        return not (is_spelled and (state.after_single or self._single_after[position - 1]))

    def _after(self, states: set[_State], position: int, unit: Unit) -> set[_State]:
        """The states after `unit`."""
        after: set[_State] = set()
        if unit.gap in (Gap.TIGHT, Gap.LOOSE):
            after.update(self._over_gap(states, unit.gap))
        if unit.symbols or unit.disguised:
            before = self._units[position - 1] if position else None
            start = _State(0, after_single=self._single_before[position])
            for symbol, is_plain in _readings(unit):
                if symbol in self._tree.children[0] and not _joins(symbol, before):
                    after.update(self._over_letter(start, symbol, unit.times, is_plain))
                for state in states:
                    after.update(self._over_letter(state, symbol, unit.times, is_plain))
        return after

    def _over_gap(self, states: set[_State], gap: Gap) -> Iterator[_State]:
        for state in states:
            if state.gap is None:
                yield state
                continue
            yield state._replace(gap=max(state.gap, gap))
            next_word = self._tree.children[state.node].get(_SPACE)
            is_part = state.after_single and state.style in (_Style.SPELLED, _Style.SPACED)
            if next_word is not None and state.gap is Gap.NONE and not is_part:
                yield _State(next_word, is_plain=state.is_plain)

    def _over_letter(self, state: _State, symbol: str, times: int, is_plain: bool) -> Iterator[_State]:
        """`times` times the same letter: as many of the word, or, from three on, as few as the word has."""
        style = _style_after(state)
        if style is None:
            return
        node: int | None = state.node
        for used in range(1, times + 1):
            node = self._tree.children[node].get(symbol) if node is not None else None
            if node is None:
                return
            if used > 1 and style is _Style.SPACED:
                return
            if used == times or times >= 3:
                reached = _Style.JOINED if used > 1 else style
                yield _State(node, reached, Gap.NONE, state.is_plain or is_plain, state.after_single)


def _style_after(state: _State) -> _Style | None:
    """The style with one more letter, or None if it does not fit."""
    if state.gap is None:
        return _Style.FIRST
    if state.gap is Gap.NONE:
        return None if state.style is _Style.SPACED else _Style.JOINED
    if state.gap is Gap.TIGHT:
        return max(state.style, _Style.SPELLED)
    return None if state.style is _Style.JOINED else _Style.SPACED


def _readings(unit: Unit) -> Iterator[tuple[str, bool]]:
    """What a unit may be, and whether it is so without disguise."""
    yield from ((symbol, True) for symbol in unit.symbols)
    yield from ((symbol, False) for symbol in unit.disguised)


def _joins(symbol: str, neighbour: Unit | None) -> bool:
    """Whether `symbol` and its neighbour are parts of one word, or of one number."""
    if neighbour is None:
        return False
    if symbol.isdecimal():
        return neighbour.is_digit
    return neighbour.is_letter and _is_spaced(symbol) and _is_spaced(neighbour.symbols[0])


def _is_spaced(symbol: str) -> bool:
    """Whether the script of a letter puts spaces between words."""
    return symbol.isascii() or not any(ord(symbol) in unspaced for unspaced in _UNSPACED)


def _single_before(units: list[Unit], excused: str = "") -> Iterator[bool]:
    """For each unit: whether the letters before it, beyond a gap, are one that stands alone and is not `excused`.

    `a` and `I` are words of their own: `a b a d otter`.
    """
    length, last, beyond_gap = 0, "", False
    for unit in units:
        yield beyond_gap and length == 1 and last not in excused
        if unit.is_letter:
            length = 1 if beyond_gap else length + 1
            last, beyond_gap = unit.symbols[0], False
        elif unit.gap is Gap.BREAK:
            length, beyond_gap = 0, False
        else:
            beyond_gap = True
