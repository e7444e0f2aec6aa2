"""MIDI files <-> pieces in ticks.

Reading and writing go through symusic: a parser in C++, a hundred times as fast as the usual ones. It pairs note-ons
and note-offs first in, first out; here a note-off ends every note of its pitch that sounds, and a note without length
is none, as pretty_midi and all published figures have it. pretty_midi makes the objects handed to users and the audio
previews.
"""

import io
import wave
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from data_prep.errors import InputError
from data_prep.files import atomic
from data_prep.piece import END, PITCH, START, VELOCITY, Piece, Track

if TYPE_CHECKING:
    import pretty_midi

HEADER = b"MThd"
HEADER_BYTES = 14
WRAPPER_BYTES = 256  # how deep a header may lie in: RIFF wrappers and stray line feeds put some bytes before it
END_OF_TRACK = b"\x01\xff\x2f\x00"  # as symusic writes it: one tick after the last event
SAMPLE_RATE = 22050
LONGEST_AUDIO = 3600.0  # seconds


def read(path: Path) -> Piece:
    """Read a MIDI file.

    Raises:
        InputError: the file is missing, no MIDI file, or damaged.
    """
    path = Path(path)
    try:
        data = path.read_bytes()
    except OSError as error:
        raise InputError(f"{path}: {error.strerror or error}") from error
    begin = data.find(HEADER, 0, WRAPPER_BYTES)
    if begin < 0:
        raise InputError(f"{path}: {'no MIDI file, it has no MThd header' if data else 'the file is empty'}")
    piece = _piece(_parse(data[begin:] if begin else data, path), path.stem)
    if _overflown(piece):
        raise InputError(f"{path}: a damaged MIDI file (its ticks are beyond counting)")
    return piece


def _parse(data: bytes, path: Path) -> Any:
    """A symusic score of a file's bytes, which begin with the header."""
    import symusic

    _check_header(data, path)
    try:
        return symusic.Score.from_midi(data)
    except Exception as error:  # whatever the parser in C++ throws: the file is at fault
        said = str(error).removeprefix("MiniMidi: ").removesuffix(": iostream error").split("!")[0]
        reason = "it is cut off, or says wrong lengths" if "EOF" in said or "chunk length" in said else said
        raise InputError(f"{path}: a damaged MIDI file ({reason})") from error


def _check_header(data: bytes, path: Path) -> None:
    """Say in plain words what the parser would refuse in its own, or would not notice."""
    size, form, division = (int.from_bytes(data[at:end], "big") for at, end in ((4, 8), (8, 10), (12, 14)))
    if len(data) < HEADER_BYTES or size != HEADER_BYTES - 8:
        raise InputError(f"{path}: a damaged MIDI file (its header is incomplete)")
    if form > 2:
        raise InputError(f"{path}: MIDI format {form} is unknown; 0, 1 and 2 are read")
    if division & 0x8000:
        raise InputError(f"{path}: timed in film frames (SMPTE); only files timed in quarter notes are read")
    if division == 0:
        raise InputError(f"{path}: a damaged MIDI file (no ticks in a quarter note)")


def _piece(score: Any, name: str) -> Piece:
    """A symusic score as a piece."""
    meters = tuple((meter.time, meter.numerator, meter.denominator) for meter in score.time_signatures)
    tempos = tuple((tempo.time, tempo.qpm) for tempo in score.tempos if tempo.mspq > 0)  # damaged files have 0
    return Piece(name, score.ticks_per_quarter, tuple(map(_track, score.tracks)), meters, tempos)


def _overflown(piece: Piece) -> bool:
    """Whether times went beyond the 31 bits that the parser counts in, and came out negative, as half of such do."""
    notes = [track.notes[:, [START, END]].min(initial=0) for track in piece.tracks]
    return min([*notes, *(at for at, *_ in piece.meters), *(at for at, _ in piece.tempos)], default=0) < 0


def _track(track: Any) -> Track:
    columns = track.notes.numpy()
    notes = np.empty((len(columns["time"]), 4), dtype=np.int64)
    notes[:, START] = columns["time"]
    notes[:, END] = columns["duration"]
    notes[:, PITCH] = columns["pitch"]
    notes[:, VELOCITY] = columns["velocity"]
    notes[:, END] += notes[:, START]
    if (notes[1:, START] < notes[:-1, START]).any():
        notes = notes[np.argsort(notes[:, START], kind="stable")]
    if (notes[1:, START] < notes[:-1, END]).any():
        _close_all(notes)
    sounding = notes[:, END] > notes[:, START]
    if not sounding.all():
        notes = notes[sounding]
    return Track(track.name, track.program, track.is_drum, notes)


