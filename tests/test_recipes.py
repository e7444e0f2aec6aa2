"""Every setting of a training does something, for melodies and for sentences alike; phases follow each other."""

import csv
import dataclasses
import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from small_trainings import config, melodies, sentences, weights
from torch import nn

from seqvae import optimization, training
from seqvae import run as runs
from seqvae.checkpoint import load_model, load_state
from seqvae.config import Config, Phase, TrainConfig
from seqvae.data import SequenceData
from seqvae.embedding import TokenInput
from seqvae.errors import OptionError
from seqvae.optimization import Optimization
from seqvae.progress import Progress
from seqvae.training import train
from seqvae.updating import update


@pytest.fixture(scope="module", params=[melodies, sentences])
def dataset(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return request.param(tmp_path_factory.mktemp("data"))


@pytest.fixture(scope="module")
def text(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return sentences(tmp_path_factory.mktemp("text"))


def differ(one: dict[str, torch.Tensor], other: dict[str, torch.Tensor]) -> bool:
    return one.keys() != other.keys() or any(
        one[name].shape != other[name].shape or not torch.equal(one[name], other[name]) for name in one
    )


def rows(run: Path) -> list[dict[str, str]]:
    with open(run / "metrics.csv", newline="") as file:
        return list(csv.DictReader(file))


SETTINGS: list[dict[str, Any]] = [
    {"optimizer": "sgd"},
    {"clip": 1e-3},
    {"beta": 0.9},
    {"annealing": "linear"},
    {"annealing_epochs": 5.0, "annealing": "sigmoid"},
    {"free_bits": 5.0, "free_bits_per": "dimension"},
    {"free_bits": 5.0, "free_bits_per": "batch"},
    {"free_bits": 100.0},
    {"mmd": 5.0},
    {"adversarial": 5.0},
    {"word_dropout": 0.5},
    {"encoder_drop": 0.3},
    {"encoder_mask": 0.3},
    {"encoder_swap": 0.3},
    {"scheduled_sampling": "constant"},
    {"scheduled_sampling": "constant", "scheduled_sampling_parallel": True},
    {"seed": 1},
]
MODEL_SETTINGS: list[dict[str, Any]] = [
    {"posterior": "batch-norm"},
    {"posterior": "batch-norm", "gamma": 1.0},
    {"posterior": "delta"},
    {"posterior": "delta", "minimum_rate": 12.0},
    {"summary": "mean"},
    {"summary": "max"},
    {"latent_to": "start"},
    {"initial_state": "shared"},
    {"bidirectional": False},
    {"dropout": 0.3},
    {"bias": False},
    {"embedding_size": None},
    {"embedding_size": 12, "tied": True},
    {"initialisation": "uniform"},
]


def named(settings: dict[str, Any]) -> str:
    return "-".join(f"{key}={value}" for key, value in settings.items())


def begun(dataset: Path, config: Config) -> tuple[SequenceData, Optimization]:
    """What a run trains on, and its steps."""
    data = SequenceData(dataset)
    fitted = data.fitted(config)
    steps = data.steps_per_epoch(16)
    return data, Optimization(runs.new_model(fitted), fitted.training, torch.device("cpu"), "fp32", steps)


def after_two_steps(dataset: Path, config: Config) -> dict[str, torch.Tensor]:
    """The weights after two steps of the optimizer."""
    data, run = begun(dataset, config)
    for step in range(2):
        _, finite = run.step([data.training_batch(step, 16, 0)], step, step, 0.0, 0)
        assert finite
    return run.model.state_dict()


@pytest.fixture(scope="module")
def plain(dataset: Path) -> dict[str, torch.Tensor]:
    return after_two_steps(dataset, config())


@pytest.mark.parametrize("settings", SETTINGS, ids=named)
def test_every_setting_of_the_training_does_something(
    dataset: Path, plain: dict[str, torch.Tensor], settings: dict[str, Any]
) -> None:
    assert differ(after_two_steps(dataset, config(**settings)), plain)


@pytest.mark.parametrize("settings", MODEL_SETTINGS, ids=named)
def test_every_setting_of_the_model_trains(
    dataset: Path, plain: dict[str, torch.Tensor], settings: dict[str, Any]
) -> None:
    assert differ(after_two_steps(dataset, config(model=settings)), plain)


def test_nothing_else_changes_the_weights(dataset: Path, plain: dict[str, torch.Tensor]) -> None:
    assert not differ(after_two_steps(dataset, config()), plain)


@pytest.mark.parametrize("weight", ["beta", "mmd", "adversarial"])
def test_the_loss_is_linear_in_its_weights(text: Path, weight: str) -> None:
    losses = []
    for times in (0.0, 1.0, 3.0):
        data, run = begun(text, config(**{"beta": 0.5} | {weight: times}))
        figures, _ = run.step([data.training_batch(0, 16, 0)], 0, 0, 0.0, 0)
        loss, distortion, rate, beta, rows, _ = figures.tolist()
        losses.append(loss / rows)
        if weight == "beta":
            assert loss == pytest.approx(distortion + times * rate, rel=1e-5)
            assert beta == times * rows
    once, thrice = losses[1] - losses[0], losses[2] - losses[0]
    assert abs(once) > 1e-3
    assert thrice == pytest.approx(3 * once, rel=1e-2)


@pytest.mark.parametrize("weight", ["mmd", "adversarial"])
def test_what_holds_latents_near_the_prior_is_added_to_the_loss(
    text: Path, monkeypatch: pytest.MonkeyPatch, weight: str
) -> None:
    monkeypatch.setattr(optimization, "mmd", lambda z, prior: 2.5 * torch.ones(()))
    monkeypatch.setattr(optimization.Adversary, "loss", lambda self, z: 2.5 * torch.ones(()))
    losses = []
    for times in (0.0, 4.0):
        data, run = begun(text, config(**{weight: times}))
        figures, _ = run.step([data.training_batch(0, 16, 0)], 0, 0, 0.0, 0)
        losses.append(float(figures[0] / figures[4]))
    assert losses[1] - losses[0] == pytest.approx(10.0, rel=1e-4)


@pytest.mark.parametrize("parts", [3, 20])
def test_a_batch_in_parts_is_the_step_of_the_whole(text: Path, parts: int) -> None:
    """Parts of several sizes; of a model without latents, whose steps have no noise."""
    ends, figures = [], []
    for number in (1, parts):
        data, run = begun(text, config(optimizer="sgd", learning_rate=1.0, clip=1e9, model={"latent_size": 0}))
        some = [data.training_batch(0, 16, 0, None, part, number) for part in range(number)]
        figures.append(run.step(some, 0, 0, 0.0, 0)[0])
        ends.append(run.model.state_dict())
    torch.testing.assert_close(figures[0], figures[1])
    torch.testing.assert_close(ends[0], ends[1])


def test_schedules_follow_the_steps_of_the_phase(text: Path) -> None:
    linear = {"annealing": "linear", "annealing_steps": 10, "beta": 0.8}
    data, run = begun(text, config(**linear, learning_rate_decay="exponential"))
    figures, _ = run.step([data.training_batch(7, 16, 0)], 1007, 7, 0.0, 0)
    assert float(figures[3] / figures[4]) == pytest.approx(0.8 * 7 / 10)
    assert run.optimizer.param_groups[0]["lr"] == pytest.approx(1e-2 * 0.9999**7, rel=1e-9)


def test_annealing_may_be_given_in_epochs(text: Path) -> None:
    data, run = begun(text, config(annealing="linear", annealing_epochs=2.5, beta=0.8))
    steps = data.steps_per_epoch(16)
    assert run.beta(steps) == pytest.approx(0.8 * steps / round(2.5 * steps))


@pytest.mark.parametrize(
    ("settings", "model"),
    [
        ({"adversarial": 5.0, "encoder_drop": 0.2, "word_dropout": 0.2}, {}),
        ({"optimizer": "sgd", "mmd": 1.0}, {"posterior": "batch-norm", "dropout": 0.3}),
    ],
)
def test_a_resumed_run_ends_with_the_weights_of_one_that_was_not(
    text: Path, tmp_path: Path, settings: dict[str, Any], model: dict[str, Any]
) -> None:
    train(config(**settings, model=model), text, tmp_path / "whole")
    train(config(**settings | {"steps": 2}, model=model), text, tmp_path / "two")
    train(config(**settings, model=model), text, tmp_path / "two", resume=True)
    assert not differ(weights(tmp_path / "two"), weights(tmp_path / "whole"))
    loaded = load_model(tmp_path / "two" / "model.safetensors").model
    assert set(loaded.state_dict()) == set(weights(tmp_path / "two"))


def test_phases_follow_each_other_with_settings_of_their_own(text: Path, tmp_path: Path) -> None:
    phases = (
        Phase("autoencoder", changes={"beta": 0.0, "steps": 4, "select": "distortion"}),
        Phase("variational", "decoder", {"beta": 1.0, "steps": 3}),
    )
    result = train(config(*phases), text, tmp_path / "run")
    assert result.steps == 7
    betas = {float(row["train_beta"]) for row in rows(tmp_path / "run")}
    assert betas == {0.0, 1.0}
    assert load_model(tmp_path / "run" / "model.safetensors").config.phases == phases


def test_a_phase_begins_with_the_best_model_and_a_new_part(
    text: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    validate = training._validate
    monkeypatch.setattr(training, "_validate", lambda run: validate(run) | {"elbo": -float(run.done.step)})
    first = Phase("first", changes={"steps": 4, "validate_every": 2})
    train(config(first), text, tmp_path / "one")
    still = {"learning_rate": 1e-30, "steps": 1}
    train(config(first, Phase("second", "decoder", still)), text, tmp_path / "two")
    best, after = load_model(tmp_path / "one" / "model.safetensors").model.state_dict(), weights(tmp_path / "two")
    for name in after:
        assert torch.allclose(after[name], best[name]) == name.startswith("encoder"), name


def test_phases_that_are_interrupted_go_on_where_they_were(text: Path, tmp_path: Path) -> None:
    def recipe(second: int) -> Config:
        return config(
            Phase("first", changes={"steps": 3}),
            Phase("second", "decoder", {"steps": second, "annealing": "linear", "annealing_steps": 5}),
        )

    train(recipe(5), text, tmp_path / "whole")
    interrupted = recipe(5)

    def stop(model: object, run: Path, step: int) -> None:
        if step >= 3:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):  # as a kill would: nothing is saved any more
        train(interrupted, text, tmp_path / "parts", on_validation=stop)
    train(interrupted, text, tmp_path / "parts", resume=True)
    assert not differ(weights(tmp_path / "parts"), weights(tmp_path / "whole"))


def test_a_plateau_halves_the_rate_and_ends_at_last(text: Path, tmp_path: Path) -> None:
    plateau = {"learning_rate_decay": "plateau", "plateau_patience": 2, "plateau_halvings": 2, "optimizer": "sgd"}
    still = config(**plateau, learning_rate=1e-30, final_learning_rate=0.0, steps=None, epochs=40, validate_every=15)
    result = train(still, text, tmp_path / "run")
    assert result.steps == result.epochs * 15
    assert (result.stopped, result.epochs) == ("plateau", 7.0)  # the best, twice two halvings, and two more without one
    state = load_state(tmp_path / "run" / "last.pt")
    assert state["done"]["halvings"] == 2
    assert state["optimization"]["optimizer"]["param_groups"][0]["lr"] == pytest.approx(2.5e-31)
    again = train(still, text, tmp_path / "run", resume=True)
    assert (again.stopped, again.steps) == ("plateau", result.steps)
    late = dataclasses.replace(still, training=dataclasses.replace(still.training, plateau_after=5))
    assert train(late, text, tmp_path / "late").epochs == 9.0


def test_a_halving_goes_back_to_the_best_model_with_a_new_optimizer(
    text: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    validate = training._validate
    monkeypatch.setattr(training, "_validate", lambda run: validate(run) | {"elbo": -float(run.done.step)})
    plateau = {"learning_rate_decay": "plateau", "plateau_patience": 1, "steps": 4, "validate_every": 2}
    train(config(**plateau), text, tmp_path / "run")
    best = load_model(tmp_path / "run" / "model.safetensors")
    assert best.metrics["step"] == 2
    assert not differ(weights(tmp_path / "run"), best.model.state_dict())
    state = load_state(tmp_path / "run" / "last.pt")
    assert state["done"]["halvings"] == 1
    assert state["optimization"]["optimizer"]["state"] == {}


def test_a_run_that_is_killed_after_a_halving_goes_on_from_the_best_model_of_that_time(
    text: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(training, "SAVE_EVERY", 1e9)
    settings = {"learning_rate_decay": "plateau", "plateau_patience": 1, "optimizer": "sgd", "clip": 100.0}
    each = SequenceData(text).steps_per_epoch(16)
    wild = config(**settings, learning_rate=50.0, steps=None, epochs=12, validate_every=each)
    train(wild, text, tmp_path / "whole")
    elbos = [float(row["elbo"]) for row in rows(tmp_path / "whole")]
    better = [n for n in range(1, len(elbos)) if elbos[n] > max(elbos[:n])]
    worse = next(n for n in range(1, len(elbos)) if n not in better)  # the first halving comes after it
    last = next(n for n in better if n > worse)  # model.safetensors is of this validation

    def kill(model: object, run: Path, step: int) -> None:
        if step == int(rows(tmp_path / "whole")[last]["step"]):
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        train(wild, text, tmp_path / "killed", on_validation=kill)
    train(wild, text, tmp_path / "killed", resume=True)
    assert not differ(weights(tmp_path / "killed"), weights(tmp_path / "whole"))


def test_a_phase_has_whole_epochs_of_its_own(text: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[tuple[int, int]] = []
    plainly = SequenceData.training_batch

    def watched(data: SequenceData, place: int, size: int, *rest: Any) -> Any:
        asked.append((size, place))
        return plainly(data, place, size, *rest)

    monkeypatch.setattr(SequenceData, "training_batch", watched)
    phases = (Phase("a", changes={"steps": 5}), Phase("b", changes={"steps": None, "epochs": 2, "batch_size": 12}))
    train(config(*phases), text, tmp_path / "run")
    each = SequenceData(text).steps_per_epoch(12)
    assert [int(row["step"]) for row in rows(tmp_path / "run")] == [5, 5 + each, 5 + 2 * each]
    places = [place for size, place in asked if size == 12]
    assert places == list(range(places[0], places[0] + 2 * each))
    assert places[0] % each == 0


def test_aggressive_training_looks_at_the_batches_of_its_epoch(
    text: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[int] = []
    plainly = SequenceData.training_batch

    def watched(data: SequenceData, place: int, *rest: Any) -> Any:
        asked.append(place)
        return plainly(data, place, *rest)

    monkeypatch.setattr(SequenceData, "training_batch", watched)
    for module in (optimization, training):
        monkeypatch.setattr(module, "INNER_STEPS", 4)
    train(config(aggressive=True, steps=None, epochs=2, batch_size=64), text, tmp_path / "run")
    each = SequenceData(text).steps_per_epoch(64)
    assert {place // each for place in asked} == {0, 1}
    assert sum(place >= each for place in asked) > each


def test_steps_and_epochs_of_annealing_replace_each_other() -> None:
    base = config(Phase("a", changes={"annealing_steps": 7}), Phase("b"), annealing_epochs=3.0)
    (_, one), (_, other) = base.stages()
    assert (one.annealing_steps, one.annealing_epochs, other.annealing_epochs) == (7, None, 3.0)


def test_free_bits_of_a_batch_need_all_of_it(text: Path, tmp_path: Path) -> None:
    with pytest.raises(OptionError, match="--free-bits-per batch needs a batch at a time"):
        train(config(free_bits=5.0, free_bits_per="batch", accumulate=2), text, tmp_path / "run")


def test_what_cannot_be_told_is_not_the_best() -> None:
    done, settings = Progress(), TrainConfig(select="note_on_free_running")
    nan = {"note_on_free_running": math.nan, "elbo": -3.0}
    assert done.is_better(nan, settings)
    done.best = nan
    assert done.is_better({"note_on_free_running": math.nan, "elbo": -2.0}, settings)
    assert done.is_better({"note_on_free_running": 0.0, "elbo": -5.0}, settings)
    done.best = {"note_on_free_running": 0.0, "elbo": -5.0}
    assert not done.is_better({"note_on_free_running": 0.1, "elbo": -5.0} | nan, settings)


def test_a_phase_begins_with_no_best_and_no_patience_used() -> None:
    done = Progress(step=7, stale=5, best={"elbo": -1.0, "distortion": 1.0}, plateau=3, halvings=2)
    done.next_phase()
    assert (done.stale, done.plateau, done.halvings) == (0, 0, 0)
    assert done.is_better({"elbo": -90.0, "distortion": 80.0}, TrainConfig())


def test_an_adversary_does_not_see_the_noise_of_z_twice(text: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    data, run = begun(text, config(adversarial=1.0))
    seen: list[torch.Tensor] = []
    error = run.adversary.error  # type: ignore[union-attr]
    monkeypatch.setattr(run.adversary, "error", lambda z, prior: seen.append(prior) or error(z, prior))
    run.step([data.training_batch(4, 16, 0)], 4, 4, 0.0, 0)
    noise = torch.randn(seen[0].shape, generator=run._generator(0, 4))
    assert not torch.allclose(seen[0], noise)


def test_the_first_weights_of_an_adversary_follow_from_the_seed(text: Path) -> None:
    """Whatever was drawn before, of which as much is left to be drawn."""
    states = []
    for drawn in (1, 2):
        torch.manual_seed(drawn)
        expected = torch.rand(3)
        torch.manual_seed(drawn)
        _, run = begun(text, config(adversarial=1.0))
        assert torch.equal(torch.rand(3), expected)
        states.append(run.adversary.network.state_dict())  # type: ignore[union-attr]
    assert not differ(*states)
    _, run = begun(text, config(adversarial=1.0, seed=1))
    assert differ(run.adversary.network.state_dict(), states[0])  # type: ignore[union-attr]


def test_an_adversary_is_taught_by_the_latents_of_all_parts(text: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    data, run = begun(text, config(adversarial=1.0))
    taught: list[float] = []
    monkeypatch.setattr(run.adversary, "error", lambda z, prior: torch.tensor(float(len(z))))
    monkeypatch.setattr(run.adversary, "learn", lambda error, world: taught.append(float(error)))
    run.step([data.training_batch(0, 16, 0, None, part, 3) for part in range(3)], 0, 0, 0.0, 0)
    assert taught == pytest.approx([(6 * 6 + 5 * 5 + 5 * 5) / 16])


def test_an_adversary_learns_from_steps_that_count(text: Path) -> None:
    data, run = begun(text, config(adversarial=1.0))

    def stepped() -> dict[str, torch.Tensor]:
        run.step([data.training_batch(0, 16, 0)], 0, 0, 0.0, 0)
        return {name: weight.clone() for name, weight in network.state_dict().items()}

    network = run.adversary.network  # type: ignore[union-attr]
    before = {name: weight.clone() for name, weight in network.state_dict().items()}
    after = stepped()
    assert differ(before, after)
    with torch.no_grad():
        run.model.decoder.output.weight.fill_(torch.nan)
    assert not differ(after, stepped())


def test_aggressive_training_ends_when_information_stops_rising(
    text: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    validate, judge, seen = training._validate, training._judge, []
    told = iter([0.5, 0.7, 0.7, 0.6, 0.9, 1.0])
    monkeypatch.setattr(training, "_validate", lambda run: validate(run) | {"mutual_information": next(told)})

    def noted(run: runs.Run, then: Any) -> str | None:
        ended = judge(run, then)
        seen.append(run.done.aggressive)
        return ended

    monkeypatch.setattr(training, "_judge", noted)
    train(config(aggressive=True, steps=6, validate_every=1), text, tmp_path / "run")
    assert seen == [True, True, True, False, False, False]


def test_the_encoder_alone_is_trained_to_its_end(text: Path) -> None:
    data, run = begun(text, config(aggressive=True))
    model = run.model
    before = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    steps = run.train_encoder(lambda inner: [data.training_batch(inner, 16, 0)], 0, 0, 0.0, 0)
    assert steps in {30, 45, 60, 75, 90, 99}
    for name, tensor in model.state_dict().items():
        assert torch.equal(tensor, before[name]) == name.startswith("decoder"), name
    trained = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    run.step([data.training_batch(0, 16, 0)], 0, 0, 0.0, 0, frozen=model.encoder)
    for name, tensor in model.state_dict().items():
        assert torch.equal(tensor, trained[name]) == name.startswith("encoder"), name


@pytest.mark.parametrize(
    ("losses", "tokens", "steps"),
    [
        ([30.0, 24.0], [10.0, 6.0], 30),  # less, but more a token
        ([30.0, 36.0, 37.0], [10.0, 18.0, 18.0], 45),  # more, but less a token
        ([30.0, 30.0, 31.0], [10.0, 10.0, 10.0], 45),
        ([40.0 - check for check in range(7)], [10.0] * 7, 99),
    ],
)
def test_the_encoder_alone_is_trained_until_a_token_costs_more(
    text: Path, monkeypatch: pytest.MonkeyPatch, losses: list[float], tokens: list[float], steps: int
) -> None:
    """By sums over fifteen steps each, as those of He et al. 2019."""
    _, run = begun(text, config(aggressive=True))

    def moved(parts: Any, phase_step: int, number: int, inner: int) -> tuple[torch.Tensor, list[torch.Tensor], bool]:
        check = (inner - 1) // 15
        return torch.tensor([losses[check], 0.0, 0.0, 0.0, 0.0, tokens[check]]), [], True

    monkeypatch.setattr(run, "_move", moved)
    assert run.train_encoder(lambda inner: [], 0, 0, 0.0, 0) == steps


def test_each_part_of_a_batch_has_noise_of_its_own(text: Path) -> None:
    _, run = begun(text, config())
    noises = [run._generator(part, step).initial_seed() for part in range(3) for step in range(3)]
    assert len(set(noises)) == 9


def test_each_inner_step_has_noise_of_its_own(text: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    data, run = begun(text, config(aggressive=True))
    seeds: list[int] = []
    plainly = run._generator

    def noted(part: int, *number: int) -> torch.Generator:
        generator = plainly(part, *number)
        seeds.append(generator.initial_seed())
        return generator

    monkeypatch.setattr(run, "_generator", noted)
    monkeypatch.setattr(optimization, "INNER_STEPS", 5)
    run.train_encoder(lambda inner: [data.training_batch(inner, 16, 0)], 0, 0, 0.0, 0)
    assert len(set(seeds)) == len(seeds) == 4


def test_inner_steps_have_the_learning_rate_of_their_step(text: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Also the first ones of an optimizer that was made anew on a plateau."""
    data, run = begun(text, config(aggressive=True, learning_rate=0.8))
    rates: set[float] = set()
    moved = optimization.update

    def noted(optimizer: torch.optim.Optimizer, *rest: Any) -> torch.Tensor:
        rates.add(optimizer.param_groups[0]["lr"])
        return moved(optimizer, *rest)

    monkeypatch.setattr(optimization, "update", noted)
    monkeypatch.setattr(optimization, "INNER_STEPS", 3)
    run.train_encoder(lambda inner: [data.training_batch(inner, 16, 0)], 0, 0, 0.0, halvings=3)
    assert rates == {0.1}


def test_the_encoder_alone_is_not_trained_on_once_the_loss_is_no_number(text: Path) -> None:
    data, run = begun(text, config(aggressive=True))
    with torch.no_grad():
        run.model.decoder.output.weight.fill_(torch.nan)
    assert run.train_encoder(lambda inner: [data.training_batch(inner, 16, 0)], 0, 0, 0.0, 0) == 15


@pytest.mark.parametrize("parts", [1, 2])
def test_a_step_that_does_not_count_leaves_the_batch_norm_as_it_was(text: Path, parts: int) -> None:
    data, run = begun(text, config(model={"posterior": "batch-norm"}))
    batches = [data.training_batch(0, 16, 0, None, part, parts) for part in range(parts)]
    run.step(batches, 0, 0, 0.0, 0)
    before = {name: buffer.clone() for name, buffer in run.model.named_buffers() if "running" in name}
    assert before
    linear = run.model.encoder.mean[0]
    kept = linear.weight.detach().clone()
    with torch.no_grad():
        linear.weight.fill_(torch.inf)
    _, finite = run.step(batches, 1, 1, 0.0, 0)
    assert not finite
    for name, buffer in run.model.named_buffers():
        if name in before:
            assert torch.equal(buffer, before[name]), name
    with torch.no_grad():
        linear.weight.copy_(kept)
    _, finite = run.step(batches, 2, 2, 0.0, 0)
    assert finite
    assert any(not torch.equal(buffer, before[name]) for name, buffer in run.model.named_buffers() if name in before)


@pytest.mark.parametrize("most", [0.1, 1e9])
@pytest.mark.parametrize("kind", [torch.optim.Adam, torch.optim.SGD])
@pytest.mark.parametrize("how", ["plain", "fused", "sparse"])
def test_an_update_is_that_of_torch_with_clipping(kind: Any, how: str, most: float) -> None:
    if kind is torch.optim.Adam and how == "sparse":
        pytest.skip("Adam moves all rows")

    def weights(
        sparse: bool, fused: bool, updated: Callable[[Any, torch.Tensor], object], raised: float = 1.0
    ) -> list[torch.Tensor]:
        torch.manual_seed(0)
        rows, linear = nn.Embedding(9, 4, sparse=sparse), nn.Linear(4, 2)
        optimizer = kind([rows.weight, *linear.parameters()], lr=0.1, fused=fused)
        for step in range(4):
            optimizer.zero_grad()
            loss = linear(rows(torch.tensor([1, 1, 5, step]))).square().sum()
            (loss * raised).backward()
            if step == 2:
                linear.bias.grad *= torch.nan  # type: ignore[operator]
            updated(optimizer, loss.detach())
        return [rows.weight, *linear.parameters()]

    def plainly(optimizer: Any, loss: torch.Tensor) -> None:
        norm = nn.utils.clip_grad_norm_(optimizer.param_groups[0]["params"], most)
        if norm.isfinite():
            optimizer.step()

    ours = weights(how == "sparse", how == "fused", lambda optimizer, loss: update(optimizer, loss, most))
    for one, other in zip(ours, weights(False, False, plainly), strict=True):
        torch.testing.assert_close(one, other)

    def lowered(optimizer: Any, loss: torch.Tensor) -> None:
        update(optimizer, loss, most, raised=128.0)

    for one, other in zip(ours, weights(how == "sparse", how == "fused", lowered, raised=128.0), strict=True):
        torch.testing.assert_close(one, other)


def test_a_loss_that_is_not_finite_changes_nothing() -> None:
    weight = nn.Parameter(torch.ones(3))
    optimizer = torch.optim.Adam([weight], fused=True)
    for loss, finite in ((torch.tensor(1.0), True), (torch.tensor(torch.inf), False)):
        weight.grad = torch.ones(3)
        before = weight.detach().clone()
        assert bool(update(optimizer, loss, 1.0)) == finite
        assert torch.equal(weight, before) != finite
    assert optimizer.state[weight]["step"] == 1


@pytest.mark.parametrize("model", [{}, {"embedding_size": 12, "tied": True}], ids=named)
def test_sparse_gradients_lead_to_the_same_weights(
    text: Path, monkeypatch: pytest.MonkeyPatch, model: dict[str, Any]
) -> None:
    sgd = config(optimizer="sgd", learning_rate=0.5, model=model)
    sparse = after_two_steps(text, sgd)
    monkeypatch.setattr(TokenInput, "sparse", property(lambda part: False, lambda part, value: None))
    dense = after_two_steps(text, sgd)
    for name, weight in sparse.items():
        torch.testing.assert_close(weight, dense[name])


def test_a_run_of_a_gpu_goes_on_on_a_cpu(text: Path, tmp_path: Path) -> None:
    train(config(optimizer="sgd", steps=2), text, tmp_path / "run")
    state = load_state(tmp_path / "run" / "last.pt")
    for group in state["optimization"]["optimizer"]["param_groups"]:
        group["fused"] = True  # as a GPU has it
    torch.save(state, tmp_path / "run" / "last.pt")
    assert train(config(optimizer="sgd"), text, tmp_path / "run", resume=True).steps == 3


def test_part_of_a_split_is_taken_from_all_of_it(text: Path) -> None:
    data = SequenceData(text)
    rows = data.dataset.split("train")
    found = [row.tolist() for batch in data.batches("train", 8, most=12) for row in batch.tokens]
    ends = [rows[index].tolist() for index in (0, len(rows) - 1)]
    assert len(found) == 12
    assert all(any(row[: len(end)] == end for row in found) for end in ends)
    assert len([row for batch in data.batches("train", 8, most=len(rows) + 1) for row in batch.tokens]) == len(rows)


@pytest.mark.parametrize("for_music", [{"select": "note_on_free_running"}, {"transpose": 5}])
def test_text_has_no_notes_whatever_the_settings_were_made_for(
    text: Path, tmp_path: Path, for_music: dict[str, Any]
) -> None:
    with pytest.raises(OptionError, match="text has no notes"):
        train(config(**for_music), text, tmp_path / "run")


def test_tensors_may_have_another_device_by_default(dataset: Path, tmp_path: Path) -> None:
    settings = config(
        model={"dropout": 0.3},
        whiten=True,
        adversarial=1.0,
        mmd=1.0,
        word_dropout=0.2,
        encoder_drop=0.2,
        encoder_swap=0.2,
        scheduled_sampling="constant",
        free_bits=1.0,
    )
    train(settings, dataset, tmp_path / "usual")
    with torch.device("meta"):  # where nothing can be computed
        train(settings, dataset, tmp_path / "other")
    assert not differ(weights(tmp_path / "usual"), weights(tmp_path / "other"))


def test_tensors_may_have_another_type_by_default(dataset: Path, tmp_path: Path, double_by_default: None) -> None:
    train(config(adversarial=1.0, encoder_swap=0.2, word_dropout=0.2), dataset, tmp_path / "run")
    assert {tensor.dtype for tensor in weights(tmp_path / "run").values()} == {torch.float32}


@pytest.mark.parametrize("without", [torch.no_grad, torch.inference_mode])
def test_gradients_may_be_turned_off_by_the_caller(text: Path, tmp_path: Path, without: type) -> None:
    train(config(), text, tmp_path / "usual")
    with without():
        train(config(), text, tmp_path / "other")
    assert not differ(weights(tmp_path / "usual"), weights(tmp_path / "other"))
