"""What a run goes on from: its training state, and what may not differ from the run that made it."""

import dataclasses
from collections.abc import Iterator
from collections.abc import Set as AbstractSet
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from seqvae.checkpoint import load_state, no_state
from seqvae.config import Config, spelled
from seqvae.devices import out_of_memory
from seqvae.errors import OptionError
from seqvae.progress import Progress


def read_state(path: Path) -> dict[str, Any]:
    """What `Run.save` has written, `config` and `done` as they were. Raises ModelError as `load_state` does."""
    state = load_state(path)
    if lacking := {"model", "optimization", "sums", "average", "done", "dataset", "config"} - state.keys():
        raise no_state(path, f"it has no {', no '.join(sorted(lacking))}")
    with as_saved(path):
        state["config"], state["done"] = Config.from_dict(state["config"]), Progress.of(state["done"])
        if state["done"].phase >= len(state["config"].stages()):
            raise ValueError(f"phase = {state['done'].phase}")
    return state


@contextmanager
def as_saved(path: Path) -> Iterator[None]:
    """Say of a training state that it is damaged, however that shows."""
    try:
        yield
    except (AttributeError, IndexError, KeyError, TypeError, ValueError, RuntimeError) as error:
        if isinstance(error, RuntimeError) and out_of_memory(error):
            raise
        raise no_state(path, f"{type(error).__name__}: {error}") from None


def check_same(before: Config, config: Config, section: str, free: AbstractSet[str], out: Path) -> None:
    """Raises OptionError where a setting of a section differs that is not free to."""
    old, new = (dataclasses.asdict(getattr(which, section)) for which in (before, config))
    for key in old:
        if key not in free and old[key] != new[key]:
            option = spelled(key)
            differs = f"with {option} {old[key]}, not {new[key]}"
            if old[key] is None:
                differs = f"without {option}, not with {new[key]}"
            elif new[key] is None:
                differs = f"with {option} {old[key]}, not without"
            keeps = "a run that goes on keeps its settings: leave out the options, or the --preset, that change them"
            raise OptionError(f"--resume: {out} was trained {differs}; {keeps}")


def check_resumable(before: Config, config: Config, out: Path) -> None:
    """Only what does not change the steps already made may differ."""
    free = {"epochs", "steps", "minutes", "patience", "device", "precision", "accumulate"}
    # of batch norms a validation moves the averages, by which a batch of one is normalised
    validations_train = before.model.posterior == "batch-norm" or any(
        each.whiten or each.aggressive or each.learning_rate_decay == "plateau" for _, each in before.stages()
    )
    if not validations_train:
        free.add("validate_every")
    for section in ("model", "training"):
        check_same(before, config, section, free, out)
    if before.start_from != config.start_from:
        before_this, now = (start or "no other model" for start in (before.start_from, config.start_from))
        raise OptionError(f"--resume: {out} was started from {before_this}, not {now}")
    if before.phases != config.phases:
        raise OptionError(f"--resume: {out} was trained in other phases")
