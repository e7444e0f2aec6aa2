"""What test_distributed lets two processes do to each other; both are started with the same arguments.

refused   the second one refuses to go on
slow      the first one works alone for longer than a step may take
silent    the first one stops while it works alone
alone     the other is waited for no longer than a moment
"""

import os
import signal
import sys
import time
from datetime import timedelta

from seqvae import distributed
from seqvae.errors import OptionError

distributed.LATE, distributed.SIGN_EVERY = timedelta(seconds=2), 0.25


def refuse(world: distributed.World) -> None:
    """Of the second one alone."""
    if not world.first:
        raise OptionError("no such device")


def main(*what: str) -> None:
    """One after the other, in this order; each process says what became of it."""
    if "alone" in what:
        distributed.JOINING = timedelta(seconds=1)
    with distributed.joined() as world:
        if "refused" in what:
            try:
                world.by_all(lambda: refuse(world))
                print("went on", flush=True)
            except (OptionError, SystemExit) as error:
                print(f"{type(error).__name__} {error}", flush=True)
        if "slow" in what:
            world.by_first(lambda: time.sleep(3))
            print("waited", flush=True)
        if "silent" in what:
            world.by_first(lambda: os.kill(os.getpid(), signal.SIGSTOP))


if __name__ == "__main__":
    main(*sys.argv[1:])
