"""A dataset folder: music or text as ids, split and described, ready for training.

    train.npy valid.npy test.npy    ids; `melody_dataset` and `text_dataset` say in which form
    index.csv                       split,row,source,place: where each row comes from
    dataset.json                    tokenizer, options, counts, and for every skipped source the reason

`prepare` makes one from files, in a hidden folder beside it that becomes it at the end (`workplace`); the kind of its
options, of music or of text, tells who makes it. Opening a dataset needs numpy alone, so that a machine without any
music library can train on it.
"""

import csv
import dataclasses
import hashlib
import json
import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from data_prep import melody_dataset, programs, text_dataset
from data_prep.building import NO_FILES, Files, Job
from data_prep.errors import InputError
from data_prep.files import MUSIC, TEXT, Source, taken
from data_prep.ragged import Ragged
from data_prep.splits import SPLITS
from data_prep.text import TextOptions
from data_prep.tokenizers.base import Tokenizer, create
from data_prep.tokenizers.text import TextTokenizer
from data_prep.windows import MelodyOptions
from data_prep.wording import reasons
from data_prep.workplace import workplace

FORMAT = "seqvae-dataset"
VERSION = 3
READING = 2  # raised when files come to be read otherwise: datasets that would be used again are then made anew
INFO_FILE = "dataset.json"
SHARES = (0.8, 0.1, 0.1)  # of train, valid and test, unless something else is said
MOST_CHECKED = 2**26  # bytes of ids that are looked at when a dataset is opened; of more, batch by batch

Options = MelodyOptions | TextOptions

_PARTS = {"tokenizer": dict, "options": dict, "counts": dict, "skipped": list, "fingerprint": str, "contents": str}

_MAKERS = {MUSIC: melody_dataset, TEXT: text_dataset}  # the one place where music and text part


def _kind(options: Options) -> str:
    return TEXT if isinstance(options, TextOptions) else MUSIC


@dataclass(frozen=True)
class Dataset:
    """An opened dataset folder. `info` is its dataset.json; `reused` tells that `cached` found it up to date."""

    path: Path
    tokenizer: Tokenizer
    info: dict[str, Any]
    reused: bool = False

    def split(self, name: str) -> np.ndarray | Ragged:
        """The ids of "train", "valid" or "test", memory-mapped and read-only: (N, T) of music, N sentences of text."""
        if name not in SPLITS:
            raise InputError(f"there is no split {name!r}; there are: {', '.join(SPLITS)}")
        return _MAKERS[self.tokenizer.kind].open_split(self.path, name, self.tokenizer)

    def check_ids(self, ids: np.ndarray) -> None:
        """Raises InputError where some are not the tokenizer's: the file that they were read from is damaged."""
        if ids.size and ids.max() >= self.tokenizer.vocabulary_size:
            raise InputError(
                f"{self.path} is damaged: there is an id {ids.max()}, and only {self.tokenizer.vocabulary_size:,} are "
                "known; prepare it anew"
            )

    def index(self, name: str) -> list[tuple[str, int]]:
        """(source, bar or line) for each row of a split.

        A row that stands for several equal windows has the place of that one which put it into its split.
        """
        places: list[tuple[str, int]] = []
        with (self.path / "index.csv").open(newline="", encoding="utf-8", errors="surrogateescape") as file:
            for split, row, source, place in csv.reader(file):
                if split == name and int(row) == len(places):
                    places.append((source, int(place)))
        return places

    def settings(self) -> dict[str, Any]:
        """The options it was made with, as people write them, and the name of its tokenizer."""
        made = self.info["options"] | {"tokenizer": self.tokenizer.name}
        if "programs" in made:
            made["programs"] = programs.text(frozenset(made["programs"]))
        return made

    @property
    def skipped(self) -> list[tuple[str, str]]:
        """(source, reason) of all that gave nothing."""
        return [(entry["source"], entry["reason"]) for entry in self.info["skipped"]]

    def summary(self) -> str:
        """What is in it and what was left out, in a few lines."""
        return "\n".join(self._lines())

    def _lines(self) -> Iterator[str]:
        yield from _MAKERS[self.tokenizer.kind].summary(self.info, self.tokenizer)
        if self.skipped:
            yield f"skipped {len(self.skipped):,}: {reasons(self.skipped)}"


def is_dataset(path: Path) -> bool:
    """Whether a folder is a dataset, of whatever version; one whose description is damaged is, too."""
    try:
        return _info(Path(path)) is not None
    except InputError:
        return True


def _info(path: Path) -> dict[str, Any] | None:
    """What a dataset says of itself; None of any other folder. Raises InputError where it cannot be read."""
    file = path / INFO_FILE
    try:
        info = json.loads(file.read_bytes())
    except OSError:
        return None
    except (ValueError, RecursionError):
        raise InputError(f"{file} is damaged; prepare the dataset anew") from None
    return info if isinstance(info, dict) and info.get("format") == FORMAT else None


