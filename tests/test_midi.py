"""MIDI files byte by byte: what is read, what is refused, what is written."""

from pathlib import Path

import mido
import numpy as np
import pytest

from data_prep import midi
from data_prep.errors import InputError
from data_prep.piece import Piece, Track

ON, OFF = 0x90, 0x80
TEMPO = bytes([0, 0xFF, 0x51, 3, 0x09, 0x27, 0xC0])  # 100 quarters a minute
METER = bytes([0, 0xFF, 0x58, 4, 3, 2, 24, 8])  # 3/4


def file_of(*tracks: bytes, form: int = 1, division: int = 480) -> bytes:
    header = b"MThd" + (6).to_bytes(4, "big") + b"".join(n.to_bytes(2, "big") for n in (form, len(tracks), division))
    closed = [track + b"\x00\xff\x2f\x00" for track in tracks]
    return header + b"".join(b"MTrk" + len(track).to_bytes(4, "big") + track for track in closed)


def read(data: bytes, tmp_path: Path) -> Piece:
    path = tmp_path / "some tune.mid"
    path.write_bytes(data)
    return midi.read(path)


def events(*messages: tuple[int, ...]) -> bytes:
    """Messages of (delta below 128, status, data ...)."""
    return b"".join(map(bytes, messages))


def test_a_file_is_read_in_ticks(tmp_path: Path) -> None:
    music = events((0, 0xC0, 5), (10, ON, 60, 80), (20, OFF, 60, 0), (0, ON, 62, 90), (30, ON, 62, 0))
    drums = events((0, 0x99, 38, 70), (5, 0x89, 38, 0))
    piece = read(file_of(TEMPO + METER, music, drums, division=96), tmp_path)
    assert (piece.name, piece.ticks_per_quarter) == ("some tune", 96)
    assert piece.meters == ((0, 3, 4),)
    assert piece.tempos == ((0, 100.0),)
    melody, rhythm = piece.tracks
    assert (melody.program, melody.is_drum, rhythm.is_drum) == (5, False, True)
    assert melody.notes.tolist() == [[10, 30, 60, 80], [30, 60, 62, 90]]
    assert melody.notes.dtype == np.int64


def test_a_note_off_ends_every_note_of_its_pitch(tmp_path: Path) -> None:
    struck = [(0, ON, 60, 80), (10, ON, 60, 90), (0, ON, 72, 70), (20, OFF, 60, 0), (30, OFF, 60, 0), (9, OFF, 72, 0)]
    (track,) = read(file_of(events(*struck)), tmp_path).tracks
    assert sorted(track.notes.tolist()) == [[0, 30, 60, 80], [10, 30, 60, 90], [10, 69, 72, 70]]


def test_a_note_without_length_is_none(tmp_path: Path) -> None:
    music = events(
        (0, ON, 72, 80), (0, ON, 60, 80), (0, OFF, 72, 0), (30, OFF, 60, 0), (0, ON, 60, 90), (9, OFF, 60, 0)
    )
    assert [track.notes.tolist() for track in read(file_of(music), tmp_path).tracks] == [
        [[0, 30, 60, 80], [30, 39, 60, 90]]
    ]


def test_a_quarter_without_length_is_no_tempo(tmp_path: Path) -> None:
    assert read(file_of(bytes([0, 0xFF, 0x51, 3, 0, 0, 0]) + TEMPO), tmp_path).tempos == ((0, 100.0),)


def test_times_beyond_what_is_counted_are_refused(tmp_path: Path) -> None:
    """In 31 bits: what lies beyond would come out negative."""
    text = b"\xff\xff\xff\x7f\xff\x01\x01a"  # after the longest delta there is
    note = events((0, ON, 60, 80), (100, OFF, 60, 0))
    assert len(read(file_of(7 * text + note), tmp_path).tracks[0].notes) == 1
    for late in (9 * text + note, 9 * text + METER, 9 * text + TEMPO):
        with pytest.raises(InputError, match=r"a damaged MIDI file \(its ticks are beyond counting"):
            read(file_of(late, note), tmp_path)


def test_tracks_are_told_apart_by_channel(tmp_path: Path) -> None:
    both = events((0, ON, 60, 80), (0, ON + 1, 40, 80), (10, OFF, 60, 0), (10, OFF + 1, 40, 0))
    assert [len(track.notes) for track in read(file_of(both, form=0), tmp_path).tracks] == [1, 1]


