"""What values and combinations of settings make sense; everything else is refused before any work starts."""

import math
from collections.abc import Mapping, Sequence
from typing import Any

from seqvae import config as settings
from seqvae.config import MOST_LENGTH, Config, DataConfig, ModelConfig, Phase, TrainConfig
from seqvae.errors import OptionError

MOST = 1e30  # of any number with a fraction: what is made of it still fits into 32 bits
MOST_WHOLE = 2**31 - 1
MOST_RATE = 40.0  # nats of a dimension: its scale is e^-40, the square of which fp32 still holds
MOST_GAMMA = 1e3
_WHOLE_FROM_1 = (
    *("encoder_size", "encoder_layers", "decoder_size", "decoder_layers", "length"),
    *("batch_size", "accumulate", "annealing_steps", "scheduled_sampling_steps", "plateau_patience", "validate_every"),
    *("bars", "min_count", "max_length"),
)
_ABOVE_0 = (
    *("epochs", "steps", "minutes", "patience", "embedding_size", "annealing_epochs"),
    *("learning_rate", "clip", "gamma", "minimum_rate"),
)
_FROM_0 = ("latent_size", "beta", "free_bits", "mmd", "adversarial", "plateau_after", "plateau_halvings", "seed")
_SHARES = ("scheduled_sampling_rate", "word_dropout", "encoder_drop", "encoder_mask", "encoder_swap")
_CHOICES: Mapping[str, Sequence[str]] = {
    "tokenizer": tuple(settings.TOKENIZERS),
    "long": settings.LONG,
    "split": settings.WORDS,
    "annealing": settings.ANNEALING,
    "free_bits_per": settings.FREE_BITS_PER,
    "free_bits_form": settings.FREE_BITS_FORM,
    "scheduled_sampling": settings.SCHEDULED_SAMPLING,
    "device": settings.DEVICES,
    "precision": settings.PRECISIONS,
    "optimizer": settings.OPTIMIZERS,
    "learning_rate_decay": settings.LEARNING_RATE_DECAYS,
    "select": settings.SELECTIONS,
    "posterior": settings.POSTERIORS,
    "summary": settings.SUMMARIES,
    "latent_to": settings.LATENT_TO,
    "initial_state": settings.INITIAL_STATES,
    "initialisation": settings.INITIALISATIONS,
    "reset": settings.RESETS,
}


def check(config: Config) -> None:
    """Refuse values and combinations that make no sense.

    Raises OptionError naming the setting; where the command line has it, as it is spelled there.
    """
    _check_values(config.model)
    _require(config.model.vocabulary_size >= 2, "vocabulary_size", config.model.vocabulary_size, "at least 2")
    _require(0 <= config.model.dropout < 1, "dropout", config.model.dropout, "0 or more and below 1")
    _check_tied(config.model)
    _check_posterior(config.model)
    _check_values(config.data)
    _check_data(config.data)
    for phase, training in config.stages():
        if "device" in phase.changes:
            raise OptionError(f"phase {phase.name}: a run has one device, which --device names")
        _check_values(phase)
        _check_values(training)
        _check_training(training)
        _check_latents(training, config.model)
        _check_whiten(training, config.model)


def _check_values(section: DataConfig | ModelConfig | TrainConfig | Phase) -> None:
    """Each value on its own."""
    for option, value in vars(section).items():
        if value is None:
            continue
        _require(not isinstance(value, float) or math.isfinite(value), option, value, "finite")
        _require(not isinstance(value, float) or value <= MOST, option, value, f"at most {MOST:g}")
        _require(not isinstance(value, int) or value <= MOST_WHOLE or option == "seed", option, value, "below 2^31")
        if option in _WHOLE_FROM_1:
            _require(value >= 1, option, value, "at least 1")
        elif option in _ABOVE_0:
            _require(value > 0, option, value, "above 0")
        elif option in _FROM_0:
            _require(value >= 0, option, value, "0 or more")
        elif option in _SHARES:
            _require(0 <= value <= 1, option, value, "between 0 and 1")
        elif option in _CHOICES:
            _require(value in _CHOICES[option], option, value, "one of " + ", ".join(_CHOICES[option]))


