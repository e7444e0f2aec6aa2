"""Dataset folders: what is in them, how tunes are split, and what happens to bad files and busy places."""

import csv
import gzip
import json
import os
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import pretty_midi
import pytest
from tunes import melody, rows, unclose, write_tune, write_tunes

from data_prep import dataset, midi, splits
from data_prep.dataset import SPLITS, Dataset, cached, fingerprint, is_dataset, open_dataset, prepare
from data_prep.errors import InputError
from data_prep.melody_dataset import plain
from data_prep.piece import Piece
from data_prep.tokenizers.melody import MelodyTokenizer
from data_prep.windows import MelodyOptions, windows

SHARED = Path(__file__).parents[2] / "shared" / "data"
OPTIONS = MelodyOptions()


def places(data: Dataset) -> dict[str, set[str]]:
    """The splits in which each source's own windows lie."""
    found: dict[str, set[str]] = {}
    for name in SPLITS:
        for source, _ in data.index(name):
            found.setdefault(source, set()).add(name)
    return found


@pytest.fixture(scope="module")
def tunes(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_tunes(tmp_path_factory.mktemp("tunes"), range(40))


@pytest.fixture(scope="module")
def prepared(tunes: Path, tmp_path_factory: pytest.TempPathFactory) -> Dataset:
    return prepare([tunes], tmp_path_factory.mktemp("prepared") / "data", OPTIONS)


def test_a_folder_holds_every_window_of_every_tune(tunes: Path, prepared: Dataset) -> None:
    wanted = {w.ids.tobytes() for path in tunes.iterdir() for w in windows(midi.read(path), OPTIONS)}
    found = [row.tobytes() for ids in rows(prepared).values() for row in ids]
    assert (
        len(found)
        == len(set(found))
        == prepared.info["counts"]["train"] + sum(prepared.info["counts"][name] for name in ("valid", "test"))
    )
    assert set(found) == wanted
    assert all(ids.dtype == np.uint8 and ids.shape[1] == 32 and len(ids) > 0 for ids in rows(prepared).values())


def test_files_of_a_folder(prepared: Dataset) -> None:
    assert sorted(os.listdir(prepared.path)) == ["dataset.json", "index.csv", "test.npy", "train.npy", "valid.npy"]
    assert isinstance(prepared.split("train"), np.memmap)
    info = json.loads((prepared.path / "dataset.json").read_text())
    assert info["tokenizer"] == {"name": "melody", "bars": 2, "meter": [4, 4]}
    assert (info["version"], info["counts"]["files"], info["counts"]["tunes"]) == (3, 40, 40)
    assert info["split_by"] == "tune"


def test_the_index_names_the_place_of_every_row(tunes: Path, prepared: Dataset) -> None:
    for name in SPLITS:
        index = prepared.index(name)
        assert len(index) == len(prepared.split(name))
        for row, (source, bar) in enumerate(index[:20]):
            found = {w.bar + 1: w.ids for w in windows(midi.read(tunes / source), OPTIONS)}
            np.testing.assert_array_equal(prepared.split(name)[row], found[bar])


def test_the_summary_tells_the_numbers(prepared: Dataset) -> None:
    counts = prepared.info["counts"]
    assert f"{sum(counts[name] for name in SPLITS)} windows of 2 bars in 4/4" in prepared.summary()
    assert f"train {counts['train']}, valid {counts['valid']}, test {counts['test']}" in prepared.summary()


def test_every_tune_lies_in_one_split(prepared: Dataset) -> None:
    assert all(len(found) == 1 for found in places(prepared).values())


def test_added_files_move_none(tmp_path: Path) -> None:
    folder = write_tunes(tmp_path / "tunes", range(0, 100, 2))
    before = places(prepare([folder], tmp_path / "before", OPTIONS))
    write_tunes(folder, range(1, 100, 2))
    after = places(prepare([folder], tmp_path / "after", OPTIONS))
    assert len(after) == 100
    assert {source: after[source] for source in before} == before


def test_splits_do_not_depend_on_where_the_collection_lies(tunes: Path, prepared: Dataset, tmp_path: Path) -> None:
    (tmp_path / "elsewhere").symlink_to(tunes, target_is_directory=True)
    again = prepare([tmp_path / "elsewhere"], tmp_path / "data", OPTIONS)
    for name in SPLITS:
        np.testing.assert_array_equal(again.split(name), prepared.split(name))


@pytest.mark.parametrize("copies", [4, 60])
def test_a_tune_in_many_keys_stays_in_one_split(tmp_path: Path, copies: int) -> None:
    folder = write_tunes(tmp_path / "tunes", range(20))
    for copy in range(copies):
        varied = [pitch + copy % 12 - 6 for pitch in melody(99)]
        varied[-12:] = melody(1000 + copy)[:12]
        write_tune(folder / f"copy{copy}.mid", varied)
    found = places(prepare([folder], tmp_path / "data", OPTIONS))
    assert len({next(iter(found[f"copy{copy}.mid"])) for copy in range(copies)}) == 1


def test_shares_are_kept_roughly(tmp_path: Path) -> None:
    names = [f"{number}.mid" for number in range(4000)]
    split = splits.assign(names, np.arange(4000), (0.8, 0.1, 0.1))
    assert np.abs(np.bincount(split) / 4000 - (0.8, 0.1, 0.1)).max() < 0.02


def test_shares_are_kept_among_tunes_that_stay_together() -> None:
    """The member that speaks for all is not chosen by its own place."""
    names = [f"{number}.mid" for number in range(6000)]
    split = splits.assign(names, np.arange(6000) // 2, (0.8, 0.1, 0.1))
    assert np.array_equal(split[::2], split[1::2])
    assert np.abs(np.bincount(split) / 6000 - (0.8, 0.1, 0.1)).max() < 0.02


def test_a_name_has_the_same_split_everywhere() -> None:
    found = splits.assign([f"{number}.mid" for number in range(20)], np.arange(20), (0.5, 0.25, 0.25))
    assert "".join(map(str, found)) == "20111000221202000100"


@pytest.mark.parametrize("seed", range(20))
def test_small_collections_have_all_splits(seed: int) -> None:
    names = [f"{seed}-{number}.mid" for number in range(3 + seed)]
    assert set(splits.assign(names, np.arange(len(names)), (0.8, 0.1, 0.1))) == {0, 1, 2}


def test_one_file_is_split_in_time(tmp_path: Path) -> None:
    path = write_tune(tmp_path / "tune.mid", melody(1, bars=12))
    data = prepare([path], tmp_path / "data", OPTIONS)
    bars = {name: [bar for _, bar in data.index(name)] for name in SPLITS}
    assert bars == {"train": list(range(1, 10)), "valid": [10], "test": [11]}
    assert "too few different tunes" in data.summary()


@pytest.mark.parametrize("shares", [(0.2, 0.4, 0.4), (0.01, 0.01, 0.98), (0.1, 0.9, 0.0), (0.1, 0.0, 0.9)])
def test_train_gets_a_part_of_every_tune(shares: tuple[float, float, float]) -> None:
    for count in range(1, 9):
        parts = np.bincount(splits.in_time(np.zeros(count, int), shares), minlength=3)
        assert parts[0]
        if count >= 3:
            assert (parts > 0).tolist() == [share > 0 for share in shares]


def test_one_window_goes_to_train(tmp_path: Path) -> None:
    data = prepare([write_tune(tmp_path / "tune.mid", melody(1, bars=2))], tmp_path / "data", OPTIONS)
    assert [len(data.split(name)) for name in SPLITS] == [1, 0, 0]
    assert "too few windows" in data.summary()


def test_equal_windows_stay_once_and_every_place_is_told(tmp_path: Path) -> None:
    folder = write_tunes(tmp_path / "tunes", range(30))
    shared = melody(500, bars=2)
    for number in range(30):  # two bars that all have, among their own
        write_tune(folder / f"{number:03}.mid", [*melody(number), *shared, *melody(number + 100)])
    data = prepare([folder], tmp_path / "data", OPTIONS)
    found = [row.tobytes() for ids in rows(data).values() for row in ids]
    assert len(found) == len(set(found))
    with (data.path / "index.csv").open(newline="") as file:
        index = list(csv.DictReader(file))
    by_source: dict[str, set[bytes]] = {}
    for line in index:
        window = rows(data)[line["split"]][int(line["row"])]
        by_source.setdefault(line["source"], set()).add(window.tobytes())
    assert by_source == {p.name: {w.ids.tobytes() for w in windows(midi.read(p), OPTIONS)} for p in folder.iterdir()}
    assert [line["split"] for line in index if line["bar"] == "9"] == ["train"] * 30
    assert data.info["counts"]["equal"] == 29


def test_keepers_prefer_train_then_valid_then_the_first() -> None:
    split = np.array([2, 1, 0, 0, 1, 2, 2])
    exact = np.array([5, 5, 5, 5, 6, 6, 7], np.uint64)
    assert splits.keepers(split, exact).tolist() == [2, 2, 2, 2, 4, 4, 6]


def test_clusters_are_those_of_a_count_of_all_pairs() -> None:
    rng = np.random.default_rng(0)
    shape = rng.integers(1, 60, 200).astype(np.uint64)
    tune = np.sort(rng.integers(0, 25, 200))
    sets = [set(shape[tune == t].tolist()) for t in range(25)]
    wanted = list(range(25))
    for _ in range(25):
        for a in range(25):
            for b in range(25):
                if sets[a] and sets[b] and 2 * len(sets[a] & sets[b]) >= min(len(sets[a]), len(sets[b])):
                    wanted[a] = wanted[b] = min(wanted[a], wanted[b])
    assert splits.clusters(tune, shape, 25).tolist() == wanted


def test_shapes_do_not_depend_on_the_key() -> None:
    tokenizer = MelodyTokenizer()
    ids = np.random.default_rng(0).integers(0, 60, (50, 32)).astype(np.uint8)
    higher = np.where(tokenizer.note_on[ids], ids + 7, ids)
    exact, shape = splits.window_hashes(np.concatenate([ids, higher]), tokenizer.note_on, tokenizer.pitch_ids)
    assert len(set(exact.tolist())) == 100
    np.testing.assert_array_equal(shape[:50], shape[50:])
    assert len(set(shape.tolist())) == 50


def test_few_notes_tell_no_tunes_apart() -> None:
    tokenizer = MelodyTokenizer()
    ids = np.zeros((2, 32), np.uint8)
    ids[0, :3], ids[1, :4] = (40, 42, 44), (40, 42, 44, 40)
    exact, shape = splits.window_hashes(ids, tokenizer.note_on, tokenizer.pitch_ids)
    assert exact.all()
    assert (shape != 0).tolist() == [False, True]


def test_the_shape_of_a_note_is_not_that_of_a_sign() -> None:
    """A first note that comes again is none that is held, and one a half-tone above it is no note-off."""
    tokenizer = MelodyTokenizer()
    ids = np.zeros((4, 32), np.uint8)
    ids[:, :4] = (40, 42, 44, 40)
    ids[1:, 4] = (40, 1, 41)
    _, shape = splits.window_hashes(ids, tokenizer.note_on, tokenizer.pitch_ids)
    assert len(set(shape.tolist())) == 4


def test_bad_files_are_skipped_and_told(tmp_path: Path) -> None:
    folder = write_tunes(tmp_path / "tunes", range(5))
    (folder / "empty.mid").write_bytes(b"")
    (folder / "text.mid").write_bytes(b"no music")
    write_tune(folder / "waltz.mid", melody(1), meter=(3, 4))
    (folder / "book.abc").write_text("X:1\nT:Good\nM:4/4\nL:1/4\nK:C\nCDEF|GABc|cBAG|\nX:2\nT:Bad\nM:4/4\nL:1/4\nK:C\n")
    data = prepare([folder], tmp_path / "data", OPTIONS)
    reasons = dict(data.skipped)
    assert set(reasons) == {"empty.mid", "text.mid", "waltz.mid", "book.abc: Bad"}
    assert "3/4" in reasons["waltz.mid"]
    assert str(tmp_path) not in " ".join(reasons.values())
    assert "book.abc#1" in places(data)
    assert "skipped 4: 1 x " in data.summary()


def test_nothing_usable_is_an_error_that_counts_the_reasons(tmp_path: Path) -> None:
    for number in range(3):
        write_tune(tmp_path / "tunes" / f"{number}.mid", melody(number), meter=(3, 4))
    (tmp_path / "tunes" / "z.mid").write_bytes(b"")
    with pytest.raises(InputError, match=r"3 x its meter is 3/4.*; 1 x ") as caught:
        prepare([tmp_path / "tunes"], tmp_path / "data", OPTIONS)
    assert "\n" not in str(caught.value)
    assert os.listdir(tmp_path) == ["tunes"]


def test_what_is_there_is_replaced_only_when_told_and_a_dataset(tunes: Path, tmp_path: Path) -> None:
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "thesis.txt").write_text("years of work")
    (tmp_path / "mine" / "train.npy").touch()
    for content in ("{}", '{"of": 1}\n{"another": "kind"}'):
        (tmp_path / "mine" / "dataset.json").write_text(content)
        with pytest.raises(InputError, match="no dataset"):
            prepare([tunes], tmp_path / "mine", OPTIONS, force=True)
    assert (tmp_path / "mine" / "thesis.txt").read_text() == "years of work"
    (tmp_path / "data").mkdir()  # an empty folder is as good as none
    prepare([tunes], tmp_path / "data", OPTIONS)
    with pytest.raises(InputError, match="--force"):
        prepare([tunes], tmp_path / "data", OPTIONS)
    data = prepare([tunes], tmp_path / "data", MelodyOptions(bars=1), force=True)
    assert data.split("train").shape[1] == 16
    assert sorted(os.listdir(tmp_path)) == ["data", "mine"]


def copy_of(data: Dataset, to: Path) -> Path:
    to.mkdir()
    for file in data.path.iterdir():
        (to / file.name).write_bytes(file.read_bytes())
    return to


def change(path: Path, **entries: Any) -> None:
    path.write_text(json.dumps(json.loads(path.read_text()) | entries))


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (lambda folder: (folder / "test.npy").unlink(), "missing or damaged"),
        (lambda folder: (folder / "train.npy").write_bytes(b"\x93NUMPY"), "missing or damaged"),
        (lambda folder: os.truncate(folder / "train.npy", 200), "missing or damaged"),
        (lambda folder: unclose(folder / "train.npy"), "missing or damaged"),
        (lambda folder: np.save(folder / "valid.npy", np.zeros((3, 7), np.uint8)), "sequences of 32"),
        (lambda folder: np.save(folder / "valid.npy", np.array([{}]), allow_pickle=True), "missing or damaged"),
        (lambda folder: (folder / "dataset.json").write_text("{"), "dataset.json is damaged"),
        (lambda folder: (folder / "dataset.json").unlink(), "no dataset"),
        (lambda folder: change(folder / "dataset.json", version=99), "version 99"),
        (lambda folder: change(folder / "dataset.json", tokenizer={"name": "tea leaves"}), "dataset.json: .*leaves"),
        (lambda folder: change(folder / "dataset.json", tokenizer=[]), "damaged"),
        (lambda folder: change(folder / "dataset.json", tokenizer={"name": []}), "dataset.json: unknown tokenizer"),
        (lambda folder: change(folder / "dataset.json", options={"meter": "4/4"}), "damaged: options.bars"),
        (lambda folder: change(folder / "dataset.json", options=plain(OPTIONS) | {"programs": ["x"]}), "damaged"),
        (lambda folder: change(folder / "dataset.json", options=plain(OPTIONS) | {"meter": "0/0"}), "damaged .*0/0"),
        (lambda folder: change(folder / "dataset.json", counts={"train": 3, "test": 1}), "damaged: counts.valid"),
        (lambda folder: change(folder / "dataset.json", counts=None, skipped={}), "damaged: counts, skipped"),
        (lambda folder: change(folder / "dataset.json", skipped=[1]), "dataset.json is damaged"),
        (lambda folder: change(folder / "dataset.json", counts=dict.fromkeys(SPLITS, 3)), "damaged .*'tunes'"),
        (lambda folder: (folder / "dataset.json").write_text("[" * 100_000), "dataset.json is damaged"),
        (lambda folder: np.save(folder / "train.npy", np.load(folder / "train.npy")[:7]), "train.npy has 7 rows, not"),
        (lambda folder: np.save(folder / "test.npy", np.load(folder / "test.npy") + 90), "there is an id [0-9]+, and"),
    ],
)
def test_damaged_folders_are_told(prepared: Dataset, tmp_path: Path, damage: Any, message: str) -> None:
    folder = copy_of(prepared, tmp_path / "copy")
    damage(folder)
    with pytest.raises(InputError, match=message) as caught:
        open_dataset(folder)
    assert "\n" not in str(caught.value)


