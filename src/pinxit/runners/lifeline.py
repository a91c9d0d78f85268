"""A process that lives no longer than its parent: when the socket between them ends, so does the process, at once."""

import os
import select
import threading


def exit_with_parent(descriptor: int, status: int) -> None:
    """End this process with `status` when the other end of the socket is closed, even in the middle of something.

    The descriptor stays the caller's, who must not close it.
    """
    threading.Thread(target=_wait, args=(descriptor, status), name="lifeline", daemon=True).start()


def _wait(descriptor: int, status: int) -> None:
    """A thread of its own, because something may keep the event loop busy."""
    poller = select.poll()
    poller.register(descriptor, select.POLLRDHUP)
    poller.poll()
    os._exit(status)
