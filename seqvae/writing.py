"""Files that are there whole or not at all."""

import os
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path


def write_atomically(path: Path, write: Callable[[Path], object]) -> None:
    """Let `write` make a temporary file beside `path`, then rename it: a kill leaves the old file or the new one.

    Raises OSError that names `path` where it cannot be written.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        write(temporary)
        temporary.replace(path)
    except OSError as error:
        if error.errno is None:  # raised by code, not by the system
            raise
        raise OSError(error.errno, error.strerror, str(path)) from None  # a full disk's own tells no name
    finally:
        with suppress(OSError):  # renamed, or never made: a read-only file system says so once more, of its name
            temporary.unlink()
