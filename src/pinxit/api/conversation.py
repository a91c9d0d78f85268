"""What a conversation asks to be painted.

There is no chat model here: the text of the last user message is the prompt, word for word. Its pictures are what to
begin from; if it has none, the last picture before it is, so that "now make it blue" works. Everything else that was
said before has no effect.
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass, field

from pinxit.api.edits import Source
from pinxit.errors import InvalidRequest
from pinxit.ids import GENERATION_ID

MAX_IGNORED_SHOWN = 8

_CALL_ID = re.compile(r"ig_([0-9a-f]{32})([0-9a-f]{2})", re.ASCII)
_ANSWER_ID = re.compile(r"(?:resp|chatcmpl)_([0-9a-f]{32})", re.ASCII)


@dataclass(frozen=True, slots=True)
class Kept:
    """A picture that was painted here before: which one of which order. `position` None: the last one."""

    param: str
    generation_id: str
    position: int | None = None


@dataclass(slots=True)
class Turn:
    """One message, or one picture that was painted in between. `param` names it."""

    param: str
    role: str
    texts: list[str] = field(default_factory=list)
    pictures: list[Source | Kept] = field(default_factory=list)


@dataclass(frozen=True, slots=True)
class Wish:
    """What is to be painted. `ignored`: the names of what else was said; `param`: of the message that counts."""

    prompt: str
    pictures: tuple[Source | Kept, ...]
    ignored: tuple[str, ...]
    param: str


def read_wish(turns: Sequence[Turn], *, param: str) -> Wish:
    """Raises InvalidRequest if no user says anything. `param` names the conversation."""
    last = next((place for place in reversed(range(len(turns))) if turns[place].role == "user"), None)
    if last is None:
        raise InvalidRequest(f"{param} has no message of a user: say what to paint.", param=param)
    wish, before = turns[last], turns[:last]
    pictures = wish.pictures or next((turn.pictures[-1:] for turn in reversed(before) if turn.pictures), [])
    used = {wish.param, *(turn.param for turn in before if turn.pictures and pictures[0] in turn.pictures)}
    ignored = [turn.param for turn in turns if turn.param not in used and (turn.texts or turn.pictures)]
    if len(ignored) > MAX_IGNORED_SHOWN:
        ignored = [*ignored[:MAX_IGNORED_SHOWN], f"{param}[...]"]
    return Wish("\n".join(wish.texts), tuple(pictures), tuple(ignored), wish.param)


# --- ids: an answer is named after its order, and a picture after its place in it -----------------------------------


def answer_id(prefix: str, generation_id: str) -> str:
    """`gen_3f…` → `resp_3f…`."""
    return f"{prefix}_{generation_id.removeprefix('gen_')}"


def call_id(generation_id: str, position: int) -> str:
    """`gen_3f…`, 1 → `ig_3f…01`."""
    return f"ig_{generation_id.removeprefix('gen_')}{position:02x}"


def find_kept(id_: str, param: str) -> Kept | None:
    """What an id of ours stands for; None if it is none."""
    if found := _CALL_ID.fullmatch(id_):
        return Kept(param, f"gen_{found[1]}", int(found[2], 16))
    found = _ANSWER_ID.fullmatch(id_)
    if found is None:
        return None
    assert GENERATION_ID.fullmatch(f"gen_{found[1]}")
    return Kept(param, f"gen_{found[1]}")
