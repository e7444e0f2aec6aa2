"""Many files to windows, over processes, and none of them able to stop the rest.

What the files give comes back in their order. Whatever cannot serve is told with its reason: a file that cannot be
read, a tune without a window, a file that brings the process down that reads it (see `pool`).
"""

import functools
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from data_prep import reading, windows
from data_prep.errors import InputError
from data_prep.files import MIDI_SUFFIXES, Source
from data_prep.pool import Pool, cores
from data_prep.windows import MelodyOptions

_MIDI_SECONDS = 3e-4  # a file; measured on one core
_NOTATION_SECONDS = 4e-6  # a byte
_WORTH_PROCESSES = 1.0  # seconds; starting them takes half of it
_CHUNK_SECONDS = 0.05


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
    """Read one file and cut its pieces into windows; nothing a file can hold raises an error."""
    tunes: list[Tune] = []
    try:
        pieces, failed = reading.read_all(source.path)
    except Exception as error:
        return Loaded(tunes, [(source.name, _reason(error, source))])
    skipped = [(f"{source.name}: {title}", reason) for title, reason in failed]
    many = source.path.suffix.lower() == ".abc"
    for number, piece in enumerate(pieces, 1):
        name = f"{source.name}#{number}" if many else source.name
        try:
            found = windows.windows(piece, options)
        except Exception as error:
            skipped.append((name, _reason(error, source)))
        else:
            tunes.append(Tune(name, np.stack([w.ids for w in found]), np.array([w.bar + 1 for w in found], np.int64)))
    return Loaded(tunes, skipped)


def _reason(error: Exception, source: Source) -> str:
    """Why, without the name of the file: equal reasons are counted together."""
    if isinstance(error, MemoryError):
        return "it needs more memory than there is"
    if not isinstance(error, InputError):
        return f"it cannot be read ({type(error).__name__}: {' '.join(str(error).split())[:100]})"
    return str(error).removeprefix(f"{source.path}: ").replace(str(source.path), "it")


def load_all(sources: Sequence[Source], options: MelodyOptions, workers: int | None = None) -> Iterator[Loaded]:
    """Load many files, in their order; `workers` processes, as many as there are cores by default.

    With one worker, or with so few files that processes would not pay, all happens in this process.
    """
    seconds = [_seconds(source) for source in sources]
    work = functools.partial(load, options=options)
    workers = workers or cores()
    if workers == 1 or sum(seconds) < _WORTH_PROCESSES:
        yield from map(work, sources)
        return
    with Pool(work, _crashed, workers) as pool:
        yield from pool.map(_chunks(sources, seconds)) if pool.works() else map(work, sources)


def _crashed(source: Source) -> Loaded:
    return Loaded([], [(source.name, "it makes its reader crash")])


def _seconds(source: Source) -> float:
    if source.path.suffix.lower() in MIDI_SUFFIXES:
        return _MIDI_SECONDS
    try:
        return _NOTATION_SECONDS * source.path.stat().st_size
    except OSError:
        return 0.0


def _chunks(sources: Sequence[Source], seconds: Sequence[float]) -> Iterator[list[Source]]:
    """Files in their order, about as much work in each chunk."""
    chunk: list[Source] = []
    work = 0.0
    for source, cost in zip(sources, seconds, strict=True):
        chunk.append(source)
        work += cost
        if work >= _CHUNK_SECONDS:
            yield chunk
            chunk, work = [], 0.0
    if chunk:
        yield chunk
