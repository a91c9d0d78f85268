"""The disk runs full under paying customers: orders are refused, nothing is charged without a picture, and once there
is room it goes on by itself.
"""

import time
from pathlib import Path

import pytest
from customers import Customers
from disks import mounted
from running import eventually
from shop import Shop, assert_kept, assert_sound, open_shop
from test_refusing_to_start import fill

pytestmark = pytest.mark.system("mount", "umount")

RECOVERY_SECONDS = 5.0


def answers_200(shop: Shop) -> bool:
    with shop.client() as client:
        return client.post("/v1/images/generations", json={"prompt": "probe", "size": "256x256"}).status_code == 200


@pytest.mark.timeout(300)
def test_a_full_disk_under_paying_customers(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    seconds = []
    (tmp_path / "shop").mkdir()
    with mounted("tmpfs", "size=6m", "tmpfs", tmp_path / "disk") as disk:
        (tmp_path / "shop" / "data").symlink_to(disk)
        with open_shop(tmp_path / "shop", PINXIT_MIN_FREE_DISK_BYTES="0") as shop, shop.serving() as child:
            customers = Customers(shop.nursery.url, shop.key, seed=1, size="512x512")
            customers.start()
            try:
                for _ in range(3):
                    refused = customers.answers["503 storage_unavailable"]
                    fill(disk / "filler")
                    eventually(
                        lambda seen=refused: customers.answers["503 storage_unavailable"] > seen + 20, "refusals"
                    )
                    assert_sound(shop, customers.acknowledged)
                    (disk / "filler").unlink()
                    freed_at = time.monotonic()
                    eventually(lambda: answers_200(shop), "an order to be painted again", RECOVERY_SECONDS)
                    seconds.append(round(time.monotonic() - freed_at, 2))
            finally:
                customers.stop()
            assert not child.has_ended()
            found = assert_kept(shop, customers)
            assert set(customers.answers) <= {"200", "202", "409 idempotency_error", "503 storage_unavailable"}
            assert "Traceback" not in shop.nursery.log
    with capsys.disabled():
        print(f"\nfull {len(seconds)} times, back after {seconds} s: {found}, answers {dict(customers.answers)}")
