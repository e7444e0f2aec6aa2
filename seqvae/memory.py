"""Memory that a process keeps for its next step.

glibc gives each large array back to the system when it is freed, and the system hands out the next one page by page,
filled with zeros. A training step that makes the same arrays again and again spends a fifth of its time on that.
"""

import ctypes
import sys

TRIM_THRESHOLD, MMAP_MAX = -1, -4  # parameters of mallopt, see malloc.h
NEVER = -1


def keep_freed_memory() -> bool:
    """Let this process keep what it frees, for its own later use; whether it could be done.

    It holds for the whole process and can be undone by nothing; its memory then stays at the most it ever took. Where
    the C library is not glibc, nothing happens.
    """
    if not sys.platform.startswith("linux"):
        return False
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
    return mallopt is not None and bool(mallopt(MMAP_MAX, 0)) and bool(mallopt(TRIM_THRESHOLD, NEVER))
