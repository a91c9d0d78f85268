"""`pinxit serve --workers 2`: two API processes on one port and one PostgreSQL, and one painter for both."""

import json
import os
import signal
import socket
import subprocess
import threading
import time
from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import httpx2
import pytest
from running import PINXIT, Server, environment, eventually, find_children, is_running, pinxit, serving

from pinxit.ids import new_id
from postgres import Cluster

pytestmark = pytest.mark.system("postgres")

LONG = {"n": 2, "num_inference_steps": 16, "size": "1024x1024"}


def workers_of(server: Server) -> list[int]:
    return find_children(server.pid, "pinxit-worker")


def painters_of(server: Server) -> list[int]:
    return find_children(server.pid, "pinxit-painter")


def both_workers(server: Server) -> list[int]:
    """The process ids of two workers that listen."""
    eventually(lambda: len(lines(server, "worker_started")) >= 2, "both workers to listen")
    return workers_of(server)


def lines(server: Server, event: str) -> list[dict[str, Any]]:
    """The server's log lines of this event. A line that is just being written is left out."""
    found = [json.loads(line) for line in server.log.splitlines() if line.startswith("{") and line.endswith("}")]
    return [line for line in found if line["event"] == event]


@contextmanager
def two_workers(folder: Path, url: str, environ: Mapping[str, str] | None = None) -> Iterator[Server]:
    own = {"PINXIT_DATABASE_URL": url, "PINXIT_KEEP_ALIVE_SECONDS": "3600"}
    with serving(folder, "--workers", "2", environ={**own, **(environ or {})}) as server:
        both_workers(server)
        yield server


@contextmanager
def client_of_each(server: Server) -> Iterator[dict[int, httpx2.Client]]:
    """Worker → a client whose one connection is with it; which one that is, the log tells."""
    with ExitStack() as stack:
        clients: dict[int, httpx2.Client] = {}
        for number in range(200):
            client = httpx2.Client(base_url=server.url, timeout=90, headers=server.authorization)
            name = f"knock-{number}-{new_id('r')}"[:60]
            client.get("/health/live", headers={"x-request-id": name})
            [line] = eventually(lambda name=name: requests_called(server, name), "the request to be logged")
            if line["worker"] in clients:
                client.close()
            else:
                clients[line["worker"]] = client
                stack.callback(client.close)
            if len(clients) == 2:
                yield clients
                return
        raise AssertionError("all connections went to one worker")


def requests_called(server: Server, name: str) -> list[dict[str, Any]]:
    return [line for line in lines(server, "request") if line["request_id"] == name]


def begin(client: httpx2.Client, **body: Any) -> str:
    answer = client.post("/v1/images/generations", json={"prompt": "a red apple", "async": True, **body})
    assert answer.status_code == 202, answer.text
    return str(answer.json()["id"])


def look(client: httpx2.Client, order: str) -> dict[str, Any]:
    answer = client.get(f"/v1/generations/{order}")
    assert answer.status_code == 200, answer.text
    found: dict[str, Any] = answer.json()
    return found


def posts(cluster: Cluster, url: str, order: str) -> int:
    """How often the order was charged."""
    name = url.partition("@/")[2].partition("?")[0]
    [(count,)] = cluster.execute(
        "SELECT count(*) FROM transfers WHERE kind = 'post' AND generation_id = %s", order, database=name
    )
    return int(count)


@pytest.fixture(scope="module")
def shared_url(postgres_cluster: Cluster) -> Iterator[str]:
    yield postgres_cluster.new_database("workers", template="blank")
    postgres_cluster.drop_database("workers")


