"""Training: one loop that reads from top to bottom.

A run lives in a folder: config.toml, model.safetensors (best on valid), last.pt (everything needed to go on),
metrics.csv (a row for each validation), TensorBoard events where tensorboard is installed, and what `on_validation`
adds. What a step does stands in `optimization`; how far a run has come, in `progress`.
"""

import math
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from tqdm.auto import tqdm

from seqvae.batch import Batch
from seqvae.checks import check
from seqvae.config import Config
from seqvae.devices import autocast, out_of_memory
from seqvae.distributed import ALONE, World
from seqvae.errors import TrainingError
from seqvae.evaluation import evaluate
from seqvae.interruption import Interruption
from seqvae.memory import keep_freed_memory
from seqvae.metrics import Averages
from seqvae.optimization import INNER_STEPS
from seqvae.progress import Progress
from seqvae.run import Run, open_run, renew
from seqvae.run_folder import MODEL_FILE, FolderLock
from seqvae.vae import SequenceVAE

SKIPS_IN_A_ROW = 20  # non-finite steps after which a run is given up
REMEDIES = "try a lower --learning-rate, or --precision fp32"
SAVE_EVERY = 60.0  # seconds between two training states
LOOK_EVERY = 0.5  # seconds between two looks at the figures, for which a GPU is waited for
MOST_VALID = 4096  # sequences looked at in each validation

OnValidation = Callable[[SequenceVAE, Path, int], None]


@dataclass(frozen=True)
class TrainResult:
    """How a run ended."""

    run: Path
    steps: int
    epochs: float  # how often each sequence was seen
    stopped: str  # "finished", "early" (see `patience`), "plateau", "interrupted", or "over": it was before
    skipped_steps: int  # with a loss or gradient that was not finite
    best: dict[str, float]  # valid metrics of the model that was kept


@torch.inference_mode(False)  # gradients are needed, though the caller may have turned them off
def train(
    config: Config,
    dataset: Path | str,
    out: Path | str,
    *,
    resume: bool = False,
    force: bool = False,
    progress: bool = True,
    on_validation: OnValidation | None = None,
    world: World = ALONE,
) -> TrainResult:
    """Train a model on a prepared dataset into the run folder `out`.

    Args:
        config: the settings; vocabulary and length are taken from the dataset's tokenizer.
        dataset: a folder made by data_prep.dataset.prepare.
        out: the run folder; it must not exist unless `resume` or `force` says what to do with it.
        resume: go on where the run in `out` stopped; only budget, patience, device, precision, accumulate, the number
            of processes and, unless weights depend on it (whiten, aggressive, plateau, batch-norm), validate_every may
            differ.
        force: replace the run in `out`.
        progress: show a progress line, in a terminal (on stderr) or a notebook (with ipywidgets).
        on_validation: called with the model, the run folder and the step, for previews.
        world: the processes that train together, as `distributed.joined` gives them: each calls this with the same
            arguments, and finds `dataset` in the same place; the first one writes, shows progress and calls
            `on_validation`.

    Raises:
        OptionError: settings that make no sense, or a run folder in the way.
        ModelError: a training state that cannot be resumed.
        TrainingError: loss or gradient stay non-finite, or there is nothing to validate on.
        data_prep's InputError: the dataset cannot be read.
    """
    check(config)
    keep_freed_memory()
    dataset, out = Path(dataset), Path(out)
    with FolderLock() as lock:
        run = open_run(config, dataset, out, lock, resume=resume, force=force, world=world)
        before = run.done.step
        try:
            with Interruption() as interruption:  # also while it is saved: a closed terminal says so twice
                stopped = _train_phases(run, interruption, progress and world.first, on_validation)
                world.by_first(lambda: _finish(run, stopped))
        finally:
            if run.log is not None:
                run.log.close()
    done = run.done
    if done.step == before and stopped == "finished":
        stopped = "over"
    return TrainResult(out, done.step, done.epoch, stopped, done.skipped, done.best)


