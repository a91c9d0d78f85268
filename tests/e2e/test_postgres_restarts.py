"""PostgreSQL crashes every three seconds under load: what was acknowledged is kept, the rest is told in clean 503s.

`PINXIT_TEST_LONG=1` makes it five minutes.
"""

import os
import time
from pathlib import Path

import pytest
from customers import Customers
from shop import assert_kept, assert_sound, open_shop

from postgres import Cluster

pytestmark = [pytest.mark.system("postgres"), pytest.mark.timeout(3600)]

SECONDS = 300 if os.environ.get("PINXIT_TEST_LONG") == "1" else 15
PERIOD_SECONDS = 3.0
LEAST_SUCCESS = 0.6


def test_crashes_of_the_database_under_load(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with Cluster() as cluster:
        url = cluster.new_database("shop")
        with open_shop(tmp_path, PINXIT_TEST_SECONDS="0.05", PINXIT_DATABASE_URL=url) as shop, shop.serving() as child:
            customers = Customers(shop.nursery.url, shop.key, seed=1, again_seconds=0.5)
            customers.start()
            crashes = 0
            try:
                end = time.monotonic() + SECONDS
                while time.monotonic() < end:
                    time.sleep(PERIOD_SECONDS)
                    promised = customers.acknowledged
                    cluster.restart("immediate")
                    crashes += 1
                    assert_sound(shop, promised)
            finally:
                customers.stop()
            answers = customers.answers.copy()
            assert not child.has_ended()
            found = assert_kept(shop, customers)
            assert set(answers) <= {"200", "202", "409 idempotency_error", "503 storage_unavailable"}
            good = answers["200"] + answers["202"]
            assert good >= LEAST_SUCCESS * answers.total()
            assert found["calls without an answer"] <= answers.total() / 100, "the server hung up on its clients"
            assert "Traceback" not in shop.nursery.log
    with capsys.disabled():
        print(f"\n{crashes} crashes in {SECONDS} s, {good} of {answers.total()} calls good: {found}, {dict(answers)}")
