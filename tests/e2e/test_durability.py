"""What is on the disk before a client hears of its picture, seen from the kernel's side, and a server that is killed at
each of these steps.
"""

import contextlib
import re
import sqlite3

import httpx2
import pytest
from running import eventually, serving
from tracing import finished_calls, strace

from pinxit.ids import new_id

pytestmark = pytest.mark.system("strace")

TRACED = "trace=fsync,fdatasync,rename,renameat,renameat2,write,writev,sendto,sendmsg"


def place(calls, pattern, after=-1):
    """Where the first call like `pattern` after that place is."""
    for number, call in enumerate(calls):
        if number > after and re.search(pattern, call):
            return number
    raise AssertionError(f"no {pattern} after call {after} of:\n" + "\n".join(calls))


def test_the_order_of_things_before_an_answer(tmp_path):
    """The order's row, the file, its name, the name's folder, the picture's row: then, and only then, the answer."""
    with serving(tmp_path) as server:
        assert server.generate(seed=1).status_code == 200  # everything is loaded, made and cached
        with strace(server.pid, tmp_path / "trace", "-e", TRACED) as trace:
            answer = server.generate(seed=2)
        assert answer.status_code == 200
        name = re.escape(answer.json()["data"][0]["url"].rpartition("%2F")[2])
        calls = list(finished_calls(trace))
        opened = place(calls, r"f(data)?sync\(\d+<[^>]*/pinxit\.db-wal>\) += 0")
        written = place(calls, rf"fsync\(\d+<[^>]*/{name}\.part>\) += 0", opened)
        named = place(calls, rf"rename\w*\(.*{name}\.part.*{name}\"\S* *\) += 0|rename\w*\(.*{name}\.part", written)
        folder = place(calls, r"fsync\(\d+<[^>]*/pictures/generated/[0-9a-f]{2}>\) += 0", named)
        settled = place(calls, r"f(data)?sync\(\d+<[^>]*/pinxit\.db-wal>\) += 0", folder)
        answered = place(calls, r"(write|writev|sendto|sendmsg)\(\d+<(socket|TCP).*HTTP/1\.1 200")
        assert opened < written < named < folder < settled < answered


SOME = [("fsync", 1), ("fdatasync", 2)]
ALL = [
    *SOME,
    ("rename", 1),
    ("fsync", 2),
    ("fsync", 3),
    ("write", 5),
    ("write", 10),
    ("pwrite64", 1),
    ("pwrite64", 5),
    ("unlink", 1),
]


@pytest.mark.parametrize("points", [SOME, pytest.param(ALL, marks=pytest.mark.long)], ids=["some", "all"])
def test_killed_at_every_step(tmp_path, points):
    """kill -9 when an order makes one of its threads do that system call for the nth time. Each next server finds the
    pictures that were promised, whole, and nothing else. The database's syncs are fdatasync; those of the file and its
    folders are fsync.
    """
    kept, key, orders = {}, "", []
    for call, nth in points:
        with serving(tmp_path, key=key) as server:
            key = server.key
            check_what_is_there(server, kept, orders)
            orders.append(new_id("gen"))
            attack = ("-e", f"trace={call}", "-e", f"inject={call}:signal=KILL:when={nth}")
            with strace(server.pid, tmp_path / "trace", *attack), contextlib.suppress(httpx2.TransportError):
                answer = server.generate({"x-pinxit-generation": orders[-1]})
                if answer.status_code == 200:
                    kept |= {datum["id"]: datum["url"].rpartition("/image/")[2] for datum in answer.json()["data"]}
            server.kill()
    with serving(tmp_path, key=key, wait_ready=False) as server:
        check_what_is_there(server, kept, orders)


def has_ended(order) -> bool:
    return order is None or order["status"] in ("completed", "failed")


def check_what_is_there(server, kept, orders):
    """Every picture that was promised, no file that no row names, no order that nobody will ever end."""
    for address in kept.values():
        assert server.client.get(f"/image/{address}").status_code == 200
    for name in orders:
        eventually(lambda name=name: has_ended(server.find_generation(name)), "an order that was left open to end", 60)
    connection = sqlite3.connect(server.folder / "pinxit.db")
    rows = {row[0].rpartition("/")[2] for row in connection.execute("SELECT storage_key FROM images")}
    assert connection.execute("PRAGMA integrity_check").fetchone() == ("ok",)
    connection.close()
    assert rows == server.picture_files()
