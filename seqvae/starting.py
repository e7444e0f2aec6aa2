"""Runs that start from the weights of another model: a few tunes of one's own then suffice to teach it their manner.

Such a run keeps the sizes of that model and its tokenizer. How it trains is what a preset says, or else what the model
itself was trained with, as it was in the end: beta at its full height, scheduled sampling at its full rate. Two things
begin anew: the learning rate (on music of another kind a lower one does worse, the lower it is), and whether latents
are whitened, which takes many sequences.
"""

from dataclasses import fields, replace
from typing import Any

from torch import Tensor

from seqvae.checkpoint import load_model, read_header, read_settings
from seqvae.config import Config, ModelConfig, TrainConfig, spelled
from seqvae.errors import OptionError
from seqvae.model_files import bundled_names, find_model

PATIENCE = 30  # validations without a better score, where the model's own settings name no number
FREE = {"dropout", "initialisation", "gamma", "minimum_rate"}  # what of a model may change, its weights being kept
KEPT = ("tokenizer", *("bars", "meter"), *("vocabulary_size", "min_count", "max_length", "split", "lowercase"))


def settings(model: str, preset: Config | None = None) -> Config:
    """The settings of a run that starts from a model.

    Args:
        model: a bundled model's name, a run folder or a model file.
        preset: says how to train, in place of the model's own settings.

    Raises:
        ModelError: there is no such model.
        OptionError: the preset is for text and the model for music, or the other way round.
    """
    path = find_model(model)
    own = read_settings(path)
    if preset is None:
        preset = replace(own, training=_in_the_end(own.stages()[-1][1]), phases=())
    elif preset.data.kind != own.data.kind:
        raise OptionError(f"--preset {preset.name} is for {preset.data.kind}, model {model} for {own.data.kind}")
    start = model if model in bundled_names() else str(path.resolve())
    kept = replace(own.model, **{name: getattr(preset.model, name) for name in FREE})
    return replace(preset, start_from=start, data=own.data, model=kept)


def _in_the_end(training: TrainConfig) -> TrainConfig:
    """What a training had come to when it ended, but for what begins anew."""
    return replace(
        training,
        annealing="none",
        scheduled_sampling="none" if training.scheduled_sampling == "none" else "constant",
        aggressive=False,
        whiten=False,
        patience=training.patience or PATIENCE,
    )


def check_kept(base: Config, config: Config) -> None:
    """Refuse settings that would change what the weights of `base`, as `settings` gave it, were made for."""
    for name in KEPT:
        _refuse_change(base, name, getattr(base.data, name), getattr(config.data, name))
    for each in fields(ModelConfig):
        if each.name not in FREE:
            _refuse_change(base, each.name, getattr(base.model, each.name), getattr(config.model, each.name))


def _refuse_change(base: Config, option: str, theirs: Any, ours: Any) -> None:
    if ours != theirs:
        name = spelled(option)
        raise OptionError(f"--{name} {ours}: a run that starts from {base.start_from} keeps its {name}, {theirs}")


def tokenizer_of(model: str) -> dict[str, Any]:
    """What describes the tokenizer of a model. Raises ModelError when there is no such model."""
    return read_header(find_model(model))["tokenizer"]


def first_weights(config: Config, tokenizer: dict[str, Any]) -> dict[str, Tensor]:
    """The weights that a run starts from, by their names.

    Args:
        config: of the run, fitted to its dataset.
        tokenizer: of the dataset.

    Raises:
        ModelError: there is no such model.
        OptionError: it is of other sizes, or the dataset was prepared in another alphabet.
    """
    found = load_model(find_model(config.start_from))
    if found.tokenizer != tokenizer:
        raise OptionError(
            f"--start-from {config.start_from}: its {found.tokenizer['name']} tokenizer is not that of the dataset; "
            "give the files themselves as SOURCE, so that they are prepared for it"
        )
    check_kept(replace(config, model=found.config.model), config)
    return found.model.state_dict()
