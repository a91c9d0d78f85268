"""The header `x-pinxit-familiarity` of an answer whose prompt is far from what its model knows:

    x-pinxit-familiarity: far; nearest="otter"; similarity=0.41

A structured item (RFC 9651): a token with parameters. `nearest` is a string, or a display string where it is not ASCII.
"""

import json
import re
from urllib.parse import quote, unquote

from pinxit.backends.interface import Familiarity

NAME = "x-pinxit-familiarity"
_FAR = re.compile(r'far; nearest=(%?)("(?:[^"\\]|\\.)*"); similarity=(-?[01]\.[0-9]{1,3})')
_NOT_ESCAPED = " !#$&'()*+,/:;<=>?@[]^`{|}\\"
"""What a display string leaves as it is beside letters, digits and `_.-~`: all ASCII but `%` and `"`."""


def header_value(said: Familiarity) -> bytes:
    """What the header says of a prompt that is far."""
    if said.nearest.isascii():
        nearest = '"' + said.nearest.replace("\\", "\\\\").replace('"', '\\"') + '"'
    else:
        # RFC 9651 §4.1.11 wants lower-case hex digits.
        escaped = re.sub("%..", lambda found: found[0].lower(), quote(said.nearest, safe=_NOT_ESCAPED))
        nearest = f'%"{escaped}"'
    return f"far; nearest={nearest}; similarity={said.similarity:.3f}".encode()


def read_header_value(value: str) -> Familiarity | None:
    """What a server's header says; None if it says something else."""
    found = _FAR.fullmatch(value)
    if found is None:
        return None
    is_display, quoted, similarity = found.groups()
    try:
        nearest = unquote(quoted[1:-1], errors="strict") if is_display else str(json.loads(quoted))
        return Familiarity(nearest, float(similarity), known=False)
    except ValueError:
        return None
