"""The options of train and prepare that say what is taken from the sources, of music and of text."""

import dataclasses
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from cli.console import note
from cli.options import at_least, between, choice, named, switch
from data_prep import meters, programs
from data_prep.errors import InputError
from data_prep.files import TEXT_SUFFIXES, find_sources
from seqvae.config import (
    LONG,
    MOST_LENGTH,
    MUSIC,
    MUSIC_OPTIONS,
    SETTINGS,
    SPELLED,
    TEXT,
    TEXT_OPTIONS,
    WORDS,
    Config,
    DataConfig,
    spelled,
)
from seqvae.errors import OptionError

if TYPE_CHECKING:
    from data_prep.dataset import Dataset, Options

MOST_WORKERS = 1024
PRESETS = {MUSIC: "melody-2bar", TEXT: "text-words"}  # where none is asked for
SOURCES_HELP = "Folders (searched to their depths), music or text files, or one prepared dataset."
FIELDS = {SPELLED.get(name, name): name for name in (*MUSIC_OPTIONS, *TEXT_OPTIONS)}  # of DataConfig, by option
OF_KIND = {
    MUSIC: (*MUSIC_OPTIONS, "workers"),
    TEXT: (*(SPELLED.get(name, name) for name in TEXT_OPTIONS), "valid", "test"),
}

Preset = Annotated[
    str | None,
    typer.Option(
        metavar="NAME|FILE.toml",
        help=f"Settings to start from.  [{PRESETS[MUSIC]} for music, {PRESETS[TEXT]} for text]",
    ),
]
Workers = Annotated[
    int | None,
    typer.Option(
        metavar="N", callback=between(1, MOST_WORKERS), help="Music: processes that read it.  [one for each core]"
    ),
]
Meter = Annotated[
    str | None,
    typer.Option(metavar="N/D", help="Music: the meter of the windows, like 3/4 or 6/8.  [the preset's: 4/4]"),
]
Bars = Annotated[
    int | None,
    typer.Option(metavar="N", callback=at_least(1), help="Music: length of the windows in bars.  [the preset's: 2]"),
]
Programs = Annotated[
    str | None,
    typer.Option(
        metavar="RANGES",
        help="Music: General MIDI programs that play melodies, like 0-7,40 or 0-127.  [the preset's or model's: 0-31]",
    ),
]
PairBars = Annotated[
    bool | None, switch("pair-bars", "Music: read two bars of 2/4 as one of 4/4 (of 3/8 as one of 6/8 ...).")
]
VocabularySize = Annotated[
    int | None,
    typer.Option(
        metavar="V", callback=at_least(5), help="Text: the V most frequent words at most, 4 special ones included."
    ),
]
MinCount = Annotated[
    int | None,
    typer.Option(
        metavar="N", callback=at_least(1), help="Text: words that occur N times at least; others are unknown."
    ),
]
MaxLength = Annotated[
    int | None,
    typer.Option(metavar="N", callback=between(1, MOST_LENGTH), help="Text: words (characters) of a sentence at most."),
]
Long = Annotated[str | None, choice(LONG, "Text: what happens to sentences longer than --max-length.")]
Words = Annotated[str | None, choice(WORDS, "Text: split words and signs, or at blanks alone.")]
Lowercase = Annotated[bool | None, switch("lowercase", "Text: bring all letters to lower case first.")]
TokenizerFile = Annotated[
    Path | None,
    typer.Option(
        metavar="FILE", parser=named, help="Text: a tokenizer.json as vocabulary (needs the extra [tokenizers])."
    ),
]
Valid = Annotated[
    list[Path] | None,
    typer.Option(metavar="FILE", parser=named, help="Text: what to validate on; SOURCE is then for training alone."),
]
Test = Annotated[list[Path] | None, typer.Option(metavar="FILE", parser=named, help="Text: what to test on, likewise.")]


def read_preset(preset: str | None, sources: Sequence[Path]) -> Config:
    """The preset asked for, or that for the kind of the sources. Raises OptionError when there is none."""
    from seqvae import presets

    return presets.preset(PRESETS[kind_of(sources)] if preset is None else preset)


