"""Every setting of a run, in frozen dataclasses: what the data is, what the model is, how it is trained.

A `Config` goes to TOML and back (presets, `config.toml` of a run) and to plain dictionaries (the header of a model
file). "Off" is None, which TOML writes as an absent key, so every optional field has None as its default.
Combinations are checked in `checks`, before any work starts, and a message names the option to change.

A recipe trains in several phases, one after the other: each `[[phases]]` of the TOML names what differs from
`[training]`, and which part of the model begins anew. A phase begins with the best model of the one before it.
"""

import dataclasses
import json
import math
import tomllib
from dataclasses import dataclass, field
from types import UnionType
from typing import Any, get_args, get_type_hints

from seqvae.errors import OptionError

ANNEALING = ("none", "linear", "sigmoid", "cyclical", "exponential")
FREE_BITS_PER = ("total", "dimension", "batch")
FREE_BITS_FORM = ("clamp", "mask")
SCHEDULED_SAMPLING = ("none", "constant", "exponential", "inverse-sigmoid")
DEVICES = ("auto", "cpu", "cuda", "mps")
PRECISIONS = ("auto", "fp32", "bf16")
INFERENCE_PRECISIONS = (*PRECISIONS, "int8")
LEARNING_RATE_DECAYS = ("none", "exponential", "cosine", "plateau")
OPTIMIZERS = ("adam", "sgd")
SELECTIONS = ("elbo", "distortion", "note_on_free_running")
POSTERIORS = ("gaussian", "batch-norm", "delta")
SUMMARIES = ("last", "mean", "max")
LATENT_TO = ("steps", "start")
INITIAL_STATES = ("separate", "shared")
INITIALISATIONS = ("orthogonal", "uniform")
RESETS = ("none", "encoder", "decoder")
MOST_SEED = 2**62  # torch takes twice that, and some are counted up from it
MOST_RESULTS = 1_000_000  # at a time: all are held in memory
MOST_BEAM = 1000  # hypotheses of each
MOST_LENGTH = 100_000  # tokens of a sentence: a model that does not end makes so many steps
MOST_PENALTY = 8  # of length, in a search: with more of it fp32 cannot hold the scores of so many tokens
MUSIC, TEXT = "music", "text"
TOKENIZERS = {"melody": MUSIC, "words": TEXT, "characters": TEXT, "huggingface": TEXT}  # and what they read
LONG = ("cut", "drop")
WORDS = ("punctuation", "spaces")


@dataclass(frozen=True)
class DataConfig:
    """What is taken from the sources, windows of music or sentences of text, and in which alphabet."""

    tokenizer: str = "melody"
    bars: int = 2
    meter: str = "4/4"
    pair_bars: bool = False  # two 2/4 bars are read as one of 4/4
    programs: str = "0-31"  # the General MIDI programs that count as playing melodies
    vocabulary_size: int | None = None  # ids at most, the four special ones included
    min_count: int = 1  # how often a word must occur in train to be in the vocabulary
    max_length: int = 100  # words (characters, pieces) of a sentence
    long: str = "cut"  # what happens to longer ones
    split: str = "punctuation"  # where words end
    lowercase: bool = False
    encoding: str = "utf-8"
    tokenizer_file: str | None = None  # the tokenizer.json of tokenizer = "huggingface"
    dataset: str | None = None  # the prepared dataset of a run; a resumed run looks for it there

    @property
    def kind(self) -> str:
        """What is read: "music" or "text"."""
        return TOKENIZERS[self.tokenizer]

    def settings(self) -> dict[str, Any]:
        """All that means something for its kind."""
        other = TEXT_OPTIONS if self.kind == MUSIC else MUSIC_OPTIONS
        return {name: value for name, value in vars(self).items() if name not in other}


MUSIC_OPTIONS = ("bars", "meter", "pair_bars", "programs")  # of DataConfig
TEXT_OPTIONS = (
    *("vocabulary_size", "min_count", "max_length", "long"),
    *("split", "lowercase", "encoding", "tokenizer_file"),
)
OF_TOKENIZER = ("vocabulary_size", "length", "bos", "eos", "pad", "blank")  # of ModelConfig: what follows from it
SETTINGS = {MUSIC: ("tokenizer", *MUSIC_OPTIONS), TEXT: ("tokenizer", *TEXT_OPTIONS)}  # of DataConfig, by kind
SPELLED = {"split": "words", "tokenizer_file": "tokenizer"}  # how the command line spells them, where it differs


def spelled(setting: str) -> str:
    """How the command line spells a setting, without the dashes before it."""
    return SPELLED.get(setting, setting).replace("_", "-")


