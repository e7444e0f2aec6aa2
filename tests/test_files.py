"""Finding sources and leaving whole files behind."""

import os
from pathlib import Path
from typing import Any

import pytest

from data_prep.errors import InputError
from data_prep.files import DistinctNames, atomic, find_sources, named_sources, remove, slugify


def make(root: Path, *names: str) -> None:
    for name in names:
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_bytes(b"x")


def write_and_stop(path: Path, folder: bool = False) -> None:
    with atomic(path) as temporary:
        if folder:
            make(temporary, "a", "b/c")
        else:
            temporary.write_bytes(b"half")
        raise KeyboardInterrupt


def test_folders_are_searched_to_their_depths_in_order(tmp_path: Path) -> None:
    make(
        tmp_path, "b/z.MID", "b/a.midi", "a.KAR", "c.abc", "d.MusicXML", "e.xml", "f.mxl", "g.krn", "notes.txt", "h.wav"
    )
    names = [source.name for source in named_sources([tmp_path])]
    assert names == ["a.KAR", "c.abc", "d.MusicXML", "e.xml", "f.mxl", "g.krn", "b/a.midi", "b/z.MID"]


def test_folders_give_files_of_the_wanted_kind(tmp_path: Path) -> None:
    make(tmp_path, "a.TXT", "b/c.txt.gz", "b/d.gz", "b/e.mid.gz", "tune.mid", "f.md", ".g.txt", "h", "i.abc.GZ")
    assert [source.name for source in named_sources([tmp_path], "text")] == ["a.TXT", "b/c.txt.gz", "b/d.gz"]
    assert [source.name for source in named_sources([tmp_path], "music")] == ["tune.mid"]


def test_a_named_file_is_text_unless_it_is_music(tmp_path: Path) -> None:
    make(tmp_path, "names.smi", "README", "tune.mid", "song.MusicXML")
    assert find_sources([tmp_path / "names.smi", tmp_path / "README"], "text")
    for name in ("tune.mid", "song.MusicXML"):
        with pytest.raises(InputError, match="is music, and text is read here"):
            find_sources([tmp_path / name], "text")
    with pytest.raises(InputError, match="no text found in"):
        find_sources([tmp_path], "text")


def test_hidden_files_are_left_out_and_loops_of_links_end(tmp_path: Path) -> None:
    make(tmp_path, "a/tune.mid", "a/.tune.mid", ".git/tune.mid")
    (tmp_path / "a" / "loop").symlink_to(tmp_path, target_is_directory=True)
    (tmp_path / "broken.mid").symlink_to(tmp_path / "nowhere.mid")
    assert find_sources([tmp_path]) == [tmp_path / "a" / "tune.mid"]


def test_a_folder_that_cannot_be_read_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    scandir = os.scandir

    def guarded(path: str) -> Any:
        if Path(path).name == "closed":
            raise PermissionError(13, "Permission denied", path)
        return scandir(path)

    make(tmp_path, "open/a.mid", "closed/b.mid")
    monkeypatch.setattr(os, "scandir", guarded)
    with pytest.raises(InputError, match=r"the folder .*closed cannot be read \(Permission denied\)"):
        find_sources([tmp_path])


def test_what_runs_have_made_is_no_source(tmp_path: Path) -> None:
    make(tmp_path, "a.mid", "runs/mine/config.toml", "runs/mine/last.pt", "runs/mine/previews/step-1.mid", "runs/b.mid")
    assert [source.name for source in named_sources([tmp_path])] == ["a.mid", "runs/b.mid"]


def test_a_file_given_twice_is_found_once(tmp_path: Path) -> None:
    make(tmp_path, "a.mid", "b.mid")
    assert find_sources([tmp_path / "b.mid", tmp_path, tmp_path]) == [tmp_path / "b.mid", tmp_path / "a.mid"]
    make(tmp_path, "below/c.mid")
    assert [source.name for source in named_sources([tmp_path, tmp_path / "below/c.mid"])][2:] == ["below/c.mid"]


def test_names_do_not_depend_on_where_a_collection_lies_and_are_unique(tmp_path: Path) -> None:
    make(tmp_path, "one/x/a.mid", "two/x/a.mid", "three/two/x/a.mid")
    folders = [tmp_path / "one", tmp_path / "two", tmp_path / "three" / "two"]
    names = [source.name for source in named_sources(folders)]
    assert names[:2] == ["x/a.mid", "two/x/a.mid"]
    assert len(set(names)) == 3


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("missing", "does not exist"),
        ("a.txt", "is text, no kind of file .* --preset text-words"),
        ("a.gz", "is text, no kind of file"),
        ("a.png", "is no kind of file"),
        ("empty", "no music found"),
    ],
)
def test_what_cannot_serve_is_told_in_one_line(tmp_path: Path, name: str, message: str) -> None:
    make(tmp_path, "a.txt", "a.gz", "a.png", "empty/readme.txt")
    with pytest.raises(InputError, match=message) as caught:
        find_sources([tmp_path / name])
    assert "\n" not in str(caught.value)


def test_a_file_appears_complete_or_not_at_all(tmp_path: Path) -> None:
    path = tmp_path / "new" / "tune.mid"
    with atomic(path) as temporary:
        temporary.write_bytes(b"new")
        assert temporary.suffix == ".mid"
        assert not path.exists()
    assert path.read_bytes() == b"new"
    with pytest.raises(KeyboardInterrupt):
        write_and_stop(path)
    assert path.read_bytes() == b"new"
    assert list(path.parent.iterdir()) == [path]


def test_a_folder_appears_complete_or_not_at_all(tmp_path: Path) -> None:
    with atomic(tmp_path / "folder") as temporary:
        make(temporary, "a", "b/c")
    assert (tmp_path / "folder" / "b" / "c").exists()
    with pytest.raises(KeyboardInterrupt):
        write_and_stop(tmp_path / "other" / "folder", folder=True)
    assert not (tmp_path / "other").exists()


def test_places_that_cannot_be_written_to_are_told(tmp_path: Path) -> None:
    make(tmp_path, "file", "folder/file")
    with pytest.raises(InputError, match="cannot write"), atomic(tmp_path / "file" / "below.mid"):
        pass
    with pytest.raises(InputError, match="cannot write"), atomic(tmp_path / "folder") as temporary:
        temporary.write_bytes(b"x")
    with pytest.raises(InputError, match="device"), atomic(Path("/dev/null")):
        pass


def test_errors_of_other_files_pass_through(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError), atomic(tmp_path / "out"):
        (tmp_path / "missing").read_bytes()


def test_remove_takes_files_folders_and_nothing(tmp_path: Path) -> None:
    make(tmp_path, "file", "folder/file")
    for name in ("file", "folder", "nothing"):
        remove(tmp_path / name)
    assert not any(tmp_path.iterdir())


def test_slugs_are_file_names_everywhere() -> None:
    assert slugify("O'Neill's Rêverie, No. 2 -- Reel!") == "oneills-reverie-no-2-reel"
    assert slugify("CON/../..") == "con"
    assert slugify("茉莉花") == "untitled"


def test_no_two_names_are_the_same() -> None:
    names = DistinctNames()
    assert [names.of(name) for name in ("jig", "jig", "jig-2", "reel", "jig", "jig-2")] == [
        "jig",
        "jig-2",
        "jig-2-2",
        "reel",
        "jig-3",
        "jig-2-3",
    ]
