"""What test_distributed lets several processes do, and one alone: torchrun runs this file.

    torchrun --nproc-per-node 2 tests/many_processes.py FOLDER

FOLDER has the datasets `melodies` and `sentences`; each run goes into FOLDER/CASE-by-PROCESSES, and goes on there if
it was begun.
"""

import dataclasses
import sys
from pathlib import Path
from typing import Any

from small_trainings import MODEL

from seqvae.config import Config, Phase, TrainConfig
from seqvae.distributed import World, joined
from seqvae.training import train

TRAINING = TrainConfig(
    steps=3, batch_size=15, annealing="none", learning_rate=1e-2, clip=0.5, device="cpu", precision="fp32"
)


@dataclasses.dataclass(frozen=True)
class Case:
    """A training whose batches are cut into so many parts, whoever computes them."""

    dataset: str
    parts: int = 2
    training: dict[str, Any] = dataclasses.field(default_factory=dict)
    model: dict[str, Any] = dataclasses.field(default_factory=dict)
    phases: tuple[Phase, ...] = ()

    def config(self, processes: int, **changes: Any) -> Config:
        """The settings of each of these processes."""
        changes = self.training | changes | {"accumulate": self.parts // processes}
        training = dataclasses.replace(TRAINING, **changes)
        return Config("test", model=dataclasses.replace(MODEL, **self.model), training=training, phases=self.phases)


CASES = {
    "melodies": Case("melodies", 2, {"transpose": 5, "scheduled_sampling": "constant"}),
    "melodies-in-four": Case("melodies", 4, {"optimizer": "sgd", "mmd": 1.0}, {"posterior": "batch-norm"}),
    "sentences": Case("sentences", 2, {"word_dropout": 0.2, "encoder_drop": 0.2, "free_bits": 1.0}, {"dropout": 0.2}),
    "sentences-in-four": Case("sentences", 4, {"adversarial": 1.0}),
    "sentences-by-sgd": Case("sentences", 2, {"optimizer": "sgd"}, {"latent_size": 0}),
    "in-turns": Case("sentences", 2, {"aggressive": True, "steps": 2}),
    "in-phases": Case(
        "sentences",
        2,
        phases=(
            Phase("whitened", changes={"steps": 1, "whiten": True}),
            Phase("one", changes={"steps": 2, "learning_rate_decay": "plateau", "plateau_patience": 1, "epochs": 1}),
            Phase("two", "decoder", {"steps": 2}),
        ),
    ),
    "resumed": Case("sentences", 2, {"weight_average": 0.99}),
}


def run(folder: Path, name: str, world: World, **changes: Any) -> Path:
    """Train a case, or go on with it; its folder."""
    case = CASES[name]
    out = folder / f"{name}-by-{world.size}"
    begun = world.by_first(out.exists)  # which it does once one of them has begun
    train(case.config(world.size, **changes), folder / case.dataset, out, resume=begun, world=world)
    return out


def main(folder: Path) -> None:
    """Train all cases."""
    with joined() as world:
        for name in CASES:
            run(folder, name, world)


if __name__ == "__main__":
    main(Path(sys.argv[1]))