def kind_of(sources: Sequence[Path]) -> str:
    """What the first of the sources is, "music" or "text"; nothing, or a folder with both or neither, is music."""
    from data_prep.dataset import is_dataset, open_dataset

    if not sources:
        return MUSIC
    first = sources[0]
    if is_dataset(first):
        return open_dataset(first).tokenizer.kind
    if not first.is_dir():
        return TEXT if first.suffix.lower() in TEXT_SUFFIXES else MUSIC
    for kind in (MUSIC, TEXT):
        try:
            find_sources([first], kind)
            return kind
        except InputError:  # none of this kind
            continue
    return MUSIC


def with_data_options(config: Config, given: Mapping[str, Any]) -> Config:
    """The configuration with those of the options `given` that are not None.

    Raises:
        OptionError: an option is of the other kind, makes no sense or means nothing beside the others.
    """
    changes = {FIELDS[name]: given[name] for name in FIELDS if given[name] is not None}
    kind = config.data.kind
    for option, value in given.items():
        if option in OF_KIND[_other(kind)] and value not in (None, [], ()):
            raise OptionError(f"--{option.replace('_', '-')} is for {_other(kind)}, preset {config.name} for {kind}")
    if "tokenizer_file" in changes:  # it has its own vocabulary: what the preset says of one counts no more
        usual = DataConfig()
        own = {name: getattr(usual, name) for name in ("vocabulary_size", "min_count", "split", "lowercase")}
        changes = own | changes | {"tokenizer": "huggingface", "tokenizer_file": str(changes["tokenizer_file"])}
    data = dataclasses.replace(config.data, **changes)
    data_options(data)  # refuses what makes no sense
    if kind == MUSIC:  # people write them in several ways
        meter, playing = meters.parse_meter(data.meter), programs.parse(data.programs)
        data = dataclasses.replace(data, meter=meters.name(meter), programs=programs.text(playing))
    return dataclasses.replace(config, data=data)


def _other(kind: str) -> str:
    return TEXT if kind == MUSIC else MUSIC


def data_options(data: DataConfig) -> "Options":
    """What data_prep takes from the sources. Raises OptionError for settings that make no sense."""
    from data_prep.text import TextOptions  # these with numpy, which --help can do without
    from data_prep.windows import MelodyOptions

    try:
        if data.kind == MUSIC:
            return MelodyOptions.parse(data.meter, data.bars, data.pair_bars, data.programs)
        return TextOptions(data.tokenizer, **{name: getattr(data, name) for name in TEXT_OPTIONS})
    except InputError as error:
        raise OptionError(_spelled(str(error))) from None


def _spelled(message: str) -> str:
    """With the option in the place of the field that a message begins with."""
    field, blank, rest = message.partition(" ")
    return f"--{spelled(field)}{blank}{rest}" if field.replace("-", "_") in FIELDS.values() else message


def check_splits(valid: list[Path] | None, test: list[Path] | None) -> None:
    """Refuse files of their own for test alone. Raises OptionError."""
    if test and not valid:
        raise OptionError("--test: give --valid, too, as SOURCE is then for training alone")


def check_dataset(config: Config, dataset: "Dataset", given: Mapping[str, Any]) -> None:
    """Refuse a dataset of the other kind, or one that has not what an option `given` asks for. Raises OptionError."""
    kind, made = dataset.tokenizer.kind, dataset.settings()
    if kind != config.data.kind:
        chosen = f"preset {config.name}" if config.start_from is None else f"--start-from {config.start_from}"
        raise OptionError(f"{dataset.path} is {kind}, and {chosen} is for {config.data.kind}: choose another")
    for option, field in FIELDS.items():
        if given[option] is not None and getattr(config.data, field) != made[field]:
            name = spelled(field)
            how = f"without {name}" if made[field] is None else f"with {name} {made[field]}"
            raise OptionError(f"--{name} {given[option]}: {dataset.path} was prepared {how}")
    theirs = [name for name in SETTINGS[kind] if name in made and made[name] != getattr(config.data, name)]
    if theirs and given["preset"] is not None:
        told = ", ".join(f"no {spelled(x)}" if made[x] is None else f"{spelled(x)} {made[x]}" for x in theirs)
        note(f"{dataset.path} was prepared with {told}, unlike what preset {config.name} says; the dataset counts")
