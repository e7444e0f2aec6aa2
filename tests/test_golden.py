"""The same windows as Magenta's converter makes of the same files."""

import gzip
import json
from pathlib import Path

import pytest

from data_prep import midi
from data_prep.errors import InputError
from data_prep.score import Note, Score
from data_prep.windows import MelodyOptions, windows

DATA = Path(__file__).parents[2] / "shared" / "data"
GOLDEN = DATA / "golden" / "nottingham-windows.json.gz"


@pytest.mark.skipif(not GOLDEN.exists(), reason="../shared/data is not here")
@pytest.mark.parametrize("bars", [2, 16])
def test_windows_are_magentas(bars: int) -> None:
    golden = json.loads(gzip.decompress(GOLDEN.read_bytes()))
    assert len(golden) == 120
    for name, expected in golden.items():
        try:
            found = windows(midi.read(DATA / "nottingham" / name), MelodyOptions(bars=bars))
        except InputError:
            found = []
        ids = [window.ids.tobytes().hex() for window in found]
        assert len(ids) == len(set(ids))
        assert set(ids) == set(expected[f"{bars}bar"]), name


def test_a_small_piece_gives_windows_written_by_hand(tmp_path: Path) -> None:
    melody = [(60, 0, 4), (64, 4, 8), (67, 10, 12), (72, 16, 40), (62, 41, 42)]
    chord, bass = [(55, 0, 16), (59, 16, 20)], [Note(36, 0, 48, program=33)]
    Score((*(Note(*note) for note in melody + chord), *bass), 48).write_midi(tmp_path / "piece.mid")
    found = windows(midi.read(tmp_path / "piece.mid"), MelodyOptions())
    first = "290000002d00000001003000" + "01000000" + "35" + 15 * "00"
    second = "35" + 23 * "00" + "012b0100" + "00000000"
    assert [window.ids.tobytes().hex() for window in found] == [first, second]
    assert [(window.bar, window.tempo) for window in found] == [(0, 120.0), (1, 120.0)]