def test_what_a_dataset_is_made_of_is_not_removed_with_the_old_one(prepared: Dataset, tmp_path: Path) -> None:
    folder = copy_of(prepared, tmp_path / "copy")
    tune = write_tune(folder / "tunes" / "mine.mid", melody(1))
    for sources in ([tune], [folder / "tunes"], [folder]):
        with pytest.raises(InputError, match=r"lies in .*copy, which would be replaced; choose another place"):
            prepare(sources, folder, OPTIONS, force=True)
    assert tune.exists()
    open_dataset(folder)


@pytest.mark.parametrize("empty", [False, True])
def test_a_link_to_a_dataset_stays_one(prepared: Dataset, tmp_path: Path, empty: bool) -> None:
    real, link = tmp_path / "large disk" / "data", tmp_path / "link"
    real.parent.mkdir()
    if empty:
        real.mkdir()
    else:
        copy_of(prepared, real)
    link.symlink_to(real)
    tune = write_tune(tmp_path / "mine.mid", melody(1))
    made = prepare([tune], link, OPTIONS, force=True)
    assert link.readlink() == real
    assert open_dataset(real).info == made.info != prepared.info
    assert [*real.parent.iterdir()] == [real]
    assert not list(tmp_path.glob(".*"))


def test_a_path_alone_is_no_list_of_paths(tmp_path: Path) -> None:
    tune = write_tune(tmp_path / "tune.mid", melody(1))
    for path in (tune, str(tune)):
        with pytest.raises(TypeError, match="lists of paths, not a path alone"):
            prepare(path, tmp_path / "data", OPTIONS)  # type: ignore[arg-type]