def open_dataset(path: Path) -> Dataset:
    """Open a dataset folder.

    Raises:
        InputError: it is missing, damaged, or of another version.
    """
    path = Path(path)
    if not path.is_dir():
        raise InputError(f"there is no dataset folder {path}")
    info = _info(path)
    if info is None:
        raise InputError(f"{path} is no dataset: it has no {INFO_FILE} of one; make one with `seqvae prepare`")
    if info.get("version") != VERSION:
        raise InputError(f"{path} is a dataset of version {info.get('version')}, {VERSION} is read; prepare it anew")
    damaged = [name for name, kind in _PARTS.items() if not isinstance(info.get(name), kind)]
    if not damaged:
        try:
            tokenizer = create(info["tokenizer"])
        except InputError as error:
            raise InputError(f"{path / INFO_FILE}: {error}") from None
        options = _MAKERS[tokenizer.kind].plain(MelodyOptions() if tokenizer.kind == MUSIC else TextOptions())
        damaged = [f"options.{name}" for name in options if name not in info["options"]]
    damaged += [f"counts.{name}" for name in SPLITS if not damaged and not isinstance(info["counts"].get(name), int)]
    if damaged:
        raise InputError(f"{path / INFO_FILE} is damaged: {', '.join(damaged)}; prepare it anew")
    dataset = Dataset(path, tokenizer, info)
    try:
        dataset.summary()
        _MAKERS[tokenizer.kind].check(info["options"])
    except (KeyError, TypeError, ValueError, AttributeError, InputError) as error:
        raise InputError(f"{path / INFO_FILE} is damaged ({error!r}); prepare it anew") from None
    for name in SPLITS:
        _check_rows(dataset, name)
    return dataset


def _check_rows(dataset: Dataset, name: str) -> None:
    """Raises InputError for a split that is missing or damaged, as far as can be seen at once."""
    rows, told = dataset.split(name), dataset.info["counts"][name]
    if len(rows) != told:
        raise InputError(f"{dataset.path / name}.npy has {len(rows):,} rows, not {told:,}; prepare the dataset anew")
    ids = rows.ids if isinstance(rows, Ragged) else rows
    if ids.nbytes <= MOST_CHECKED:
        dataset.check_ids(ids)


def prepare(
    sources: Sequence[Path],
    out: Path,
    options: Options,
    *,
    valid: Sequence[Path] = (),
    test: Sequence[Path] = (),
    workers: int | None = None,
    force: bool = False,
    progress: bool = False,
    split: tuple[float, float, float] = SHARES,
    vocabulary: TextTokenizer | None = None,
) -> Dataset:
    """Make a dataset folder from music or text files.

    A run that is cut short leaves what it has read of music beside `out`; one with the same sources and options goes
    on from there, and the dataset is the same to the byte.

    Args:
        sources: files and folders.
        out: the folder to make; it appears complete or not at all.
        options: of music, what a window is; of text, what a sentence is.
        valid, test: text files for these splits alone; with either, all sources are for train.
        workers: processes that read music, one for each core by default; few files are read in this process, as text
            is. What `joblib.parallel_config` says holds: with the backend "dask" or "ray" a cluster reads them.
        force: replace an existing dataset, never any other folder.
        progress: show a bar, in a terminal or a notebook, and tell what an earlier run has left to go on from.
        split: shares of train, valid and test, where neither of these has files of its own.
        vocabulary: of text: a tokenizer that serves as it is, so that none is made of what occurs in train.

    Raises:
        InputError: the place is taken, another process is making the same, or no file gives anything; then the message
            counts the reasons.
    """
    out = Path(os.path.abspath(out))
    if any(isinstance(paths, str | Path) for paths in (sources, valid, test)):
        raise TypeError("sources, valid and test are lists of paths, not a path alone")
    check_place(out, force, [*sources, *valid, *test, *filter(None, [_tokenizer_file(options)])])
    if not (len(split) == 3 and min(split) >= 0 and split[0] > 0 and abs(sum(split) - 1) <= 1e-6):
        raise InputError(f"shares {split} of train, valid and test: they must sum to 1, and train must have one")
    groups = _groups(sources, options, valid, test)
    # before reading: what changes meanwhile is read anew the next time
    state = _fingerprint(groups, options, vocabulary)
    known = state if split == SHARES else hashlib.sha256(f"{state} {split}".encode()).hexdigest()
    maker = _MAKERS[_kind(options)]
    real = Path(os.path.realpath(out))  # a link stays one
    with workplace(real, state) as place:
        made = maker.build(Job(place.dataset, place.shards, *groups, split, workers, progress, vocabulary), options)
        info = {
            "format": FORMAT,
            "version": VERSION,
            "tokenizer": made.tokenizer,
            "options": maker.plain(options),
            "counts": made.counts,
            "skipped": [{"source": source, "reason": reason} for source, reason in made.skipped],
            "split_by": made.split_by,
            "fingerprint": known,
            "contents": _contents(place.dataset, made.tokenizer),
        }
        (place.dataset / INFO_FILE).write_text(json.dumps(info, indent=1), encoding="utf-8")
        check_place(out, force)  # once more: something may stand there by now
        place.put_in_place(real)
    return open_dataset(out)


