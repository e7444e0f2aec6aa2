"""A dataset folder: windows of music as ids, split and described, ready for training.

    train.npy valid.npy test.npy    ids (N, T) uint8, memory-mapped
    index.csv                       split,row,source,bar: where each window comes from, a piece's first bar being 1;
                                    several lines where several places have the same one, first that which put
                                    it into its split
    dataset.json                    tokenizer, options, counts, and for every skipped source the reason

`prepare` makes one from files: they are read in parallel (`loading`), their windows gathered on disk, split by tune
(`splits`), and written under a temporary name that is renamed at the end. What stays in memory is a few bytes for
each window. Opening a dataset needs numpy alone, so that a machine without any music library can train on it.
"""

import csv
import dataclasses
import hashlib
import json
import os
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from data_prep import loading, meters
from data_prep.assembling import gather, place, write_splits
from data_prep.errors import InputError
from data_prep.files import Source, atomic, named_sources, remove, taken
from data_prep.loading import Loaded
from data_prep.splits import SPLITS
from data_prep.tokenizers.base import Tokenizer, create
from data_prep.tokenizers.melody import MelodyTokenizer
from data_prep.windows import MelodyOptions

FORMAT = "seqvae-dataset"
VERSION = 1
_MOST_TOLD = 3  # reasons in a message


@dataclass(frozen=True)
class Dataset:
    """An opened dataset folder. `info` is its dataset.json; `reused` tells that `cached` found it up to date."""

    path: Path
    tokenizer: Tokenizer
    info: dict[str, Any]
    reused: bool = False

    def split(self, name: str) -> np.ndarray:
        """The ids (N, T) of "train", "valid" or "test", memory-mapped and read-only."""
        return _open_split(self.path, name, self.tokenizer)

    def index(self, name: str) -> list[tuple[str, int]]:
        """(source, bar) for each row of a split: of several places with the same window the one it was taken from."""
        places: list[tuple[str, int]] = []
        with (self.path / "index.csv").open(newline="", encoding="utf-8", errors="surrogateescape") as file:
            for split, row, source, bar in csv.reader(file):
                if split == name and int(row) == len(places):
                    places.append((source, int(bar)))
        return places

    @property
    def skipped(self) -> list[tuple[str, str]]:
        """(source, reason) of all that gave no windows."""
        return [(entry["source"], entry["reason"]) for entry in self.info["skipped"]]

    def summary(self) -> str:
        """What is in it and what was left out, in a few lines."""
        return "\n".join(_summary(self.info))


def is_dataset(path: Path) -> bool:
    """Whether a folder holds a dataset, of whatever version."""
    try:
        info = json.loads((Path(path) / "dataset.json").read_bytes())
    except (OSError, ValueError):
        return False
    return isinstance(info, dict) and info.get("format") == FORMAT


def open_dataset(path: Path) -> Dataset:
    """Open a dataset folder.

    Raises:
        InputError: it is missing, damaged, or of another version.
    """
    path = Path(path)
    if not path.is_dir():
        raise InputError(f"there is no dataset folder {path}")
    if not is_dataset(path):
        raise InputError(f"{path} is no dataset: it has no readable dataset.json; make one with `seqvae prepare`")
    info = json.loads((path / "dataset.json").read_bytes())
    if info.get("version") != VERSION:
        raise InputError(f"{path} is a dataset of version {info.get('version')}, {VERSION} is read; prepare it anew")
    missing = {"tokenizer", "options", "counts", "skipped", "fingerprint"} - info.keys()
    if missing or not isinstance(info["tokenizer"], dict):
        raise InputError(
            f"{path}/dataset.json is damaged: {', '.join(sorted(missing)) or 'tokenizer'}; prepare it anew"
        )
    dataset = Dataset(path, create(info["tokenizer"]), info)
    for name in SPLITS:
        dataset.split(name)
    return dataset


def _open_split(path: Path, name: str, tokenizer: Tokenizer) -> np.ndarray:
    if name not in SPLITS:
        raise InputError(f"there is no split {name!r}; there are: {', '.join(SPLITS)}")
    file = path / f"{name}.npy"
    try:
        ids = np.load(file, mmap_mode="r", allow_pickle=False)
    except (OSError, ValueError, EOFError) as error:
        raise InputError(f"{file} is missing or damaged ({error}); prepare the dataset anew") from error
    if ids.ndim != 2 or ids.shape[1] != tokenizer.length or ids.dtype.kind != "u":
        raise InputError(f"{file} does not hold sequences of {tokenizer.length} ids; prepare the dataset anew")
    return ids


def prepare(
    sources: Sequence[Path],
    out: Path,
    options: MelodyOptions,
    *,
    workers: int | None = None,
    force: bool = False,
    progress: bool = False,
    split: tuple[float, float, float] = (0.8, 0.1, 0.1),
) -> Dataset:
    """Make a dataset folder from music files.

    Args:
        sources: files and folders.
        out: the folder to make; it appears complete or not at all.
        options: what a window is.
        workers: processes that read, one for each core by default; few files are read in this process. Scripts
            guard their start with `if __name__ == "__main__"`, as always where processes are started.
        force: replace an existing dataset, never any other folder.
        progress: show a bar on stderr, if that is a terminal.
        split: shares of train, valid and test.

    Raises:
        InputError: the place is taken, or no file gives a window; the message counts the reasons.
    """
    out = Path(out)
    _check_place(out, force)
    if min(split) < 0 or split[0] <= 0 or abs(sum(split) - 1) > 1e-6:
        raise InputError(f"shares {split} of train, valid and test: they must sum to 1, and train must have one")
    files = named_sources(sources)
    state = _fingerprint(files, options)  # before reading: what changes meanwhile is read anew the next time
    tokenizer = MelodyTokenizer(options.bars, options.meter)
    with atomic(out) as temporary:
        temporary.mkdir()
        found = gather(_told(files, options, workers, progress), temporary / "windows", tokenizer.length)
        if not found.names:
            raise InputError(f"nothing in {_names(sources)} can be used: {_reasons(found.skipped)}")
        placed, counts = place(found, tokenizer, split)
        counts = write_splits(temporary, found, placed) | counts | {"files": len(files)}
        info = _info(tokenizer, options, counts, found.skipped)
        info |= {"split_by": placed.by, "fingerprint": state}
        (temporary / "dataset.json").write_text(json.dumps(info, indent=1), encoding="utf-8")
        remove(found.path)
        retired = _retire(out)
    remove(retired)
    return open_dataset(out)


