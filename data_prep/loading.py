"""Many files to windows, over processes, and none of them able to stop the rest.

Whatever cannot serve is told with its reason: a file that cannot be read, a tune without a window, a file that brings
the process down that reads it (see `parallel`).
"""

import errno
import functools
import os
import socket
from collections.abc import Generator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from data_prep import reading, windows
from data_prep.errors import InputError, MachineError
from data_prep.files import MIDI_SUFFIXES, Source
from data_prep.parallel import Parallel, processes
from data_prep.shards import Shard
from data_prep.windows import MelodyOptions

_MIDI_SECONDS = 2e-4, 4e-8  # a file, a byte of it; measured on one core
_NOTATION_SECONDS = 0.0, 4e-6
_WORTH_PROCESSES = 1.0  # seconds; starting them takes half of it
_SHARD_SECONDS = 2.0  # of work, which a kill loses
_OF_THE_MACHINE = {errno.EMFILE, errno.ENFILE, errno.ENOMEM, errno.ESTALE, errno.ENOTCONN, errno.ETIMEDOUT}
_SHARDS_EACH = 8  # for a process at least, so that they all end at about the same time


@dataclass(frozen=True, slots=True)
class Tune:
    """The windows of one piece: `ids` (n, T), `bars` (n,) from 1, and a name that tells it from all others."""

    name: str
    ids: np.ndarray
    bars: np.ndarray


@dataclass(frozen=True, slots=True)
class Loaded:
    """What one file gave: tunes, and (name, reason) for all in it that cannot serve."""

    tunes: list[Tune]
    skipped: list[tuple[str, str]]


def load(source: Source, options: MelodyOptions) -> Loaded:
    """Read one file and cut its pieces into windows; nothing a file can hold raises an error.

    Raises:
        MachineError: it is not the file that cannot be read, but this machine cannot read.
    """
    tunes: list[Tune] = []
    try:
        pieces, failed = reading.read_all(source.path)
    except Exception as error:
        _blame_the_machine(error, source)
        return Loaded(tunes, [(source.name, _reason(error, source))])
    skipped = [(f"{source.name}: {title}", reason) for title, reason in failed]
    many = source.path.suffix.lower() == ".abc"
    for number, piece in pieces.items():
        name = f"{source.name}#{number}" if many else source.name
        try:
            found = windows.windows(piece, options)
        except Exception as error:
            skipped.append((name, _reason(error, source)))
        else:
            tunes.append(Tune(name, np.stack([w.ids for w in found]), np.array([w.bar + 1 for w in found], np.int64)))
    return Loaded(tunes, skipped)


def _blame_the_machine(error: Exception, source: Source) -> None:
    """Raises MachineError where other files could not be read either, and skipping them would lose good music."""
    cause = error if isinstance(error, OSError) else error.__cause__
    if isinstance(cause, OSError) and cause.errno in _OF_THE_MACHINE:
        raise MachineError(f"{source.path} cannot be read now: {cause.strerror}") from error
    above = source.path.parents
    given = above[min(len(Path(source.name).parts), len(above)) - 1]  # what the name is a path below
    if not os.path.exists(given):
        raise MachineError(
            f"{given} is not there on {socket.gethostname()}: files lie at the same path on all machines, and stay "
            "there while they are read"
        ) from error


def _reason(error: Exception, source: Source) -> str:
    """Why, without the name of the file: equal reasons are counted together."""
    if isinstance(error, MemoryError):
        return "it needs more memory than there is"
    said = str(error).removeprefix(f"{source.path}: ").replace(str(source.path), "it")
    if not isinstance(error, InputError):
        return f"it cannot be read ({type(error).__name__}: {' '.join(said.split())[:100]})"
    return said


def load_part(sources: Sequence[Source], options: MelodyOptions) -> Shard:
    """What several files give, joined."""
    loaded = [load(source, options) for source in sources]
    tunes = [tune for each in loaded for tune in each.tunes]
    return Shard(
        np.concatenate([np.empty(0, np.uint8), *(tune.ids.ravel() for tune in tunes)]),
        np.concatenate([np.empty(0, np.int64), *(tune.bars for tune in tunes)]),
        np.array([len(tune.bars) for tune in tunes], np.int64),
        [tune.name for tune in tunes],
        [skipped for each in loaded for skipped in each.skipped],
    )


def load_all(
    sources: Sequence[Source], missing: Sequence[range], options: MelodyOptions, workers: int | None = None
) -> Generator[tuple[range, Shard]]:
    """What is `missing` of many files, in shards, as they get done; which files each is of comes with it.

    With one worker, or with so few files that processes would not pay, all happens in this process.
    """
    seconds = np.array([_seconds(source) for source in sources])
    work = functools.partial(load_part, options=options)
    total = sum(seconds[part.start : part.stop].sum() for part in missing)
    if workers == 1 or total < _WORTH_PROCESSES:
        for part in _cut(missing, seconds, _SHARD_SECONDS):
            yield part, work(sources[part.start : part.stop])
    else:
        shard = min(_SHARD_SECONDS, total / (_SHARDS_EACH * processes(workers)))
        # they may run elsewhere, in another folder
        placed = [Source(source.path.absolute(), source.name) for source in sources]
        yield from Parallel(placed, work, _crashed, workers).run(_cut(missing, seconds, shard))


def _crashed(source: Source) -> Shard:
    none = np.empty(0, np.int64)
    return Shard(none.astype(np.uint8), none, none, [], [(source.name, "it crashes the parser")])


def _seconds(source: Source) -> float:
    """About how long it takes to read a file."""
    file, byte = _MIDI_SECONDS if source.path.suffix.lower() in MIDI_SUFFIXES else _NOTATION_SECONDS
    try:
        return file + byte * source.path.stat().st_size
    except OSError:
        return file


def _cut(missing: Sequence[range], seconds: np.ndarray, most: float) -> list[range]:
    """Files in parts of about so much work."""
    parts = []
    for gap in missing:
        shards = np.floor(np.cumsum(seconds[gap.start : gap.stop]) / most)
        cuts = (gap.start + 1 + np.flatnonzero(np.diff(shards))).tolist()
        parts += [range(*ends) for ends in zip([gap.start, *cuts], [*cuts, gap.stop], strict=True)]
    return parts
