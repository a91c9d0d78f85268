from collections.abc import Iterator

import pytest
from logged import Log, logging_to_memory


@pytest.fixture
def log() -> Iterator[Log]:
    """What is logged from now on, at DEBUG and as JSON. Ask for it before `front`."""
    with pytest.MonkeyPatch.context() as patch, logging_to_memory(patch) as log:
        yield log
