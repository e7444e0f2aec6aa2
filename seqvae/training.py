"""Training: one loop that reads from top to bottom.

A run lives in a folder: config.toml, model.safetensors (best on valid), last.pt (everything needed to go on),
metrics.csv (a row an epoch), TensorBoard events where tensorboard is installed, and what `on_epoch` adds. What a step
does stands in `optimization`; how far a run has come, in `progress`.
"""

import dataclasses
import shutil
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch
from tqdm import tqdm

from seqvae.batch import Batch
from seqvae.checkpoint import load_model, load_state, save_model, save_state, write_atomically
from seqvae.checks import check
from seqvae.config import Config
from seqvae.data import SequenceData
from seqvae.devices import autocast, choose_device, choose_precision
from seqvae.errors import OptionError, TrainingError
from seqvae.evaluation import evaluate
from seqvae.interruption import Interruption
from seqvae.metrics import Averages, MetricsLog
from seqvae.optimization import INNER_STEPS, Optimization
from seqvae.progress import Progress
from seqvae.run_folder import CONFIG_FILE, MODEL_FILE, STATE_FILE, check_place, read_config
from seqvae.vae import SequenceVAE

SKIPS_IN_A_ROW = 20  # non-finite steps after which a run is given up
SAVE_EVERY = 60.0  # seconds between two training states
MOST_VALID = 4096  # sequences looked at after each epoch

OnEpoch = Callable[[SequenceVAE, Path, int], None]


@dataclass(frozen=True)
class TrainResult:
    """How a run ended."""

    run: Path
    steps: int
    epochs: int
    stopped: str  # "finished", "early" (no better for `patience` epochs) or "interrupted"
    skipped_steps: int  # with a loss or gradient that was not finite
    best: dict[str, float]  # valid metrics of the model that was kept


def train(
    config: Config,
    dataset: Path,
    out: Path,
    *,
    resume: bool = False,
    force: bool = False,
    progress: bool = True,
    on_epoch: OnEpoch | None = None,
) -> TrainResult:
    """Train a model on a prepared dataset into the run folder `out`.

    Args:
        config: the settings; vocabulary and length are taken from the dataset's tokenizer.
        dataset: a folder made by data_prep.dataset.prepare.
        out: the run folder; it must not exist unless `resume` or `force` says what to do with it.
        resume: go on where the run in `out` stopped; only budget, device and patience may differ from before.
        force: replace the run in `out`.
        progress: show a progress line when stderr is a terminal.
        on_epoch: called with the model, the run folder and the step, for previews.

    Raises:
        OptionError: settings that make no sense, or a run folder in the way.
        ModelError: a training state that cannot be resumed.
        TrainingError: loss or gradient stay non-finite, or there is nothing to validate on.
        data_prep's InputError: the dataset cannot be read.
    """
    check(config)
    run = _open(config, dataset, out, resume=resume, force=force)
    stopped = "finished"
    with Interruption() as interruption:
        while run.done.phase < len(run.stages):
            stopped = _train_phase(run, interruption, progress, on_epoch)
            if stopped == "interrupted" or run.done.phase + 1 == len(run.stages):
                break
            _begin_next_phase(run)
    _save(run)
    run.log.close()
    if not (out / MODEL_FILE).exists():  # interrupted before the first epoch's end: keep what there is
        _save_model(run, {})
    done = run.done
    return TrainResult(out, done.step, done.epoch, stopped, done.skipped, done.best)


def _train_phase(run: "_Run", interruption: Interruption, progress: bool, on_epoch: OnEpoch | None) -> str:
    """Train to the end of the phase; why it ended, as TrainResult.stopped."""
    training, done, steps_per_epoch = run.training, run.done, run.steps_per_epoch
    started, saved = time.monotonic() - done.elapsed, -SAVE_EVERY  # the first step is saved: even a kill can be resumed
    with _bar(run, progress) as bar:
        while (share := done.share_of_budget(training, steps_per_epoch)) < 1.0:
            _step(run, share)
            done.elapsed = time.monotonic() - started
            used = done.share_of_budget(training, steps_per_epoch)
            bar.total = done.step - done.within + round(done.within / min(used, 1.0))  # a budget in minutes: estimated
            bar.set_postfix_str(run.sums.shown(bar.format_dict["rate"]), refresh=False)
            bar.update()
            if done.step % steps_per_epoch == 0 or used >= 1.0:
                ended = _finish_epoch(run)
                if on_epoch is not None:
                    on_epoch(run.model, run.out, done.step)
                if ended:
                    return ended
            if interruption.asked:
                return "interrupted"
            if time.monotonic() - saved > SAVE_EVERY:
                _save(run)
                saved = time.monotonic()
    return "finished"