def test_what_comes_to_stand_at_the_place_of_a_dataset_stays(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def contents(*arguments: Any) -> str:
        (tmp_path / "data").mkdir()
        (tmp_path / "data" / "precious").touch()
        return "of no use"

    monkeypatch.setattr("data_prep.dataset._contents", contents)
    with pytest.raises(InputError, match="exists and is no dataset"):
        prepare([write_tune(tmp_path / "tune.mid", melody(1))], tmp_path / "data", OPTIONS)
    assert [path.name for path in (tmp_path / "data").iterdir()] == ["precious"]


@pytest.mark.parametrize("shares", [(0.5, 0.5), (0.5, float("nan"), 0.5), (0.0, 0.5, 0.5), (0.5, 0.6, -0.1)])
def test_shares_that_are_none_are_refused(tmp_path: Path, shares: Any) -> None:
    with pytest.raises(InputError, match="must sum to 1, and train must have one"):
        prepare([write_tune(tmp_path / "tune.mid", melody(1))], tmp_path / "data", OPTIONS, split=shares)
    assert [path.name for path in tmp_path.iterdir()] == ["tune.mid"]


def test_missing_folders_and_splits_are_told(prepared: Dataset, tmp_path: Path) -> None:
    assert is_dataset(prepared.path)
    assert not is_dataset(tmp_path)
    with pytest.raises(InputError, match="no dataset folder"):
        open_dataset(tmp_path / "missing")
    with pytest.raises(InputError, match="train, valid, test"):
        prepared.split("training")


def test_a_dataset_opens_without_music_libraries(prepared: Dataset) -> None:
    code = (
        f"import sys; from data_prep.dataset import open_dataset; open_dataset({str(prepared.path)!r}).split('train')\n"
        "print({'symusic', 'music21', 'pretty_midi', 'torch', 'matplotlib', 'tqdm'} & set(sys.modules))"
    )
    root = Path(__file__).parents[1]
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=root)
    assert result.stdout.strip() == "set()"