def _check_tied(model: ModelConfig) -> None:
    """What shares its weights is of one size."""
    if model.tied and model.embedding_size != model.decoder_size:
        sizes = f"embedding_size {model.embedding_size or 'one-hot'} and decoder_size {model.decoder_size}"
        raise OptionError(f"tied: {sizes} must be the same; set them in a preset of your own")


def _check_posterior(model: ModelConfig) -> None:
    """What its rate and its means may be, so that numbers of 32 bits hold them."""
    _require(model.gamma <= MOST_GAMMA, "gamma", model.gamma, f"at most {MOST_GAMMA:g}")
    if model.posterior == "delta" and model.latent_size:
        most = MOST_RATE * model.latent_size
        allowed = f"at most {most:g}, {MOST_RATE:g} nats for each of {model.latent_size} dimensions"
        _require(model.minimum_rate <= most, "minimum_rate", model.minimum_rate, allowed)


def _check_data(data: DataConfig) -> None:
    """Settings of text mean nothing for music, and the other way round."""
    _require(data.max_length <= MOST_LENGTH, "max_length", data.max_length, f"at most {MOST_LENGTH:,}")
    size = data.vocabulary_size
    _require(size is None or size >= 5, "vocabulary_size", size, "at least 5, four ids being special")
    usual = DataConfig()
    for option in settings.TEXT_OPTIONS if data.kind == settings.MUSIC else settings.MUSIC_OPTIONS:
        if getattr(data, option) != getattr(usual, option):
            name = settings.spelled(option)
            raise OptionError(f"--{name} {getattr(data, option)}: the tokenizer {data.tokenizer} reads {data.kind}")


def _check_training(training: TrainConfig) -> None:
    if training.epochs is None and training.steps is None and training.minutes is None:
        raise OptionError("no end is set: give --epochs, --steps or --minutes")
    _require(
        0 <= training.final_learning_rate <= training.learning_rate,
        "final_learning_rate",
        training.final_learning_rate,
        f"between 0 and the learning rate, {training.learning_rate}",
    )
    _require(
        training.transpose is None or 0 <= training.transpose <= 11,
        "transpose",
        training.transpose,
        "0 to 11",
    )
    seed = training.seed
    _require(seed <= settings.MOST_SEED, "seed", seed, f"at most {settings.MOST_SEED:,}")
    decay = training.weight_average
    _require(decay is None or 0 <= decay < 1, "weight_average", decay, "0 or more and below 1")
    most = training.batch_size
    _require(training.accumulate <= most, "accumulate", training.accumulate, f"at most the batch size, {most}")
    if training.aggressive and training.adversarial:
        raise OptionError("--aggressive and --adversarial both train in turns of their own: give one of them")


def _check_latents(training: TrainConfig, model: ModelConfig) -> None:
    """A language model has no latents that anything could be done to."""
    if model.latent_size:
        return
    of_latents = ("free_bits", "mmd", "adversarial", "whiten", "aggressive")
    for option in (*of_latents, "encoder_drop", "encoder_mask", "encoder_swap"):
        if getattr(training, option):
            raise OptionError(f"--{settings.spelled(option)}: a model without latents has none for it")
    if model.posterior != "gaussian":
        raise OptionError(f"--posterior {model.posterior}: a model without latents has no posterior")


def _check_whiten(training: TrainConfig, model: ModelConfig) -> None:
    """What moves the latents must be free to."""
    if not training.whiten:
        return
    if model.posterior != "gaussian":
        raise OptionError(f"--whiten: the posterior {model.posterior} fixes where latents lie; it needs gaussian")
    if training.weight_average:
        raise OptionError("--whiten moves weights at once, which --weight-average would mix up: give one of them")


def _require(ok: bool, option: str, value: Any, allowed: str) -> None:
    if not ok:
        raise OptionError(f"--{settings.spelled(option)} {value}: must be {allowed}")