def _groups(
    sources: Sequence[Path], options: Options, valid: Sequence[Path], test: Sequence[Path]
) -> tuple[Files, Files, Files]:
    """The files for train, valid and test; what the last two name is in train no more."""
    kind = _kind(options)
    train = Files.of(sources, kind)
    own_valid, own_test = (Files.of(paths, kind) if paths else NO_FILES for paths in (valid, test))
    named = {os.path.realpath(source.path) for files in (own_valid, own_test) for source in files.found}
    if named:
        rest = tuple(source for source in train.found if os.path.realpath(source.path) not in named)
        if not rest:
            raise InputError("all files are given for valid or for test: there is none to train on")
        train = Files(train.given, rest)
    return train, own_valid, own_test


def _tokenizer_file(options: Options) -> Path | None:
    named = options.tokenizer_file if isinstance(options, TextOptions) else None
    return None if named is None else Path(named)


def check_place(out: Path, force: bool, sources: Sequence[Path] = ()) -> None:
    """Raises InputError for a place where no dataset may be made.

    What is there is none, or `force` is not given, or something of the new one's sources lies in it.
    """
    if not taken(out):
        return
    place = Path(os.path.realpath(out))
    for source in sources:
        real = Path(os.path.realpath(source))
        if place in (real, *real.parents):
            raise InputError(f"{source} lies in {out}, which would be replaced; choose another place")
    try:
        replaceable = _info(out) is not None
    except InputError:  # of whatever else there is nobody knows
        replaceable = False
    if not replaceable:
        raise InputError(f"{out} exists and is no dataset that can be read: remove it, or choose another place")
    if not force:
        raise InputError(f"{out} exists: replace it with --force, or choose another place")


def fingerprint(
    sources: Sequence[Path],
    options: Options,
    *,
    valid: Sequence[Path] = (),
    test: Sequence[Path] = (),
    vocabulary: TextTokenizer | None = None,
) -> str:
    """A hash of the files' names, sizes and times of change, the options, and how files and datasets are read now.

    Raises InputError as `prepare` does, where a source is missing or has nothing of the kind.
    """
    return _fingerprint(_groups(sources, options, valid, test), options, vocabulary)


def _fingerprint(groups: tuple[Files, Files, Files], options: Options, vocabulary: TextTokenizer | None) -> str:
    digest = hashlib.sha256(json.dumps([VERSION, READING, _MAKERS[_kind(options)].plain(options)]).encode())
    for mark, group in zip(("", "valid\n", "test\n"), groups, strict=True):
        if group.found:
            digest.update(mark.encode() + b"".join(map(_state, group.found)))
    if own := _tokenizer_file(options):
        digest.update(_state(Source(own, str(own))))
    if vocabulary is not None:
        digest.update(json.dumps(vocabulary.to_json()).encode())
    return digest.hexdigest()


def _state(source: Source) -> bytes:
    stat = source.path.stat() if os.access(source.path, os.R_OK) else None  # gone a moment ago, or not to be read yet
    state = f"{stat.st_size}\0{stat.st_mtime_ns}" if stat else ""
    return f"{source.name}\0{state}\n".encode("utf-8", "surrogateescape")


def _contents(folder: Path, tokenizer: dict[str, Any]) -> str:
    """A hash of the ids in a folder and of what they stand for: the same whenever and wherever they were made."""
    digest = hashlib.blake2b(json.dumps(tokenizer).encode(), digest_size=32)
    for path in sorted(folder.glob("*.npy")):
        with path.open("rb") as file:
            digest.update(path.name.encode() + hashlib.file_digest(file, "blake2b").digest())
    return digest.hexdigest()


def cached(
    sources: Sequence[Path],
    options: Options,
    folder: Path,
    *,
    valid: Sequence[Path] = (),
    test: Sequence[Path] = (),
    workers: int | None = None,
    progress: bool = False,
    vocabulary: TextTokenizer | None = None,
) -> Dataset:
    """The dataset of these sources in `folder`: as it is if they have not changed (`reused`), else prepared anew.

    Raises InputError as `prepare` does.
    """
    if is_dataset(folder):
        try:
            dataset = open_dataset(folder)
        except InputError:  # damaged or of another version: as good as none
            dataset = None
        state = fingerprint(sources, options, valid=valid, test=test, vocabulary=vocabulary)
        if dataset and dataset.info["fingerprint"] == state:
            return dataclasses.replace(dataset, reused=True)
    return prepare(
        sources,
        folder,
        options,
        valid=valid,
        test=test,
        workers=workers,
        force=True,
        progress=progress,
        vocabulary=vocabulary,
    )
