"""One of several API processes of a server: `python -m pinxit.cli.worker`, started by `pinxit.cli.supervisor`.

It lives no longer than its supervisor. Painters that have a process of their own are the supervisor's, and shared.
"""

import asyncio
import os
import pickle
import signal
import socket
import sys
from contextlib import suppress
from functools import partial
from pathlib import Path

from pinxit import logs
from pinxit.cli.malloc import keep_large_buffers
from pinxit.cli.post import Post
from pinxit.errors import PinxitError
from pinxit.runners.channel import Channel
from pinxit.runners.frames import Frame, pack
from pinxit.runners.lifeline import exit_with_parent


def main() -> None:
    """The process, from what it is told to its end."""
    signal.signal(signal.SIGINT, signal.SIG_DFL)  # until the server listens there is nothing to be ended politely
    post: Post = pickle.load(sys.stdin.buffer)  # noqa: S301 - nobody but our parent can write there
    exit_with_parent(post.lifeline, 1)
    lifeline = socket.socket(fileno=post.lifeline)
    settings = post.settings
    logs.configure(settings.log_level, settings.log_format, worker=post.slot)
    with suppress(OSError):  # no /proc, or forbidden: the name is for people only
        Path("/proc/self/comm").write_text("pinxit-worker", "ascii")
    keep_large_buffers()
    try:
        _serve(post, lifeline)
    except PinxitError as error:
        lifeline.sendall(pack(Frame({"type": "failed", "reason": error.message})))
        sys.exit(1)


def _serve(post: Post, lifeline: socket.socket) -> None:
    from pinxit.app import Workplace, build
    from pinxit.cli.serving import reload, run_server
    from pinxit.cli.welcome import welcome
    from pinxit.runners.remote import RemoteRunner

    listener = socket.socket(fileno=post.listener)
    shared = {
        name: RemoteRunner(name, socket.socket(fileno=number), when_lost=_end_at_once)
        for name, number in post.hubs.items()
    }
    house = build(post.settings, owns_folder=True, workplace=Workplace(post.slot, post.is_first, shared))

    following: list[asyncio.Task[None]] = []

    async def follow(supervisor: Channel) -> None:
        while (frame := await supervisor.receive()) is not None:
            # Nobody but our parent can write there.
            has_reloaded = await reload(house, partial(pickle.loads, frame.payload))
            supervisor.send(Frame({"type": "reloaded" if has_reloaded else "not_reloaded"}))

    async def hello() -> None:
        if post.is_first:
            await welcome(house, listener.getsockname()[1])
        supervisor = await Channel.open(lifeline)
        supervisor.send(Frame({"type": "listening"}))
        following.append(asyncio.create_task(follow(supervisor)))

    run_server(house, listener, hello)


def _end_at_once() -> None:
    """Our supervisor is gone. Our orders are left as they are, to whoever takes them over; none fails for it."""
    os._exit(1)


if __name__ == "__main__":
    main()
