"""A run: everything it works with, opened in its folder, and written there.

By many processes it is the first one that looks after the folder; the others are told.
"""

import dataclasses
import math
import os
import platform
import shutil
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from seqvae import __version__
from seqvae.averaging import WeightAverage
from seqvae.batch import Batch
from seqvae.checkpoint import Origin, load_model, save_model, save_state
from seqvae.config import TEXT, Config, ModelConfig, TrainConfig
from seqvae.data import SequenceData, check_validates
from seqvae.devices import autocast, choose_device, choose_precision, out_of_memory
from seqvae.distributed import World
from seqvae.errors import OptionError, TrainingError
from seqvae.metrics import Averages, MetricsLog
from seqvae.optimization import Optimization
from seqvae.progress import Progress
from seqvae.resuming import as_saved, check_resumable, check_same, read_state
from seqvae.run_folder import (
    CONFIG_FILE,
    METRICS_FILE,
    MODEL_FILE,
    STATE_FILE,
    FolderLock,
    check_place,
    check_spared,
)
from seqvae.settling import settle
from seqvae.starting import first_weights
from seqvae.vae import SequenceVAE
from seqvae.whitening import whiten
from seqvae.writing import write_atomically

TELLING = 10_000  # sequences whose latents tell how all lie
LEAST_WHITENED = 4  # of them for each dimension
LEAST_STEPS = 20  # between two validations, if nothing else is said: an epoch of a few tunes is a step or two


@dataclass
class Run:
    """Everything a run works with."""

    out: Path
    config: Config
    data: SequenceData
    model: SequenceVAE
    device: torch.device
    world: World
    done: Progress

    def __post_init__(self) -> None:
        self.stages = self.config.stages()
        self.sums = Averages(self.done.skipped_in_a_row)
        self.log = MetricsLog(self.out, self.done.step) if self.world.first else None
        self.begin_phase()

    def begin_phase(self) -> None:
        """A new optimizer, with the settings of the phase."""
        self.phase, self.training = self.stages[self.done.phase]
        self.steps_per_epoch = self.data.steps_per_epoch(self.training.batch_size)
        self.validate_every = self.training.validate_every or (
            self.steps_per_epoch * math.ceil(LEAST_STEPS / self.steps_per_epoch)
        )
        self._begin = math.ceil(self.done.began["step"] / self.steps_per_epoch) * self.steps_per_epoch
        self.precision = choose_precision(self.training.precision, self.device)
        self.optimization = Optimization(
            self.model, self.training, self.device, self.precision, self.steps_per_epoch, self.world
        )
        self.average: WeightAverage | None = None
        if self.training.weight_average:
            like, decay = new_model(self.config).to(self.device), self.training.weight_average
            self.average = WeightAverage(like, decay, self.validate_every)

    @property
    def batch_index(self) -> int:
        """The number of the next batch in the order of batches; a phase begins with an epoch."""
        return self._begin + self.done.phase_step

    @property
    def kept(self) -> SequenceVAE:
        """The model that is validated and kept: the one that is trained, or its average."""
        return self.model if self.average is None else self.average.model

    def whiten(self) -> None:
        """Move the latents, as `whitening.whiten` does, by those of the sequences that come next."""
        with autocast(self.device, self.precision):
            self.world.by_first(lambda: whiten(self.model, self._coming()))
        self.world.take_from_first(self.model.state_dict().values())

    def settle(self) -> None:
        """Let batch norms of the posterior rest where train lies now, and not where it lay on the way."""
        with autocast(self.device, self.precision):
            self.world.by_first(lambda: settle(self.kept, self._coming()))
        self.world.take_from_first(self.kept.state_dict().values())

    def _coming(self) -> Iterator[Batch]:
        """The batches that come next, as many as tell how latents lie."""
        size, seed, transpose = self.training.batch_size, self.training.seed, self.training.transpose
        told, index = 0, self.batch_index
        while told < min(TELLING, len(self.data.train)):
            batch = self.data.training_batch(index, size, seed, transpose)
            yield batch.to(self.device)
            told, index = told + len(batch.tokens), index + 1

    def look(self) -> None:
        """Wait for the steps made so far, and take up what they gave."""
        self.done.skipped += self.sums.look()
        self.done.skipped_in_a_row = self.sums.skipped_in_a_row

    def take_best(self) -> None:
        """Go on with the best model so far."""
        self.world.by_first(self._read_best)
        self.world.take_from_first(self.model.state_dict().values())
        if self.average is not None:
            self.average.restart(self.model)

    def _read_best(self) -> None:
        self.model.load_state_dict(load_model(self.out / MODEL_FILE).model.state_dict())

    def save(self) -> None:
        """Write what is needed to go on from here."""
        self.look()
        state: dict[str, Any] = {
            "model": self.model.state_dict(),
            "optimization": self.optimization.state_dict(),
            "sums": self.sums.state_dict(),
            "average": {} if self.average is None else self.average.state_dict(),
            "done": dataclasses.asdict(self.done),
            "config": self.config.to_dict(),
            "dataset": self.data.dataset.info["contents"],
        }
        save_state(self.out / STATE_FILE, state)

    def save_model(self, metrics: dict[str, float]) -> None:
        """Write the model that is kept as it is now."""
        tokenizer, known = self.data.tokenizer.to_json(), self.data.dataset.info["contents"]
        origin = Origin(__version__, torch.__version__, self.device.type, self.precision, len(self.data.train), known)
        save_model(self.out / MODEL_FILE, self.kept, self.config, tokenizer, metrics, origin)


