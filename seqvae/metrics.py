"""The record of a run: metrics.csv, a row for each validation, and TensorBoard events where that is installed."""

import csv
import importlib.util
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from seqvae.errors import ModelError
from seqvae.run_folder import METRICS_FILE
from seqvae.writing import write_atomically

FIGURES = ("loss", "distortion", "rate", "beta")


class Averages:
    """Means of the figures of steps since the last validation; steps that were skipped are counted.

    What a step gives stays on the device: `look` alone waits for it.
    """

    def __init__(self, skipped_in_a_row: int = 0) -> None:
        self.skipped_in_a_row = skipped_in_a_row  # up to the last look
        self.most_in_a_row = 0  # of the steps that the last look took up
        self._steps, self._sums = 0, torch.zeros(len(FIGURES) + 2, device="cpu", dtype=torch.float64)
        self._latest: dict[str, float] = {}
        self._unseen: Tensor | None = None

    def add(self, figures: Tensor, finite: Tensor) -> None:
        """Add a step.

        Args:
            figures: sums over its sequences of FIGURES, the number of these, and of their tokens: (6) fp32.
            finite: () bool; a step that was not is counted, and no more.
        """
        if self._unseen is None:
            self._unseen = figures.new_zeros(len(figures) + 3)
            self._unseen[-2:-1] = self.skipped_in_a_row  # of one number a GPU would be waited for
        sums, skipped, in_a_row, most = self._unseen.split([len(figures), 1, 1, 1])
        sums += torch.where(finite, figures, 0.0)
        skipped += ~finite
        in_a_row.add_(1.0).mul_(~finite)
        torch.maximum(most, in_a_row, out=most)
        self._steps += 1

    def look(self) -> int:
        """Wait for the steps that were added, and take up what they gave; how many of them were skipped."""
        if self._unseen is None:
            return 0
        found = self._unseen.cpu().double()
        self._unseen = None
        skipped, self.skipped_in_a_row, self.most_in_a_row = (int(number) for number in found[-3:])
        self._sums += found[:-3]
        self._latest = _means(found) or self._latest
        return skipped

    def state_dict(self) -> dict[str, Any]:
        """What is needed to go on between two validations, once looked at."""
        return {"steps": self._steps, "sums": self._sums}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """The reverse of `state_dict`."""
        self._steps, self._sums = state["steps"], state["sums"].clone()

    def means(self) -> dict[str, float]:
        """Averages over the sequences."""
        return {f"train_{name}": mean for name, mean in _means(self._sums).items()}

    def shown(self, steps_a_second: float | None) -> str:
        """For the progress line."""
        speed = float(self._sums[len(FIGURES) + 1]) / max(1, self._steps) * (steps_a_second or 0.0)
        figures = [
            f"{name}={value:.3f}" if name == "beta" else f"{name}={value:.2f}" for name, value in self._latest.items()
        ]
        return ", ".join([*figures, f"tokens/s={speed:,.0f}"])


def _means(sums: Tensor) -> dict[str, float]:
    sequences = float(sums[len(FIGURES)])
    return {name: float(sums[n]) / sequences for n, name in enumerate(FIGURES)} if sequences else {}


class MetricsLog:
    """Appends a row for each validation; those of steps that a resumed run makes again are dropped first."""

    def __init__(self, run: Path, keep_steps: int = 0) -> None:
        self._path = run / METRICS_FILE
        try:
            self._rows = [row for row in self._read() if int(row["step"]) <= keep_steps]
        except (KeyError, TypeError, ValueError, csv.Error):
            raise ModelError(f"{self._path} is damaged: restore it, or remove it to go on without") from None
        self._board = _board(run, keep_steps)

    def write(self, epoch: float, step: int, seconds: float, values: dict[str, float]) -> None:
        """Add a row."""
        row = {"epoch": f"{round(epoch, 2):.12g}", "step": step, "seconds": round(seconds, 1)}
        self._rows.append(row | {name: f"{value:.6g}" for name, value in values.items()})
        write_atomically(self._path, self._save)
        if self._board is not None:
            for name, value in values.items():
                self._board.add_scalar(
                    name.replace("train_", "train/") if "train_" in name else f"valid/{name}", value, step
                )

    def close(self) -> None:
        """Flush the TensorBoard events."""
        if self._board is not None:
            self._board.close()

    def _save(self, to: Path) -> None:
        names = dict.fromkeys(name for row in self._rows for name in row)  # not all have all: steps may be skipped
        with open(to, "w", newline="", encoding="utf-8") as file:
            table = csv.DictWriter(file, names)
            table.writeheader()
            table.writerows(self._rows)

    def _read(self) -> list[dict[str, Any]]:
        if not self._path.exists():
            return []
        with open(self._path, newline="", encoding="utf-8") as file:
            rows = list(csv.DictReader(file))
        if any(None in row or None in row.values() for row in rows):  # a row with more cells than names, or fewer
            raise ValueError("a row was cut off")
        return rows


def _board(run: Path, keep_steps: int) -> Any:
    writable = str(run).isprintable()  # TensorBoard's own files cannot lie anywhere
    if importlib.util.find_spec("tensorboard") is None or not writable:
        return None
    from torch.utils.tensorboard import SummaryWriter

    return SummaryWriter(run, purge_step=keep_steps + 1 if keep_steps else None)
