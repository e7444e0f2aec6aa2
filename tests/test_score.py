"""Scores: to ticks, to files, in a row, and drawn."""

import wave
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import mido
import numpy as np
import pretty_midi
import pytest
from matplotlib.collections import LineCollection

from data_prep import midi, pictures
from data_prep.errors import InputError
from data_prep.score import Note, Score, join, write_row

TUNE = Score((Note(60, 0, 4), Note(64, 4, 8, velocity=99)), 32, tempo=96.0, name="A tune")


def test_a_written_file_carries_all_that_is_known(tmp_path: Path) -> None:
    Score(TUNE.notes, 24, meter=(6, 8), tempo=96.0, name="A tune").write_midi(tmp_path / "new" / "tune.mid")
    file = mido.MidiFile(tmp_path / "new" / "tune.mid")
    events = {message.type: message for track in file.tracks for message in track}
    assert file.type == 1
    assert events["track_name"].name == "A tune"
    assert events["program_change"].program == 0
    assert mido.tempo2bpm(events["set_tempo"].tempo) == pytest.approx(96.0)
    assert (events["time_signature"].numerator, events["time_signature"].denominator) == (6, 8)
    assert [message.velocity for message in file.tracks[0] if message.type == "note_on" and message.velocity] == [
        80,
        99,
    ]


@pytest.mark.parametrize(
    "notes", [(), (Note(60, 0, 4),), (Note(60, 30, 32),), (Note(60, 0, 4), Note(36, 0, 8, program=33))]
)
def test_a_file_is_as_long_as_its_score(notes: tuple[Note, ...], tmp_path: Path) -> None:
    score = Score(notes, 32)
    score.write_midi(tmp_path / "tune.mid")
    file = mido.MidiFile(tmp_path / "tune.mid")
    assert file.length == pytest.approx(score.seconds, abs=0.002)  # the writer may put the end one tick later
    assert sum(len(track.notes) for track in midi.read(tmp_path / "tune.mid").tracks) == len(notes)


def test_nothing_is_overwritten_unless_forced(tmp_path: Path) -> None:
    path = tmp_path / "tune.mid"
    path.write_text("mine")
    with pytest.raises(InputError, match="exists; use --force"):
        TUNE.write_midi(path)
    assert path.read_text() == "mine"
    TUNE.write_midi(path, force=True)
    assert midi.read(path).tempos[0][1] == pytest.approx(96.0)


def test_programs_and_drums_have_tracks_of_their_own() -> None:
    score = Score(
        (Note(60, 0, 4), Note(36, 0, 4, program=33), Note(38, 2, 3, is_drum=True), Note(62, 4, 8)), 16, name="x"
    )
    tracks = score.to_piece().tracks
    assert [(track.name, track.program, track.is_drum) for track in tracks] == [
        ("x", 0, False),
        ("x 2", 33, False),
        ("x 3", 0, True),
    ]
    assert tracks[0].notes.tolist() == [[0, 480, 60, 80], [480, 960, 62, 80]]


@pytest.mark.parametrize(
    "note",
    [
        *(Note(60, 3, 3), Note(60, -1, 2), Note(60, 0, 17), Note(128, 0, 1)),
        *(Note(60, 0, 1, velocity=0), Note(60, 0, 1, velocity=128)),
    ],
)
def test_a_note_that_cannot_be_is_refused(note: Note) -> None:
    with pytest.raises(ValueError, match="does not fit"):
        Score((note,), 16)


def test_scores_in_a_row() -> None:
    row = join([TUNE, Score((Note(72, 0, 1),), 16, tempo=50.0), TUNE])
    assert (row.steps, row.tempo, row.name) == (32 + 16 + 32, 96.0, "A tune")
    assert [(note.pitch, note.onset) for note in row.notes] == [(60, 0), (64, 4), (72, 32), (60, 48), (64, 52)]
    assert row.seconds == pytest.approx(80 / 4 * 60 / 96)
    with pytest.raises(InputError, match="no scores"):
        join([])
    with pytest.raises(InputError, match="grids"):
        join([TUNE, Score((), 16, steps_per_quarter=12)])


def test_a_row_keeps_the_tempo_of_each_score(tmp_path: Path) -> None:
    slow = Score((Note(72, 0, 1),), 16, tempo=48.0)
    write_row([TUNE, slow, slow, TUNE], tmp_path / "row.mid")
    midi_file = pretty_midi.PrettyMIDI(str(tmp_path / "row.mid"))
    begins, tempos = midi_file.get_tempo_changes()
    seconds = [score.seconds for score in (TUNE, slow, slow)]
    assert begins.tolist() == pytest.approx([0.0, seconds[0], sum(seconds)])
    assert tempos.tolist() == pytest.approx([96.0, 48.0, 96.0])
    assert [note.pitch for note in midi_file.instruments[0].notes] == [60, 64, 72, 72, 60, 64]
    with pytest.raises(InputError, match="must end in"):
        write_row([TUNE], tmp_path / "row.txt")
    assert not (tmp_path / "row.txt").exists()


def test_other_grids_reach_files_too(tmp_path: Path) -> None:
    Score((Note(60, 7, 14),), 28, steps_per_quarter=7).write_midi(tmp_path / "sevens.mid")
    piece = midi.read(tmp_path / "sevens.mid")
    assert piece.tracks[0].notes[0, :2].tolist() == [piece.ticks_per_quarter, 2 * piece.ticks_per_quarter]


