"""Where a dataset is made: a hidden folder beside it, which outlives a kill, so that the next run goes on from there.

.NAME.making/state      what it is made of, as a fingerprint; a run with another begins anew
.NAME.making/shards/    what has been read so far
.NAME.making/dataset/   the dataset under way, which is moved to its place when it is complete
"""

import os
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

from data_prep.errors import InputError, MachineError
from data_prep.files import remove, room_for


@dataclass(frozen=True)
class Workplace:
    """The folder, and what there is in it."""

    path: Path

    @property
    def shards(self) -> Path:
        """Outlives a run that does not end; there or not."""
        return self.path / "shards"

    @property
    def dataset(self) -> Path:
        """There and empty when a run begins."""
        return self.path / "dataset"

    def put_in_place(self, out: Path) -> None:
        """Move the dataset to its place; what was there goes."""
        if out.exists():
            os.replace(out, self.path / "replaced")
        os.replace(self.dataset, out)


@contextmanager
def workplace(out: Path, state: str) -> Iterator[Workplace]:
    """The place to make a dataset in that goes to `out` and is made of what `state` tells.

    It is removed at the end, and when nothing can be made of the sources; it stays when the run is cut short while
    there are shards in it. Parent folders are made, and removed again on failure.

    Raises:
        InputError: another process is making the same dataset, or the place cannot be written to.
    """
    place = Workplace(out.with_name(f".{out.name}.making"))
    with room_for(out, place.path), _alone(place.path, out):
        _begin(place, state)
        goes_on = False
        try:
            yield place
        except BaseException as error:
            useless = isinstance(error, InputError) and not isinstance(error, MachineError)
            goes_on = not useless and place.shards.exists() and any(place.shards.iterdir())
            raise
        finally:
            remove(place.dataset if goes_on else place.path)


def _begin(place: Workplace, state: str) -> None:
    """Keep what an earlier run has read, if it was of the same."""
    file = place.path / "state"
    if not file.exists() or file.read_bytes() != state.encode():
        remove(place.shards)
        file.write_text(state, encoding="utf-8")
    for unfinished in (place.dataset, place.path / "replaced"):
        remove(unfinished)
    place.dataset.mkdir()


@contextmanager
def _alone(folder: Path, out: Path) -> Iterator[None]:
    """Make the folder and hold a lock in it, which the system takes back from a process that dies; none on Windows."""
    folder.mkdir(exist_ok=True)
    try:
        import fcntl
    except ImportError:
        yield
        return
    path = folder / "lock"
    with ExitStack() as opened:
        while True:
            try:
                file = opened.enter_context(path.open("a"))
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
                if os.path.samestat(os.fstat(file.fileno()), path.stat()):
                    break
            except FileNotFoundError:  # who had it has just ended, and removed the folder
                folder.mkdir(exist_ok=True)
            except BlockingIOError:
                raise InputError(f"another process is making {out}: wait for it, or choose another name") from None
        yield
