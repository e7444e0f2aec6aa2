"""Datasets of sentences, each with its own length.

    train.npy ...             the ids of all sentences, one after the other, each with its eos; uint16 or uint32
    train-offsets.npy ...     (N+1,) int64: where each sentence begins
    index.csv                 split,row,source,line: where each sentence comes from, a file's first line being 1

A sentence's hash tells its split (`splits.by_hash`), unless valid or test have files of their own. Equal sentences
stay, all in one split. The vocabulary is counted in train, over what is kept of it.
"""

import csv
import dataclasses
from array import array
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any, cast

import numpy as np

from data_prep import splits
from data_prep.building import Job, Made
from data_prep.errors import InputError
from data_prep.files import remove
from data_prep.ragged import Ragged
from data_prep.splits import SPLITS
from data_prep.text import MOST as LONGEST_LINE
from data_prep.text import TextOptions
from data_prep.text_gathering import Gathered, gather
from data_prep.tokenizers.base import Tokenizer
from data_prep.tokenizers.characters import CharacterTokenizer
from data_prep.tokenizers.huggingface import HuggingFaceTokenizer
from data_prep.tokenizers.text import SPECIALS, TextTokenizer, VocabularyTokenizer
from data_prep.tokenizers.words import WordTokenizer
from data_prep.wording import count

TRAIN, DROPPED = 0, -1  # splits of sentences
_BUFFERED = 1 << 18  # ids


def plain(options: TextOptions) -> dict[str, Any]:
    """The options in JSON."""
    return dataclasses.asdict(options)


def check(options: dict[str, Any]) -> None:
    """Raises InputError for options in JSON that no dataset was made with."""
    TextOptions(**options)


def build(job: Job, options: TextOptions) -> Made:
    """Write the arrays and the index.

    Raises:
        InputError: no file gives a sentence, or those of train are all too long, or no word of them can be known.
    """
    if options.tokenizer == "huggingface" and job.vocabulary is None and options.tokenizer_file is None:
        raise InputError("the tokenizer huggingface needs a tokenizer file: name one with --tokenizer")
    found, group = gather(job, job.folder / "sentences", options.encoding)
    own_files = bool(job.valid.given or job.test.given)
    split = group.astype(np.int8) if own_files else splits.by_hash(np.array(found.hash, np.uint64), job.shares)
    counts = {"files": sum(len(files.found) for files in (job.train, job.valid, job.test))}
    counts |= {"empty_lines": found.empty_lines, "nul_lines": found.nul_lines}
    tokenizer: TextTokenizer
    if job.vocabulary is not None:
        tokenizer = job.vocabulary
    elif options.tokenizer == "huggingface":
        tokenizer = HuggingFaceTokenizer(options.max_length + 1, _file_text(options))
    else:
        tokenizer, counts["different"] = _with_vocabulary(_bare(options), found, split, options, job)
    counts |= _encode(job, tokenizer, found, split, options.long == "drop")
    if not counts["train"]:
        raise _all_too_long(tokenizer)
    _write_index(job.folder / "index.csv", found, split)
    remove(found.path)
    return Made(tokenizer.to_json(), counts, found.skipped, "files" if own_files else "sentence")


def _file_text(options: TextOptions) -> str:
    path = Path(options.tokenizer_file or "")
    try:
        return path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        reason = getattr(error, "strerror", None) or error
        raise InputError(f"the tokenizer file {path} cannot be read ({reason})") from error


def _bare(options: TextOptions) -> VocabularyTokenizer:
    """The tokenizer before it knows a symbol."""
    length = options.max_length + 1
    if options.tokenizer == "characters":
        return CharacterTokenizer(length, lowercase=options.lowercase)
    return WordTokenizer(length, lowercase=options.lowercase, split=options.split)


