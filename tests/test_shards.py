"""Datasets come out the same whoever reads the files, and however often they are interrupted."""

import errno
import itertools
import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import joblib
import numpy as np
import pytest
from tunes import melody, write_tune, write_tunes

from data_prep import loading, melody_dataset, reading
from data_prep.dataset import Dataset, open_dataset, prepare
from data_prep.errors import InputError, MachineError
from data_prep.files import Source, remove
from data_prep.shards import Shard, Shards
from data_prep.text import TextOptions
from data_prep.windows import MelodyOptions
from data_prep.workplace import workplace

ROOT = Path(__file__).parents[1]
OPTIONS = MelodyOptions()
FILES = 30

KILLED = """
import os, signal, sys
from pathlib import Path
from data_prep import loading, shards
from data_prep.dataset import prepare
from data_prep.windows import MelodyOptions

class Deadly(shards.Shards):
    def add(self, files, shard):
        if len(self) > 10:
            os.kill(os.getpid(), signal.SIGKILL)
        super().add(files, shard)

loading._SHARD_SECONDS = 1e-3
loading.Shards = shards.Shards = Deadly
from data_prep import melody_dataset
melody_dataset.Shards = Deadly
prepare([Path(sys.argv[1])], Path(sys.argv[2]), MelodyOptions(), workers=1)
"""


