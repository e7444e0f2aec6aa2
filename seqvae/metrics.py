"""The record of a run: metrics.csv, a row an epoch, and TensorBoard events where tensorboard is installed."""

import csv
import importlib.util
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from seqvae.batch import Batch


@dataclass
class Averages:
    """Of the figures of the steps since the last epoch ended."""

    totals: dict[str, float] = field(default_factory=dict)
    latest: dict[str, float] = field(default_factory=dict)
    sequences: int = 0
    tokens: int = 0
    steps: int = 0

    def add(self, batch: Batch, figures: dict[str, float]) -> None:
        """Add a step."""
        self.latest = figures
        for name, value in figures.items():
            self.totals[name] = self.totals.get(name, 0.0) + value * len(batch)
        self.sequences += len(batch)
        self.tokens += batch.count
        self.steps += 1

    def means(self) -> dict[str, float]:
        """Averages over the sequences."""
        return {f"train_{name}": total / self.sequences for name, total in self.totals.items()}

    def shown(self, steps_a_second: float | None) -> str:
        """For the progress line."""
        speed = self.tokens / max(1, self.steps) * (steps_a_second or 0.0)
        figures = [
            f"{name}={value:.3f}" if name == "beta" else f"{name}={value:.2f}" for name, value in self.latest.items()
        ]
        return ", ".join([*figures, f"tokens/s={speed:,.0f}"])


class MetricsLog:
    """Appends a row an epoch; rows of epochs that a resumed run makes again are dropped first."""

    def __init__(self, run: Path, keep_epochs: int = 0) -> None:
        self._path = run / "metrics.csv"
        self._rows = [row for row in self._read() if int(row["epoch"]) <= keep_epochs]
        self._board = _board(run)

    def write(self, epoch: int, step: int, seconds: float, values: dict[str, float]) -> None:
        """Add the row of an epoch."""
        row = {"epoch": epoch, "step": step, "seconds": round(seconds, 1)}
        self._rows.append(row | {name: f"{value:.6g}" for name, value in values.items()})
        with open(self._path, "w", newline="", encoding="utf-8") as file:
            table = csv.DictWriter(file, fieldnames=list(self._rows[-1]), extrasaction="ignore")
            table.writeheader()
            table.writerows(self._rows)
        if self._board is not None:
            for name, value in values.items():
                self._board.add_scalar(
                    name.replace("train_", "train/") if "train_" in name else f"valid/{name}", value, step
                )

    def close(self) -> None:
        """Flush the TensorBoard events."""
        if self._board is not None:
            self._board.close()

    def _read(self) -> list[dict[str, Any]]:
        if not self._path.exists():
            return []
        with open(self._path, newline="", encoding="utf-8") as file:
            return list(csv.DictReader(file))


def _board(run: Path) -> Any:
    if importlib.util.find_spec("tensorboard") is None:
        return None
    from torch.utils.tensorboard import SummaryWriter

    return SummaryWriter(run)
