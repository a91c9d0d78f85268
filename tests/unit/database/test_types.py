from datetime import UTC, datetime, timedelta, timezone

import pytest
from sqlalchemy import Column, MetaData, Table, create_engine, select

from pinxit.database.types import Json, Timestamp

ROWS = Table("rows", MetaData(), Column("moment", Timestamp), Column("value", Json))


def kept(**values: object) -> tuple[object, ...]:
    """What comes back from a database."""
    engine = create_engine("sqlite://")
    with engine.begin() as connection:
        ROWS.create(connection)
        connection.execute(ROWS.insert().values(**values))
        row = tuple(connection.execute(select(ROWS)).one())
    engine.dispose()
    return row


@pytest.mark.parametrize(
    "moment",
    [
        datetime(2026, 11, 22, 12, 0, 0, 1, UTC),
        datetime(1969, 12, 31, 23, 59, 59, 999_999, UTC),
        datetime(9999, 12, 31, 23, 59, 59, 999_999, UTC),
        datetime(1, 1, 1, tzinfo=UTC),
    ],
)
def test_a_moment_is_kept_to_the_microsecond(moment: datetime):
    assert kept(moment=moment) == (moment, None)


def test_a_moment_of_another_zone_comes_back_in_utc():
    moment = datetime(2026, 11, 22, 1, tzinfo=timezone(timedelta(hours=5, minutes=30)))
    (found, _) = kept(moment=moment)
    assert found == moment
    assert found.tzinfo is UTC


def test_a_moment_without_a_zone_is_a_bug():
    with pytest.raises(Exception, match="offset-naive"):
        kept(moment=datetime(2026, 11, 22))


@pytest.mark.parametrize("value", [{}, [], {"a": [1, 2.5, None, True, "é🦦\u2028"]}, "text", 0, False])
def test_a_value_is_kept(value: object):
    assert kept(value=value) == (None, value)


def test_none_is_null():
    assert kept(value=None) == (None, None)