def open_run(
    config: Config, dataset: Path, out: Path, lock: FolderLock, *, resume: bool, force: bool, world: World
) -> Run:
    """Begin a run, or go on with one, in a folder that `lock` then holds; raises as `training.train` does."""
    device, data = world.by_all(lambda: (_usable_device(config, world), SequenceData(dataset)))
    known = world.by_first(lambda: data.dataset.info["contents"])
    world.by_all(lambda: _check_alike(data, known))
    config, state = world.by_first(lambda: _set_up(config, data, out, lock, resume=resume, force=force, world=world))
    model = world.by_all(lambda: _built(config, device))  # before anything is replaced
    world.by_first(lambda: _make_folder(out, config, lock, resume=resume, force=force))
    data.use_gpu(device)
    if resume:
        with as_saved(out / STATE_FILE):
            model.load_state_dict(state["model"])
        run = Run(out, config, data, model, device, world, state["done"])
        with as_saved(out / STATE_FILE):
            run.optimization.load_state_dict(state["optimization"])
            run.sums.load_state_dict(state["sums"])
            if run.average is not None:
                run.average.load_state_dict(state["average"])
        return run
    if state:
        model.load_state_dict(state["model"])
    renew(model, config.stages()[0][0].reset, config, 0)
    run = Run(out, config, data, model, device, world, Progress())
    if state:  # there is a model from the start, even if it is the one that was replaced
        world.by_first(lambda: save_model(out / MODEL_FILE, model, config, data.tokenizer.to_json(), {}))
    return run


def _set_up(
    config: Config, data: SequenceData, out: Path, lock: FolderLock, *, resume: bool, force: bool, world: World
) -> tuple[Config, dict[str, Any]]:
    """Refuse what cannot be trained; the settings, and the state or the weights to go on from."""
    dataset = data.dataset.path
    check_validates(data.dataset, str(dataset))
    config = data.fitted(config)
    check_computable(config, world)
    for _, training in config.stages():
        _check_whiten(training, config.model.latent_size, len(data.train))
    _claim(out, lock, resume, force)
    check_spared(out, force, [dataset])
    state: dict[str, Any] = {}
    if resume:
        state = read_state(out / STATE_FILE)
        before = state["config"]  # what it was trained with, whatever its config.toml says by now
        check_same(before, config, "data", {"dataset", "tokenizer_file"}, out)  # places, the contents of which count
        if state["dataset"] != data.dataset.info["contents"]:
            told = f"--resume: {dataset} holds other sequences, or in another order, than {out} was trained on"
            raise OptionError(f"{told}; leave SOURCE out, or name another --out")
        check_resumable(before, config, out)
        if not (out / MODEL_FILE).exists():
            state["done"].best = {}  # whatever was the best is gone
    elif config.start_from is not None:
        state["model"] = first_weights(config, data.tokenizer.to_json())  # read before they may be replaced
    return config, state


def _built(config: Config, device: torch.device) -> SequenceVAE:
    """A new model on the device. Raises TrainingError where it is larger than the memory."""
    try:
        return new_model(config).to(device)
    except (MemoryError, RuntimeError) as error:
        if isinstance(error, RuntimeError) and not out_of_memory(error):
            raise
        sizes = ("embedding_size", "encoder_size", "latent_size", "decoder_size")
        told = ", ".join(f"{name} {getattr(config.model, name)}" for name in sizes)
        raise TrainingError(
            f"the model does not fit into the memory of {device}: {told}; choose smaller ones"
        ) from None


