"""Every setting of a run, in frozen dataclasses: what the data is, what the model is, how it is trained.

A `Config` goes to TOML and back (presets, `config.toml` of a run) and to plain dictionaries (the header of a model
file). "Off" is None, which TOML writes as an absent key, so every optional field has None as its default.
Combinations are checked in `check`, before any work starts, and a message names the option to change.
"""

import dataclasses
import json
import tomllib
from dataclasses import dataclass, field
from pathlib import Path
from types import UnionType
from typing import Any, get_args, get_type_hints

from seqvae.errors import OptionError

ANNEALING = ("none", "linear", "sigmoid", "cyclical", "exponential")
FREE_BITS_PER = ("total", "dimension")
SCHEDULED_SAMPLING = ("none", "constant", "exponential", "inverse-sigmoid")
DEVICES = ("auto", "cpu", "cuda", "mps")
PRECISIONS = ("auto", "fp32", "bf16")
LEARNING_RATE_DECAYS = ("exponential", "cosine")
SELECTIONS = ("elbo", "note_on_free_running")

_PRESETS = Path(__file__).parent / "presets"


@dataclass(frozen=True)
class DataConfig:
    """Which windows are cut from the sources, and their alphabet."""

    tokenizer: str = "melody"
    bars: int = 2
    meter: str = "4/4"
    pair_bars: bool = False  # two 2/4 bars are read as one of 4/4
    programs: str = "0-31"  # the General MIDI programs that count as playing melodies
    dataset: str | None = None  # the prepared dataset of a run; a resumed run looks for it there


@dataclass(frozen=True)
class ModelConfig:
    """Sizes of the sequence VAE. Vocabulary and length follow from the tokenizer."""

    vocabulary_size: int = 90  # V
    length: int = 32  # T, steps
    encoder_size: int = 512  # hidden units in each direction
    encoder_layers: int = 1
    decoder_size: int = 256  # hidden units in each layer
    decoder_layers: int = 2
    latent_size: int = 256  # Z
    embedding_size: int | None = None  # None: one-hot


@dataclass(frozen=True)
class TrainConfig:
    """The optimisation. The first budget to run out (epochs, steps or minutes) ends it."""

    epochs: int | None = None
    steps: int | None = None
    minutes: float | None = None
    batch_size: int = 512  # sequences
    learning_rate: float = 1e-3
    final_learning_rate: float = 1e-5
    learning_rate_decay: str = "exponential"  # by 0.9999 a step, or along a cosine over the budget
    clip: float = 1.0  # largest norm of the gradient
    beta: float = 0.2  # weight of the rate once annealing is over
    annealing: str = "linear"
    annealing_steps: int = 2000
    free_bits: float | None = None  # bits of rate that cost nothing
    free_bits_per: str = "total"
    scheduled_sampling: str = "none"
    scheduled_sampling_rate: float = 0.5  # the probability it rises to
    scheduled_sampling_steps: int = 2000  # scale of the ramp
    scheduled_sampling_parallel: bool = False  # two fast passes instead of T exact steps
    transpose: int | None = None  # semitones: a random shift of at most so many, anew each time
    patience: int | None = None  # epochs without a better valid score before stopping early
    select: str = "elbo"  # the valid score by which the best model is kept
    device: str = "auto"
    precision: str = "auto"
    seed: int = 0


@dataclass(frozen=True)
class Config:
    """A whole run."""

    name: str = "custom"
    description: str = ""
    data: DataConfig = field(default_factory=DataConfig)
    model: ModelConfig = field(default_factory=ModelConfig)
    training: TrainConfig = field(default_factory=TrainConfig)

    def to_dict(self) -> dict[str, Any]:
        """Plain dictionaries, ready for JSON."""
        return dataclasses.asdict(self)

    def to_toml(self) -> str:
        """The configuration as TOML; reading it back gives an equal Config."""
        lines = [f"{key} = {_toml_value(getattr(self, key))}" for key in ("name", "description")]
        for section in ("data", "model", "training"):
            values = dataclasses.asdict(getattr(self, section))
            lines += ["", f"[{section}]"]
            lines += [f"{key} = {_toml_value(value)}" for key, value in values.items() if value is not None]
        return "\n".join(lines) + "\n"

    @classmethod
    def from_dict(cls, values: dict[str, Any], where: str = "the configuration") -> "Config":
        """The reverse of `to_dict`. Raises OptionError for unknown keys and values of a wrong type."""
        sections: dict[str, type] = {"data": DataConfig, "model": ModelConfig, "training": TrainConfig}
        parts: dict[str, Any] = {}
        for key, value in values.items():
            if key in sections and isinstance(value, dict):
                parts[key] = _build(sections[key], value, f"{where}, [{key}]")
            elif key in ("name", "description") and isinstance(value, str):
                parts[key] = value
            else:
                raise OptionError(f"{where}: unknown key '{key}'; known: name, description, {', '.join(sections)}")
        return cls(**parts)

    @classmethod
    def from_toml(cls, text: str, where: str = "the configuration") -> "Config":
        """Read TOML. Raises OptionError when it is no TOML or not a configuration."""
        try:
            values = tomllib.loads(text)
        except tomllib.TOMLDecodeError as error:
            raise OptionError(f"{where} is not valid TOML: {error}") from None
        return cls.from_dict(values, where)