def _train_phases(run: Run, interruption: Interruption, progress: bool, on_validation: OnValidation | None) -> str:
    """Train to the end of the last phase; why it ended, as TrainResult.stopped."""
    while True:
        stopped = _train_phase(run, interruption, progress, on_validation)
        if stopped == "interrupted" or run.done.phase + 1 == len(run.stages):
            return stopped
        _begin_next_phase(run)


def _train_phase(run: Run, interruption: Interruption, progress: bool, on_validation: OnValidation | None) -> str:
    """Train to the end of the phase; why it ended, as TrainResult.stopped."""
    if ended := _ended(run):  # before it was resumed
        return ended
    training, steps_per_epoch = run.training, run.steps_per_epoch
    started = time.monotonic() - run.done.elapsed
    looked, saved = -LOOK_EVERY, -SAVE_EVERY  # the first step is saved: even a kill can be resumed
    with _bar(run, progress) as bar:
        while (share := run.done.share_of_budget(training, steps_per_epoch)) < 1.0:
            with _fitting(run):
                _step(run, share)
            now = time.monotonic()
            run.done.elapsed = now - started
            if run.world.first and now - looked > LOOK_EVERY:
                _show(run, bar)
                looked = now
            run.done.elapsed, asked, lost, save = run.world.greatest(
                run.done.elapsed, interruption.asked, _hopeless(run), now - saved > SAVE_EVERY
            )
            if lost:
                run.world.by_first(lambda: _give_up(run.done))
            bar.update()
            ended = None
            over = run.done.share_of_budget(training, steps_per_epoch) >= 1.0
            if over or run.done.phase_step % run.validate_every == 0:
                ended = _finish_round(run, on_validation)
            if ended or asked:
                return ended or "interrupted"
            if save:  # of a large model it may take longer than the others would wait in a step
                run.world.by_first(run.save)
                saved = time.monotonic()
    return "finished"


def _step(run: Run, share: float) -> None:
    """One step of training, with the encoder first trained to its end if that is asked for."""
    training, done, world = run.training, run.done, run.world

    def parts_of(place: int) -> list[Batch]:
        return [
            run.data.training_batch(
                place, training.batch_size, training.seed, training.transpose, part, world.size * training.accumulate
            )
            for part in world.parts(training.accumulate)
        ]

    frozen = None
    if training.aggressive and done.aggressive:
        epoch = run.batch_index - run.batch_index % run.steps_per_epoch
        chosen = epoch + np.random.default_rng([training.seed, done.step, 2]).integers(
            run.steps_per_epoch, size=INNER_STEPS
        )
        run.optimization.train_encoder(
            lambda inner: parts_of(int(chosen[inner])), done.step, done.phase_step, share, done.halvings
        )
        frozen = run.model.encoder
    run.sums.add(
        *run.optimization.step(parts_of(run.batch_index), done.step, done.phase_step, share, done.halvings, frozen)
    )
    if run.average is not None:
        run.average.add(run.model, done.phase_step)
    done.step += 1
    done.epoch = done.began["epoch"] + done.phase_step / run.steps_per_epoch


def _show(run: Run, bar: tqdm) -> None:
    """Look at the figures, for the progress line."""
    run.look()
    done = run.done
    used = max(done.share_of_budget(run.training, run.steps_per_epoch), 1e-9)  # of minutes, by a coarse clock: 0
    bar.total = done.step - done.phase_step + round(done.phase_step / min(used, 1.0))  # a budget in minutes: estimated
    bar.set_postfix_str(run.sums.shown(bar.format_dict["rate"]), refresh=False)


def _hopeless(run: Run) -> bool:
    return run.world.first and run.sums.most_in_a_row >= SKIPS_IN_A_ROW


def _give_up(done: Progress) -> None:
    raise TrainingError(
        f"loss or gradient were not finite for {SKIPS_IN_A_ROW} steps in a row, up to step {done.step}: " + REMEDIES
    )


@contextmanager
def _fitting(run: Run) -> Iterator[None]:
    """Say what would fit, where a batch does not fit into memory."""
    try:
        yield
    except RuntimeError as error:
        if not out_of_memory(error):
            raise
        size, parts = min(run.training.batch_size, len(run.data.train)), run.training.accumulate
        raise TrainingError(
            f"a batch of {size} sequences{f' in {parts} parts' * (parts > 1)} does not fit into the memory of "
            f"{run.device}: try --accumulate {2 * parts}, or a --batch-size below {size}"
        ) from None