def _check_place(out: Path, force: bool) -> None:
    if not taken(out):
        return
    if not is_dataset(out):
        raise InputError(f"{out} exists and is no dataset; choose another name")
    if not force:
        raise InputError(f"{out} exists; choose another name, or --force to replace it")


def _retire(out: Path) -> Path:
    """Move the dataset that is to be replaced out of the way; its new place, to be removed."""
    retired = out.with_name(f".{out.name}.old-{os.getpid()}")
    if out.exists():
        os.replace(out, retired)
    return retired


def _told(files: list[Source], options: MelodyOptions, workers: int | None, progress: bool) -> Iterator[Loaded]:
    from tqdm import tqdm

    yield from tqdm(
        loading.load_all(files, options, workers),
        "reading",
        len(files),
        unit=" files",
        disable=None if progress else True,  # None: not where stderr is no terminal
    )


def _info(
    tokenizer: Tokenizer, options: MelodyOptions, counts: dict[str, int], skipped: list[tuple[str, str]]
) -> dict[str, Any]:
    return {
        "format": FORMAT,
        "version": VERSION,
        "tokenizer": tokenizer.to_json(),
        "options": _plain(options),
        "counts": counts,
        "skipped": [{"source": source, "reason": reason} for source, reason in skipped],
    }


def _plain(options: MelodyOptions) -> dict[str, Any]:
    plain = dataclasses.asdict(options)
    return plain | {"meter": meters.name(options.meter), "programs": sorted(options.programs)}


def fingerprint(sources: Sequence[Path], options: MelodyOptions) -> str:
    """A hash of the files' names, sizes and times of change, the options and the version of what is made of them."""
    return _fingerprint(named_sources(sources), options)


def _fingerprint(files: Sequence[Source], options: MelodyOptions) -> str:
    digest = hashlib.sha256(json.dumps([VERSION, _plain(options)]).encode())
    for source in files:
        stat = source.path.stat() if source.path.exists() else None  # it may have gone a moment ago
        state = f"{stat.st_size}\0{stat.st_mtime_ns}" if stat else ""
        digest.update(f"{source.name}\0{state}\n".encode("utf-8", "surrogateescape"))
    return digest.hexdigest()


def cached(
    sources: Sequence[Path],
    options: MelodyOptions,
    folder: Path,
    *,
    workers: int | None = None,
    progress: bool = False,
) -> Dataset:
    """The dataset of these sources in `folder`: as it is if they have not changed (`reused`), else prepared anew."""
    if is_dataset(folder):
        try:
            dataset = open_dataset(folder)
        except InputError:  # damaged or of another version: as good as none
            dataset = None
        if dataset and dataset.info["fingerprint"] == fingerprint(sources, options):
            return dataclasses.replace(dataset, reused=True)
    return prepare(sources, folder, options, workers=workers, force=True, progress=progress)


def _names(sources: Sequence[Path]) -> str:
    names = [str(source) for source in sources[:_MOST_TOLD]]
    return ", ".join(names) + (f" and {len(sources) - len(names)} more" if len(sources) > len(names) else "")


def _reasons(skipped: list[tuple[str, str]]) -> str:
    """The most common reasons with their numbers."""
    common = Counter(reason for _, reason in skipped).most_common()
    told = [f"{times:,} x {reason}" if len(skipped) > 1 else reason for reason, times in common[:_MOST_TOLD]]
    rest = sum(times for _, times in common[_MOST_TOLD:])
    return "; ".join(told) + (f"; and {rest:,} for other reasons" if rest else "")


def _summary(info: dict[str, Any]) -> Iterator[str]:
    counts, tokenizer = info["counts"], info["tokenizer"]
    total = sum(counts[name] for name in SPLITS)
    meter = meters.name(tokenizer["meter"])
    windows, bars = meters.count(total, "window"), meters.count(tokenizer["bars"], "bar")
    tunes, files = meters.count(counts["tunes"], "tune"), meters.count(counts["files"], "file")
    yield f"{windows} of {bars} in {meter}, from {tunes} in {files}"
    yield "split: " + ", ".join(f"{name} {counts[name]:,}" for name in SPLITS)
    if info["split_by"] == "time":
        yield "there are too few different tunes to split by tune: the parts of each tune were split, which are alike"
    if not counts["valid"] or not counts["test"]:
        yield "there are too few windows for valid and test"
    if counts["equal"]:
        yield f"{counts['equal']:,} more equal one of these and were left out"
    if info["skipped"]:
        reasons = _reasons([(entry["source"], entry["reason"]) for entry in info["skipped"]])
        yield f"skipped {len(info['skipped']):,}: {reasons}"
