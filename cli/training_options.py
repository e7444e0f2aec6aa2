"""The options of train that change the model and its training; those that are left out have the preset's values."""

import dataclasses
import math
from collections.abc import Mapping
from typing import Annotated, Any

import typer

from cli.options import a_seed, above_0, at_least, choice, share, switch
from seqvae import config as settings
from seqvae.config import Config
from seqvae.errors import OptionError
from seqvae.presets import preset_names

BUDGET = ("epochs", "steps", "minutes")
ANNEALED = ("annealing_steps", "annealing_epochs")
TRAINING = {field.name for field in dataclasses.fields(settings.TrainConfig)}
MODEL = ("posterior", "gamma", "minimum_rate", "summary", "latent_to", "dropout")


def _whole(meaning: str) -> Any:
    return typer.Option(metavar="N", callback=at_least(1), help=meaning)


def _number(metavar: str, meaning: str) -> Any:
    return typer.Option(metavar=metavar, callback=at_least(0), help=meaning)


def _share(meaning: str) -> Any:
    return typer.Option(metavar="SHARE", callback=share, help=meaning)


Epochs = Annotated[
    int | None,
    _whole("End after so many epochs, each phase; replaces the preset's budget, but cannot where its phases set one."),
]
Steps = Annotated[int | None, _whole("End after so many steps, each phase.")]
Minutes = Annotated[
    float | None, typer.Option(metavar="N", callback=above_0, help="End after N minutes, in each phase.")
]
ValidateEvery = Annotated[
    int | None,
    _whole(
        "Steps between two validations (on 4,096 sequences at most), with which whitening, plateaus and the end of "
        "aggressive training come."
        "  [an epoch, or as many epochs as make 20 steps]"
    ),
]
Patience = Annotated[int | None, _whole("End after N validations without a better score.")]
Select = Annotated[
    str | None,
    choice(
        settings.SELECTIONS, "The valid score by which the best model is kept; with --beta 0 elbo means distortion."
    ),
]
Seed = Annotated[int | None, typer.Option(metavar="N", callback=a_seed, help="Of the random numbers.")]
Device = Annotated[str | None, choice(settings.DEVICES, "Where to compute.")]
Precision = Annotated[str | None, choice(settings.PRECISIONS, "Of matrix products.")]

BatchSize = Annotated[int | None, typer.Option(metavar="B", callback=at_least(1), help="Sequences in a step.")]
Accumulate = Annotated[
    int | None, _whole("Parts in which a batch is computed one after the other, to save memory; of noise of their own.")
]
Optimizer = Annotated[str | None, choice(settings.OPTIMIZERS, "Which optimizer.")]
LearningRate = Annotated[
    float | None, typer.Option(metavar="RATE", callback=above_0, help="The first one; see --learning-rate-decay.")
]
LearningRateDecay = Annotated[str | None, choice(settings.LEARNING_RATE_DECAYS, "How it falls.")]
WeightAverage = Annotated[
    float | None,
    _number("DECAY", "Keep an average of the weights, over some 1 / (1 - DECAY) steps: 0.999, say; 0 keeps none."),
]

Beta = Annotated[float | None, _number("BETA", "Weight of the rate: lower reconstructs better, higher samples better.")]
Annealing = Annotated[str | None, choice(settings.ANNEALING, "How beta rises from 0.")]
AnnealingSteps = Annotated[
    int | None, _whole("Steps that the rise of beta takes; exponential: to 63 %; cyclical: of all its cycles.")
]
AnnealingEpochs = Annotated[
    float | None,
    typer.Option(
        metavar="N", callback=above_0, help="Epochs that the rise of beta takes, in place of --annealing-steps."
    ),
]
FreeBits = Annotated[float | None, _number("BITS", "Bits of rate that cost nothing, in all or of each dimension.")]
FreeBitsPer = Annotated[
    str | None,
    choice(
        settings.FREE_BITS_PER, "Of the total rate, each latent dimension's, or each dimension's mean over a batch."
    ),
]
FreeBitsForm = Annotated[
    str | None, choice(settings.FREE_BITS_FORM, "What is charged above them: the excess, or all of it.")
]
Mmd = Annotated[float | None, _number("WEIGHT", "Draw all latents towards the prior by their MMD (WAE).")]
Adversarial = Annotated[float | None, _number("WEIGHT", "Draw all latents towards the prior by a discriminator (AAE).")]
Aggressive = Annotated[
    bool | None,
    switch("aggressive", "Train the encoder to its end before each step, while mutual information rises."),
]
Whiten = Annotated[
    bool | None,
    switch("whiten", "Before each validation, move the latents so that all together lie as the prior does."),
]

WordDropout = Annotated[float | None, _share("Of the decoder's inputs that are hidden.")]
EncoderDrop = Annotated[float | None, _share("Of the encoder's inputs that are taken out.")]
EncoderMask = Annotated[float | None, _share("Of the encoder's inputs that are hidden.")]
EncoderSwap = Annotated[float | None, _share("Of the encoder's inputs that are moved by a few places.")]
ScheduledSampling = Annotated[
    str | None,
    choice(settings.SCHEDULED_SAMPLING, "How often the decoder reads its own output in training, and how that rises."),
]

