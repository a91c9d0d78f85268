"""Dollars as people write them, and micro-dollars as they are kept."""

import re
from decimal import Decimal

from pinxit.errors import InvalidValue

MAX_MICROS = 2**53
"""More than nine billion dollars: beyond it a number is a mistake, and no JSON reader keeps it exact (RFC 8259 §6)."""
MICROS = 1_000_000
"""In a dollar."""
_PLAIN = re.compile(r"[+-]?[0-9]+(\.[0-9]+)?", re.ASCII)
MAX_CHARACTERS = 24
"""Of an amount as it is written: as many digits as decimal arithmetic keeps exact."""


def to_micros(written: object, *, param: str) -> int:
    """Exactly, by decimal arithmetic: 0.1 is a tenth. Raises InvalidValue unless it is above zero and has no more than
    six decimal places.
    """
    if isinstance(written, bool) or not isinstance(written, int | float | str) or len(str(written)) > MAX_CHARACTERS:
        raise InvalidValue(f"{param} must be an amount in US dollars, like 12.50.", param=param)
    if isinstance(written, str) and _PLAIN.fullmatch(written) is None:
        raise InvalidValue(f"{param} must be an amount in US dollars, like 12.50.", param=param)
    try:
        micros = Decimal(str(written)) * MICROS
    except ArithmeticError as error:
        raise InvalidValue(f"{param} must be an amount in US dollars, like 12.50.", param=param) from error
    if not micros.is_finite() or not 0 < micros <= MAX_MICROS or micros != micros.to_integral_value():
        most = to_text(MAX_MICROS)
        raise InvalidValue(f"{param} must be above 0 and at most {most} US dollars, in whole millionths.", param=param)
    return int(micros)


def to_text(micros: int) -> str:
    """As people write it, at least with cents: 12.50, 0.000001, -3.00."""
    whole, part = divmod(abs(micros), MICROS)
    places = f"{part:06d}".rstrip("0").ljust(2, "0")
    return f"{'-' if micros < 0 else ''}{whole}.{places}"
