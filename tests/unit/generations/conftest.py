import pytest

from front import Front
from painting_house import DyingRunner, MakeDying


@pytest.fixture
def make_dying() -> MakeDying:
    """From now on this front's painter dies after so many pictures of each order."""

    def make(front: Front, *lives: int) -> DyingRunner:
        runners = front.house.services.runners
        runners["fake"] = dying = DyingRunner(runners["fake"], list(lives))
        return dying

    return make