Posterior = Annotated[str | None, choice(settings.POSTERIORS, "The family of q(z|x).")]
Gamma = Annotated[
    float | None,
    typer.Option(metavar="GAMMA", callback=above_0, help="Spread of the means with --posterior batch-norm."),
]
MinimumRate = Annotated[
    float | None, typer.Option(metavar="NATS", callback=above_0, help="Of each sequence with --posterior delta.")
]
Summary = Annotated[str | None, choice(settings.SUMMARIES, "Of the encoder's states: the last ones, or all pooled.")]
LatentTo = Annotated[str | None, choice(settings.LATENT_TO, "z enters each step of the decoder, or its start alone.")]
Dropout = Annotated[float | None, typer.Option(metavar="SHARE", help="Of what enters and leaves the decoder's LSTM.")]


def with_training_options(config: Config, given: Mapping[str, Any]) -> Config:
    """The configuration with those of the options `given` that belong to model or training and are not None.

    A budget that is given replaces all of the configuration's, a low learning rate lowers the one it decays to, and of
    annealing steps and epochs the one that is given counts.

    Raises:
        OptionError: a phase of the configuration sets an option itself, or it means nothing beside the others.
    """
    model = {name: given[name] for name in MODEL if given[name] is not None}
    changes = {name: value for name, value in given.items() if name in TRAINING and value is not None}
    _refuse_what_phases_set(config, changes, given)
    if any(name in changes for name in BUDGET):
        changes = dict.fromkeys(BUDGET) | changes
    if "annealing_steps" in changes and "annealing_epochs" in changes:
        raise OptionError("--annealing-steps and --annealing-epochs say the same: give one of them")
    last = min(config.training.final_learning_rate, changes.get("learning_rate", config.training.learning_rate))
    changed = dataclasses.replace(
        config,
        model=dataclasses.replace(config.model, **model),
        training=config.training.changed(changes | {"final_learning_rate": last}),
    )
    _refuse_idle(changed, given)
    _refuse_what_delta_has(changed, given["free_bits"])
    return changed


OF_LATENTS = ("beta", "annealing", "summary", "latent_to")  # checks.py knows those whose default is to be off


def _refuse_what_phases_set(config: Config, changes: Mapping[str, Any], given: Mapping[str, Any]) -> None:
    for name, value in changes.items():
        alike = next((names for names in (BUDGET, ANNEALED) if name in names), (name,))
        if any(each in phase.changes for phase in config.phases for each in alike):
            option, file = f"--{name.replace('_', '-')} {value}", given["preset"]
            if given["resume"]:
                raise OptionError(f"{option}: the phases of the run set it, and a run that goes on keeps its phases")
            if file is not None and file not in preset_names():
                raise OptionError(f"{option}: the phases of preset {file} set it; change it there")
            raise OptionError(
                f"{option}: the phases of preset {config.name} set it; write the preset to a file with "
                f"`seqvae presets {config.name} > mine.toml`, change it there and give --preset mine.toml"
            )


def _refuse_what_delta_has(config: Config, free_bits: float | None) -> None:
    """Free bits that a posterior with a minimum rate says in any case would change nothing."""
    model = config.model
    if not free_bits or model.posterior != "delta" or not model.latent_size:
        return
    total = any(training.free_bits_per == "total" for _, training in config.stages())
    least = model.minimum_rate / (1 if total else model.latent_size) / math.log(2.0)
    if free_bits <= least:
        told = f"must be above {least:.4g} bits, which --posterior delta has in any case, or left out"
        raise OptionError(f"--free-bits {free_bits:g}: {told}")


def _refuse_idle(config: Config, given: Mapping[str, Any]) -> None:
    """Refuse options that would be read and change nothing."""
    stages = [training for _, training in config.stages()]
    free_bits = any(training.free_bits for training in stages)
    annealing = any(training.annealing != "none" for training in stages)
    charged = any(training.beta for training in stages)
    latents = bool(config.model.latent_size)
    needed = [
        ("gamma", config.model.posterior == "batch-norm", "--posterior batch-norm"),
        ("minimum_rate", config.model.posterior == "delta", "--posterior delta"),
        ("free_bits_per", free_bits, "--free-bits"),
        ("free_bits_form", free_bits, "--free-bits"),
        ("annealing_steps", annealing, "--annealing"),
        ("annealing_epochs", annealing, "--annealing"),
        *((name, charged, "a --beta above 0") for name in ("free_bits", "annealing")),
        *((name, latents, "latents, and the model has none") for name in OF_LATENTS),
    ]
    for name, there, what in needed:
        if given[name] is not None and not there:
            raise OptionError(f"--{name.replace('_', '-')} {given[name]}: means nothing without {what}")
