"""Finding music or text on a disk, and leaving whole files behind.

A source is a file or a folder; a folder is searched to its depths for files of one kind, "music" or "text". A named
file is text whatever its suffix, unless that is one of music. A source's *name* is its path below the folder
that was given: it stays the same wherever the collection lies, so that splits and reports do not depend on it.

Whatever is written goes to a temporary sibling first and is renamed when it is complete: a process that is killed
leaves the old file or the new one, never half of one.
"""

import itertools
import os
import re
import secrets
import shutil
import unicodedata
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import NoReturn

from data_prep.errors import InputError, MachineError

WRITTEN_SUFFIXES = (".mid", ".midi")
MIDI_SUFFIXES = (*WRITTEN_SUFFIXES, ".kar")
NOTATION_SUFFIXES = (".abc", ".musicxml", ".xml", ".mxl", ".krn")
SUFFIXES = MIDI_SUFFIXES + NOTATION_SUFFIXES  # of music
DATASET_SUFFIX = ".seqvae"  # by custom
TEXT_SUFFIXES = (".txt", ".gz")  # what a folder gives as text; not tune.mid.gz

MUSIC, TEXT = "music", "text"
RUN = {"config.toml", "last.pt"}  # what stands in the folder of a run: its previews are no music to learn from


@dataclass(frozen=True, slots=True)
class Source:
    """A file and its name: the path below the folder it was found in, with forward slashes."""

    path: Path
    name: str


def find_sources(paths: Sequence[Path], kind: str = MUSIC) -> list[Path]:
    """All files of a kind that `paths` (files and folders) lead to; see `named_sources`."""
    return [source.path for source in named_sources(paths, kind)]


def named_sources(paths: Sequence[Path], kind: str = MUSIC) -> list[Source]:
    """All files of a kind that `paths` lead to, each once, with names that are unique among them.

    Folders are searched recursively in sorted order; hidden files and folders are left out, and
    runs, whose previews are nothing to learn from; loops of links are safe.

    Raises:
        InputError: a path is missing, a folder cannot be read, a named file is of the other kind, or there is nothing
            of this kind at all.
    """
    found: dict[Path, Source] = {}
    names: set[str] = set()
    for path in map(Path, paths):
        files = list(_files_of(path, kind))
        if not files and len(paths) > 1:
            raise InputError(f"no {kind} found in {path}; leave it out")
        for file in files:
            key = Path(os.path.abspath(file))
            if key not in found:
                name = _free_name(file, path, names)
                names.add(name)
                found[key] = Source(file, name)
    if not found:
        where = ", ".join(map(str, paths)) or "no path"
        looked_for = SUFFIXES if kind == MUSIC else TEXT_SUFFIXES
        raise InputError(f"no {kind} found in {where}; looked for {' '.join(looked_for)}")
    return list(found.values())


def check_file(path: Path, kind: str) -> None:
    """Raises InputError for what is no file, or one of the other kind."""
    suffix = path.suffix.lower()
    if path.is_dir():
        raise InputError(f"{path} is a folder, a file was expected")
    if not path.exists():
        raise InputError(f"{path} does not exist")
    if kind == TEXT and suffix in SUFFIXES:
        raise InputError(f"{path} is music, and text is read here: choose a model or preset for music, or text files")
    if kind == MUSIC and suffix not in SUFFIXES:
        text = "text, " * (suffix in TEXT_SUFFIXES)
        raise InputError(
            f"{path} is {text}no kind of file that is read here; these are: {' '.join(SUFFIXES)}. For sentences choose "
            "a model or preset for text, like --model text-psalms or --preset text-words"
        )


def free(path: Path | str, force: bool) -> Path:
    """The path, if nothing is there that must not be replaced. Raises InputError if there is."""
    path = Path(path)
    if path.exists() and not force:
        raise InputError(f"{path} exists; use --force (force=True) to overwrite it")
    return path


def is_path(item: Path | str) -> bool:
    """Whether an item of text is meant as a file: a Path, the name of what exists, or what looks like a name of one."""
    if isinstance(item, Path) or os.path.exists(item):
        return True
    return " " not in item and Path(item).suffix.lower() in (*TEXT_SUFFIXES, *SUFFIXES, DATASET_SUFFIX)


def tune_of(item: Path | str) -> tuple[Path, int | None]:
    """A file, and the tune of it that is meant: "book.abc#2" -> (book.abc, 2), unless there is a file of that name."""
    name, mark, number = str(item).rpartition("#")
    if mark and number.isdecimal() and not os.path.exists(item) and os.path.isfile(name):
        return Path(name), int(number)
    return Path(item), None