@dataclass(frozen=True)
class ModelConfig:
    """The sequence VAE. The first six follow from the tokenizer: `OF_TOKENIZER`."""

    vocabulary_size: int = 90  # V
    length: int = 32  # T, the most steps of a sequence
    bos: int | None = None  # read before the first token; None: nothing is
    eos: int | None = None  # ends a sequence; None: all have T steps
    pad: int | None = None  # fills up the rows of a batch
    blank: int = 0  # stands where a token is hidden
    embedding_size: int | None = None  # None: one-hot
    encoder_size: int = 512  # hidden units in each direction
    encoder_layers: int = 1
    bidirectional: bool = True
    summary: str = "last"  # of what the encoder found: its last states, or pooled over the steps
    latent_size: int = 256  # Z; 0: no encoder and no latents, a plain language model
    posterior: str = "gaussian"
    gamma: float = 0.6  # spread of the means with posterior = "batch-norm"
    minimum_rate: float = 3.0  # nats a sequence, with posterior = "delta"
    decoder_size: int = 256  # hidden units in each layer
    decoder_layers: int = 2
    latent_to: str = "steps"  # z enters every step of the decoder, or its start (the first state) alone
    initial_state: str = "separate"  # cell and hidden tanh of projections of their own; "shared": tanh(cell) is hidden
    dropout: float = 0.0  # of what enters the decoder's LSTM and of what leaves it
    tied: bool = False  # the decoder's last layer has the weights of its embedding, which must be of its size
    bias: bool = True  # in the linear layers
    initialisation: str = "orthogonal"  # of the LSTMs; or "uniform", from which SGD learns sentences better

    @property
    def unsaid(self) -> list[int]:
        """Ids that no sequence holds, so that no decoder may say them."""
        return [id for id in (self.bos, self.pad) if id is not None and id != self.eos]


@dataclass(frozen=True)
class TrainConfig:
    """The optimisation. The first budget to run out (epochs, steps or minutes) ends it."""

    epochs: int | None = None
    steps: int | None = None
    minutes: float | None = None
    validate_every: int | None = None  # steps; None: an epoch, or as many of them as make 20 steps
    batch_size: int = 512  # sequences
    accumulate: int = 1  # parts in which a process computes its share of a batch, one after the other, to save memory
    optimizer: str = "adam"
    learning_rate: float = 1e-3
    final_learning_rate: float = 1e-5
    learning_rate_decay: str = "exponential"  # by 0.9999 a step, along a cosine over the budget, or on a plateau
    plateau_patience: int = 2  # validations without a better score until the rate is halved, the best model reloaded
    plateau_after: int = 0  # epochs before the first halving
    plateau_halvings: int = 5  # the next plateau ends the training
    clip: float = 1.0  # largest norm of the gradient
    weight_average: float | None = None  # decay a step of an average of the weights, which is validated and kept
    beta: float = 0.2  # weight of the rate once annealing is over
    annealing: str = "linear"
    annealing_steps: int = 2000
    annealing_epochs: float | None = None  # instead of annealing_steps
    free_bits: float | None = None  # bits of rate that cost nothing
    free_bits_per: str = "total"
    free_bits_form: str = "clamp"
    mmd: float | None = None  # weight of the distance of all z to the prior (WAE)
    adversarial: float | None = None  # weight of a discriminator that tells z from the prior (AAE)
    whiten: bool = False  # before each validation the latents are moved, so that all together lie as the prior does
    aggressive: bool = False  # the encoder is trained to its end before each step, while mutual information rises
    word_dropout: float = 0.0  # share of the decoder's inputs that are hidden
    encoder_drop: float = 0.0  # share of the encoder's inputs that are taken out,
    encoder_mask: float = 0.0  # ... hidden,
    encoder_swap: float = 0.0  # ... moved by a few places
    scheduled_sampling: str = "none"
    scheduled_sampling_rate: float = 0.5  # the probability it rises to
    scheduled_sampling_steps: int = 2000  # scale of the ramp
    scheduled_sampling_parallel: bool = False  # two fast passes instead of T exact steps
    transpose: int | None = None  # semitones: a random shift of at most so many, anew each time
    patience: int | None = None  # validations without a better score before stopping early
    select: str = "elbo"  # the valid score by which the best model is kept; with beta 0, elbo means distortion
    device: str = "auto"
    precision: str = "auto"
    seed: int = 0

    def changed(self, changes: dict[str, Any]) -> "TrainConfig":
        """The same but for some settings, of which one may say in steps what was said in epochs."""
        if "annealing_steps" in changes:
            changes = {"annealing_epochs": None} | changes
        return dataclasses.replace(self, **changes)


@dataclass(frozen=True)
class Phase:
    """A part of a run: what is different in it."""

    name: str
    reset: str = "none"  # the part of the model that begins anew
    changes: dict[str, Any] = field(default_factory=dict)  # settings of TrainConfig

    def to_dict(self) -> dict[str, Any]:
        """All in one dictionary, as it stands in TOML."""
        return {"name": self.name, "reset": self.reset} | self.changes


