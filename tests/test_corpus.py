"""The tunebooks of music21's corpus, and the samples that come from them."""

from pathlib import Path

import numpy as np
import pytest

from data_prep import corpus, midi
from data_prep.errors import InputError
from data_prep.files import slugify
from data_prep.windows import MelodyOptions, windows


def test_the_corpus_is_listed_with_terms() -> None:
    books = corpus.corpus_books()
    assert {"oneills1850", "ryansMammoth", "airdsAirs", "miscFolk"} <= set(books)
    assert all(book.description and book.licence and book.paths for book in books.values())
    assert "non-commercial" in books["essenFolksong"].licence
    with pytest.raises(InputError, match="oneills1850, ryansMammoth"):
        next(corpus.corpus_tunes("bach"))


def test_a_book_is_written_as_midi(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    report = corpus.write_corpus(["miscFolk"], tmp_path, progress=True)
    files = sorted((tmp_path / "miscFolk").iterdir())
    assert report.written == {"miscFolk": len(files)}
    assert len(files) + len(report.skipped) == 185
    assert "chester.mid" in {path.name for path in files}
    pieces = list(corpus.corpus_tunes("miscFolk"))
    for piece in pieces[:20]:
        written = midi.read(tmp_path / "miscFolk" / f"{slugify(piece.name)}.mid")
        np.testing.assert_array_equal(written.tracks[0].notes, piece.tracks[0].notes)
        assert written.meters == piece.meters
        assert written.tempos
    with pytest.raises(InputError, match="--force"):
        corpus.write_corpus(["miscFolk"], tmp_path)
    assert capfd.readouterr() == ("", "")


def test_tunes_of_one_title_do_not_replace_each_other(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    tune = "X:1\nT:{}\nM:4/4\nL:1/4\nK:C\nCDEF|\n"
    (tmp_path / "book.abc").write_text("".join(map(tune.format, ("Jig", "Jig", "Jig 2"))))
    book = corpus.Book("jigs", "", "", (tmp_path / "book.abc",))
    monkeypatch.setattr(corpus, "corpus_books", lambda: {"jigs": book})
    assert corpus.write_corpus(["jigs"], tmp_path).written == {"jigs": 3}
    assert len(list((tmp_path / "jigs").iterdir())) == 3


def test_samples_are_those_of_the_books() -> None:
    samples = sorted((Path(__file__).parents[1] / "samples" / "melodies").glob("*.mid"))
    assert 40 <= len(samples) <= 60
    readme = (samples[0].parents[1] / "README.md").read_text(encoding="utf-8")
    for path in samples:
        piece = midi.read(path)
        assert f"`{path.name}`" in readme
        assert piece.tempos == ((0, 120.0),)
        assert len(windows(piece, MelodyOptions())) >= 8
        assert 40 < piece.tracks[0].notes[:, 2].min() <= piece.tracks[0].notes[:, 2].max() < 96
