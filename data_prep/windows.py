"""n-bar windows of melody out of a piece, the same that Magenta makes of the same file.

A piece is split at each change of meter or tempo; each part has its own time 0 and its own bar lines. Parts whose
meter serves give melodies (see `melodies`), and each melody gives a window of n bars at every one of its bars, as
long as n bars are left. A note-off before a window's first note becomes a no-event; a window without a note is
dropped; of equal windows the first stays.

Beyond Magenta: any meter on a grid of 16ths, two 2/4 bars read as one of 4/4 (`pair_bars`), no limit to the number of
windows but that of a melody's bars, and whatever gives none says why.
"""

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field, replace

import numpy as np

from data_prep import meters, programs
from data_prep.errors import InputError
from data_prep.melodies import line, melodies, quantize, to_steps
from data_prep.meters import DEFAULT_TEMPO, Meter, parse_meter, steps_per_bar
from data_prep.piece import END, PITCH, START, VELOCITY, Piece
from data_prep.tokenizers.melody import NO_EVENT, NOTE_OFF, PITCHES
from data_prep.wording import count

DEFAULT_METER: Meter = (4, 4)  # of a file that says nothing
_REST, _OFF = bytes([NO_EVENT]), bytes([NOTE_OFF])


@dataclass(frozen=True)
class MelodyOptions:
    """What counts as a melody, and how long a window is."""

    meter: Meter = (4, 4)
    bars: int = 2  # of a window
    pair_bars: bool = False  # read two bars of half the length as one
    programs: frozenset[int] = field(default_factory=lambda: frozenset(range(32)))  # General MIDI, 0-127
    max_bars: int = 100  # of a melody; what lies beyond is left out

    def __post_init__(self) -> None:
        steps_per_bar(self.meter)
        if self.bars < 1:
            raise InputError(f"windows of {self.bars} bars: at least 1 is needed")
        programs.check(self.programs)

    @classmethod
    def parse(cls, meter: str, bars: int, pair_bars: bool, playing: str) -> "MelodyOptions":
        """From a meter and programs as people write them. Raises InputError for what is none."""
        return cls(parse_meter(meter), bars, pair_bars, programs.parse(playing))


@dataclass(frozen=True, slots=True)
class Window:
    """`ids` (T,) uint8; `bar` is the piece's bar it begins in, from 0; `tempo` in quarters per minute."""

    ids: np.ndarray
    bar: int
    tempo: float


@dataclass(frozen=True, slots=True)
class _Part:
    """A stretch of one meter and one tempo, in ticks; bars are counted from the change of meter that lies before."""

    begin: int
    end: int | None  # None: to the end of the piece
    meter: Meter
    tempo: float
    line: int  # the tick of a bar line ...
    bar: int  # ... and the number of the bar that begins there