@pytest.fixture(scope="module")
def tunes(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = write_tunes(tmp_path_factory.mktemp("tunes"), range(FILES))
    (folder / "007.mid").write_bytes(b"no music")
    write_tune(folder / "waltz.mid", melody(1), meter=(3, 4))
    return folder


@pytest.fixture(scope="module")
def prepared(tunes: Path, tmp_path_factory: pytest.TempPathFactory) -> Dataset:
    return prepare([tunes], tmp_path_factory.mktemp("prepared") / "data", OPTIONS)


@pytest.fixture
def small_shards(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(loading, "_SHARD_SECONDS", 1e-3)


@pytest.fixture
def worth_processes(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(loading, "_WORTH_PROCESSES", 0)


@pytest.fixture
def read(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The names of the files that are read, as they are."""
    names: list[str] = []
    load = loading.load

    def noted(source: Source, options: MelodyOptions) -> Any:
        names.append(source.name)
        return load(source, options)

    monkeypatch.setattr(loading, "load", noted)
    return names


def interrupted(tunes: Path, out: Path, **options: Any) -> list[Path]:
    """Let a run be interrupted before it assembles what it has read; the shards that it leaves."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(melody_dataset, "write_splits", interrupt)
        with pytest.raises(KeyboardInterrupt):
            prepare([tunes], out, OPTIONS, **options)
    return sorted((out.parent / f".{out.name}.making" / "shards").iterdir())


def interrupt(*_: Any) -> None:
    raise KeyboardInterrupt


def same(data: Path, other: Path) -> bool:
    names = sorted(os.listdir(other))
    return sorted(os.listdir(data)) == names and all((data / n).read_bytes() == (other / n).read_bytes() for n in names)


@pytest.mark.usefixtures("small_shards")
@pytest.mark.parametrize("workers", [1, 2])
def test_shards_and_processes_make_no_difference(
    tunes: Path, prepared: Dataset, tmp_path: Path, workers: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(loading, "_WORTH_PROCESSES", 0)
    added: list[range] = []
    monkeypatch.setattr(melody_dataset, "Shards", type("Noted", (Shards,), {"add": noting(added)}))
    assert same(prepare([tunes], tmp_path / "data", OPTIONS, workers=workers).path, prepared.path)
    assert len(added) > 4
    assert sorted(file for files in added for file in files) == list(range(FILES + 1))
    assert os.listdir(tmp_path) == ["data"]


def noting(added: list[range]) -> Any:
    def add(self: Shards, files: range, shard: Shard) -> None:
        added.append(files)
        Shards.add(self, files, shard)

    return add


def test_a_killed_run_is_gone_on_with(tunes: Path, prepared: Dataset, tmp_path: Path, read: list[str]) -> None:
    command = [sys.executable, "-c", KILLED, str(tunes), str(tmp_path / "data")]
    assert subprocess.run(command, cwd=ROOT, check=False).returncode == -signal.SIGKILL
    assert os.listdir(tmp_path) == [".data.making"]
    again = prepare([tunes], tmp_path / "data", OPTIONS)
    assert same(again.path, prepared.path)
    assert 0 < len(read) < FILES - 10
    assert os.listdir(tmp_path) == ["data"]


@pytest.mark.usefixtures("small_shards")
def test_a_damaged_shard_is_read_anew_and_no_other(
    tunes: Path, prepared: Dataset, tmp_path: Path, read: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    shards = interrupted(tunes, tmp_path / "data")
    assert len(shards) > 4
    for path, damage in zip(shards[1:4], [b"", shards[1].read_bytes()[:-40], bytes([1] * 900)], strict=True):
        path.write_bytes(damage)
    flipped = bytearray(shards[0].read_bytes())
    flipped[200] ^= 1  # in the ids: told by a checksum alone
    shards[0].write_bytes(flipped)
    (shards[0].parent / f".{shards[0].stem}.1a2b3c4d.npz").write_bytes(b"half of")  # a write that was cut short
    read.clear()
    again = prepare([tunes], tmp_path / "data", OPTIONS, workers=2, progress=True)
    assert same(again.path, prepared.path)
    damaged = sum(int(path.stem.split("-")[1]) - int(path.stem.split("-")[0]) for path in shards[:4])
    assert len(read) == damaged
    assert capsys.readouterr() == (
        "",
        f"seqvae: {FILES + 1 - damaged} of {FILES + 1} files have been read before: going on from there\n",
    )


@pytest.mark.usefixtures("small_shards")
def test_other_sources_or_options_begin_anew(tunes: Path, tmp_path: Path, read: list[str]) -> None:
    interrupted(tunes, tmp_path / "data")
    read.clear()
    prepare([tunes], tmp_path / "data", MelodyOptions(bars=1))
    assert len(read) == FILES + 1
    folder = write_tunes(tmp_path / "tunes", range(5))
    interrupted(folder, tmp_path / "more")
    write_tune(folder / "004.mid", melody(77, bars=9))
    read.clear()
    data = prepare([folder], tmp_path / "more", OPTIONS)
    assert len(read) == 5
    assert same(data.path, prepare([folder], tmp_path / "fresh", OPTIONS).path)
    interrupted(folder, tmp_path / "damaged")
    (tmp_path / ".damaged.making" / "state").write_bytes(b"\xff\xfe\0")
    assert same(prepare([folder], tmp_path / "damaged", OPTIONS).path, data.path)


def test_an_interrupted_run_says_how_to_go_on_and_keeps_the_old_dataset(
    tunes: Path, prepared: Dataset, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    prepare([tunes], tmp_path / "data", OPTIONS)
    interrupted(tunes, tmp_path / "data", force=True, progress=True)
    assert capsys.readouterr().err == (
        f"seqvae: {FILES + 1} of {FILES + 1} files have been read and are kept: the same command goes on from there\n"
    )
    assert sorted(os.listdir(tmp_path)) == [".data.making", "data"]
    assert sorted(os.listdir(tmp_path / ".data.making")) == ["lock", "shards", "state"]
    assert same(open_dataset(tmp_path / "data").path, prepared.path)


@pytest.mark.usefixtures("small_shards")
@pytest.mark.parametrize("fault", ["full disk", "files", "folder"])
def test_what_was_read_is_kept_when_the_machine_fails(
    tunes: Path, prepared: Dataset, tmp_path: Path, read: list[str], fault: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as patch:
        if fault == "full disk":
            patch.setattr(np, "savez", failing(np.savez, after=4, error=OSError(errno.ENOSPC, "No space left")))
            message = "cannot write .*No space left"
        elif fault == "files":
            error = InputError("it cannot be read")
            error.__cause__ = OSError(errno.EMFILE, "Too many open files")
            patch.setattr(reading, "read_all", failing(reading.read_all, after=9, error=error))
            message = "cannot be read now: Too many open files"
        else:
            patch.setattr(reading, "read_all", failing(reading.read_all, after=9, error=InputError("does not exist")))
            patch.setattr(os.path, "exists", lambda path: False)
            message = "is not there on .*: files lie at the same path on all machines"
        with pytest.raises(MachineError, match=message):
            prepare([tunes], tmp_path / "data", OPTIONS, workers=1)
    before, read[:] = len(set(read)), []
    assert same(prepare([tunes], tmp_path / "data", OPTIONS, workers=1).path, prepared.path)
    assert 0 < len(read) < FILES + 1 <= before + len(read) + 1


def failing(work: Callable[..., Any], after: int, error: Exception) -> Callable[..., Any]:
    """What does its work so many times, and then fails."""
    calls = itertools.count()

    def tried(*arguments: Any, **options: Any) -> Any:
        if next(calls) >= after:
            raise error
        return work(*arguments, **options)

    return tried


def test_a_run_that_has_read_nothing_leaves_nothing(
    tunes: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(loading, "load", interrupt)
    with pytest.raises(KeyboardInterrupt):
        prepare([tunes], tmp_path / "not" / "there" / "data", OPTIONS)
    text = tmp_path / "lines.txt"
    text.write_text("one\ntwo\nthree\n")
    monkeypatch.setattr("data_prep.text_dataset.gather", interrupt)
    with pytest.raises(KeyboardInterrupt):
        prepare([text], tmp_path / "data", TextOptions())
    assert os.listdir(tmp_path) == ["lines.txt"]


def test_two_runs_do_not_make_the_same_dataset_at_once(tunes: Path, tmp_path: Path) -> None:
    with workplace(tmp_path / "data", "other"), pytest.raises(InputError, match="another process") as caught:
        prepare([tunes], tmp_path / "data", OPTIONS)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("made_again", [False, True])
def test_a_lock_that_another_run_took_with_it_is_none(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, made_again: bool
) -> None:
    fcntl = pytest.importorskip("fcntl")
    lock, real = tmp_path / ".data.making" / "lock", fcntl.flock

    def ends(file: Any, how: int) -> None:
        """The other run ends between the opening of the lock and its being taken."""
        monkeypatch.setattr(fcntl, "flock", real)
        remove(lock.parent)
        if made_again:
            lock.parent.mkdir()
            lock.touch()
        real(file, how)

    monkeypatch.setattr(fcntl, "flock", ends)
    with (
        workplace(tmp_path / "data", "this one"),
        pytest.raises(InputError, match="another process"),
        workplace(tmp_path / "data", "a third one"),
    ):
        pass


@pytest.mark.usefixtures("worth_processes")
def test_a_file_that_crashes_its_reader_is_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    folder = write_tunes(tmp_path / "tunes", range(5))
    monkeypatch.setattr(loading, "load_part", deadly_part)
    data = prepare([folder], tmp_path / "data", OPTIONS, workers=2)
    assert data.skipped == [("003.mid", "it crashes the parser")]
    assert data.info["counts"]["tunes"] == 4
    assert capfd.readouterr() == ("", "")


def deadly_part(sources: Sequence[Source], options: MelodyOptions) -> Shard:
    """Like a reader that has 003.mid crash."""
    if any(source.name == "003.mid" for source in sources):
        os.kill(os.getpid(), signal.SIGSEGV)
    return loading.load_part(sources, options)


@pytest.mark.usefixtures("worth_processes")
def test_a_cluster_gives_the_same_bytes(tunes: Path, prepared: Dataset, tmp_path: Path) -> None:
    distributed = pytest.importorskip("distributed", reason="the extra [cluster] is not installed")
    with (
        distributed.LocalCluster(n_workers=2, threads_per_worker=1, dashboard_address=None) as cluster,
        distributed.Client(cluster) as client,
        joblib.parallel_config(backend="dask"),
    ):
        data = prepare([tunes], tmp_path / "data", OPTIONS)
        readers = client.run(lambda: "data_prep.loading" in sys.modules and symusic_is_there())
    assert same(data.path, prepared.path)
    assert set(readers.values()) == {True}, "each worker has read files"


def symusic_is_there() -> bool:
    """Whether this process has read MIDI files."""
    return "symusic" in sys.modules


def gaps(folder: Path, parts: list[range], total: int) -> Iterator[range]:
    none = Shard(np.empty(0, np.uint8), np.empty(0, np.int64), np.empty(0, np.int64), [], [])
    shards = Shards(folder)
    for part in parts:
        shards.add(part, none)
    assert len(shards) == sum(map(len, parts))
    yield from Shards(folder).missing(total)


def test_what_lies_between_shards_is_missing(tmp_path: Path) -> None:
    assert list(gaps(tmp_path / "a", [], 9)) == [range(9)]
    assert list(gaps(tmp_path / "b", [range(5, 7), range(2, 4)], 9)) == [range(2), range(4, 5), range(7, 9)]
    assert list(gaps(tmp_path / "c", [range(4, 9), range(4)], 9)) == []


def test_a_shard_keeps_names_of_any_kind(tmp_path: Path) -> None:
    shard = Shard(
        np.arange(64, dtype=np.uint8),
        np.array([1, 3]),
        np.array([2]),
        ["caf\udce9/ü.mid"],  # not in UTF-8 on the disk
        [("a\nb.mid", "why")],
    )
    Shards(tmp_path / "shards").add(range(2), shard)
    (again,) = Shards(tmp_path / "shards")
    assert (again.names, again.skipped) == (shard.names, shard.skipped)
    np.testing.assert_array_equal(again.ids, shard.ids)
    np.testing.assert_array_equal(again.bars, shard.bars)
    np.testing.assert_array_equal(again.counts, shard.counts)


def test_a_shard_that_has_lost_the_size_of_an_array_is_read_anew(tmp_path: Path) -> None:
    """The checksum of nothing is right."""
    none = np.empty(0, np.int64)
    Shards(tmp_path / "shards").add(range(1), Shard(none.astype(np.uint8), none, none, [], [("a.mid", "why")]))
    (path,) = (tmp_path / "shards").iterdir()
    content = bytearray(path.read_bytes())
    entry = content.index(b"PK\1\2")  # of the archive's directory
    content[entry + 16 : entry + 28] = bytes(12)  # checksum and sizes
    path.write_bytes(content)
    assert not len(Shards(tmp_path / "shards"))
