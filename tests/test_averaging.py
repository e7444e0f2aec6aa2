"""The average of the weights: its formula, and that it is what a training keeps."""

import dataclasses
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from small_trainings import MODEL, config, sentences, weights

from seqvae.averaging import EVERY, WeightAverage
from seqvae.checkpoint import load_model
from seqvae.config import Phase
from seqvae.training import train
from seqvae.vae import SequenceVAE

LONG = 2 * EVERY + 1  # steps, of which three are looked at
Weights = dict[str, torch.Tensor]


@pytest.fixture(scope="module")
def text(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return sentences(tmp_path_factory.mktemp("text"))


def kept(run: Path) -> Weights:
    return load_model(run / "model.safetensors").model.state_dict()


def assert_same(one: Weights, other: Weights) -> None:
    assert one.keys() == other.keys()
    for name in one:
        torch.testing.assert_close(one[name].float(), other[name].float(), msg=name)


def assert_same_runs(one: Path, other: Path) -> None:
    for of in (weights, kept):
        found, wanted = of(one), of(other)
        assert all(torch.equal(found[name], wanted[name]) for name in wanted)


@pytest.mark.parametrize("decay", [0.0, 0.9, 0.99, 0.9999])
def test_at_first_it_is_the_mean_then_a_moving_average(decay: float) -> None:
    model = SequenceVAE(MODEL)
    average = WeightAverage(SequenceVAE(MODEL), decay)
    values, wanted = np.random.default_rng(0).normal(size=40), 0.0
    for step, value in enumerate(values):
        for parameter in model.parameters():
            torch.nn.init.constant_(parameter, value)
        average.add(model, step * EVERY)
        average.add(SequenceVAE(MODEL), step * EVERY + 1)  # not looked at
        wanted += max(1 - decay**EVERY, 1 / (step + 1)) * (value - wanted)
        for parameter in average.model.parameters():
            torch.testing.assert_close(parameter, torch.full_like(parameter, wanted))
    if decay == 0.9999:
        assert wanted == pytest.approx(values.mean())
    again = SequenceVAE(MODEL)
    average.restart(again)
    assert_same(dict(average.model.state_dict()), dict(again.state_dict()))
    average.add(model, 0)
    assert_same(dict(average.model.state_dict()), dict(model.state_dict()))


@pytest.mark.parametrize("model", [{}, {"posterior": "batch-norm"}], ids=["gaussian", "batch-norm"])
def test_a_training_keeps_the_average_and_is_itself_unmoved_by_it(
    text: Path, tmp_path: Path, model: dict[str, Any]
) -> None:
    every = [1, EVERY + 1, LONG]
    for steps in every:
        train(config(model=model, steps=steps), text, tmp_path / f"{steps}")
    train(config(model=model, steps=LONG, weight_average=0.9999), text, tmp_path / "averaged")

    def own(found: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
        """Without what a batch norm takes from the data at a validation."""
        return {name: tensor for name, tensor in found.items() if "running" not in name}

    runs = [own(weights(tmp_path / f"{steps}")) for steps in every]
    assert_same(own(weights(tmp_path / "averaged")), runs[-1])
    found = own(kept(tmp_path / "averaged"))
    counters = {name for name, tensor in runs[0].items() if not tensor.is_floating_point()}
    mean = {name: torch.stack([run[name] for run in runs]).float().mean(0) for name in found.keys() - counters}
    assert_same({name: found[name] for name in mean}, mean)
    assert all(found[name] == runs[-1][name] for name in counters)


def test_a_resumed_run_keeps_what_one_that_was_not_does(text: Path, tmp_path: Path) -> None:
    whole = config(steps=LONG, weight_average=0.99)
    train(whole, text, tmp_path / "whole")
    train(config(weight_average=0.99, steps=EVERY + 4), text, tmp_path / "parts")
    train(whole, text, tmp_path / "parts", resume=True)
    assert_same_runs(tmp_path / "parts", tmp_path / "whole")


def test_it_is_added_to_as_often_when_a_resumed_run_is_validated_more_seldom(text: Path, tmp_path: Path) -> None:
    often = config(weight_average=0.99, validate_every=4, steps=16)
    train(often, text, tmp_path / "whole")
    train(config(weight_average=0.99, validate_every=4, steps=8), text, tmp_path / "parts")
    seldom = config(weight_average=0.99, validate_every=16, steps=16)
    train(seldom, text, tmp_path / "parts", resume=True)
    assert_same_runs(tmp_path / "parts", tmp_path / "whole")


def test_a_phase_begins_with_the_average_and_a_new_one(text: Path, tmp_path: Path) -> None:
    first = Phase("first", changes={"steps": EVERY + 1, "weight_average": 0.999})
    train(config(first), text, tmp_path / "one")
    still = Phase("second", changes={"steps": 1, "learning_rate": 1e-30, "final_learning_rate": 0.0})
    for name, more in {"plain": {}, "averaged": {"weight_average": 0.5}}.items():
        second = dataclasses.replace(still, changes=still.changes | more)
        train(config(first, second), text, tmp_path / name)
        assert_same(kept(tmp_path / name), kept(tmp_path / "one"))
        assert_same(weights(tmp_path / name), kept(tmp_path / "one"))


def test_on_a_plateau_it_begins_anew_with_the_best(text: Path, tmp_path: Path) -> None:
    settings = {"learning_rate_decay": "plateau", "plateau_patience": 1, "plateau_halvings": 1, "optimizer": "sgd"}
    wild = config(**settings, learning_rate=80.0, clip=100.0, steps=None, epochs=40, weight_average=0.9)
    assert train(wild, text, tmp_path / "run").epochs < 40
    assert all(torch.isfinite(tensor).all() for tensor in kept(tmp_path / "run").values())