def _close_all(notes: np.ndarray) -> None:
    """Let each note end at the first note-off of its pitch, in place; so far the n-th note had the n-th note-off."""
    order = np.lexsort((notes[:, START], notes[:, PITCH]))
    start, end, pitch = (notes[order, column] for column in (START, END, PITCH))
    span = end.max() + 1
    first_off = np.searchsorted(pitch * span + end, pitch * span + start, side="right")
    notes[order, END] = end[np.minimum(first_off, np.arange(len(end)))]


def write(piece: Piece, path: Path, end: int | None = None) -> None:
    """Write a type-1 file with tempo, time signature, and each track's name and program.

    Args:
        piece: what to write.
        path: where to; a file there is replaced.
        end: ticks; how long the file is to be where that is later than its last note.

    Raises:
        InputError: the place cannot be written to.
    """
    data = _bytes(piece, end)
    with atomic(path) as temporary:
        temporary.write_bytes(data)


def _bytes(piece: Piece, end: int | None = None) -> bytes:
    import symusic

    score: Any = symusic.Score(piece.ticks_per_quarter)
    score.time_signatures.extend([symusic.TimeSignature(*meter) for meter in piece.meters])
    score.tempos.extend([symusic.Tempo(time, qpm) for time, qpm in piece.tempos])
    for track in piece.tracks:
        columns = track.notes.T
        durations = columns[END] - columns[START]
        notes = symusic.Note.from_numpy(columns[START], durations, columns[PITCH], columns[VELOCITY], "tick")
        score.tracks.append(symusic.Track(track.name, track.program, track.is_drum, notes))
    data = score.dumps_midi()
    return data if end is None else _lengthened(data, end - _last_tick(piece))


def _last_tick(piece: Piece) -> int:
    """The tick of the last event in the last track that is written; the first one also holds meters and tempos."""
    ends = [int(track.notes[:, END].max(initial=0)) for track in piece.tracks[-1:]]
    if len(piece.tracks) == 1:
        ends += [meter[0] for meter in piece.meters] + [tempo[0] for tempo in piece.tempos]
    return max(ends, default=0)


def _lengthened(data: bytes, rest: int) -> bytes:
    """Put the end of the last track `rest` ticks after its last event, so that the file keeps the rests at its end."""
    if rest <= 0 or not data.endswith(END_OF_TRACK):
        return data
    head, track = data[: data.rindex(b"MTrk")], data[data.rindex(b"MTrk") + 8 : -len(END_OF_TRACK)]
    track += _variable_length(rest) + END_OF_TRACK[1:]
    return head + b"MTrk" + len(track).to_bytes(4, "big") + track


def _variable_length(value: int) -> bytes:
    """MIDI's way to write a number: seven bits a byte, the highest first, all but the last with the top bit set."""
    digits = [value & 0x7F]
    while value := value >> 7:
        digits.append(value & 0x7F | 0x80)
    return bytes(reversed(digits))


def to_pretty_midi(piece: Piece) -> "pretty_midi.PrettyMIDI":
    """The piece as a pretty_midi object."""
    import pretty_midi

    return pretty_midi.PrettyMIDI(io.BytesIO(_bytes(piece)))


def write_audio(piece: Piece, path: Path) -> None:
    """Write a plain preview of how the piece sounds: a mono WAV file of 16 bits, sine waves.

    Raises:
        InputError: the piece is longer than an hour, or the place cannot be written to.
    """
    sounding = to_pretty_midi(piece)
    if sounding.get_end_time() > LONGEST_AUDIO:
        raise InputError(f"{piece.name or 'the piece'} lasts more than an hour, too long for an audio preview")
    with np.errstate(divide="ignore", invalid="ignore"):  # of nothing but silence pretty_midi makes NaN
        samples = np.nan_to_num(sounding.synthesize(fs=SAMPLE_RATE))
    loud = np.abs(samples).max(initial=0.0) or 1.0
    with atomic(path) as temporary, wave.open(str(temporary), "wb") as file:
        file.setnchannels(1)
        file.setsampwidth(2)
        file.setframerate(SAMPLE_RATE)
        file.writeframes((samples / loud * 0.9 * 32767).astype("<i2").tobytes())
