"""A client gives up in the moment in which it is answered: its retry without a key gets the picture that it missed."""

import json
import select
import socket
import sqlite3

import pytest
from running import eventually

from pinxit.ids import new_id

BODY = json.dumps({"prompt": "a lemon", "size": "256x256", "quality": "low"}).encode()


def ask(server, name) -> socket.socket:
    """Send the order by hand, and wait until the first bytes of its answer have arrived; they are not read."""
    head = [
        "POST /v1/images/generations HTTP/1.1",
        "Host: a",
        f"Authorization: Bearer {server.key}",
        "Content-Type: application/json",
        f"Content-Length: {len(BODY)}",
        f"x-pinxit-generation: {name}",
    ]
    client = socket.create_connection(("127.0.0.1", server.port), 60)
    client.sendall("\r\n".join(head).encode() + b"\r\n\r\n" + BODY)
    assert select.select([client], [], [], 60)[0]
    return client


def is_abandoned(server, name) -> bool:
    connection = sqlite3.connect(server.folder / "pinxit.db")
    try:
        (when,) = connection.execute("SELECT abandoned_at FROM generations WHERE id = ?", (name,)).fetchone()
    finally:
        connection.close()
    return when is not None


def retry(server) -> str:
    """The order that a client's second try gets."""
    headers = {**server.authorization, "content-type": "application/json", "x-stainless-retry-count": "1"}
    answer = server.client.post("/v1/images/generations", content=BODY, headers=headers)
    assert answer.status_code == 200
    return answer.headers["x-pinxit-generation"]


def test_an_answer_that_nobody_read_is_there_for_the_retry(server):
    name = new_id("gen")
    ask(server, name).close()
    eventually(lambda: is_abandoned(server, name), "the server to hear of it")
    assert retry(server) == name
    assert retry(server) != name  # taken over once


@pytest.mark.parametrize("ending", ["close", "shutdown"])
def test_one_that_was_read_is_not(server, ending):
    name = new_id("gen")
    client = ask(server, name)
    head, _, body = client.recv(2**20).partition(b"\r\n\r\n")
    length = int(head.lower().partition(b"content-length: ")[2].split(b"\r\n")[0])
    while len(body) < length:
        body += client.recv(2**20)
    if ending == "shutdown":
        client.shutdown(socket.SHUT_RDWR)
    client.close()
    assert retry(server) != name
    assert not is_abandoned(server, name)