def _files_of(path: Path, kind: str) -> Iterator[Path]:
    if path.is_dir():
        yield from _walk(path, kind)
    else:
        check_file(path, kind)
        yield path


def _is_of(name: str, kind: str) -> bool:
    """Whether a file in a folder is of a kind, by its name."""
    path = Path(name.lower())
    if kind == MUSIC:
        return path.suffix in SUFFIXES
    return path.suffix in TEXT_SUFFIXES and Path(path.stem).suffix not in SUFFIXES


def _walk(root: Path, kind: str) -> Iterator[Path]:
    seen = set()  # real folders: a link that leads back up is entered once
    for folder, below, files in os.walk(root, onerror=_refuse, followlinks=True):
        real = os.path.realpath(folder)
        if real in seen:
            below.clear()
            continue
        seen.add(real)
        if {*files} >= RUN:
            below.clear()
            continue
        below[:] = sorted(name for name in below if not name.startswith("."))
        for name in sorted(files):
            file = Path(folder, name)
            if not name.startswith(".") and _is_of(name, kind) and file.is_file():
                yield file


def _refuse(error: OSError) -> NoReturn:
    reason = error.strerror or error
    raise InputError(
        f"the folder {error.filename} cannot be read ({reason}); allow it, or name those beside it"
    ) from None


def _free_name(file: Path, root: Path, used: set[str]) -> str:
    """The path below the root; of two collections with the same file, the second is told with its folder's name."""
    below = file.name if file == root else file.relative_to(root).as_posix()
    with_root = f"{Path(os.path.abspath(root)).name}/{below}" if file != root else file.as_posix()
    return next((name for name in (below, with_root) if name not in used), os.path.abspath(file))


def taken(folder: Path) -> bool:
    """Whether there is something at the place of a folder that is to be made; an empty folder is nothing."""
    return os.path.lexists(folder) and not (folder.is_dir() and not any(folder.iterdir()))


def slugify(title: str) -> str:
    """Lower-case letters and digits joined by hyphens: safe as a file name everywhere."""
    plain = unicodedata.normalize("NFKD", title).encode("ascii", "ignore").decode().lower()
    return re.sub(r"[^a-z0-9]+", "-", plain.replace("'", "")).strip("-")[:60].strip("-") or "untitled"


class DistinctNames:
    """Names of which no two are the same: after "jig" the next one of this name is "jig-2"."""

    def __init__(self) -> None:
        self._times: Counter[str] = Counter()  # each name was given, or its numbers tried

    def of(self, name: str) -> str:
        """The name itself if it is still free, else with the first number that is."""
        found = name
        while found in self._times:
            self._times[name] += 1
            found = f"{name}-{self._times[name]}"
        self._times[found] = 1
        return found


@contextmanager
def atomic(path: Path) -> Iterator[Path]:
    """Yield a temporary path beside `path` to write a file or a folder to; rename it on success, else remove it.

    The temporary name keeps the suffix, which some writers look at. Parent folders are made, and removed again on
    failure. A folder takes the place of nothing: whoever replaces one moves the old one away first.

    Raises:
        InputError: the place cannot be written to.
    """
    path = Path(path)
    if not path.is_file() and path.exists() and not path.is_dir():
        raise InputError(f"cannot write {path}: it is a device, not a file")  # /dev/null would be replaced
    temporary = path.with_name(f".{path.stem[:80]}.{secrets.token_hex(4)}{path.suffix}")
    with room_for(path, temporary):
        try:
            yield temporary
            os.replace(temporary, path)
        except BaseException:
            remove(temporary)
            raise


@contextmanager
def room_for(path: Path, temporary: Path) -> Iterator[None]:
    """Make the folders above `path`, and remove them again if nothing comes to stand there.

    Raises:
        MachineError: `path` cannot be written to, or `temporary`, which is beside it.
    """
    made = list(itertools.takewhile(lambda folder: not folder.exists(), path.parents))  # the innermost first
    try:
        if made:
            path.parent.mkdir(parents=True, exist_ok=True)
        yield
    except OSError as error:
        place = Path(error.filename) if error.filename else temporary
        if place not in (path, path.parent) and temporary not in (place, *place.parents):
            raise
        raise MachineError(f"cannot write {path}: {error.strerror or error}") from error
    finally:
        for folder in made:
            with suppress(OSError):  # not empty: something was written there
                folder.rmdir()


def remove(path: Path) -> None:
    """Remove a file or a folder with all that is in it; nothing there is fine."""
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path, ignore_errors=True)
    else:
        with suppress(FileNotFoundError, NotADirectoryError):
            path.unlink()