@dataclass
class _Run:
    """Everything a run works with."""

    out: Path
    config: Config
    data: SequenceData
    model: SequenceVAE
    device: torch.device
    done: Progress
    log: MetricsLog
    optimization: Optimization = field(init=False)
    sums: Averages = field(default_factory=Averages)

    def __post_init__(self) -> None:
        self.stages = self.config.stages()
        self.begin_phase()

    def begin_phase(self) -> None:
        """A new optimizer, with the settings of the phase."""
        self.phase, self.training = self.stages[self.done.phase]
        self.steps_per_epoch = self.data.steps_per_epoch(self.training.batch_size)
        self.precision = choose_precision(self.training.precision, self.device)
        self.optimization = Optimization(self.model, self.training, self.device, self.precision, self.steps_per_epoch)


def _open(config: Config, dataset: Path, out: Path, *, resume: bool, force: bool) -> _Run:
    data = SequenceData(dataset)
    if not len(data.dataset.split("valid")):
        raise TrainingError(f"{dataset} has nothing to validate on: its sequences are too few, add more")
    config = fitted(config, data, dataset)
    device = choose_device(config.training.device)
    for _, training in config.stages():
        choose_precision(training.precision, device)
        if training.select.startswith("note_on") and data.tokenizer.note_on is None:
            raise OptionError(f"--select {training.select}: text has no notes; choose elbo or distortion")
    model = new_model(config).to(device)
    _open_folder(out, config, resume=resume, force=force)
    state = load_state(out / STATE_FILE) if resume else {}
    done = Progress(**state["done"]) if state else Progress()
    run = _Run(out, config, data, model, device, done, MetricsLog(out, done.epoch))
    if state:
        model.load_state_dict(state["model"])
        run.optimization.load_state_dict(state["optimization"])
    return run


def fitted(config: Config, data: SequenceData, dataset: Path) -> Config:
    """The configuration with what follows from the dataset's tokenizer."""
    tokenizer = data.tokenizer
    model = dataclasses.replace(
        config.model,
        vocabulary_size=tokenizer.vocabulary_size,
        length=tokenizer.length,
        bos=tokenizer.bos,
        eos=tokenizer.eos,
        pad=tokenizer.pad,
        blank=tokenizer.blank,
    )
    described = dataclasses.replace(config.data, dataset=str(Path(dataset).resolve()))
    return dataclasses.replace(config, model=model, data=described)


def new_model(config: Config, number: int = 0) -> SequenceVAE:
    """First weights; another `number` gives others."""
    with torch.random.fork_rng(devices=[]):  # the caller's random numbers are not ours to reset
        torch.manual_seed(config.training.seed + number)
        return SequenceVAE(config.model)


def _open_folder(out: Path, config: Config, *, resume: bool, force: bool) -> None:
    """Make the run folder, or make sure that it is the one to resume."""
    check_place(out, resume, force)
    if resume:
        _check_resumable(read_config(out), config, out)
    elif out.exists():
        shutil.rmtree(out)
    out.mkdir(parents=True, exist_ok=True)
    write_atomically(out / CONFIG_FILE, lambda to: to.write_text(config.to_toml(), encoding="utf-8"))


def _check_resumable(before: Config, config: Config, out: Path) -> None:
    """Only what does not change the steps already made may differ."""
    free = {"epochs", "steps", "minutes", "patience", "device", "precision"}
    for section in ("model", "training", "data"):
        old, new = (dataclasses.asdict(getattr(which, section)) for which in (before, config))
        for key in old.keys() - free - {"dataset"}:
            if old[key] != new[key]:
                option = key.replace("_", "-")
                raise OptionError(f"--resume: {out} was trained with {option} {old[key]}, not {new[key]}")
    if before.phases != config.phases:
        raise OptionError(f"--resume: {out} was trained in other phases")


