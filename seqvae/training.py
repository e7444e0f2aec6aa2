"""Training: one loop that reads from top to bottom.

A run lives in a folder: config.toml, model.safetensors (best on valid), last.pt (everything needed to go on),
metrics.csv (a row an epoch), TensorBoard events where tensorboard is installed, and what `on_epoch` adds. All noise
of a step is a function of (seed, step), so that a run that was interrupted and resumed ends with the very weights
of one that was not (on a CPU).
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
from torch import nn
from tqdm import tqdm

from seqvae.checkpoint import load_state, save_model, save_state, write_atomically
from seqvae.config import Config, TrainConfig, check
from seqvae.data import SequenceData
from seqvae.devices import autocast, choose_device, choose_precision
from seqvae.errors import OptionError, TrainingError
from seqvae.evaluation import evaluate
from seqvae.interruption import Interruption
from seqvae.metrics import MetricsLog
from seqvae.objectives import charged_rate
from seqvae.run_folder import CONFIG_FILE, MODEL_FILE, STATE_FILE, check_place, read_config
from seqvae.schedules import annealed_beta, learning_rate, sampling_probability
from seqvae.vae import SequenceVAE

SKIPS_IN_A_ROW = 20  # non-finite steps after which a run is given up
SAVE_EVERY = 60.0  # seconds between two training states
MOST_VALID = 4096  # sequences looked at after each epoch


@dataclass(frozen=True)
class TrainResult:
    """How a run ended."""

    run: Path
    steps: int
    epochs: int
    stopped: str  # "finished", "early" (no better for `patience` epochs) or "interrupted"
    skipped_steps: int  # with a loss or gradient that was not finite
    best: dict[str, float]  # valid metrics of the model that was kept


@dataclass
class Progress:
    """What must be known to go on, beside the weights and the optimizer."""

    step: int = 0
    epoch: int = 0
    elapsed: float = 0.0  # seconds
    skipped: int = 0
    skipped_in_a_row: int = 0
    stale_epochs: int = 0
    best: dict[str, float] = field(default_factory=dict)

    def share_of_budget(self, training: TrainConfig, steps_per_epoch: int) -> float:
        """How much of the first budget to run out is used up: 1 or more when training is over."""
        shares = [0.0]
        if training.steps is not None:
            shares.append(self.step / training.steps)
        if training.epochs is not None:
            shares.append(self.step / (training.epochs * steps_per_epoch))
        if training.minutes is not None:
            shares.append(self.elapsed / (60.0 * training.minutes))
        return max(shares)


def train(
    config: Config,
    dataset: Path,
    out: Path,
    *,
    resume: bool = False,
    force: bool = False,
    progress: bool = True,
    on_epoch: Callable[[SequenceVAE, Path, int], None] | None = None,
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
    training, done, steps_per_epoch = run.config.training, run.done, run.steps_per_epoch
    started, saved = time.monotonic() - done.elapsed, -SAVE_EVERY  # the first step is saved: even a kill can be resumed
    stopped = "finished"
    with Interruption() as interruption, _bar(done, progress) as bar:
        while (share := done.share_of_budget(training, steps_per_epoch)) < 1.0:
            tokens = run.data.training_batch(done.step, training.batch_size, training.seed, training.transpose)
            shown = _step(run, tokens.to(run.device), share)
            done.elapsed = time.monotonic() - started
            used = done.share_of_budget(training, steps_per_epoch)
            bar.total = round(done.step / min(used, 1.0))  # of a budget in minutes, an estimate
            bar.set_postfix(shown | {"seq/s": f"{len(tokens) * (bar.format_dict['rate'] or 0.0):.0f}"}, refresh=False)
            bar.update()
            if done.step % steps_per_epoch == 0 or used >= 1.0:
                _finish_epoch(run, shown)
                if on_epoch is not None:
                    on_epoch(run.model, out, done.step)
                if training.patience is not None and done.stale_epochs >= training.patience:
                    stopped = "early"
                    break
            if interruption.asked:
                stopped = "interrupted"
                break
            if time.monotonic() - saved > SAVE_EVERY:
                _save(run)
                saved = time.monotonic()
    _save(run)
    run.log.close()
    if not (out / MODEL_FILE).exists():  # interrupted before the first epoch's end: keep what there is
        _save_model(run, {})
    return TrainResult(out, done.step, done.epoch, stopped, done.skipped, done.best)


@dataclass
class _Run:
    """Everything a run works with."""

    out: Path
    config: Config
    data: SequenceData
    model: SequenceVAE
    optimizer: torch.optim.Optimizer
    device: torch.device
    precision: str
    done: Progress
    log: MetricsLog

    @property
    def steps_per_epoch(self) -> int:
        return self.data.steps_per_epoch(self.config.training.batch_size)


def _open(config: Config, dataset: Path, out: Path, *, resume: bool, force: bool) -> _Run:
    data = SequenceData(dataset)
    if not len(data.dataset.split("valid")):
        raise TrainingError(f"{dataset} has no windows to validate on: {len(data.train)} are too few, add more music")
    config = _fitted(config, data, dataset)
    device = choose_device(config.training.device)
    precision = choose_precision(config.training.precision, device)
    model = _new_model(config).to(device)
    optimizer = torch.optim.Adam(model.parameters(), lr=config.training.learning_rate, fused=True)
    _open_folder(out, config, resume=resume, force=force)
    done = _load(out, model, optimizer) if resume else Progress()
    return _Run(out, config, data, model, optimizer, device, precision, done, MetricsLog(out, done.epoch))


def _fitted(config: Config, data: SequenceData, dataset: Path) -> Config:
    tokenizer = data.tokenizer
    model = dataclasses.replace(config.model, vocabulary_size=tokenizer.vocabulary_size, length=tokenizer.length)
    described = dataclasses.replace(config.data, dataset=str(Path(dataset).resolve()))
    return dataclasses.replace(config, model=model, data=described)


def _new_model(config: Config) -> SequenceVAE:
    with torch.random.fork_rng(devices=[]):  # the caller's random numbers are not ours to reset
        torch.manual_seed(config.training.seed)
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


def _step(run: _Run, tokens: torch.Tensor, share: float) -> dict[str, str]:
    """One step of the optimizer; returns what the progress line shows."""
    training, done = run.config.training, run.done
    seed = int(np.random.SeedSequence([training.seed, done.step]).generate_state(1)[0])
    generator = torch.Generator(run.device).manual_seed(seed)
    beta, sampled, rate_now = _scheduled(training, done.step, share)
    for group in run.optimizer.param_groups:
        group["lr"] = rate_now
    with autocast(run.device, run.precision):
        terms = run.model(tokens, generator, sampled, training.scheduled_sampling_parallel)
    distortion = terms.distortion.mean()
    loss = distortion + beta * charged_rate(terms.rates, training.free_bits, training.free_bits_per)
    run.optimizer.zero_grad(set_to_none=True)
    loss.backward()
    norm = nn.utils.clip_grad_norm_(run.model.parameters(), training.clip)
    done.step += 1
    if torch.isfinite(loss) & torch.isfinite(norm):
        run.optimizer.step()
        done.skipped_in_a_row = 0
    else:
        _skip(done)
    rate = terms.rates.sum(-1).mean()
    figures = {"loss": loss, "distortion": distortion, "rate": rate}
    return {name: f"{figure.item():.2f}" for name, figure in figures.items()} | {"beta": f"{beta:.3f}"}


def _scheduled(training: TrainConfig, step: int, share: float) -> tuple[float, float, float]:
    """beta, the share of sampled inputs, and the learning rate at a step."""
    sampled = sampling_probability(
        training.scheduled_sampling,
        step,
        rate=training.scheduled_sampling_rate,
        steps=training.scheduled_sampling_steps,
    )
    return (
        annealed_beta(training.annealing, step, beta=training.beta, steps=training.annealing_steps),
        sampled,
        learning_rate(
            training.learning_rate_decay,
            step,
            share,
            first=training.learning_rate,
            last=training.final_learning_rate,
        ),
    )


def _skip(done: Progress) -> None:
    done.skipped += 1
    done.skipped_in_a_row += 1
    if done.skipped_in_a_row >= SKIPS_IN_A_ROW:
        raise TrainingError(
            f"loss or gradient were not finite for {SKIPS_IN_A_ROW} steps in a row, up to step {done.step}: "
            "try a lower --learning-rate, or --precision fp32"
        )


def _finish_epoch(run: _Run, shown: dict[str, str]) -> None:
    """Validate, write a row of metrics, and keep the model if it is the best so far."""
    training, done = run.config.training, run.done
    done.epoch += 1
    run.model.eval()
    note_on = torch.from_numpy(run.data.tokenizer.note_on)
    with autocast(run.device, run.precision):
        valid = evaluate(run.model, run.data.batches("valid", training.batch_size, most=MOST_VALID), note_on)
    run.model.train()
    run.log.write(done.epoch, done.step, done.elapsed, {f"train_{k}": float(v) for k, v in shown.items()} | valid)
    if not done.best or _score(valid, training) > _score(done.best, training):
        done.best, done.stale_epochs = valid | {"step": float(done.step)}, 0
        _save_model(run, done.best)
    else:
        done.stale_epochs += 1


def _score(valid: dict[str, float], training: TrainConfig) -> tuple[float, float]:
    """What the best model is chosen by; while an accuracy is still 0, the bound decides."""
    return valid[training.select], valid["elbo"]


def _save_model(run: _Run, metrics: dict[str, float]) -> None:
    save_model(run.out / MODEL_FILE, run.model, run.config, run.data.tokenizer.to_json(), metrics)


def _save(run: _Run) -> None:
    state = {
        "model": run.model.state_dict(),
        "optimizer": run.optimizer.state_dict(),
        "done": dataclasses.asdict(run.done),
    }
    save_state(run.out / STATE_FILE, state)


def _load(out: Path, model: SequenceVAE, optimizer: torch.optim.Optimizer) -> Progress:
    state: dict[str, Any] = load_state(out / STATE_FILE)
    model.load_state_dict(state["model"])
    optimizer.load_state_dict(state["optimizer"])
    return Progress(**state["done"])


def _bar(done: Progress, progress: bool) -> tqdm:
    return tqdm(
        initial=done.step,
        unit="step",
        desc="training",
        dynamic_ncols=True,
        disable=None if progress else True,  # None: quiet when stderr is not a terminal
    )