def _make_folder(out: Path, config: Config, lock: FolderLock, *, resume: bool, force: bool) -> None:
    _claim(out, lock, resume, force)  # once more: reading weights takes its time
    _open_folder(out.resolve(), config, anew=not resume)
    lock.take(out)


def _check_alike(data: SequenceData, known: str) -> None:
    """Raises TrainingError where this process has other sequences than the first one."""
    if data.dataset.info["contents"] != known:
        raise TrainingError(
            f"{data.dataset.path.absolute()} on {platform.node()} holds other sequences, or in another order, than the "
            "same dataset of the first process: copy that one to each machine"
        )


def _claim(out: Path, lock: FolderLock, resume: bool, force: bool) -> None:
    """Raises OptionError for a folder that may not be taken, or in which another process trains; else holds it."""
    check_place(out, resume, force)
    if out.is_dir():
        lock.take(out)


def _usable_device(config: Config, world: World) -> torch.device:
    """The device. Raises OptionError where it is not there, or does not compute in the precision asked for."""
    device = choose_device(config.training.device, world)
    for _, training in config.stages():
        choose_precision(training.precision, device)
    return device


def check_computable(config: Config, world: World) -> None:
    """Raises OptionError for what cannot be computed here, or by so many processes."""
    _usable_device(config, world)
    for _, training in config.stages():
        check_parts(training, config.model, world)
        if training.select.startswith("note_on") and config.data.kind == TEXT:
            raise OptionError(f"--select {training.select}: text has no notes; choose elbo or distortion")
        if training.transpose and config.data.kind == TEXT:
            raise OptionError(f"transpose {training.transpose}: text has no notes; leave it out of the preset")


def check_parts(training: TrainConfig, model: ModelConfig, world: World) -> None:
    """Raises OptionError for a batch that cannot be cut into the parts that processes compute."""
    parts = world.size * training.accumulate
    if training.batch_size < parts:
        raise OptionError(
            f"--batch-size {training.batch_size}: must be at least {parts}, for {world.size} processes with "
            f"--accumulate {training.accumulate}"
        )
    if parts > 1 and training.free_bits is not None and training.free_bits_per == "batch":
        raise OptionError("--free-bits-per batch needs a batch at a time: leave out --accumulate, and torchrun")
    if training.batch_size < 2 * parts and (training.mmd or model.posterior == "batch-norm"):
        what = "--mmd" if training.mmd else "--posterior batch-norm"
        raise OptionError(f"{what} needs two sequences in each of {parts} parts: a --batch-size of {2 * parts} or more")


def _check_whiten(training: TrainConfig, dimensions: int, sequences: int) -> None:
    least = LEAST_WHITENED * dimensions
    if training.whiten and sequences < least:
        raise OptionError(
            f"--whiten: {sequences:,} sequences to train on do not tell how {dimensions} latent dimensions lie; "
            f"it takes {least:,}"
        )


def new_model(config: Config, number: int = 0) -> SequenceVAE:
    """First weights; another `number` gives others."""
    # the caller's random numbers are not ours to reset; the device and type of tensors by default are the caller's, too
    with torch.random.fork_rng(devices=[]), torch.device("cpu"):
        torch.default_generator.manual_seed(config.training.seed + number)  # manual_seed reaches all GPUs, too
        return SequenceVAE(config.model).float()


def renew(model: SequenceVAE, part: str, config: Config, phase: int) -> None:
    """Let a part of a model, or none, begin anew in a phase."""
    if part != "none":
        getattr(model, part).load_state_dict(getattr(new_model(config, phase), part).state_dict())


def _open_folder(out: Path, config: Config, *, anew: bool) -> None:
    """Make the run folder, in the place of another one if there is, and write its settings."""
    if anew and out.exists() and any(out.iterdir()):  # an empty one may be a volume, which stays where it is
        aside = out.with_name(f".{out.name}.{os.getpid()}")
        out.rename(aside)  # where that cannot be, the old run stays whole
        shutil.rmtree(aside)
    out.mkdir(parents=True, exist_ok=True)
    for name in (STATE_FILE, MODEL_FILE, CONFIG_FILE, METRICS_FILE):
        for unfinished in out.glob(f".{name}.*"):  # of a process that was killed while it wrote
            unfinished.unlink()
    toml = config.to_toml()
    write_atomically(out / CONFIG_FILE, lambda to: to.write_text(toml, encoding="utf-8", errors="surrogateescape"))