@pytest.fixture(scope="module")
def shared(shared_url: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """Two workers for all tests that leave two workers and a painter; pictures have a price."""
    folder = tmp_path_factory.mktemp("workers")
    (folder / "pinxit.yaml").write_text(
        "model_list: [{model_name: priced, params: {model: otter/otter-1}, prices: [{usd: 0.01}]}]\n"
    )
    with two_workers(folder, shared_url) as server:
        yield server


# --- nobody is hurt ---


def test_orders_over_fresh_connections_reach_both_workers_and_one_painter(shared: Server) -> None:
    painter = painters_of(shared)

    def ask(number: int) -> int:
        with httpx2.Client(base_url=shared.url, timeout=90, headers=shared.authorization) as client:
            body = {"prompt": "a red apple", "size": "256x256", "num_inference_steps": 2, "seed": number}
            return client.post("/v1/images/generations", json=body).status_code

    for _ in range(10):
        with ThreadPoolExecutor(20) as threads:
            assert set(threads.map(ask, range(20))) == {200}
        if {line["worker"] for line in lines(shared, "generation_completed")} == {1, 2}:
            break
    assert {line["worker"] for line in lines(shared, "generation_completed")} == {1, 2}
    assert len(painter) == 1
    assert painters_of(shared) == painter
    assert len(workers_of(shared)) == 2


def test_every_worker_says_how_the_shared_painter_is(shared: Server) -> None:
    with client_of_each(shared) as clients:
        answers = [client.get("/health/ready") for client in clients.values()]
    assert [answer.status_code for answer in answers] == [200, 200]
    assert [answer.json()["backends"] for answer in answers] == [{"otter": {"status": "ready", "reason": ""}}] * 2


def test_an_order_is_seen_and_followed_at_another_worker(shared: Server) -> None:
    with client_of_each(shared) as clients:
        order = begin(clients[1], **LONG)
        assert look(clients[2], order)["status"] in ("queued", "in_progress")
        with clients[2].stream("GET", f"/v1/generations/{order}", headers={"Accept": "text/event-stream"}) as following:
            names = [line for line in following.iter_lines() if line.startswith("event: ")]
        assert names[-1] == "event: generation.completed"
        assert len(look(clients[2], order)["images"]) == 2


def test_an_order_is_cancelled_from_another_worker(shared: Server, shared_url: str, postgres_cluster: Cluster) -> None:
    with client_of_each(shared) as clients:
        order = begin(clients[2], model="priced", **{**LONG, "n": 10})
        eventually(lambda: look(clients[2], order)["status"] == "in_progress", "the order to be under way")
        answer = clients[1].delete(f"/v1/generations/{order}")
        assert (answer.status_code, answer.json()["status"]) == (200, "cancelled")
        assert look(clients[2], order)["status"] == "cancelled"
    assert posts(postgres_cluster, shared_url, order) == 0


def test_a_repeat_at_another_worker_is_the_same_order(
    shared: Server, shared_url: str, postgres_cluster: Cluster
) -> None:
    with client_of_each(shared) as clients:
        name = {"Idempotency-Key": new_id("idem")}
        body = {"prompt": "a green pear", "model": "priced", "size": "256x256"}

        def ask(worker: int) -> httpx2.Response:
            return clients[worker].post("/v1/images/generations", json=body, headers=name)

        with ThreadPoolExecutor(2) as threads:
            one, two = threads.map(ask, (1, 2))
    assert (one.status_code, two.status_code) == (200, 200)
    assert one.json()["data"] == two.json()["data"]
    assert posts(postgres_cluster, shared_url, one.headers["x-pinxit-generation"]) == 1


def test_a_rate_is_one_for_all_workers(shared: Server, shared_url: str) -> None:
    key = limited_key(shared, shared_url, "--requests-per-minute=5")
    with client_of_each(shared) as clients:
        began_at = time.monotonic()

        def ask(number: int) -> httpx2.Response:
            body = {"prompt": "a red apple", "size": "256x256", "num_inference_steps": 1, "async": True}
            headers = {"Authorization": f"Bearer {key}"}
            return clients[1 + number % 2].post("/v1/images/generations", json=body, headers=headers)

        with ThreadPoolExecutor(4) as threads:
            answers = list(threads.map(ask, range(20)))
        came_back = int((time.monotonic() - began_at) // 12)
    passed = [answer for answer in answers if answer.status_code == 202]
    refused = [answer for answer in answers if answer.status_code == 429]
    assert 5 <= len(passed) <= 5 + came_back
    assert len(refused) == 20 - len(passed)
    assert all(0 < float(answer.headers["retry-after"]) <= 12 for answer in refused)
    assert {answer.headers["x-ratelimit-limit-requests"] for answer in answers} == {"5"}
    assert "0" in {answer.headers["x-ratelimit-remaining-requests"] for answer in passed}


def test_orders_open_at_once_are_counted_over_all_workers(shared: Server, shared_url: str) -> None:
    key = limited_key(shared, shared_url, "--concurrency=1")
    headers = {"Authorization": f"Bearer {key}"}
    with client_of_each(shared) as clients:
        body = {"prompt": "a red apple", "async": True, **LONG}
        first = clients[1].post("/v1/images/generations", json=body, headers=headers)
        second = clients[2].post("/v1/images/generations", json=body, headers=headers)
        assert (first.status_code, second.status_code) == (202, 429)
        order = first.json()["id"]
        assert clients[2].delete(f"/v1/generations/{order}", headers=headers).json()["status"] == "cancelled"
        assert clients[2].post("/v1/images/generations", json=body, headers=headers).status_code == 202


def test_a_revoked_key_is_refused_by_all_workers_within_a_second(shared: Server, shared_url: str) -> None:
    key = limited_key(shared, shared_url)
    headers = {"Authorization": f"Bearer {key}"}
    with client_of_each(shared) as clients:
        assert [clients[worker].get("/v1/models", headers=headers).status_code for worker in (1, 2)] == [200, 200]
        command(shared, shared_url, "keys", "revoke", key)
        revoked_at = time.monotonic()
        while {clients[worker].get("/v1/models", headers=headers).status_code for worker in (1, 2)} != {401}:
            assert time.monotonic() - revoked_at < 1


def limited_key(server: Server, url: str, *options: str) -> str:
    return command(server, url, "keys", "create", *options)


def command(server: Server, url: str, *arguments: str) -> str:
    done = pinxit(
        *arguments,
        f"--data-dir={server.folder}",
        cwd=server.folder.parent,
        environ={"PINXIT_DATABASE_URL": url},
    )
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


# --- somebody is, and is replaced ---


def test_a_changed_configuration_counts_in_all_workers_and_in_those_to_come(shared: Server) -> None:
    file = shared.folder.parent / "pinxit.yaml"
    before = file.read_text()

    def models(client: httpx2.Client) -> set[str]:
        return {model["id"] for model in client.get("/v1/models").json()["data"]}

    def reload(text: str) -> None:
        file.write_text(text)
        os.kill(shared.pid, signal.SIGHUP)

    with client_of_each(shared) as clients:
        reload(before.replace("model_list: [", "model_list: [{model_name: fresh, params: {model: otter/otter-1}}, "))
        for client in clients.values():
            eventually(lambda client=client: "fresh" in models(client), "the new model at each worker")

        refused = len(lines(shared, "configuration_not_reloaded"))
        reload("providers: {basement: {kind: nobody}}\n")
        eventually(lambda: len(lines(shared, "configuration_not_reloaded")) > refused, "the log to say what is wrong")
        assert all("fresh" in models(client) for client in clients.values())

    pids = pids_of(shared)
    kill(pids[1])
    eventually(lambda: pids_of(shared)[1] != pids[1], "the worker to be replaced")
    with client_of_each(shared) as clients:
        assert all("fresh" in models(client) for client in clients.values()), "the replaced one begins with it"
        reload(before)
        for client in clients.values():
            eventually(lambda client=client: "fresh" not in models(client), "the model to be gone")


def test_a_killed_worker_is_replaced_and_its_order_is_painted_and_charged_once(
    shared: Server, shared_url: str, postgres_cluster: Cluster
) -> None:
    painter, before = painters_of(shared), lines(shared, "worker_died")
    with client_of_each(shared) as clients:
        pids = pids_of(shared)
        order = begin(clients[1], model="priced", **{**LONG, "n": 4})
        eventually(lambda: look(clients[1], order)["status"] == "in_progress", "the order to be under way")
        kill(pids[1])
        with clients[2].stream("GET", f"/v1/generations/{order}", headers={"Accept": "text/event-stream"}) as following:
            last = list(following.iter_lines())
        assert "event: generation.completed" in last
        assert len(look(clients[2], order)["images"]) == 4
    eventually(lambda: pids_of(shared)[1] != pids[1], "the worker to be replaced")
    assert len(workers_of(shared)) == 2
    assert pids[2] in workers_of(shared)
    assert painters_of(shared) == painter
    assert posts(postgres_cluster, shared_url, order) == 1
    died = lines(shared, "worker_died")[len(before) :]
    assert [(line["worker"], line["ending"]) for line in died] == [(1, "was killed by signal 9 (Killed)")]
    assert command(shared, shared_url, "fsck")


def test_a_worker_that_cannot_be_replaced_is_tried_again(shared: Server, postgres_cluster: Cluster) -> None:
    before = len(lines(shared, "worker_died"))
    with client_of_each(shared) as clients:
        pids = pids_of(shared)
        postgres_cluster.stop()
        try:
            kill(pids[1])
            eventually(
                lambda: [
                    line
                    for line in lines(shared, "worker_died")[before:]
                    if "could not start: The data" in line["ending"]
                ],
                "the worker to fail",
            )
            assert clients[2].get("/health/live").status_code == 200
        finally:
            postgres_cluster.start()
        eventually(lambda: pids_of(shared)[1] != pids[1], "the worker to be replaced", 60.0)
        assert clients[2].post("/v1/images/generations", json={"prompt": "a", "size": "256x256"}).status_code == 200


def test_a_killed_painter_is_replaced_for_all_workers(shared: Server) -> None:
    [painter] = painters_of(shared)
    with client_of_each(shared) as clients:
        orders = {worker: begin(client, **LONG) for worker, client in clients.items()}
        for worker, order in orders.items():
            client = clients[worker]
            eventually(
                lambda client=client, order=order: look(client, order)["status"] == "in_progress",
                "the order to be under way",
            )
        kill(painter)
        for order in orders.values():
            eventually(
                lambda order=order: shared.find_generation(order)["status"] == "completed",
                "the order to be painted",
                60.0,
            )
    [fresh] = painters_of(shared)
    assert fresh != painter


def pids_of(server: Server) -> dict[int, int]:
    """Worker → the process id of the newest one in its slot."""
    return {line["worker"]: line["pid"] for line in lines(server, "worker_started")}


def kill(pid: int) -> None:
    os.kill(pid, signal.SIGKILL)


# --- the server ends ---


def test_sigterm_lets_the_orders_of_all_workers_finish(postgres_url: str, tmp_path: Path) -> None:
    with two_workers(tmp_path, postgres_url) as server:
        processes = [*workers_of(server), *painters_of(server)]
        with client_of_each(server) as clients, ThreadPoolExecutor(2) as threads:
            names = {worker: new_id("gen") for worker in clients}

            def ask(worker: int) -> httpx2.Response:
                body = {"prompt": "a red apple", **LONG}
                headers = {"x-pinxit-generation": names[worker]}
                return clients[worker].post("/v1/images/generations", json=body, headers=headers)

            answers = [threads.submit(ask, worker) for worker in clients]
            for name in names.values():
                eventually(lambda name=name: is_open(server, name), "the order to be open")
            assert server.stop() == -signal.SIGTERM
            assert [answer.result().status_code for answer in answers] == [200, 200]
        assert not [pid for pid in processes if is_running(pid)]
        assert "Traceback" not in server.log
        assert not lines(server, "worker_died")


def is_open(server: Server, name: str) -> bool:
    """Whether the order is in the database; how far it is, only the worker that paints it knows at once."""
    found = server.find_generation(name)
    return bool(found and found["status"] in ("queued", "in_progress"))


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_while_it_starts_ends_it_without_a_word(
    postgres_url: str, tmp_path: Path, number: signal.Signals
) -> None:
    with (tmp_path / "stderr").open("wb") as log:
        process = subprocess.Popen(
            [str(PINXIT), "serve", "--workers", "2", "--port", "0", "--data-dir", str(tmp_path / "data")],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=log,
            env=environment(PINXIT_DATABASE_URL=postgres_url),
        )
    try:
        children = eventually(lambda: children_of(process.pid), "a worker or a painter")
        process.send_signal(number)
        assert process.wait(30) == (130 if number is signal.SIGINT else -signal.SIGTERM)
    finally:
        process.kill()
        process.wait()
    assert not [pid for pid in children if is_running(pid)]
    assert "Traceback" not in (tmp_path / "stderr").read_text()
    assert "died" not in (tmp_path / "stderr").read_text()


def children_of(pid: int) -> list[int]:
    return [int(child) for child in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]


def test_ctrl_c_twice_ends_the_orders_at_once(postgres_url: str, tmp_path: Path) -> None:
    with two_workers(tmp_path, postgres_url) as server:
        processes = [*workers_of(server), *painters_of(server)]
        name = new_id("gen")
        thread = threading.Thread(target=ask_in_vain, args=(server, name), daemon=True)
        thread.start()
        eventually(lambda: is_open(server, name), "the order to be open")
        server.process.send_signal(signal.SIGINT)
        eventually(lambda: refuses_connections(server), "the server to stop listening")
        server.process.send_signal(signal.SIGINT)
        assert server.process.wait(30) == 130
        thread.join(30)
        assert not [pid for pid in processes if is_running(pid)]
        assert "Traceback" not in server.log


def ask_in_vain(server: Server, name: str) -> None:
    server.generate({"x-pinxit-generation": name}, **{**LONG, "n": 10})


def refuses_connections(server: Server) -> bool:
    try:
        socket.create_connection(("127.0.0.1", server.port), 1).close()
    except OSError:
        return True
    return False


def test_nobody_outlives_a_killed_supervisor_and_the_next_one_goes_on(postgres_url: str, tmp_path: Path) -> None:
    environ = {"PINXIT_DATABASE_URL": postgres_url}
    with two_workers(tmp_path, postgres_url) as server:
        processes = [*workers_of(server), *painters_of(server)]
        order = begin(server_client(server), **{**LONG, "n": 4})
        eventually(lambda: is_open(server, order), "the order to be open")
        server.kill()
        eventually(lambda: not [pid for pid in processes if is_running(pid)], "all its processes to end", 10.0)
    with serving(tmp_path, "--workers", "2", key=server.key, environ=environ) as again:
        eventually(lambda: again.find_generation(order)["status"] == "completed", "the order to be painted", 60.0)


def server_client(server: Server) -> httpx2.Client:
    server.client.headers.update(server.authorization)
    return server.client


# --- nobody starts ---


def test_why_a_worker_cannot_start_is_said_in_one_sentence(tmp_path: Path) -> None:
    url = f"postgresql://nobody@/nothing?host={tmp_path}"
    done = pinxit("serve", "--workers", "2", "--port", "0", cwd=tmp_path, environ={"PINXIT_DATABASE_URL": url})
    assert done.returncode == 1
    assert "Traceback" not in done.stderr
    last = done.stderr.splitlines()[-1]
    assert last.startswith("pinxit: The database postgresql://nobody@/nothing")
    assert "cannot be opened" in last