def _begin_next_phase(run: _Run) -> None:
    """Go on with the best model of the phase that has ended, a part of it perhaps new."""
    run.model.load_state_dict(load_model(run.out / MODEL_FILE).model.state_dict())
    run.done.next_phase()
    run.begin_phase()
    if run.phase.reset != "none":
        part, new = (
            getattr(run.model, run.phase.reset),
            getattr(new_model(run.config, run.done.phase), run.phase.reset),
        )
        part.load_state_dict(new.state_dict())
    _save(run)


def _step(run: _Run, share: float) -> None:
    """One step of training, with the encoder first trained to its end if that is asked for."""
    training, done = run.training, run.done

    def batch_of(step: int, seed: int = training.seed) -> Batch:
        return run.data.training_batch(step, training.batch_size, seed, training.transpose)

    step, optimization = done.step, run.optimization
    batch = batch_of(step)
    act: Callable[..., dict[str, float] | None] = optimization.step
    if training.aggressive and done.aggressive:
        chosen = np.random.default_rng([training.seed, step, 2]).integers(run.steps_per_epoch, size=INNER_STEPS)
        optimization.train_encoder(lambda inner: batch_of(int(chosen[inner])), step, done.within)
        act = optimization.train_decoder
    figures = act(batch, step, done.within, share, done.halvings)
    done.step += 1
    if figures is None:
        _skip(done)
    else:
        done.skipped_in_a_row = 0
        run.sums.add(batch, figures)


def _skip(done: Progress) -> None:
    done.skipped += 1
    done.skipped_in_a_row += 1
    if done.skipped_in_a_row >= SKIPS_IN_A_ROW:
        raise TrainingError(
            f"loss or gradient were not finite for {SKIPS_IN_A_ROW} steps in a row, up to step {done.step}: "
            "try a lower --learning-rate, or --precision fp32"
        )


def _finish_epoch(run: _Run) -> str | None:
    """Validate, write a row of metrics, and keep the model if it is the best so far; why the phase ends, if it does."""
    training, done = run.training, run.done
    done.epoch += 1
    valid = _validate(run)
    run.log.write(done.epoch, done.step, done.elapsed, run.sums.means() | valid)
    run.sums = Averages()
    if done.is_better(valid, training):
        done.best = valid | {"step": float(done.step)}
        _save_model(run, done.best)
    if training.aggressive:
        done.aggressive = done.aggressive and valid["mutual_information"] >= done.information
        done.information = valid["mutual_information"]
    if done.on_plateau(training):
        if done.halvings == training.plateau_halvings:
            return "finished"
        done.halvings, done.plateau = done.halvings + 1, 0
        run.model.load_state_dict(load_model(run.out / MODEL_FILE).model.state_dict())
        run.optimization.renew()
    return "early" if training.patience is not None and done.stale_epochs >= training.patience else None


def _validate(run: _Run) -> dict[str, float]:
    note_on = run.data.tokenizer.note_on
    music = note_on is not None
    run.model.eval()
    with autocast(run.device, run.precision):
        valid = evaluate(
            run.model,
            run.data.batches("valid", run.training.batch_size, most=MOST_VALID),
            torch.from_numpy(note_on) if music else None,
            accuracy=music,
            free_running=music,
        )
    run.model.train()
    return valid


def _save_model(run: _Run, metrics: dict[str, float]) -> None:
    save_model(run.out / MODEL_FILE, run.model, run.config, run.data.tokenizer.to_json(), metrics)


def _save(run: _Run) -> None:
    state: dict[str, Any] = {
        "model": run.model.state_dict(),
        "optimization": run.optimization.state_dict(),
        "done": dataclasses.asdict(run.done),
    }
    save_state(run.out / STATE_FILE, state)


def _bar(run: _Run, progress: bool) -> tqdm:
    name = "training" if len(run.stages) == 1 else run.phase.name
    return tqdm(
        initial=run.done.step,
        unit="step",
        desc=name,
        dynamic_ncols=True,
        disable=None if progress else True,  # None: quiet when stderr is not a terminal
    )
