"""Dataset folders of windows or sentences that are ids already, written as `seqvae prepare` would."""

import csv
import json
from collections.abc import Mapping, Sized
from pathlib import Path
from typing import Any

import numpy as np

from data_prep import melody_dataset, text_dataset
from data_prep.dataset import FORMAT, VERSION, Dataset, open_dataset
from data_prep.ragged import Ragged
from data_prep.text import TextOptions
from data_prep.tokenizers.base import Tokenizer
from data_prep.tokenizers.melody import MelodyTokenizer
from data_prep.tokenizers.words import WordTokenizer
from data_prep.windows import MelodyOptions


def write_windows(folder: Path, ids: Mapping[str, np.ndarray]) -> Dataset:
    """Windows of each split: ids (N, 32) uint8 of 2 bars of 4/4."""
    options = MelodyOptions()
    folder.mkdir(parents=True, exist_ok=True)
    for name, rows in ids.items():
        np.save(folder / f"{name}.npy", rows)
    tokenizer = MelodyTokenizer(options.bars, options.meter)
    counts = {"files": 1, "tunes": 1, "equal": 0}
    return _described(folder, "bar", tokenizer, melody_dataset.plain(options), ids, counts)


def write_sentences(folder: Path, ids: Mapping[str, Ragged], words: int) -> Dataset:
    """Sentences of each split, up to 100 of so many words, the ids of which begin at 4, and eos at the end of each."""
    options = TextOptions(split="spaces")
    folder.mkdir(parents=True, exist_ok=True)
    symbols = tuple(f"word{n}" for n in range(words))
    tokenizer = WordTokenizer(options.max_length + 1, symbols=symbols, split=options.split)
    for name, rows in ids.items():
        assert rows.lengths.max() <= tokenizer.length
        np.save(folder / f"{name}.npy", rows.ids.astype(tokenizer.dtype))
        np.save(folder / f"{name}-offsets.npy", rows.offsets)
    counts = {"files": 1} | dict.fromkeys(("cut", "dropped", "without_known", "empty_lines", "nul_lines"), 0)
    for name, rows in ids.items():
        counts |= {f"{name}_tokens": len(rows.ids), f"{name}_unknown": 0}
    return _described(folder, "line", tokenizer, text_dataset.plain(options), ids, counts)


def _described(
    folder: Path,
    place: str,
    tokenizer: Tokenizer,
    options: dict[str, Any],
    ids: Mapping[str, Sized],
    told: dict[str, int],
) -> Dataset:
    """Write what is said about the arrays; `place` is what index.csv counts, `told` is what a summary needs."""
    counts = {name: len(rows) for name, rows in ids.items()}
    with (folder / "index.csv").open("w", newline="") as file:
        index = csv.writer(file)
        index.writerow(("split", "row", "source", place))
        for name, count in counts.items():
            index.writerows((name, row, "given", 1) for row in range(count))
    info = {
        "format": FORMAT,
        "version": VERSION,
        "tokenizer": tokenizer.to_json(),
        "options": options,
        "counts": counts | told,
        "skipped": [],
        "split_by": "files",
        "fingerprint": "benchmarks.datasets",
        "contents": "benchmarks.datasets",
    }
    (folder / "dataset.json").write_text(json.dumps(info))
    return open_dataset(folder)
