"""Log lines: one event a line, on standard error; no secrets, no control characters.

On a terminal they are for people, elsewhere JSON. What the standard library's logging says (uvicorn, Alembic) goes
the same way.
"""

import logging
import re
import sys
from collections.abc import Mapping, MutableMapping
from typing import Any, Literal

import structlog

from pinxit.ids import hide_secrets

_CONTROL = re.compile(r"[\x00-\x1f\x7f-\x9f\u2028\u2029\ud800-\udfff]")
_MAX_CHARACTERS = 4000


def configure(level: str, style: Literal["auto", "json", "console"], **facts: object) -> None:
    """Set logging up for this process. `level`: debug, info, warning, error or critical. `facts` are in every line."""

    def add_facts(_: Any, __: str, event: MutableMapping[str, Any]) -> MutableMapping[str, Any]:
        event.update(facts)
        return event

    for_people = sys.stderr.isatty() if style == "auto" else style == "console"
    shared: list[structlog.types.Processor] = [
        structlog.contextvars.merge_contextvars,
        add_facts,
        structlog.stdlib.add_log_level,
        structlog.stdlib.add_logger_name,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
    ]
    renderer: list[structlog.types.Processor] = [structlog.processors.format_exc_info, scrub]
    if for_people:
        renderer.append(structlog.dev.ConsoleRenderer(colors=sys.stderr.isatty()))
    else:
        renderer.append(structlog.processors.JSONRenderer(ensure_ascii=False))
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(
        structlog.stdlib.ProcessorFormatter(
            foreign_pre_chain=shared,
            processors=[structlog.stdlib.ProcessorFormatter.remove_processors_meta, *renderer],
        )
    )
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(level.upper())
    for noisy in ("uvicorn", "asyncio", "alembic"):
        logging.getLogger(noisy).setLevel(max(logging.WARNING, root.level))
    structlog.configure(
        processors=[
            structlog.stdlib.filter_by_level,
            *shared,
            structlog.stdlib.ProcessorFormatter.wrap_for_formatter,
        ],
        logger_factory=structlog.stdlib.LoggerFactory(),
        wrapper_class=structlog.stdlib.BoundLogger,
    )


def scrub(_: Any, __: str, event: MutableMapping[str, Any]) -> Mapping[str, Any]:
    """Take secrets and control characters out of every text of the event, so that a line stays one harmless line."""
    return {str(name): _clean(value) for name, value in event.items()}


def _clean(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {str(name): _clean(inner) for name, inner in value.items()}
    if isinstance(value, list | tuple):
        return [_clean(inner) for inner in value]
    if value is None or isinstance(value, bool | int | float):
        return value
    text = hide_secrets(str(value)[:_MAX_CHARACTERS])
    return _CONTROL.sub(lambda found: repr(found[0])[1:-1], text)
