"""How a server ends: politely, by kill -9, and what the next one over the same folder makes of it."""

import signal
import socket
import sqlite3
import threading
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress

import httpx2
from running import eventually, is_running, serving

from pinxit.ids import new_id


def ask(server, name, *, n):
    return server.generate({"x-pinxit-generation": name}, n=n, num_inference_steps=16, size="1024x1024")


def is_under_way(server, name):
    found = server.find_generation(name)
    return bool(found and found["status"] == "in_progress")


def rows_and_files(server):
    with sqlite3.connect(server.folder / "pinxit.db") as connection:
        rows = {key.rpartition("/")[2] for (key,) in connection.execute("SELECT storage_key FROM images")}
        assert connection.execute("PRAGMA integrity_check").fetchone() == ("ok",)
    connection.close()
    return rows, server.picture_files()


def test_sigterm_lets_an_order_finish(tmp_path):
    name = new_id("gen")
    with serving(tmp_path) as server, ThreadPoolExecutor(1) as thread:
        painter = server.painter_pid
        answer = thread.submit(ask, server, name, n=2)
        eventually(lambda: is_under_way(server, name), "the order to be under way")
        server.stop()
        assert answer.result().status_code == 200
        assert not is_running(painter)
        assert "Traceback" not in server.log
    rows, files = rows_and_files(server)
    assert len(rows) == 2
    assert rows == files


def test_sigterm_ends_what_takes_too_long(tmp_path):
    """The order is failed, not forgotten, and its client is told."""
    name = new_id("gen")
    with (
        serving(tmp_path, environ={"PINXIT_SHUTDOWN_GRACE_SECONDS": "0"}) as server,
        ThreadPoolExecutor(1) as thread,
    ):
        answer = thread.submit(ask, server, name, n=10)
        eventually(lambda: is_under_way(server, name), "the order to be under way")
        server.stop()
        refused = answer.result()
        assert (refused.status_code, refused.json()["error"]["type"]) == (503, "upstream_unavailable")
    with serving(tmp_path, key=server.key, wait_ready=False) as again:
        assert again.find_generation(name)["status"] == "failed"
        assert rows_and_files(again) == (set(), set())


def test_ctrl_c_twice_ends_the_order_at_once(tmp_path):
    name = new_id("gen")
    with serving(tmp_path) as server:
        painter = server.painter_pid
        thread = threading.Thread(target=ask_in_vain, args=(server, name), daemon=True)
        thread.start()
        eventually(lambda: is_under_way(server, name), "the order to be under way")
        server.process.send_signal(signal.SIGINT)
        eventually(lambda: refuses_connections(server), "the server to stop listening")
        server.process.send_signal(signal.SIGINT)
        assert server.process.wait(30) == 130
        assert "Traceback" not in server.log
        thread.join(30)
        eventually(lambda: not is_running(painter), "the painter to follow its server")
    with serving(tmp_path, key=server.key, wait_ready=False) as again:
        assert again.find_generation(name)["status"] == "failed"
        assert rows_and_files(again) == (set(), set())


def refuses_connections(server):
    try:
        socket.create_connection(("127.0.0.1", server.port), 1).close()
    except OSError:
        return True
    return False


def test_kill_9_leaves_nothing_half_done(tmp_path):
    """An order is under way, two of its pictures are kept, an older one is safe: the next server finishes it."""
    name = new_id("gen")
    with serving(tmp_path) as server:
        painter = server.painter_pid
        kept = server.generate().json()["data"][0]
        thread = threading.Thread(target=ask_in_vain, args=(server, name), daemon=True)
        thread.start()
        eventually(lambda: len(server.picture_files()) >= 3, "some pictures of the order")
        server.kill()
        thread.join(30)
        eventually(lambda: not is_running(painter), "the painter to follow its server")
    with serving(tmp_path, key=server.key, wait_ready=False) as again:
        eventually(lambda: again.find_generation(name)["status"] == "completed", "the order to be done", 60)
        order = again.find_generation(name)
        seeds = [image["seed"] for image in order["images"]]
        assert (len(seeds), seeds) == (10, order["parameters"]["seeds"])
        rows, files = rows_and_files(again)
        assert rows == files == {image["url"].rpartition("%2F")[2] for image in [kept, *order["images"]]}
        picture = again.client.get(kept["url"].replace(server.url, again.url))
        assert picture.status_code == 200
        again.wait_ready()
        assert again.generate().status_code == 200


def ask_in_vain(server, name):
    """Ten pictures; the server goes before they are done."""
    with suppress(httpx2.TransportError):
        assert ask(server, name, n=10).status_code != 200