def _with_vocabulary(
    bare: VocabularyTokenizer, found: Gathered, split: np.ndarray, options: TextOptions, job: Job
) -> tuple[VocabularyTokenizer, int]:
    """The tokenizer with the symbols of train, and how many different ones train has."""
    counts: Counter[str] = Counter()
    for row, text in enumerate(job.shown(found.texts(), "counting", len(found), "sentences")):
        if split[row] == TRAIN:
            symbols = bare.split_up(text)
            if options.long == "cut" or not _too_long(found, row, len(symbols), bare.length):
                counts.update(symbols[: bare.length - 1])
    if not counts:
        raise _all_too_long(bare)
    chosen = bare.chosen(counts, options.vocabulary_size, options.min_count)
    if not chosen:
        most = counts.most_common(1)[0]
        raise InputError(
            f"no {bare.unit} can be in the vocabulary: the most frequent one, {most[0][:40]!r}, occurs "
            f"{count(most[1], 'time')} in train, and --min-count is {options.min_count}"
        )
    return dataclasses.replace(bare, symbols=chosen), len(counts.keys() - bare.reserved)


def _all_too_long(tokenizer: TextTokenizer) -> InputError:
    most = count(tokenizer.length - 1, tokenizer.unit)
    return InputError(
        f"all sentences for train are longer than {most}; raise --max-length, or cut them with --long cut"
    )


def _too_long(found: Gathered, row: int, symbols: int, length: int) -> bool:
    return symbols >= length or row in found.partial


class _Written:
    """The arrays of a split, written as its sentences come."""

    def __init__(self, folder: Path, name: str, dtype: type[np.unsignedinteger]) -> None:
        self._target, self._offsets_target = folder / f"{name}.npy", folder / f"{name}-offsets.npy"
        self._raw = folder / f"{name}.raw"
        self._file = self._raw.open("wb")
        self._dtype = dtype
        self._buffer: list[int] = []
        self.offsets = array("q", [0])
        self.unknown = 0

    def add(self, ids: list[int], unknown: int) -> None:
        """Take a sentence, its eos included, of which so many ids are unknown."""
        self._buffer += ids
        self.offsets.append(self.offsets[-1] + len(ids))
        self.unknown += unknown
        if len(self._buffer) > _BUFFERED:
            self._flush()

    def _flush(self) -> None:
        self._file.write(np.array(self._buffer, self._dtype).tobytes())
        self._buffer.clear()

    def finish(self) -> None:
        """Write the arrays."""
        self._flush()
        self._file.close()
        size = self.offsets[-1]
        np.save(self._target, np.memmap(self._raw, self._dtype, "r") if size else np.empty(0, self._dtype))
        np.save(self._offsets_target, np.array(self.offsets, np.int64))
        remove(self._raw)


def _encode(job: Job, tokenizer: TextTokenizer, found: Gathered, split: np.ndarray, drop: bool) -> dict[str, int]:
    """Write the ids of all splits; marks in `split` what is dropped; the numbers of what there is."""
    written = [_Written(job.folder, name, tokenizer.dtype) for name in SPLITS]
    long = without_known = 0
    for row, text in enumerate(job.shown(found.texts(), "encoding", len(found), "sentences")):
        ids = tokenizer.read(text)
        if _too_long(found, row, len(ids), tokenizer.length):
            long += row not in found.partial
            if drop:
                split[row] = DROPPED
                continue
            del ids[tokenizer.length - 1 :]
        unknown = ids.count(tokenizer.blank)
        without_known += unknown == len(ids)
        written[split[row]].add([*ids, tokenizer.eos], unknown)
    for each in written:
        each.finish()
    counts = {name: len(each.offsets) - 1 for name, each in zip(SPLITS, written, strict=True)}
    counts |= {f"{name}_tokens": each.offsets[-1] for name, each in zip(SPLITS, written, strict=True)}
    counts |= {f"{name}_unknown": each.unknown for name, each in zip(SPLITS, written, strict=True)}
    counts |= {"cut": 0 if drop else long, "dropped": long if drop else 0, "endless": len(found.partial)}
    return counts | {"without_known": without_known}


