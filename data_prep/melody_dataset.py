"""Datasets of melodies: n-bar windows as ids.

    train.npy valid.npy test.npy    ids (N, T) uint8, memory-mapped
    index.csv                       split,row,source,bar: where each window comes from, a piece's first bar being 1;
                                    several lines where several places have the same one, first that which put
                                    it into its split

Files are read in parallel (`loading`), what they give is kept in shards on disk (`shards`), gathered (`assembling`) and
split by tune (`splits`). What stays in memory is a hundred bytes for each window.
"""

import dataclasses
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any, cast

import numpy as np

from data_prep import loading, meters
from data_prep.assembling import gather, place, write_splits
from data_prep.building import Job, Made
from data_prep.errors import InputError, MachineError
from data_prep.files import remove
from data_prep.shards import Shards
from data_prep.splits import SPLITS
from data_prep.tokenizers.base import Tokenizer
from data_prep.tokenizers.melody import MelodyTokenizer
from data_prep.windows import MelodyOptions
from data_prep.wording import count


def plain(options: MelodyOptions) -> dict[str, Any]:
    """The options in JSON."""
    return dataclasses.asdict(options) | {"meter": meters.name(options.meter), "programs": sorted(options.programs)}


def check(options: dict[str, Any]) -> None:
    """Raises InputError for options in JSON that no dataset was made with."""
    meter, playing = meters.parse_meter(options["meter"]), frozenset(options["programs"])
    MelodyOptions(**(options | {"meter": meter, "programs": playing}))


def build(job: Job, options: MelodyOptions) -> Made:
    """Write the arrays and the index. Raises InputError when no file gives a window."""
    if job.valid.given or job.test.given:
        raise InputError("files for valid and test of their own are for text; music is split by tune")
    if job.vocabulary is not None:
        raise InputError("a vocabulary is for text; the alphabet of music follows from bars and meter")
    tokenizer = MelodyTokenizer(options.bars, options.meter)
    shards = Shards(job.shards)
    try:
        _read(job, options, shards)
        found = gather(shards, job.folder / "windows", tokenizer.length)
        if not found.names:
            raise job.train.unusable(found.skipped)
        placed, counts = place(found, tokenizer, job.shares)
        counts = write_splits(job.folder, found, placed) | counts | {"files": len(job.train.found)}
        remove(found.path)
    except (KeyboardInterrupt, MachineError, OSError):
        if shards:
            job.tell(f"{_progress(shards, job)} have been read and are kept: the same command goes on from there")
        raise
    return Made(tokenizer.to_json(), counts, found.skipped, placed.by)


def _read(job: Job, options: MelodyOptions, shards: Shards) -> None:
    """Read what is missing in the shards."""
    files = job.train.found
    if shards:
        job.tell(f"{_progress(shards, job)} have been read before: going on from there")
    results = loading.load_all(files, shards.missing(len(files)), options, job.workers)
    with closing(results), job.bar("reading", len(files), "files", done=len(shards)) as bar:
        for part, shard in results:
            shards.add(part, shard)
            bar.update(len(part))


def _progress(shards: Shards, job: Job) -> str:
    return f"{len(shards):,} of {count(len(job.train.found), 'file')}"


def open_split(folder: Path, name: str, tokenizer: Tokenizer) -> np.ndarray:
    """The ids (N, T) of a split. Raises InputError when they are damaged."""
    file = folder / f"{name}.npy"
    try:
        ids = np.load(file, mmap_mode="r", allow_pickle=False)
    except Exception as error:  # numpy raises many kinds for a damaged file
        raise InputError(f"{file} is missing or damaged ({error}); prepare the dataset anew") from error
    if ids.ndim != 2 or ids.shape[1] != tokenizer.length or ids.dtype.kind != "u":
        raise InputError(f"{file} does not hold sequences of {tokenizer.length} ids; prepare the dataset anew")
    return ids


def summary(info: dict[str, Any], tokenizer: Tokenizer) -> Iterator[str]:
    """What is in it, line by line."""
    counts, made = info["counts"], cast(MelodyTokenizer, tokenizer)
    total = sum(counts[name] for name in SPLITS)
    windows, bars = count(total, "window"), count(made.bars, "bar")
    tunes, files = count(counts["tunes"], "tune"), count(counts["files"], "file")
    yield f"{windows} of {bars} in {meters.name(made.meter)}, from {tunes} in {files}"
    yield "split: " + ", ".join(f"{name} {counts[name]:,}" for name in SPLITS)
    if info["split_by"] == "time":
        yield "there are too few different tunes to split by tune: the parts of each tune were split, which are alike"
    if not counts["valid"] or not counts["test"]:
        yield "there are too few windows for valid and test"
    if counts["equal"]:
        yield f"{counts['equal']:,} more equal one of these and were left out"