def test_a_header_may_lie_a_little_deeper(tmp_path: Path) -> None:
    data = file_of(events((0, ON, 60, 80), (10, OFF, 60, 0)))
    wrapped = b"RIFF" + (len(data) + 12).to_bytes(4, "little") + b"RMIDdata" + len(data).to_bytes(4, "little") + data
    for each in (data, b"\r\n" + data, wrapped):
        assert len(read(each, tmp_path).tracks) == 1


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        (b"", "the file is empty"),
        (b"hello" * 100, "no MThd header"),
        (b"\0" * 4096, "no MThd header"),
        (b"MThd", "header is incomplete"),
        (file_of()[:13], "header is incomplete"),
        (file_of(b"", form=3), "format 3 is unknown"),
        (file_of(b"", division=0xE728), "SMPTE"),
        (file_of(b"", division=0), "no ticks"),
        (file_of(events((0, ON, 60, 80), (10, OFF, 60, 0)))[:-6], "damaged"),
        (file_of(b"\x00\xff\x01\xff\xff\xff\x7f"), "damaged"),
    ],
)
def test_what_is_no_midi_file_is_refused_in_one_line(
    data: bytes, reason: str, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(InputError, match=reason) as error:
        read(data, tmp_path)
    assert str(error.value).startswith(f"{tmp_path / 'some tune.mid'}: ")
    assert "\n" not in str(error.value)
    assert capfd.readouterr() == ("", "")  # the parser in C++ keeps quiet, too


def test_a_missing_file_is_told(tmp_path: Path) -> None:
    for path in (tmp_path / "none.mid", tmp_path):
        with pytest.raises(InputError, match=str(path)):
            midi.read(path)


def test_a_written_piece_is_read_back_as_it_was(tmp_path: Path) -> None:
    notes = np.array([[0, 240, 60, 80], [240, 480, 60, 81], [480, 480 * 9, 108, 127]])
    tracks = (Track("Tenor é", 4, False, notes), Track("drums", 0, True, notes[:1]))
    piece = Piece("tune", 480, tracks, ((0, 6, 8), (1440, 3, 4)), ((0, 120.0), (960, 90.0)))
    for end in (None, 100, 480 * 20):
        midi.write(piece, tmp_path / "tune.mid", end=end)
        again = midi.read(tmp_path / "tune.mid")
        assert (again.name, again.ticks_per_quarter, again.meters) == (piece.name, 480, piece.meters)
        assert [tempo for _, tempo in again.tempos] == pytest.approx([120.0, 90.0], abs=1e-4)
        for one, other in zip(piece.tracks, again.tracks, strict=True):
            assert (one.name, one.program, one.is_drum) == (other.name, other.program, other.is_drum)
            assert np.array_equal(one.notes, other.notes)


@pytest.mark.parametrize(("meters", "tempos"), [(((960, 3, 4),), ()), ((), ((960, 90.0),))])
def test_a_change_after_the_last_note_makes_no_file_longer(
    meters: tuple[tuple[int, int, int], ...], tempos: tuple[tuple[int, float], ...], tmp_path: Path
) -> None:
    notes = np.array([[0, 480, 60, 80]])
    midi.write(Piece("", 480, (Track("", 0, False, notes),), meters, tempos), tmp_path / "a.mid", end=1920)
    assert [sum(message.time for message in track) for track in mido.MidiFile(tmp_path / "a.mid").tracks] == [1920]


def test_repeated_notes_under_a_long_one_keep_their_lengths(tmp_path: Path) -> None:
    notes = np.array([[0, 960, 64, 80], [0, 480, 60, 80], [480, 960, 60, 80]])
    midi.write(Piece("", 480, (Track("", 0, False, notes),)), tmp_path / "a.mid")
    assert sorted(midi.read(tmp_path / "a.mid").tracks[0].notes.tolist()) == sorted(notes.tolist())


def test_nothing_half_written_stays(tmp_path: Path) -> None:
    (tmp_path / "folder.mid").mkdir()
    with pytest.raises(InputError, match=r"folder\.mid"):
        midi.write(Piece("", 480, ()), tmp_path / "folder.mid")
    assert [path.name for path in tmp_path.iterdir()] == ["folder.mid"]
