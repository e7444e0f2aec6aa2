"""A run from its first step to its end: what it leaves behind, how it goes on, and how it gives up."""

import csv
import dataclasses
import errno
import functools
import os
import shutil
import signal
import time
import warnings
from collections.abc import Callable, Sequence
from pathlib import Path
from types import FrameType
from typing import Any

import numpy as np
import pytest
import torch
from command_line import files
from small_trainings import weights, write_tunes

from data_prep.dataset import prepare
from data_prep.errors import InputError
from data_prep.score import Note, Score
from data_prep.windows import MelodyOptions
from seqvae import data, optimization, training
from seqvae.batch import Batch
from seqvae.checkpoint import load_model, load_state, save_state
from seqvae.config import Config, ModelConfig, Phase, TrainConfig
from seqvae.data import SequenceData, transposed
from seqvae.distributed import World
from seqvae.errors import ModelError, OptionError, TrainingError
from seqvae.interruption import handled
from seqvae.metrics import MetricsLog
from seqvae.optimization import Optimization
from seqvae.previews import Previews
from seqvae.progress import Progress
from seqvae.run import LEAST_STEPS, Run
from seqvae.run_folder import FolderLock, read_config
from seqvae.training import train
from seqvae.vae import SequenceVAE

MODEL = ModelConfig(encoder_size=16, decoder_size=16, latent_size=8, embedding_size=8)
TRAINING = TrainConfig(steps=12, batch_size=16, annealing_steps=10, transpose=5, device="cpu", precision="fp32")
CONFIG = Config("test", model=MODEL, training=TRAINING)


