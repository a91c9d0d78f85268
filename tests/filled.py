"""A database as it is after a busy week: many pictures of one account, and many keys."""

from datetime import UTC, datetime, timedelta

from sqlalchemy import Connection

from pinxit.database.tables import api_keys, generations, images, key_spend

PICTURES = 100_000
KEYS = 100


def fill(connection: Connection) -> None:
    """One picture an order, the last week full of them."""
    began = datetime.now(UTC) - timedelta(seconds=5 * PICTURES)
    template = dict(connection.execute(generations.select()).mappings().one())
    picture = dict(connection.execute(images.select()).mappings().one())
    key = dict(connection.execute(api_keys.select()).mappings().one())
    for start in range(0, PICTURES, 1000):
        numbers = range(start, start + 1000)
        moments = {number: began + timedelta(seconds=5 * number) for number in numbers}
        connection.execute(
            generations.insert(),
            [
                {
                    **template,
                    "id": f"gen_{number:032x}",
                    "created_at": moments[number],
                    "finished_at": moments[number] + timedelta(seconds=1 + number % 7),
                    "status": "failed" if number % 50 == 0 else "completed",
                }
                for number in numbers
            ],
        )
        connection.execute(
            images.insert(),
            [
                {
                    **picture,
                    "id": f"img_{number:032x}",
                    "generation_id": f"gen_{number:032x}",
                    "storage_key": f"generated/{number}.png",
                    "created_at": moments[number],
                }
                for number in numbers
            ],
        )
    for number in range(KEYS):
        id_ = f"key_{number:032x}"
        connection.execute(api_keys.insert().values({**key, "id": id_, "secret_sha256": str(number)}))
        spent = {"api_key_id": id_, "period": "total", "period_start": 0, "period_end": 2**62, "spent_micros": 1}
        connection.execute(key_spend.insert().values(**spent, account_id="acct_default", held_micros=0))