@dataclass(frozen=True)
class Config:
    """A whole run."""

    name: str = "custom"
    description: str = ""
    data: DataConfig = field(default_factory=DataConfig)
    model: ModelConfig = field(default_factory=ModelConfig)
    training: TrainConfig = field(default_factory=TrainConfig)
    phases: tuple[Phase, ...] = ()
    start_from: str | None = None  # the model whose weights are the first ones: see `starting`

    def stages(self) -> list[tuple[Phase, TrainConfig]]:
        """What is trained in turn: the phases with all their settings, or the one there is."""
        if not self.phases:
            return [(Phase("training"), self.training)]
        return [(phase, self.training.changed(phase.changes)) for phase in self.phases]

    def to_dict(self) -> dict[str, Any]:
        """Plain dictionaries, ready for JSON."""
        return dataclasses.asdict(self) | {"phases": [phase.to_dict() for phase in self.phases]}

    def to_toml(self) -> str:
        """The configuration as TOML; reading it back gives an equal Config."""
        lines = _toml_lines({key: getattr(self, key) for key in _TOP})
        sections = {"data": self.data.settings(), "model": vars(self.model), "training": vars(self.training)}
        for section, values in sections.items():
            lines += ["", f"[{section}]", *_toml_lines(values)]
        for phase in self.phases:
            lines += ["", "[[phases]]", *_toml_lines(phase.to_dict())]
        return "\n".join(lines) + "\n"

    @classmethod
    def from_dict(cls, values: dict[str, Any], where: str = "the configuration") -> "Config":
        """The reverse of `to_dict`. Raises OptionError for unknown keys and values of a wrong type."""
        sections: dict[str, type] = {"data": DataConfig, "model": ModelConfig, "training": TrainConfig}
        known = (*_TOP, *sections, "phases")
        parts: dict[str, Any] = {}
        for key, value in values.items():
            if key in sections and isinstance(value, dict):
                parts[key] = _build(sections[key], value, f"{where}, [{key}]")
            elif key == "phases" and isinstance(value, list | tuple):
                parts[key] = tuple(_phase(each, f"{where}, phase {n}") for n, each in enumerate(value, 1))
            elif key in _TOP and (isinstance(value, str) or (key == "start_from" and value is None)):
                parts[key] = value
            elif key in known:
                wanted = "text" if key in _TOP else "[[phases]], tables" if key == "phases" else f"a table, [{key}]"
                raise OptionError(f"{where}: {key} = {value!r} must be {wanted}")
            else:
                raise OptionError(f"{where}: unknown key '{key}'; known: {', '.join(known)}")
        return cls(**parts)

    @classmethod
    def from_toml(cls, text: str, where: str = "the configuration") -> "Config":
        """Read TOML. Raises OptionError when it is no TOML or not a configuration."""
        try:
            values = tomllib.loads(text)
        except (ValueError, RecursionError) as error:  # of TOML, or of Python, which reads no number of any length
            raise OptionError(f"{where} is not valid TOML: {str(error).split(';')[0]}") from None
        return cls.from_dict(values, where)


_TOP = ("name", "description", "start_from")  # of Config, in no section


def _toml_lines(values: dict[str, Any]) -> list[str]:
    return [f"{key} = {_toml_value(value)}" for key, value in values.items() if value is not None]


def _toml_value(value: str | bool | int | float) -> str:
    return json.dumps(value, ensure_ascii=False).replace("\x7f", "\\u007f")  # TOML's scalars are written as JSON's


def _build(kind: type, values: dict[str, Any], where: str) -> Any:
    return kind(**_typed(kind, values, where))


def _phase(values: Any, where: str) -> Phase:
    if not isinstance(values, dict) or not isinstance(values.get("name"), str):
        raise OptionError(f"{where}: a phase is a table with a name")
    reset = values.get("reset", "none")
    changes = {key: value for key, value in values.items() if key not in ("name", "reset")}
    return Phase(values["name"], reset, _typed(TrainConfig, changes, where))


def _float(number: int) -> float:
    try:
        return float(number)
    except OverflowError:
        return math.inf if number > 0 else -math.inf


def _typed(kind: type, values: dict[str, Any], where: str) -> dict[str, Any]:
    """The values, if they are all fields of a dataclass and of its types; whole numbers serve as floats."""
    types = get_type_hints(kind)
    for key, value in values.items():
        if key not in types:
            raise OptionError(f"{where}: unknown key '{key}'; known: {', '.join(types)}")
        allowed = get_args(types[key]) if isinstance(types[key], UnionType) else (types[key],)
        if float in allowed and type(value) is int:
            values = values | {key: _float(value)}
        elif type(value) not in allowed:
            names = " or ".join("nothing" if kind is type(None) else kind.__name__ for kind in allowed)
            raise OptionError(f"{where}: {key} = {value!r} must be {names}")
    return values
