"""glibc's allocator, told to keep the memory of large buffers instead of mapping and unmapping it for every picture.

That is a third of what a request with a picture of 1.5 MB costs. Constants: mallopt(3). A threshold above 32 MiB is
refused by glibc on 64-bit machines.

What is kept is kept for each arena, of which there are eight for each core, and a picture is read, hashed, stored and
encoded in as many threads: two arenas serve them all, for they take turns anyway, and need half the memory.
"""

import ctypes
import gc
import platform

_M_TRIM_THRESHOLD, _M_TOP_PAD, _M_MMAP_THRESHOLD, _M_ARENA_MAX = -1, -2, -3, -8
_ARENAS = 2
_MIB = 1024 * 1024


_NEW_OBJECTS = 20_000
"""More than one order makes, so that most die before the collector looks at them. Python's own 700 is for programs with
little to do: it had a tenth of the time that a small order took."""


def collect_less_often() -> None:
    """Spare Python's collector of cycles what is there for as long as the process: call it when all is built."""
    gc.collect()
    gc.freeze()
    gc.set_threshold(_NEW_OBJECTS, 20, 20)


def keep_large_buffers() -> bool:
    """Set this process's allocator. False where it is not glibc's, and nothing was done."""
    if platform.libc_ver()[0] != "glibc":
        return False
    mallopt = ctypes.CDLL(None).mallopt
    settings = {_M_MMAP_THRESHOLD: 32 * _MIB, _M_TRIM_THRESHOLD: 256 * _MIB, _M_TOP_PAD: 16 * _MIB}
    settings[_M_ARENA_MAX] = _ARENAS
    return all(mallopt(name, value) == 1 for name, value in settings.items())