def windows(piece: Piece, options: MelodyOptions) -> list[Window]:
    """The distinct windows of a piece, in the order of its tracks and bars.

    Raises:
        InputError: there are none; the message says why, and what would help.
    """
    tracks = _melody_tracks(piece, options)
    bar, parts, longest = steps_per_bar(options.meter), _parts(piece), 0
    most = max(options.max_bars, options.bars)
    found: dict[bytes, tuple[_Part, int]] = {}
    for notes in tracks:
        for part, inside in _split(notes, parts):
            if not _serves(part.meter, options):
                continue
            for melody in melodies(quantize(inside, piece.ticks_per_quarter), bar, most):
                longest = max(longest, len(melody.ids) // bar)
                for step, ids in _slices(melody.ids, bar, options.bars):
                    found.setdefault(ids, (part, melody.begin + step))
    if not found:
        raise InputError(_why_none(tracks, parts, options, longest))
    rows = np.frombuffer(b"".join(found), dtype=np.uint8).reshape(len(found), -1)
    return [
        Window(ids, _bar_at(part, step, piece.ticks_per_quarter), part.tempo)
        for ids, (part, step) in zip(rows, found.values(), strict=True)
    ]


def _slices(ids: bytearray, bar: int, bars: int) -> Iterator[tuple[int, bytes]]:
    """All stretches of `bars` bars of a melody that have a note, and the step each begins on."""
    length = bars * bar
    for step in range(0, len(ids) - length + 1, bar):
        window = bytes(ids[step : step + length])
        if window.lstrip(_REST)[:1] == _OFF:  # of a note that began earlier
            window = window.replace(_OFF, _REST, 1)
        if window.strip(_REST):
            yield step, window


def whole(piece: Piece, options: MelodyOptions) -> Window | None:
    """A piece of at most n bars as it stands, from its beginning, filled up with rests; None if it is longer.

    What counts is the first track with notes. Changes of tempo do not split it; the tempo is that of its first note.

    Raises:
        InputError: it holds no melody, or another meter than wanted.
    """
    notes = _melody_tracks(piece, options)[0]
    length = options.bars * steps_per_bar(options.meter)
    if _steps(piece) > length:
        return None
    parts = [part for part, _ in _split(notes, _parts(piece))]
    if not all(_serves(part.meter, options) for part in parts):
        raise InputError(_why_none([notes], parts, options, 0))
    ids = line(quantize(notes, piece.ticks_per_quarter), 0, length)
    return Window(np.frombuffer(bytes(ids), dtype=np.uint8), 0, parts[0].tempo)


def _steps(piece: Piece) -> int:
    """How long a piece is, up to the end of its last note on any track; a note has one step at least."""
    times = np.concatenate([track.notes[:, [START, END]] for track in piece.tracks])
    steps = to_steps(times, piece.ticks_per_quarter)
    return int(max(steps[:, 0].max() + 1, steps[:, 1].max()))


def _melody_tracks(piece: Piece, options: MelodyOptions) -> list[np.ndarray]:
    """The notes (N, 4) of the tracks that can hold a melody, at least one."""
    tracks = [track for track in piece.tracks if len(track.notes)]
    if not tracks:
        raise InputError("it has no notes")
    pitched = [track for track in tracks if not track.is_drum]
    if not pitched:
        raise InputError("it has drums only")
    chosen = [track for track in pitched if track.program in options.programs]
    if not chosen:
        there = programs.text(frozenset(track.program for track in pitched))
        raise InputError(f"none of its instruments plays melodies here: use --programs {there} for those it has")
    usable = [notes for track in chosen if len(notes := _usable(track.notes))]
    if not usable:
        raise InputError(f"all its notes lie outside pitch {PITCHES.start}-{PITCHES.stop - 1}")
    return usable


def _usable(notes: np.ndarray) -> np.ndarray:
    """The notes that sound, on a key that a piano has."""
    pitch = notes[:, PITCH]
    good = (pitch >= PITCHES.start) & (pitch < PITCHES.stop) & (notes[:, VELOCITY] > 0)
    return notes if good.all() else notes[good]


def _parts(piece: Piece) -> list[_Part]:
    """The piece cut at each change of meter or tempo; what is said again unchanged cuts nothing."""
    part, parts = _Part(0, None, DEFAULT_METER, DEFAULT_TEMPO, 0, 0), []
    changes: list[tuple[int, Meter | None, float | None]] = [(tick, (n, d), None) for tick, n, d in piece.meters]
    changes += [(tick, None, tempo) for tick, tempo in piece.tempos]
    for tick, meter, tempo in sorted(changes, key=lambda change: change[0]):
        if meter in (None, part.meter) and tempo in (None, part.tempo):
            continue
        if tick > part.begin:
            parts.append(replace(part, end=tick))
            part = replace(part, begin=tick)
        if tempo is not None:
            part = replace(part, tempo=tempo)
        if meter is not None:
            bar = part.bar - _bars(-4 * (tick - part.line), part.meter, piece.ticks_per_quarter)  # rounded up
            part = replace(part, meter=meter, line=tick, bar=bar)
    return [*parts, part]


def _bar_at(part: _Part, step: int, ticks_per_quarter: int) -> int:
    """The number of the piece's bar that holds a step of a part."""
    sixteenths = 4 * (part.begin - part.line) + step * ticks_per_quarter
    return part.bar + _bars(sixteenths, part.meter, ticks_per_quarter)


def _bars(sixteenths: int, meter: Meter, ticks_per_quarter: int) -> int:
    """How many whole bars there are in so many 16ths, given times `ticks_per_quarter` to be a whole number."""
    if not meters.is_meter(meter):
        return 0
    return sixteenths * meter[1] // (meters.STEPS_PER_WHOLE * meter[0] * ticks_per_quarter)


def _split(notes: np.ndarray, parts: list[_Part]) -> Iterator[tuple[_Part, np.ndarray]]:
    """Each part that has notes, with those; their ticks count from its beginning, none sounds beyond its end."""
    if len(parts) == 1:
        yield parts[0], notes
        return
    cuts = [*np.searchsorted(notes[:, START], [part.begin for part in parts]).tolist(), len(notes)]
    for part, first, last in zip(parts, cuts, cuts[1:], strict=False):
        if first < last:
            inside = notes[first:last].copy()
            if part.end is not None:
                np.minimum(inside[:, END], part.end, out=inside[:, END])
            inside[:, [START, END]] -= part.begin
            yield part, inside


def _serves(meter: Meter, options: MelodyOptions) -> bool:
    return meters.serves(meter, options.meter) or (options.pair_bars and meters.pairs(meter, options.meter))


def _why_none(tracks: list[np.ndarray], parts: list[_Part], options: MelodyOptions, longest: int) -> str:
    """Why there is no window, and what would give some; `longest` is the longest melody's number of bars."""
    reasons = []
    if longest:
        where = " between changes of tempo or meter" if len(parts) > 1 else ""
        reasons.append(f"its longest melody{where} has {count(longest, 'bar')}, a window {options.bars}")
    others: Counter[Meter] = Counter()
    for notes in tracks:
        for part, inside in _split(notes, parts):
            if not _serves(part.meter, options):
                others[part.meter] += len(inside)
    if others:
        found = [meter for meter, _ in others.most_common()]
        names = ", ".join(map(meters.name, found[:3])) + (" ..." if len(found) > 3 else "")
        verb = "meters are" if len(found) > 1 else "meter is"
        reasons.append(f"its {verb} {names}, not {meters.name(options.meter)}{_advice(found[0], options)}")
    return "; ".join(reasons)


def _advice(meter: Meter, options: MelodyOptions) -> str:
    """The option that would read this meter."""
    if not meters.is_meter(meter):
        return f", and {meters.name(meter)} is no meter"
    if not meters.on_grid(meter):
        return f", and a bar of {meters.name(meter)} is no whole number of 16th notes"
    pairing = " or --pair-bars" if meters.pairs(meter, options.meter) else ""
    return f": prepare or train with --meter {meters.name(meter)}{pairing}"