def _finish_round(run: Run, on_validation: OnValidation | None) -> str | None:
    """Validate; why the phase ends, if it does."""
    halvings = run.done.halvings
    run.look()
    with _fitting(run):
        if run.training.whiten:
            run.whiten()
        if run.config.model.posterior == "batch-norm":
            run.settle()
    ended, run.done = run.world.by_first(lambda: (_judge(run, on_validation), run.done))
    run.sums = Averages(run.done.skipped_in_a_row)
    if run.done.halvings > halvings:
        run.take_best()
        run.optimization.renew()
        run.world.by_first(run.save)  # who is killed and resumed must not take a later model for this
    return ended


def _judge(run: Run, on_validation: OnValidation | None) -> str | None:
    """Validate, write a row of metrics, and keep the model if it is the best so far; why the phase ends, if it does."""
    training, done = run.training, run.done
    if _hopeless(run):
        _give_up(done)
    with _fitting(run):
        valid = _validate(run)
    if run.log is not None:
        run.log.write(done.epoch, done.step, done.elapsed, run.sums.means() | valid)
    if done.is_better(valid, training):
        done.best = valid | {"step": float(done.step)}
        run.save_model(done.best)
    if training.aggressive:
        done.aggressive = done.aggressive and valid["mutual_information"] >= done.information
        done.information = valid["mutual_information"]
    if on_validation is not None:
        on_validation(run.kept, run.out, done.step)
    if done.on_plateau(training) and done.halvings < training.plateau_halvings:
        done.halvings, done.plateau = done.halvings + 1, 0
    return _ended(run)


def _ended(run: Run) -> str | None:
    """Why the phase ends, or has ended before, if its budget is not used up."""
    training, done = run.training, run.done
    if done.on_plateau(training) and done.halvings == training.plateau_halvings:
        return "plateau"
    return "early" if training.patience is not None and done.stale >= training.patience else None


def _validate(run: Run) -> dict[str, float]:
    music = run.data.tokenizer.note_on is not None
    run.kept.eval()
    with autocast(run.device, run.precision):
        valid = evaluate(
            run.kept,
            run.data.batches("valid", run.training.batch_size, most=MOST_VALID),
            run.data.tokenizer.note_on,
            accuracy=music,
            free_running=music,
        )
    run.model.train()
    return valid


def _begin_next_phase(run: Run) -> None:
    """Go on with the best model of the phase that has ended, a part of it perhaps new."""
    run.take_best()
    run.done.next_phase()
    run.begin_phase()
    renew(run.model, run.phase.reset, run.config, run.done.phase)
    run.world.by_first(run.save)


def _finish(run: Run, stopped: str) -> None:
    run.save()
    unseen = not run.done.best and run.done.phase == 0  # interrupted before the first validation: keep what there is
    if unseen or not (run.out / MODEL_FILE).exists():
        run.save_model({})
    done = run.done
    lost = done.skipped == done.step or not math.isfinite(done.best.get("elbo", 0.0))
    if lost and stopped != "interrupted":
        told = f"loss or gradient were not finite at {done.skipped:,} of {done.step:,} steps"
        raise TrainingError(f"nothing was learned: {told}; {REMEDIES}")


def _bar(run: Run, progress: bool) -> tqdm:
    name = "training" if len(run.stages) == 1 else run.phase.name
    training, before = run.training, run.done.step - run.done.phase_step
    budgets = [training.steps, training.epochs and training.epochs * run.steps_per_epoch]
    return tqdm(
        initial=run.done.step,
        total=min((before + steps for steps in budgets if steps), default=None),  # a notebook's bar stays as long
        unit="step",
        desc=name,
        dynamic_ncols=True,
        mininterval=LOOK_EVERY,
        disable=None if progress else True,  # None: where nobody looks, neither in a terminal nor in a notebook
    )