def _toml_value(value: str | bool | int | float) -> str:
    return json.dumps(value, ensure_ascii=False)  # TOML's scalars are written as JSON's


def _build(kind: type, values: dict[str, Any], where: str) -> Any:
    types = get_type_hints(kind)
    for key, value in values.items():
        if key not in types:
            raise OptionError(f"{where}: unknown key '{key}'; known: {', '.join(types)}")
        allowed = get_args(types[key]) if isinstance(types[key], UnionType) else (types[key],)
        if float in allowed and type(value) is int:
            values = values | {key: float(value)}
        elif type(value) not in allowed:
            names = " or ".join("nothing" if kind is type(None) else kind.__name__ for kind in allowed)
            raise OptionError(f"{where}: {key} = {value!r} must be {names}")
    return kind(**values)


def preset_names() -> list[str]:
    """Names of the presets that come with seqvae."""
    return sorted(path.stem for path in _PRESETS.glob("*.toml"))


def preset(name: str | Path) -> Config:
    """A preset by its name, or a TOML file by its path. Raises OptionError when there is none."""
    path = _PRESETS / f"{name}.toml"
    if str(name) not in preset_names():
        path = Path(name)
        if path.suffix != ".toml":
            raise OptionError(f"--preset {name}: unknown; choose {', '.join(preset_names())} or a .toml file")
    try:
        text = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        reason = error.strerror if isinstance(error, OSError) else "not UTF-8 text"
        raise OptionError(f"--preset {path}: cannot be read ({reason})") from None
    config = Config.from_toml(text, str(path))
    check(config)
    return config


def check(config: Config) -> None:
    """Refuse values and combinations that make no sense, before any work starts.

    Raises OptionError naming the option as the command line spells it.
    """
    model, training = config.model, config.training
    for option in (
        "encoder_size",
        "encoder_layers",
        "decoder_size",
        "decoder_layers",
        "latent_size",
        "length",
    ):
        _require(getattr(model, option) >= 1, option, getattr(model, option), "at least 1")
    _require(model.vocabulary_size >= 2, "vocabulary_size", model.vocabulary_size, "at least 2")
    _require(config.data.bars >= 1, "bars", config.data.bars, "at least 1")
    _check_choices(training)
    for option in ("epochs", "steps", "minutes", "patience", "embedding_size"):
        value = getattr(training if hasattr(training, option) else model, option)
        _require(value is None or value > 0, option, value, "above 0")
    if training.epochs is None and training.steps is None and training.minutes is None:
        raise OptionError("no end is set: give --epochs, --steps or --minutes")
    for option in ("batch_size", "annealing_steps", "scheduled_sampling_steps"):
        _require(getattr(training, option) >= 1, option, getattr(training, option), "at least 1")
    _require(training.learning_rate > 0, "learning_rate", training.learning_rate, "above 0")
    _require(
        0 <= training.final_learning_rate <= training.learning_rate,
        "final_learning_rate",
        training.final_learning_rate,
        f"between 0 and the learning rate, {training.learning_rate}",
    )
    _require(training.clip > 0, "clip", training.clip, "above 0")
    _require(training.beta >= 0, "beta", training.beta, "0 or more")
    _require(training.free_bits is None or training.free_bits >= 0, "free_bits", training.free_bits, "0 or more")
    _require(
        0 <= training.scheduled_sampling_rate <= 1,
        "scheduled_sampling_rate",
        training.scheduled_sampling_rate,
        "between 0 and 1",
    )
    _require(
        training.transpose is None or 0 <= training.transpose <= 11,
        "transpose",
        training.transpose,
        "0 to 11",
    )
    _require(training.seed >= 0, "seed", training.seed, "0 or more")


def _check_choices(training: TrainConfig) -> None:
    choices = {
        "annealing": ANNEALING,
        "free_bits_per": FREE_BITS_PER,
        "scheduled_sampling": SCHEDULED_SAMPLING,
        "device": DEVICES,
        "precision": PRECISIONS,
        "learning_rate_decay": LEARNING_RATE_DECAYS,
        "select": SELECTIONS,
    }
    for option, allowed in choices.items():
        value = getattr(training, option)
        _require(value in allowed, option, value, "one of " + ", ".join(allowed))


def _require(ok: bool, option: str, value: object, allowed: str) -> None:
    if not ok:
        raise OptionError(f"--{option.replace('_', '-')} {value}: must be {allowed}")
