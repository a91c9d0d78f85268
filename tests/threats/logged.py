"""The log of this process as it would be on standard error."""

import io
import json
import logging
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest
import structlog

from pinxit import logs


class Log(io.StringIO):
    """Everything that was logged, as JSON lines."""

    def events(self) -> list[dict[str, Any]]:
        """One object a line; raises ValueError if a line is none."""
        return [json.loads(line) for line in self.getvalue().split("\n")[:-1]]


@contextmanager
def logging_to_memory(monkeypatch: pytest.MonkeyPatch) -> Iterator[Log]:
    """Log everything, at DEBUG and as JSON, into memory."""
    root = logging.getLogger()
    handlers, level = root.handlers[:], root.level
    log = Log()
    monkeypatch.setattr("sys.stderr", log)
    logs.configure("debug", "json")
    monkeypatch.undo()
    try:
        yield log
    finally:
        root.handlers[:] = handlers
        root.setLevel(level)
        structlog.reset_defaults()
