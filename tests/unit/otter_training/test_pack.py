"""Parts to carry to another machine and back."""

from pathlib import Path

import pytest
from otter.training import pack


def test_parts_are_small_and_join_again(tmp_path: Path) -> None:
    content = bytes(range(256)) * 100
    paths = pack.split(content, tmp_path, 10_000)
    assert [path.stat().st_size for path in paths] == [10_000, 10_000, 5_600]
    assert pack.join(tmp_path) == content


def test_a_missing_part_is_noticed(tmp_path: Path) -> None:
    pack.split(b"x" * 30, tmp_path, 10)[1].unlink()
    with pytest.raises(ValueError, match="not whole"):
        pack.join(tmp_path)
