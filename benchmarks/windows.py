"""A dataset folder of windows that are there already."""

import csv
import json
from collections.abc import Mapping
from pathlib import Path

import numpy as np

from data_prep.dataset import FORMAT, VERSION, Dataset, open_dataset
from data_prep.melody_dataset import plain
from data_prep.tokenizers.melody import MelodyTokenizer
from data_prep.windows import MelodyOptions


def write_windows(folder: Path, ids: Mapping[str, np.ndarray]) -> Dataset:
    """Write the windows of each split, ids (N, 32) uint8 of 2 bars of 4/4, as `seqvae prepare` would."""
    options = MelodyOptions()
    folder.mkdir(parents=True, exist_ok=True)
    with (folder / "index.csv").open("w", newline="") as file:
        index = csv.writer(file)
        index.writerow(("split", "row", "source", "bar"))
        for name, rows in ids.items():
            np.save(folder / f"{name}.npy", rows)
            index.writerows((name, row, "windows", 1) for row in range(len(rows)))
    info = {
        "format": FORMAT,
        "version": VERSION,
        "tokenizer": MelodyTokenizer(options.bars, options.meter).to_json(),
        "options": plain(options),
        "counts": {name: len(rows) for name, rows in ids.items()},
        "skipped": [],
        "fingerprint": "benchmarks.windows",
    }
    (folder / "dataset.json").write_text(json.dumps(info))
    return open_dataset(folder)
