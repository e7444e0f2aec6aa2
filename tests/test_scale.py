"""The benchmark of scale makes what it says: different files, and windows that any number can be made of."""

from itertools import islice
from pathlib import Path

import numpy as np
import pytest
from tunes import write_tunes

from benchmarks import scale
from data_prep import midi
from data_prep.dataset import open_dataset, prepare
from data_prep.windows import MelodyOptions


@pytest.fixture(scope="module")
def tunes(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_tunes(tmp_path_factory.mktemp("tunes"), range(6))


def test_files_are_as_many_as_wanted_and_all_different(tunes: Path, tmp_path: Path) -> None:
    folder = scale.write_files(tmp_path / "files", tunes, 100)
    assert len({path.read_bytes() for path in folder.iterdir()}) == 100
    assert scale.files_per_second(folder, tmp_path / "dataset", 1) > 0
    assert open_dataset(tmp_path / "dataset").info["counts"]["files"] == 100


def test_copies_are_in_other_keys(tunes: Path) -> None:
    original = midi.read(tunes / "000.mid").tracks[0].notes
    same_key = [piece.tracks[0].notes for piece in islice(scale.copies(tunes), 0, 6 * len(scale.KEYS), 6)]
    assert [int(notes[0, 2] - original[0, 2]) for notes in same_key] == list(scale.KEYS)


def test_windows_are_halves_of_real_ones_and_train(
    tunes: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(scale, "BLOCK", 700)
    monkeypatch.setattr(scale, "STEPS", 8)
    monkeypatch.setattr(scale, "UNITS", 4)
    made_of = prepare([tunes], tmp_path / "real", MelodyOptions())
    data = open_dataset(scale.write_dataset(tmp_path / "many", made_of, 5000))
    ids = np.asarray(data.split("train"))
    assert ids.shape == (5000, 32)
    assert len(np.unique(ids, axis=0)) > 2000
    assert len(data.index("train")) == 5000
    assert shapes(ids[:, :16]) <= shapes(*(np.asarray(made_of.split(name))[:, :16] for name in scale.SPLITS))
    took = scale.train(data.path)
    assert took.opening > took.batch > 0
    assert took.step > took.batch


def shapes(*halves: np.ndarray) -> set[bytes]:
    """Halves of windows, all of notes, whatever their key."""
    return {(row - row[row > 1].min() * (row > 1)).astype(np.uint8).tobytes() for half in halves for row in half}