def test_unchanged_sources_are_not_read_again(tmp_path: Path) -> None:
    folder = write_tunes(tmp_path / "tunes", range(10))
    assert not cached([folder], OPTIONS, tmp_path / "data").reused
    assert cached([folder], OPTIONS, tmp_path / "data").reused
    assert not cached([folder], MelodyOptions(bars=1), tmp_path / "data").reused
    write_tunes(folder, [10])
    data = cached([folder], MelodyOptions(bars=1), tmp_path / "data")
    assert (data.reused, data.info["counts"]["files"]) == (False, 11)
    os.truncate(tmp_path / "data" / "train.npy", 100)
    assert not cached([folder], MelodyOptions(bars=1), tmp_path / "data").reused


def test_the_fingerprint_follows_names_sizes_times_and_options(tunes: Path, tmp_path: Path) -> None:
    folder = tmp_path / "tunes"
    folder.mkdir()
    for path in sorted(tunes.iterdir())[:3]:
        (folder / path.name).write_bytes(path.read_bytes())
    prints = [fingerprint([folder], OPTIONS), fingerprint([folder], MelodyOptions(pair_bars=True))]
    os.utime(folder / "000.mid", ns=(0, 0))
    prints.append(fingerprint([folder], OPTIONS))
    (folder / "000.mid").rename(folder / "zero.mid")
    prints.append(fingerprint([folder], OPTIONS))
    assert len(set(prints)) == 4
    folder.rename(tmp_path / "moved")
    assert fingerprint([tmp_path / "moved"], OPTIONS) == prints[-1]