def test_pretty_midi_and_audio(tmp_path: Path) -> None:
    (instrument,) = TUNE.to_pretty_midi().instruments
    assert [(note.pitch, round(note.end, 6)) for note in instrument.notes] == [(60, 0.625), (64, 1.25)]
    TUNE.write_audio(tmp_path / "tune.wav")
    with pytest.raises(InputError, match="--force"):
        TUNE.write_audio(tmp_path / "tune.wav")
    with pytest.raises(InputError, match=r"must end in .wav"):
        TUNE.write_audio(tmp_path / "tune.mp3")
    with wave.open(str(tmp_path / "tune.wav")) as sound:
        samples = np.frombuffer(sound.readframes(sound.getnframes()), "<i2")
    assert len(samples) / sound.getframerate() > 1.2
    assert np.abs(samples).max() == int(0.9 * 32767)
    assert len(np.unique(samples)) > 10000  # waves, not clipped to a few levels


def test_an_hour_of_audio_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="hour"):
        Score((Note(60, 0, 40000),), 40000).write_audio(tmp_path / "long.wav")
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("tempo", [1e6, 6e7])
def test_music_too_short_to_be_heard_is_silence(tmp_path: Path, tempo: float) -> None:
    Score((Note(60, 0, 4),), 32, tempo=tempo).write_audio(tmp_path / "short.wav")
    assert (tmp_path / "short.wav").stat().st_size >= 44  # a WAV file's header


@pytest.mark.parametrize("count", [1, 3, 9, 40])
def test_pictures_hold_all_scores(count: int, tmp_path: Path) -> None:
    scores = [TUNE, Score((), 32), *[TUNE] * 38][:count]
    pictures.piano_rolls(scores, [f"step {number}" for number in range(count)], tmp_path / "rolls.png")
    assert (tmp_path / "rolls.png").read_bytes().startswith(b"\x89PNG")


def test_scores_of_a_stack_stand_one_below_another(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    made, figure = [], pictures._figure
    monkeypatch.setattr(pictures, "_figure", lambda *size: made.append(figure(*size)) or made[0])
    pictures.piano_rolls([TUNE] * 10, "AaBbCcDdEe", tmp_path / "rolls.png", stack=2)
    columns = [[ax for ax in column if ax.get_visible()] for column in made[0].T]
    assert ["".join(ax.get_title(loc="left") for ax in column) for column in columns] == ["AaCcEe", "BbDd"]
    numbered = [[tick.label1.get_visible() for tick in column[-1].xaxis.get_major_ticks()] for column in columns]
    assert all(map(all, numbered))


@pytest.mark.parametrize(
    ("bars", "numbers"), [(2, [1, 2]), (32, range(1, 33)), (33, range(1, 34, 2)), (65, range(1, 66, 4))]
)
def test_bar_numbers_leave_room_for_each_other(bars: int, numbers: Sequence[int]) -> None:
    ax = Score((Note(60, 0, 4),), 12 * bars, meter=(3, 4)).plot()
    assert [label.get_text() for label in ax.get_xticklabels()] == list(map(str, numbers))
    assert ax.get_xticks().tolist() == [12 * (number - 1) for number in numbers]


def test_of_a_long_title_the_beginning_and_the_end_are_told() -> None:
    title = replace(TUNE, name=f"{'A tune ' * 20}, reconstructed").plot().get_title(loc="left")
    assert len(title) == pictures.LONGEST_TITLE
    assert title.startswith("A tune A tune")
    assert title.endswith("A tune , reconstructed")
    assert replace(TUNE, name="x" * 70).plot().get_title(loc="left") == "x" * 70


@pytest.mark.parametrize(
    ("meter", "beats", "bars"),
    [((4, 4), [0, 4, 8, 12, 16, 20, 24], [0, 16]), ((6, 8), [0, 6, 12, 18, 24], [0, 12, 24])],
)
def test_beats_and_bars_are_marked(meter: tuple[int, int], beats: list[int], bars: list[int]) -> None:
    drawn = Score((Note(60, 0, 4),), 24, meter=meter).plot().collections
    (lines,) = (each for each in drawn if isinstance(each, LineCollection))
    places = [segment[0][0] for segment in lines.get_segments()]
    assert places == beats
    assert [place for place, width in zip(places, lines.get_linewidths(), strict=True) if width > 0.8] == bars


def test_one_score_can_be_plotted() -> None:
    ax = TUNE.plot()
    notes = ax.collections[0].get_paths()
    begins = [(path.vertices[:, 0].min(), path.vertices[:, 1].mean().round()) for path in notes]
    assert sorted(begins) == [(note.onset, note.pitch) for note in TUNE.notes]
    assert TUNE.plot(ax) is ax
    assert ax.get_title(loc="left") == "A tune"


@pytest.mark.parametrize(
    "wrong",
    [
        {"tempo": 0},
        {"tempo": -3},
        {"tempo": float("nan")},
        {"tempo": 1},  # a file would say 6.2
        {"meter": (4, 3)},  # a file would say 4/2
        {"meter": (256, 4)},  # a byte holds 255
        {"steps_per_quarter": 0},
        {"steps_per_quarter": 2**15},
        {"notes": (Note(60, 0, 4, program=200),)},  # which nothing could read
    ],
)
def test_what_no_midi_file_can_hold_is_no_score(wrong: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match=r"MIDI|steps"):
        replace(TUNE, **wrong)
