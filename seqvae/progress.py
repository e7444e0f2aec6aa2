"""How far a run has come: what must be known to go on, beside the weights and the optimizer."""

import math
from dataclasses import asdict, dataclass, field
from typing import Any

from seqvae.config import TrainConfig


@dataclass
class Progress:
    """Counters of a run, and of the phase it is in."""

    step: int = 0
    epoch: float = 0.0  # how often each sequence was seen
    elapsed: float = 0.0  # seconds
    skipped: int = 0
    skipped_in_a_row: int = 0
    stale: int = 0  # validations without a better score
    best: dict[str, float] = field(default_factory=dict)  # valid metrics of the model that is kept
    phase: int = 0
    began: dict[str, float] = field(default_factory=lambda: {"step": 0, "epoch": 0, "elapsed": 0.0})  # of the phase
    halvings: int = 0  # of the learning rate, on a plateau
    plateau: int = 0  # validations without a better score since the last halving
    information: float = 0.0  # nats, the mutual information at the last validation of aggressive training
    aggressive: bool = True  # until mutual information stops rising

    @classmethod
    def of(cls, saved: dict[str, Any]) -> "Progress":
        """The reverse of `dataclasses.asdict`. Raises ValueError for what is none."""
        usual = asdict(cls())
        if saved.keys() != usual.keys():
            raise ValueError("its counters are others")
        for name, value in saved.items():
            numbers = list(value.values()) if isinstance(value, dict) else [value]
            kinds = (int, float) if isinstance(usual[name], float | dict) else type(usual[name])
            if isinstance(value, dict) != isinstance(usual[name], dict) or not all(
                isinstance(number, kinds) and (name in ("best", "information") or number >= 0) for number in numbers
            ):
                raise ValueError(f"{name} = {value!r}")
        if saved["began"].keys() != usual["began"].keys() or (saved["best"] and "elbo" not in saved["best"]):
            raise ValueError("what it was when the phase began, or at its best, is not told")
        return cls(**saved)

    @property
    def phase_step(self) -> int:
        """Steps since the phase began."""
        return self.step - int(self.began["step"])

    def share_of_budget(self, training: TrainConfig, steps_per_epoch: int) -> float:
        """How much of the phase's first budget to run out is used up: 1 or more when the phase is over."""
        shares = [0.0]
        if training.steps is not None:
            shares.append(self.phase_step / training.steps)
        if training.epochs is not None:
            shares.append(self.phase_step / (training.epochs * steps_per_epoch))
        if training.minutes is not None:
            shares.append((self.elapsed - self.began["elapsed"]) / (60.0 * training.minutes))
        return max(shares)

    def next_phase(self) -> None:
        """Begin the next phase: nothing is the best so far, and its counters start anew."""
        self.phase += 1
        self.began = {"step": self.step, "epoch": self.epoch, "elapsed": self.elapsed}
        self.best, self.stale = {}, 0
        self.halvings = self.plateau = 0
        self.information, self.aggressive = 0.0, True

    def is_better(self, valid: dict[str, float], training: TrainConfig) -> bool:
        """Whether a model with these valid metrics is the best of the phase; `stale` and `plateau` follow."""
        better = not self.best or _score(valid, training) > _score(self.best, training)
        self.stale = 0 if better else self.stale + 1
        self.plateau = 0 if better else self.plateau + 1
        return better

    def on_plateau(self, training: TrainConfig) -> bool:
        """Whether it is time to halve the learning rate."""
        return (
            training.learning_rate_decay == "plateau"
            and self.plateau >= training.plateau_patience
            and self.epoch - self.began["epoch"] >= training.plateau_after
        )


def _score(valid: dict[str, float], training: TrainConfig) -> tuple[float, ...]:
    """What the best model is chosen by; while an accuracy is still 0, the bound decides."""
    select = training.select
    if select == "elbo" and training.beta == 0.0:  # then the rate is nothing that is trained for
        select = "distortion"
    sign = -1.0 if select == "distortion" else 1.0
    found = sign * valid[select], valid["elbo"]
    return tuple(-math.inf if math.isnan(each) else each for each in found)  # what cannot be told is no good