def test_files_that_are_read_otherwise_now_are_read_again(
    tunes: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    cached([tunes], OPTIONS, tmp_path / "data")
    reads: list[Path] = []
    monkeypatch.setattr(midi, "read", lambda path, read=midi.read: reads.append(path) or read(path))
    cached([tunes], OPTIONS, tmp_path / "data", workers=1)
    assert not reads
    monkeypatch.setattr(dataset, "READING", dataset.READING + 1)
    cached([tunes], OPTIONS, tmp_path / "data", workers=1)
    assert len(reads) == len(list(tunes.iterdir()))


def test_a_file_that_may_be_read_by_now_is_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """To allow it changes neither its size nor its time."""
    tunes = write_tunes(tmp_path, range(3))
    with monkeypatch.context() as locked:
        read, access = midi.read, os.access

        def refuse(path: Path) -> Piece:
            if path.name == "000.mid":
                raise InputError(f"{path}: Permission denied")
            return read(path)

        locked.setattr(midi, "read", refuse)
        locked.setattr(os, "access", lambda path, mode: Path(path).name != "000.mid" and access(path, mode))
        assert cached([tunes], OPTIONS, tmp_path / "data").skipped == [("000.mid", "Permission denied")]
    assert not cached([tunes], OPTIONS, tmp_path / "data").skipped


def test_what_is_split_otherwise_is_another_dataset(tunes: Path, tmp_path: Path) -> None:
    splits = [(0.8, 0.1, 0.1), (0.9, 0.05, 0.05), (0.9, 0.1, 0.0)]
    made = [prepare([tunes], tmp_path / str(n), OPTIONS, split=split) for n, split in enumerate(splits)]
    assert made[0].info["fingerprint"] == fingerprint([tunes], OPTIONS)
    for mark in ("fingerprint", "contents"):
        assert len({data.info[mark] for data in made}) == 3


def test_progress_is_quiet_without_a_terminal(tunes: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    prepare([tunes], tmp_path / "data", OPTIONS, progress=True)
    assert capfd.readouterr() == ("", "")


def test_shares_are_checked(tunes: Path, tmp_path: Path) -> None:
    with pytest.raises(InputError, match="sum to 1"):
        prepare([tunes], tmp_path / "data", OPTIONS, split=(0.5, 0.1, 0.1))
    data = prepare([tunes], tmp_path / "data", OPTIONS, split=(1.0, 0.0, 0.0))
    assert [len(data.split(name)) > 0 for name in SPLITS] == [True, False, False]


@pytest.mark.skipif(not (SHARED / "nottingham").exists(), reason="the shared data are not on this machine")
@pytest.mark.parametrize(("bars", "key"), [(2, "2bar"), (16, "16bar")])
def test_nottingham_gives_magentas_windows_fast(tmp_path: Path, bars: int, key: str) -> None:
    def seconds_of_pretty_midi() -> float:
        """What this machine takes to only read a twentieth of the files."""
        begin = time.process_time()
        for path in sorted((SHARED / "nottingham").rglob("*.mid"))[::20]:
            pretty_midi.PrettyMIDI(str(path))
        return time.process_time() - begin

    before, begin = seconds_of_pretty_midi(), time.process_time()
    data = prepare([SHARED / "nottingham"], tmp_path / "data", MelodyOptions(bars=bars), workers=1)
    seconds = time.process_time() - begin
    assert seconds < 20 * (before + seconds_of_pretty_midi()) / 2 / 4  # ten times as fast as pretty_midi is usual
    golden = json.loads(gzip.decompress((SHARED / "golden" / "nottingham-windows.json.gz").read_bytes()))
    ids = rows(data)
    with (data.path / "index.csv").open(newline="") as file:
        found = {ids[r["split"]][int(r["row"])].tobytes().hex() for r in csv.DictReader(file) if r["source"] in golden}
    assert found == {window for of_file in golden.values() for window in of_file[key]}