@pytest.fixture(scope="module")
def dataset(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Twelve random tunes of eight bars."""
    folder = tmp_path_factory.mktemp("tunes")
    write_tunes(folder, np.random.default_rng(0), tunes=12, notes=64)
    return prepare([folder], folder / "dataset", MelodyOptions(), workers=1).path


def adapted(**changes: object) -> Config:
    return dataclasses.replace(CONFIG, training=dataclasses.replace(TRAINING, **changes))  # type: ignore[arg-type]


def metrics(run: Path) -> list[dict[str, str]]:
    with open(run / "metrics.csv", newline="") as file:
        return list(csv.DictReader(file))


def raising(error: Exception) -> Callable[..., None]:
    def failing(*arguments: object) -> None:
        raise error

    return failing


def assert_equal(one: dict[str, torch.Tensor], other: dict[str, torch.Tensor]) -> None:
    assert one.keys() == other.keys()
    for name, tensor in one.items():
        assert torch.equal(tensor, other[name]), name


def test_a_run_leaves_model_settings_and_metrics(dataset: Path, tmp_path: Path) -> None:
    per_epoch = SequenceData(dataset).steps_per_epoch(16)
    result = train(adapted(validate_every=per_epoch), dataset, tmp_path / "run")
    assert (result.steps, result.stopped, result.skipped_steps) == (12, "finished", 0)
    run = tmp_path / "run"
    assert {"config.toml", "model.safetensors", "last.pt", "metrics.csv"} <= {path.name for path in run.iterdir()}
    rows = metrics(run)
    assert result.epochs == 12 / per_epoch
    assert [float(row["epoch"]) for row in rows[:-1]] == list(range(1, len(rows)))
    assert float(rows[-1]["epoch"]) == round(result.epochs, 2)
    assert all(np.isfinite(float(value)) for row in rows for value in row.values())
    best = max(float(row["elbo"]) for row in rows)
    assert load_model(run / "model.safetensors").metrics["elbo"] == pytest.approx(best, rel=1e-4)


def test_a_bar_is_as_long_as_the_budget_from_the_start(
    dataset: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A notebook's is drawn once and for all: one without a length stays a small box."""
    lengths: list[int | None] = []

    class Bar(training.tqdm):  # type: ignore[misc]
        def __init__(self, *arguments: Any, total: int | None, **options: Any) -> None:
            lengths.append(total)
            super().__init__(*arguments, total=total, **options)

    monkeypatch.setattr(training, "tqdm", Bar)
    per_epoch = SequenceData(dataset).steps_per_epoch(16)
    phases = Phase("first", changes={"steps": 2, "epochs": 1}), Phase("second", changes={"steps": None, "epochs": 1})
    train(dataclasses.replace(CONFIG, phases=phases), dataset, tmp_path / "run", progress=False)
    train(adapted(steps=None, minutes=1e-5), dataset, tmp_path / "short", progress=False)
    assert per_epoch > 2
    assert lengths == [2, 2 + per_epoch, None]


def test_training_lowers_the_loss(dataset: Path, tmp_path: Path) -> None:
    train(adapted(steps=60, learning_rate=1e-2), dataset, tmp_path / "run")
    rows = metrics(tmp_path / "run")
    assert float(rows[-1]["distortion"]) < 0.8 * float(rows[0]["distortion"])


def test_each_step_takes_its_batch_transposed_and_with_dropout(
    dataset: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Validations between the steps, for which the model has none."""
    sequences = SequenceData(dataset)
    plainly = Optimization.step
    seen: list[int] = []

    def noted(run: Optimization, parts: Sequence[Batch], number: int, *rest: Any) -> tuple[torch.Tensor, torch.Tensor]:
        assert run.model.training
        assert torch.equal(parts[0].tokens, sequences.training_batch(number, 16, 0, 5).tokens)
        assert not torch.equal(parts[0].tokens, sequences.training_batch(number, 16, 0, None).tokens)
        seen.append(number)
        return plainly(run, parts, number, *rest)

    monkeypatch.setattr(Optimization, "step", noted)
    train(adapted(steps=3, validate_every=1), dataset, tmp_path / "run")
    assert seen == [0, 1, 2]


@pytest.mark.parametrize(
    "scheduled",
    [{}, {"scheduled_sampling": "constant"}, {"scheduled_sampling": "constant", "scheduled_sampling_parallel": True}],
)
def test_interrupted_and_resumed_ends_with_the_same_weights(dataset: Path, tmp_path: Path, scheduled: dict) -> None:
    whole = adapted(**scheduled)
    train(whole, dataset, tmp_path / "whole")
    in_two = tmp_path / "in-two"
    train(adapted(**scheduled, steps=5), dataset, in_two)
    result = train(whole, dataset, in_two, resume=True)
    assert result.steps == 12
    assert_equal(weights(tmp_path / "whole"), weights(in_two))


@pytest.mark.parametrize(("seconds", "steps"), [(60.0, [1, 1]), (0.0, [2, 5])])
def test_the_first_step_is_saved_and_others_from_time_to_time(
    dataset: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, seconds: float, steps: list[int]
) -> None:
    """So that a run can be resumed that was killed early."""
    saved: list[int] = []

    def look(model: SequenceVAE, run: Path, step: int) -> None:
        saved.append(load_state(run / "last.pt")["done"]["step"])

    monkeypatch.setattr(training, "SAVE_EVERY", seconds)
    train(adapted(steps=6, validate_every=3), dataset, tmp_path / "run", on_validation=look)
    assert saved == steps


def test_what_a_killed_process_was_writing_is_cleared_away(dataset: Path, tmp_path: Path) -> None:
    train(adapted(steps=1), dataset, tmp_path / "run")
    for name in ("last.pt", "model.safetensors"):
        (tmp_path / "run" / f".{name}.4711").write_bytes(b"half of it")
    train(adapted(steps=2), dataset, tmp_path / "run", resume=True)
    assert not [path.name for path in (tmp_path / "run").iterdir() if path.name.startswith(".")]


@pytest.mark.usefixtures("sighup")
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGHUP])
def test_a_signal_saves_and_leaves(dataset: Path, tmp_path: Path, number: signal.Signals) -> None:
    def stop(model: SequenceVAE, run: Path, step: int) -> None:
        os.kill(os.getpid(), number)

    run = tmp_path / "run"
    result = train(adapted(steps=10**6, validate_every=4), dataset, run, on_validation=stop)
    assert (result.stopped, result.steps) == ("interrupted", 5)  # it is noticed after a step
    assert result.epochs == 5 / SequenceData(dataset).steps_per_epoch(16)
    assert signal.getsignal(number) == signal.SIG_DFL
    assert (run / "model.safetensors").exists()
    goal = adapted(steps=result.steps + 3, validate_every=4)
    assert train(goal, dataset, run, resume=True).steps == result.steps + 3
    train(goal, dataset, tmp_path / "whole")
    assert_equal(weights(run), weights(tmp_path / "whole"))
    one, other = metrics(run)[-1], metrics(tmp_path / "whole")[-1]
    assert one | {"seconds": ""} == other | {"seconds": ""}


def test_a_signal_that_comes_again_while_the_run_is_saved_is_the_same_wish(
    dataset: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Of a terminal that is closed the shell tells its processes, and so does the system."""
    plainly = Run.save

    def save(run: Run) -> None:
        os.kill(os.getpid(), signal.SIGTERM)
        plainly(run)

    def interrupt(number: int, frame: FrameType | None) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(Run, "save", save)  # after the first step, and when it was asked to end
    with handled([signal.SIGTERM], interrupt):
        result = train(adapted(steps=10**6), dataset, tmp_path / "run")
    assert (result.stopped, result.steps) == ("interrupted", 2)
    assert load_state(tmp_path / "run" / "last.pt")["done"]["step"] == 2
    assert (tmp_path / "run" / "model.safetensors").exists()


def test_budgets(dataset: Path, tmp_path: Path) -> None:
    per_epoch = SequenceData(dataset).steps_per_epoch(16)
    assert train(adapted(steps=None, epochs=2), dataset, tmp_path / "epochs").steps == 2 * per_epoch
    started = time.monotonic()
    assert train(adapted(steps=None, minutes=0.01), dataset, tmp_path / "minutes").steps > 0
    assert time.monotonic() - started < 30


def test_a_budget_is_of_minutes_of_the_phase() -> None:
    done = Progress(elapsed=90.0)
    assert done.share_of_budget(TrainConfig(minutes=3.0, epochs=None, steps=None), 10) == 0.5
    done.next_phase()
    assert done.share_of_budget(TrainConfig(minutes=3.0, epochs=None, steps=None), 10) == 0.0


def test_time_counts_on_in_a_resumed_run(dataset: Path, tmp_path: Path) -> None:
    run = tmp_path / "run"
    train(adapted(steps=1), dataset, run)
    state = load_state(run / "last.pt")
    state["done"]["elapsed"] = 1e6
    save_state(run / "last.pt", state)
    train(adapted(steps=2), dataset, run, resume=True)
    assert load_state(run / "last.pt")["done"]["elapsed"] > 1e6


def test_early_stopping(dataset: Path, tmp_path: Path) -> None:
    result = train(
        adapted(steps=10**6, learning_rate=1e-12, final_learning_rate=0.0, patience=2), dataset, tmp_path / "a"
    )
    assert result.stopped == "early"


def test_a_run_in_the_way_is_never_overwritten(dataset: Path, tmp_path: Path) -> None:
    run = tmp_path / "run"
    train(adapted(steps=1), dataset, run)
    before = (run / "last.pt").read_bytes()
    with pytest.raises(OptionError, match="--resume"):
        train(adapted(steps=2), dataset, run)
    assert (run / "last.pt").read_bytes() == before
    assert train(adapted(steps=2), dataset, run, force=True).steps == 2


def test_an_empty_folder_is_trained_in_where_it_is(
    dataset: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It may be the place of a volume, or lie where nothing else may be made."""
    (tmp_path / "run").mkdir()
    monkeypatch.setattr(Path, "rename", raising(OSError(errno.EBUSY, "Device or resource busy")))
    assert train(adapted(steps=1), dataset, tmp_path / "run").steps == 1


def test_force_spares_a_folder_that_is_no_run(dataset: Path, tmp_path: Path) -> None:
    (tmp_path / "thesis").mkdir()
    (tmp_path / "thesis" / "chapter1.txt").write_text("precious")
    for force in (True, False):
        with pytest.raises(OptionError, match="is no run folder, so it is left alone; choose another --out"):
            train(CONFIG, str(dataset), str(tmp_path / "thesis"), force=force)
    assert (tmp_path / "thesis" / "chapter1.txt").read_text() == "precious"


def test_resume_refuses_another_model_and_nothing_to_resume(dataset: Path, tmp_path: Path) -> None:
    run = tmp_path / "run"
    train(adapted(steps=1), dataset, run)
    with pytest.raises(OptionError, match="batch-size 16, not 8"):
        train(adapted(steps=2, batch_size=8), dataset, run, resume=True)
    with pytest.raises(OptionError, match="no run folder"):
        train(CONFIG, dataset, tmp_path / "nowhere", resume=True)


def test_a_folder_is_one_process_s_to_train_in(dataset: Path, tmp_path: Path) -> None:
    run = tmp_path / "run"
    train(adapted(steps=1), dataset, run)
    before = files(run)
    with FolderLock() as lock:
        lock.take(run)
        for how in ("resume", "force"):
            with pytest.raises(OptionError, match=f"another process is training {run}"):
                train(adapted(steps=2), dataset, run, **{how: True})
    assert files(run) == before
    assert train(adapted(steps=2), dataset, run, resume=True).steps == 2
    assert train(adapted(steps=1), dataset, run, force=True).steps == 1


def test_a_folder_that_another_process_takes_meanwhile_stays_its_own(
    dataset: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with FolderLock() as lock:

        def slowly(config: Config, tokenizer: dict) -> dict[str, torch.Tensor]:
            (tmp_path / "run").mkdir()
            lock.take(tmp_path / "run")
            return {}

        monkeypatch.setattr("seqvae.run.first_weights", slowly)
        with pytest.raises(OptionError, match="another process is training"):
            train(dataclasses.replace(CONFIG, start_from="elsewhere"), dataset, tmp_path / "run")
    assert not list((tmp_path / "run").iterdir())


def test_a_lock_ends_with_its_block_whatever_was_forked_meanwhile(tmp_path: Path) -> None:
    with FolderLock() as lock:
        lock.take(tmp_path)
        with warnings.catch_warnings(action="ignore"):  # later Pythons warn of threads
            child = os.fork()
        if not child:
            time.sleep(60)
            os._exit(0)
    try:
        with FolderLock() as again:
            again.take(tmp_path)
    finally:
        os.kill(child, signal.SIGKILL)
        os.waitpid(child, 0)


@pytest.mark.parametrize(
    ("before", "after", "message"),
    [
        ("decoder_size = 16", "decoder_size = 12", "was trained with decoder-size 16, not 12"),
        ('optimizer = "adam"', 'optimizer = "sgd"', "was trained with optimizer adam, not sgd"),
        ("batch_size = 16", "batch_size = 8", "was trained with batch-size 16, not 8"),
        (
            "learning_rate = 0.001\nfinal_learning_rate = 1e-05",
            "learning_rate = 1e-6\nfinal_learning_rate = 1e-6",
            "was trained with learning-rate 0.001, not 1e-06",
        ),
    ],
)
def test_settings_that_were_edited_meanwhile_are_told(
    dataset: Path, tmp_path: Path, before: str, after: str, message: str
) -> None:
    run = tmp_path / "run"
    train(adapted(steps=1), dataset, run)
    settings = (run / "config.toml").read_text()
    assert before in settings
    (run / "config.toml").write_text(settings.replace(before, after))
    with pytest.raises(OptionError, match=message):
        train(read_config(run), dataset, run, resume=True)


def test_a_training_state_that_lacks_something_is_told(dataset: Path, tmp_path: Path) -> None:
    run = tmp_path / "run"
    train(adapted(steps=1), dataset, run)
    state = load_state(run / "last.pt")
    del state["sums"], state["config"]
    save_state(run / "last.pt", state)
    with pytest.raises(ModelError, match=r"is damaged and cannot be resumed \(it has no config, no sums"):
        train(adapted(steps=2), dataset, run, resume=True)


@pytest.mark.parametrize(
    ("part", "value"),
    [
        ("model", 3),
        ("model", {"decoder.output.weight": torch.zeros(3)}),
        ("optimization", {}),
        ("optimization", []),
        ("sums", {}),
        ("config", 7),
        ("config", {"training": 3}),
        ("done", None),
        ("done", {"step": "x"}),
        ("done", {"step": -5}),
        ("done", {"phase": 7}),
        ("done", {"best": 1.0}),
        ("done", {"best": {"x": 1.0}}),
        ("done", {"began": {}}),
        ("done", {"of a later version": 1}),
    ],
)
def test_a_training_state_that_does_not_fit_is_told(dataset: Path, tmp_path: Path, part: str, value: object) -> None:
    run = tmp_path / "run"
    train(adapted(steps=1), dataset, run)
    state = load_state(run / "last.pt")
    whole = isinstance(value, dict) and value and part != "config"
    state[part] = state[part] | value if whole else value  # type: ignore[operator]
    save_state(run / "last.pt", state)
    with pytest.raises(ModelError, match=r"last.pt is damaged and cannot be resumed \(") as told:
        train(adapted(steps=2), dataset, run, resume=True)
    assert "\n" not in str(told.value)


def test_a_changed_bit_of_a_training_state_is_noticed(dataset: Path, tmp_path: Path) -> None:
    run = tmp_path / "run"
    train(adapted(steps=1), dataset, run)
    content = bytearray((run / "last.pt").read_bytes())
    content[len(content) // 2] ^= 1
    (run / "last.pt").write_bytes(content)
    with pytest.raises(ModelError, match="is damaged and cannot be resumed"):
        train(adapted(steps=2), dataset, run, resume=True)


def test_steps_that_are_not_finite_are_skipped_counted_and_end_in_advice(
    dataset: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    honest = optimization.charged_rate
    bad_steps = {3, 4}
    calls = iter(range(10**6))

    def sometimes(rates: torch.Tensor, *args: object) -> torch.Tensor:
        charged = honest(rates, *args)  # type: ignore[arg-type]
        return charged * float("nan") if next(calls) in bad_steps else charged

    monkeypatch.setattr(optimization, "charged_rate", sometimes)
    result = train(CONFIG, dataset, tmp_path / "a")
    assert result.skipped_steps == 2
    assert all(torch.isfinite(tensor).all() for tensor in weights(tmp_path / "a").values())
    bad_steps |= set(range(10**5))
    with pytest.raises(TrainingError, match=r"nothing was learned: .* at 3 of 3 steps; try a lower --learning-rate"):
        train(adapted(steps=3), dataset, tmp_path / "short")
    for steps in (20, 10**6):  # at the end, and on the way
        with pytest.raises(TrainingError, match="--learning-rate"):
            train(adapted(steps=steps), dataset, tmp_path / str(steps))


def test_steps_that_are_not_finite_are_counted_across_validations(
    dataset: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(optimization, "charged_rate", lambda rates, *rest: rates.sum() * torch.nan)
    with pytest.raises(TrainingError, match="not finite for 20 steps in a row, up to step 20"):
        train(adapted(steps=40, validate_every=5), dataset, tmp_path / "run")


@pytest.mark.parametrize(
    "error",
    [torch.OutOfMemoryError("CUDA out of memory."), RuntimeError("DefaultCPUAllocator: can't allocate memory: you")],
)
def test_a_batch_that_does_not_fit_into_memory_says_what_would(
    dataset: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, error: RuntimeError
) -> None:
    monkeypatch.setattr(optimization, "charged_rate", raising(error))
    with pytest.raises(TrainingError, match=r"16 sequences .* memory of cpu: try --accumulate 2, or a --batch-size"):
        train(CONFIG, dataset, tmp_path / "run")
    monkeypatch.setattr(optimization, "charged_rate", lambda *arguments: 1 + torch.ones(2, 3) @ torch.ones(2))
    with pytest.raises(RuntimeError, match="size"):  # a programming error stays what it is
        train(adapted(accumulate=2), dataset, tmp_path / "other")


def test_a_batch_that_does_not_fit_is_of_the_sequences_that_there_are(
    dataset: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(optimization, "charged_rate", raising(torch.OutOfMemoryError("CUDA out of memory.")))
    size = len(SequenceData(dataset).train)
    with pytest.raises(TrainingError, match=f"a batch of {size} sequences .* or a --batch-size below {size}"):
        train(adapted(batch_size=10**6), dataset, tmp_path / "run")


def test_a_run_that_failed_before_its_first_state_is_in_nobody_s_way(
    dataset: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as patched:
        patched.setattr(optimization, "charged_rate", raising(torch.OutOfMemoryError("CUDA out of memory.")))
        with pytest.raises(TrainingError, match="fit"):
            train(CONFIG, dataset, tmp_path / "run")
    assert [path.name for path in (tmp_path / "run").iterdir()] == ["config.toml"]
    with pytest.raises(ModelError, match="begin again without --resume"):
        train(CONFIG, dataset, tmp_path / "run", resume=True)
    (tmp_path / "run" / "notes.md").touch()
    with pytest.raises(OptionError, match="--force"):
        train(CONFIG, dataset, tmp_path / "run")
    (tmp_path / "run" / "notes.md").unlink()
    assert train(adapted(steps=1), dataset, tmp_path / "run").steps == 1


def test_a_model_that_does_not_fit_replaces_nothing(dataset: Path, tmp_path: Path) -> None:
    run = tmp_path / "run"
    train(adapted(steps=1), dataset, run)
    before = files(run)
    huge = dataclasses.replace(CONFIG, model=dataclasses.replace(MODEL, latent_size=2**31 - 1, encoder_size=2**20))
    with pytest.raises(TrainingError, match=r"the model does not fit into the memory of cpu: .*latent_size 2147483647"):
        train(huge, dataset, run, force=True)
    assert files(run) == before
    with pytest.raises(TrainingError, match="does not fit"):
        train(huge, dataset, tmp_path / "new")
    assert not (tmp_path / "new").exists()
    with pytest.raises(OptionError, match=r"latent-size .*: must be below"):
        train(dataclasses.replace(CONFIG, model=dataclasses.replace(MODEL, latent_size=10**20)), dataset, run)


def test_weights_that_became_infinite_are_no_success(dataset: Path, tmp_path: Path) -> None:
    with pytest.raises(TrainingError, match="nothing was learned"):
        train(adapted(steps=4, learning_rate=1e30, clip=1e30), dataset, tmp_path / "run")


def test_a_model_that_was_removed_is_made_again(dataset: Path, tmp_path: Path) -> None:
    train(adapted(steps=2), dataset, tmp_path / "run")
    model = tmp_path / "run" / "model.safetensors"
    for steps in (2, 3):  # nothing is left to do; one step more
        model.unlink()
        result = train(adapted(steps=steps), dataset, tmp_path / "run", resume=True)
        assert_equal(load_model(model).model.state_dict(), weights(tmp_path / "run"))
    assert result.best["step"] == 3


def test_a_process_that_has_other_sequences_than_the_first_says_so(dataset: Path, tmp_path: Path) -> None:
    class Elsewhere(World):
        def by_first(self, work: Callable[[], Any]) -> Any:
            return "what it holds there"

    with pytest.raises(TrainingError, match="holds other sequences, or in another order, than the same dataset"):
        train(CONFIG, dataset, tmp_path / "run", world=Elsewhere())
    assert not (tmp_path / "run").exists()


def test_a_dataset_with_nothing_to_validate_on_is_refused_before_anything_is_made(tmp_path: Path) -> None:
    Score((Note(60, 0, 32),), 32).write_midi(tmp_path / "one.mid")
    lonely = prepare([tmp_path / "one.mid"], tmp_path / "dataset", MelodyOptions(), workers=1).path
    with pytest.raises(TrainingError, match="nothing to validate on: add more"):
        train(CONFIG, lonely, tmp_path / "run")
    assert not (tmp_path / "run").exists()


def test_validations_come_when_they_are_asked_for(dataset: Path, tmp_path: Path) -> None:
    """Each after so many steps and one at the end, of which callbacks hear, too."""
    seen: list[int] = []

    def noted(model: SequenceVAE, run: Path, step: int) -> None:
        seen.append(step)

    train(adapted(validate_every=5), dataset, tmp_path / "run", on_validation=noted)
    assert seen == [5, 10, 12]
    rows = metrics(tmp_path / "run")
    per_epoch = SequenceData(dataset).steps_per_epoch(16)
    assert [int(row["step"]) for row in rows] == seen
    assert [float(row["epoch"]) for row in rows] == [round(step / per_epoch, 2) for step in seen]


def test_short_epochs_are_put_together_for_a_validation(dataset: Path, tmp_path: Path) -> None:
    per_epoch = SequenceData(dataset).steps_per_epoch(16)
    together = -(-LEAST_STEPS // per_epoch) * per_epoch
    assert per_epoch < LEAST_STEPS < together + per_epoch
    train(adapted(steps=together + 1, batch_size=16), dataset, tmp_path / "run")
    assert [int(row["step"]) for row in metrics(tmp_path / "run")] == [together, together + 1]


def test_a_run_that_is_over_says_so(dataset: Path, tmp_path: Path) -> None:
    assert train(adapted(steps=3), dataset, tmp_path / "run").stopped == "finished"
    again = train(adapted(steps=2), dataset, tmp_path / "run", resume=True)
    assert (again.stopped, again.steps) == ("over", 3)


def test_patience_counts_validations(dataset: Path, tmp_path: Path) -> None:
    """At a learning rate near 0 nothing gets better."""
    still = adapted(steps=40, validate_every=4, patience=2, learning_rate=1e-30, final_learning_rate=0.0)
    result = train(still, dataset, tmp_path / "run")
    assert (result.stopped, result.steps) == ("early", 12)


def test_a_resumed_run_may_validate_at_other_steps(dataset: Path, tmp_path: Path) -> None:
    train(adapted(steps=8, validate_every=4), dataset, tmp_path / "run")
    train(adapted(validate_every=3), dataset, tmp_path / "run", resume=True)
    assert [int(row["step"]) for row in metrics(tmp_path / "run")] == [4, 8, 9, 12]


def test_a_state_of_another_version_is_refused(dataset: Path, tmp_path: Path) -> None:
    train(CONFIG, dataset, tmp_path / "run")
    state = torch.load(tmp_path / "run" / "last.pt", weights_only=True)
    torch.save(state | {"format": 0}, tmp_path / "run" / "last.pt")
    with pytest.raises(ModelError, match="another version of seqvae; begin again with --force"):
        train(CONFIG, dataset, tmp_path / "run", resume=True)


def test_free_bits_and_beta_change_what_is_learned(dataset: Path, tmp_path: Path) -> None:
    def rate(**changes: object) -> float:
        config = adapted(steps=25, annealing="none", learning_rate=1e-2, **changes)
        out = tmp_path / "-".join(map(str, changes.values()))
        return train(config, dataset, out).best["rate"]

    assert rate(beta=4.0) < rate(beta=0.01)
    assert rate(beta=4.0, free_bits=200.0) > rate(beta=4.0, free_bits=1.0)


def test_transposition_stays_in_the_alphabet_and_keeps_the_tune() -> None:
    ids = np.array([[2, 0, 4, 1], [89, 0, 88, 1], [2, 89, 0, 0], [0, 0, 0, 0], [40, 0, 50, 1]] * 50)
    draws = np.random.default_rng(0).random(len(ids))
    draws[4], draws[9] = 0.0, np.nextafter(1.0, 0.0)
    moved = transposed(torch.from_numpy(ids), range(2, 90), 5, torch.from_numpy(draws)).numpy()
    notes = ids >= 2
    assert moved[notes].min() >= 2
    assert moved[notes].max() <= 89
    assert np.array_equal(moved[~notes], ids[~notes])
    shift = moved - ids
    for row, played in zip(shift, notes, strict=True):
        assert len(set(row[played])) <= 1
    assert set(shift[0::5, 0]) == set(range(6))
    assert set(shift[1::5, 0]) == set(range(-5, 1))
    assert set(shift[2::5, 0]) == {0}
    assert set(shift[4::5, 0]) == set(range(-5, 6))
    assert (shift[4, 0], shift[9, 0]) == (-5, 5)


def test_batches_follow_from_seed_and_step_alone(dataset: Path) -> None:
    one, other = SequenceData(dataset), SequenceData(dataset)
    per_epoch = one.steps_per_epoch(16)
    later = one.training_batch(per_epoch + 1, 16, 0, 5)
    for step in (0, 1, per_epoch + 1):
        batch = other.training_batch(step, 16, 0, 5)
    assert torch.equal(batch.tokens, later.tokens)
    assert not torch.equal(other.training_batch(per_epoch + 1, 16, 1, 5).tokens, later.tokens)
    epoch = torch.cat([other.training_batch(step, 16, 0, None).tokens for step in range(per_epoch)])
    assert len(epoch.unique(dim=0)) == len(epoch)


def test_epochs_differ_in_their_order_and_steps_in_their_intervals(dataset: Path) -> None:
    sequences = SequenceData(dataset)
    each = sequences.steps_per_epoch(16)
    plain = [sequences.training_batch(step, 16, 0).tokens for step in range(2 * each)]
    assert not torch.equal(torch.cat(plain[:each]), torch.cat(plain[each:]))
    shifts = [(sequences.training_batch(step, 16, 0, 5).tokens - plain[step]).amax(1) for step in range(4)]
    assert len({tuple(shift.tolist()) for shift in shifts}) == 4


def test_batches_cut_from_a_copy_on_the_device_are_the_same(dataset: Path) -> None:
    mapped, kept = SequenceData(dataset), SequenceData(dataset)
    kept.keep_on(torch.device("cpu"))
    for step in (0, 1, mapped.steps_per_epoch(16) + 2):
        for transpose in (None, 5):
            one, other = (data.training_batch(step, 16, 3, transpose) for data in (mapped, kept))
            assert torch.equal(one.tokens, other.tokens)


def test_rows_of_a_large_file_are_those_of_a_small_one(dataset: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    before = SequenceData(dataset).training_batch(3, 16, 0).tokens
    read = data.FileRows.__getitem__
    calls: list[int] = []
    monkeypatch.setattr(data.FileRows, "__getitem__", lambda rows, which: (calls.append(1), read(rows, which))[1])
    monkeypatch.setattr(data, "MOST_MAPPED", 1)
    assert torch.equal(SequenceData(dataset).training_batch(3, 16, 0).tokens, before)
    assert calls


@pytest.mark.parametrize("mapped", [data.MOST_MAPPED, 1])
def test_data_that_are_damaged_meanwhile_are_told(
    dataset: Path, tmp_path: Path, mapped: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """By what looks at each batch: a large file is not looked through when it is opened."""
    monkeypatch.setattr(data, "MOST_MAPPED", mapped)
    monkeypatch.setattr("data_prep.dataset.MOST_CHECKED", 0)
    folder = shutil.copytree(dataset, tmp_path / "data")
    ids = np.load(folder / "train.npy")
    np.save(folder / "train.npy", np.full_like(ids, 90))
    with pytest.raises(InputError, match="is damaged: there is an id 90, and only 90 are known"):
        SequenceData(folder).training_batch(0, 16, 0)
    if mapped == 1:
        opened = SequenceData(folder)
        os.truncate(folder / "train.npy", ids.nbytes // 2)
        with pytest.raises(InputError, match="has become shorter: prepare the dataset anew"):
            opened.training_batch(0, len(ids), 0)


@pytest.mark.parametrize("parts", [2, 3, 40])
def test_parts_of_a_batch_make_it_up(dataset: Path, parts: int) -> None:
    sequences = SequenceData(dataset)
    whole = sequences.training_batch(1, 16, 0, 5)
    cut = [sequences.training_batch(1, 16, 0, 5, part, parts) for part in range(parts)]
    for part, some in enumerate(cut[:16]):
        assert torch.equal(some.tokens, whole.tokens[part::parts])
    assert sum(some.share for some in cut) == pytest.approx(1.0)
    assert all(len(some) == 1 and some.share == 0.0 for some in cut[16:])


def test_previews_are_music_and_a_picture(dataset: Path, tmp_path: Path) -> None:
    train(CONFIG, dataset, tmp_path / "run", on_validation=Previews(dataset, every=0.0))
    names = sorted(path.name for path in (tmp_path / "run" / "previews").iterdir())
    assert "step-000012.png" in names
    assert {"step-000012-samples.mid", "step-000012-reconstructions.mid"} <= set(names)
    picture = (tmp_path / "run" / "previews" / "step-000012.png").read_bytes()
    assert picture.startswith(b"\x89PNG")


def test_previews_keep_their_distance(dataset: Path, tmp_path: Path) -> None:
    train(adapted(epochs=3, steps=None), dataset, tmp_path / "run", on_validation=Previews(dataset, every=3600.0))
    assert len(list((tmp_path / "run" / "previews").glob("*.png"))) == 1


def test_a_round_in_which_all_steps_were_skipped_hides_no_columns(tmp_path: Path) -> None:
    log = MetricsLog(tmp_path)
    log.write(1, 5, 0.5, {"train_loss": 2.0, "elbo": -3.0})
    log.write(2, 10, 1.0, {"elbo": -2.5})
    assert [(row["train_loss"], row["elbo"]) for row in metrics(tmp_path)] == [("2", "-3"), ("", "-2.5")]
    log.write(2.504, 13, 1.5, {"train_loss": 1.0, "elbo": -2.0})
    MetricsLog(tmp_path, keep_steps=10).write(3, 15, 2.0, {"elbo": -1.0})
    assert [(row["epoch"], row["step"]) for row in metrics(tmp_path)] == [("1", "5"), ("2", "10"), ("3", "15")]


def test_without_beta_the_model_is_kept_by_its_distortion() -> None:
    done = Progress(best={"elbo": -10.0, "distortion": 5.0})
    worse_bound = {"elbo": -90.0, "distortion": 4.0}
    assert not Progress(best=done.best).is_better(worse_bound, TrainConfig(beta=0.1))
    assert done.is_better(worse_bound, TrainConfig(beta=0.0))


def test_a_run_does_not_go_on_with_another_dataset(dataset: Path, tmp_path: Path) -> None:
    write_tunes(tmp_path, np.random.default_rng(1), tunes=12, notes=64)
    other = prepare([tmp_path], tmp_path / "dataset", MelodyOptions(), workers=1).path
    train(adapted(steps=2), dataset, tmp_path / "run")
    with pytest.raises(OptionError, match=r"holds other sequences, or in another order, than .*run was trained on"):
        train(adapted(steps=4), other, tmp_path / "run", resume=True)


def test_a_run_goes_on_with_its_dataset_prepared_anew(tmp_path: Path) -> None:
    write_tunes(tmp_path / "tunes", np.random.default_rng(1), tunes=12, notes=64)
    made = [prepare([tmp_path / "tunes"], tmp_path / "0", MelodyOptions(), workers=1)]
    for path in (tmp_path / "tunes").iterdir():
        os.utime(path, ns=(0, 0))
    made.append(prepare([tmp_path / "tunes"], tmp_path / "1", MelodyOptions(), workers=1))
    prints, contents = ({data.info[mark] for data in made} for mark in ("fingerprint", "contents"))
    assert (len(prints), len(contents)) == (2, 1)
    train(adapted(steps=2), made[0].path, tmp_path / "run")
    assert train(adapted(steps=4), made[1].path, tmp_path / "run", resume=True).steps == 4


@pytest.mark.parametrize(("whiten", "posterior"), [(True, "gaussian"), (False, "batch-norm")])
def test_steps_between_validations_stay_where_they_mean_more(
    dataset: Path, tmp_path: Path, whiten: bool, posterior: str
) -> None:
    often, seldom = (
        dataclasses.replace(
            adapted(steps=2 * every, validate_every=every, whiten=whiten),
            model=dataclasses.replace(CONFIG.model, posterior=posterior),
        )
        for every in (1, 2)
    )
    train(often, dataset, tmp_path / "run")
    with pytest.raises(OptionError, match="was trained with validate-every 1, not 2"):
        train(seldom, dataset, tmp_path / "run", resume=True)


class AskedAfter:
    """In the place of an Interruption: it is asked for after so many steps."""

    def __init__(self, steps: int) -> None:
        self._left = steps

    def __enter__(self) -> "AskedAfter":
        return self

    def __exit__(self, *why: object) -> None:
        pass

    @property
    def asked(self) -> bool:
        self._left -= 1
        return self._left <= 0


def test_before_the_first_validation_the_model_is_that_of_the_last_step(
    dataset: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    found = []
    for steps in (2, 3):
        monkeypatch.setattr(training, "Interruption", functools.partial(AskedAfter, steps))
        train(adapted(steps=100, validate_every=100), dataset, tmp_path / "run", resume=bool(found))
        found.append(load_model(tmp_path / "run" / "model.safetensors").model.state_dict())
        assert_equal(found[-1], weights(tmp_path / "run"))
    assert not torch.equal(*(each["decoder.output.weight"] for each in found))


def test_damaged_metrics_are_told(dataset: Path, tmp_path: Path) -> None:
    train(adapted(steps=1), dataset, tmp_path / "run")
    path = tmp_path / "run" / "metrics.csv"
    whole = path.read_text()
    for damaged in (whole.replace(",", ";"), whole[: whole.rindex(",")], f"{whole.strip()},1\n"):
        path.write_text(damaged)
        with pytest.raises(ModelError, match=r"metrics\.csv is damaged: restore it, or remove it"):
            train(adapted(steps=2), dataset, tmp_path / "run", resume=True)