def _write_index(path: Path, found: Gathered, split: np.ndarray) -> None:
    with path.open("w", newline="", encoding="utf-8", errors="surrogateescape") as file:
        index = csv.writer(file)
        index.writerow(("split", "row", "source", "line"))
        for s, name in enumerate(SPLITS):
            for row, sentence in enumerate(np.flatnonzero(split == s).tolist()):
                index.writerow((name, row, found.names[found.source[sentence]], found.line[sentence]))


def open_split(folder: Path, name: str, tokenizer: Tokenizer) -> Ragged:
    """The sentences of a split. Raises InputError when they are damaged."""
    files = (folder / f"{name}.npy", folder / f"{name}-offsets.npy")
    try:
        ids, offsets = (np.load(file, mmap_mode="r", allow_pickle=False) for file in files)
    except Exception as error:  # numpy raises many kinds for a damaged file
        raise InputError(
            f"{files[0]} or its offsets are missing or damaged ({error}); prepare the dataset anew"
        ) from error
    sound = ids.ndim == offsets.ndim == 1 and ids.dtype.kind == "u" and offsets.dtype == np.int64 and len(offsets) > 0
    if not sound or offsets[0] != 0 or offsets[-1] != len(ids) or _beyond(np.diff(offsets), tokenizer.length):
        raise InputError(f"{files[0]} and {files[1].name} do not hold sentences; prepare the dataset anew")
    return Ragged(ids, offsets)


def _beyond(lengths: np.ndarray, most: int) -> bool:
    return bool(len(lengths)) and not 1 <= lengths.min() <= lengths.max() <= most


def summary(info: dict[str, Any], tokenizer: Tokenizer) -> Iterator[str]:
    """What is in it and what was done to it, line by line."""
    counts, unit = info["counts"], cast(TextTokenizer, tokenizer).unit
    total = sum(counts[name] for name in SPLITS)
    symbols = {name: counts[f"{name}_tokens"] - counts[name] for name in SPLITS}  # without eos
    yield f"{count(total, 'sentence')} of {count(sum(symbols.values()), unit)}, from {count(counts['files'], 'file')}"
    if "different" in counts:
        known = tokenizer.vocabulary_size - len(SPECIALS)
        different = f"{counts['different']:,} different {unit}s"
        yield f"vocabulary: {known:,} of the {different} in train, and {len(SPECIALS)} special ids"
        if known == 1:
            yield f"a vocabulary of a single {unit}: there is nothing to learn but how long sentences are"
    yield "split: " + ", ".join(f"{name} {counts[name]:,}" for name in SPLITS)
    shares = [f"{name} {counts[f'{name}_unknown'] / symbols[name]:.2%}" for name in SPLITS if symbols[name]]
    yield f"unknown {unit}s: " + ", ".join(shares)
    options = info["options"]
    drop = options["long"] == "drop"
    yield from _notes(counts, info["split_by"], count(options["max_length"], unit), unit, drop)


def _notes(counts: dict[str, int], split_by: str, most: str, unit: str, drop: bool) -> Iterator[str]:
    empty = [name for name in ("valid", "test") if not counts[name]]
    if empty and split_by == "files":
        yield f"no sentences for {' and '.join(empty)}: files were given only for the other split"
    elif empty:
        yield f"there are too few different sentences for {' and '.join(empty)}"
    if counts["cut"]:
        yield f"{count(counts['cut'], 'sentence')} longer than {most} cut to this length"
    if counts["dropped"]:
        yield f"{count(counts['dropped'], 'sentence')} longer than {most} left out"
    if counts.get("endless"):
        what = "left out" if drop else "of which the beginning was read"
        yield f"{count(counts['endless'], 'line')} longer than {LONGEST_LINE:,} characters, {what}"
    if counts["without_known"]:
        yield f"{count(counts['without_known'], 'sentence')} without a known {unit}"
    if counts["empty_lines"]:
        yield f"{count(counts['empty_lines'], 'empty line')} passed over"
    if counts["nul_lines"]:
        yield f"{count(counts['nul_lines'], 'line')} with NUL bytes left out: if that is wrong, try --encoding utf-16"
