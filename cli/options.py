"""The options that several commands share, each defined once, and the checks of their values.

A check is a Typer callback: it sees the parameter and its value, and refuses with a line that names the option.
"""

import math
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any

import typer

from cli.console import option_name
from data_prep.errors import InputError
from seqvae.config import DEVICES, INFERENCE_PRECISIONS, MOST_BEAM, MOST_PENALTY, MOST_SEED
from seqvae.errors import OptionError

DECODING = ("temperature", "top_k", "top_p", "beam", "length_penalty", "unknown")
NAMELESS = "an empty name; leave it out, or name a place"

Check = Callable[[typer.CallbackParam, Any], Any]


def at_least(minimum: int) -> Check:
    """A number, not below `minimum`."""

    def check(parameter: typer.CallbackParam, value: float | None) -> float | None:
        finite = value is None or math.isfinite(value)
        allowed = f"at least {minimum}" if finite else f"a number, and at least {minimum}"
        return _require(value is None or (finite and value >= minimum), parameter, value, allowed)

    return check


def between(least: int, most: int) -> Check:
    """A number, not below `least` nor above `most`."""

    def check(parameter: typer.CallbackParam, value: float | None) -> float | None:
        return _require(value is None or least <= value <= most, parameter, value, f"between {least:,} and {most:,}")

    return check


def above_0(parameter: typer.CallbackParam, value: float | None) -> float | None:
    """A number above 0."""
    return _require(value is None or (math.isfinite(value) and value > 0), parameter, value, "above 0")


def a_seed(parameter: typer.CallbackParam, value: int | None) -> int | None:
    """A number that generators take."""
    return between(0, MOST_SEED)(parameter, value)


def share_above_0(parameter: typer.CallbackParam, value: float | None) -> float | None:
    """A number above 0, at most 1."""
    return _require(value is None or 0 < value <= 1, parameter, value, "above 0 and at most 1")


def share(parameter: typer.CallbackParam, value: float | None) -> float | None:
    """A number from 0 to 1."""
    return _require(value is None or 0 <= value <= 1, parameter, value, "between 0 and 1")


def an_encoding(value: str | None) -> str | None:
    """A name that Python knows."""
    if value is not None:
        from data_prep.text import check_encoding

        try:
            check_encoding(value)
        except InputError as error:
            raise OptionError(f"--{error}") from None
    return value


def one_of(*allowed: str) -> Check:
    """One of the words `allowed`."""

    def check(parameter: typer.CallbackParam, value: str | None) -> str | None:
        return _require(value is None or value in allowed, parameter, value, "one of " + ", ".join(allowed))

    return check


def choice(allowed: Sequence[str], meaning: str) -> Any:
    """An option whose value is one of the words `allowed`, which its help lists."""
    return typer.Option(metavar="|".join(allowed), callback=one_of(*allowed), help=meaning, show_default=True)


def switch(name: str, meaning: str) -> Any:
    """An option that is on, off or left out."""
    return typer.Option(f"--{name}/--no-{name}", help=meaning, show_default=False)


def model(without: str) -> Any:
    """The option --model, whose help tells what is taken `without` it."""
    meaning = f"A model file, a run folder or a bundled name; without it {without}."
    return typer.Option("--model", metavar="M", help=meaning)


def _require(ok: bool, parameter: typer.CallbackParam, value: Any, allowed: str) -> Any:
    if not ok:
        raise OptionError(f"{option_name(parameter)} {value}: must be {allowed}")
    return value


Model = Annotated[str | None, model("the bundled melody model")]
Device = Annotated[str, choice(DEVICES, "Where to compute; auto: on a GPU if there is one.")]
Precision = Annotated[
    str,
    choice(
        INFERENCE_PRECISIONS,
        "How products are rounded; auto serves almost everyone: bf16 for many sequences and big models, if it can be "
        "had; int8: with AVX-512 VNNI.",
    ),
]
Seed = Annotated[
    int | None,
    typer.Option(
        metavar="N",
        callback=a_seed,
        help="Of the random numbers: the same seed makes as many of the same again. Without it one is drawn, and told.",
    ),
]
Temperature = Annotated[
    float,
    typer.Option(
        metavar="T", callback=at_least(0), help="0: always the likeliest next step; 1: drawn as the model has it."
    ),
]
TemperatureOfSamples = Annotated[
    float | None,
    typer.Option(metavar="T", callback=at_least(0), help="Below 1: less varied, more usual.  [1, or 0 with --beam]"),
]
TopK = Annotated[
    int | None,
    typer.Option(metavar="K", callback=at_least(1), help="At each step draw among the K likeliest notes or words."),
]
TopP = Annotated[
    float | None,
    typer.Option(
        metavar="P", callback=share_above_0, help="At each step draw among the likeliest, of a share P of it all."
    ),
]
Beam = Annotated[
    int | None,
    typer.Option(
        metavar="K",
        callback=between(1, MOST_BEAM),
        help="Search for the likeliest with K hypotheses, instead of drawing.",
    ),
]
LengthPenalty = Annotated[
    float | None,
    typer.Option(
        metavar="A",
        callback=between(0, MOST_PENALTY),
        help="Of the search: 0 prefers short sentences, more longer ones.  [1]",
    ),
]
Unknown = Annotated[
    bool | None,
    typer.Option(
        "--unknown",
        help="Text: let the model say unknown words too, as <unk> (characters: �).",
        show_default=False,
    ),
]
Bar = Annotated[
    int | None,
    typer.Option(
        metavar="N",
        callback=at_least(1),
        help="Take the window that begins at this bar of longer music; without it the first full one.",
    ),
]
Force = Annotated[bool, typer.Option("--force", help="Replace files that are there already.")]
Encoding = Annotated[
    str | None,
    typer.Option(
        metavar="NAME",
        callback=an_encoding,
        help="Of text files, like latin-1 or utf-16.  [the model's or preset's: utf-8]",
    ),
]
Items = Annotated[
    list[str],
    typer.Argument(
        metavar="ITEM",
        help="Files or folders, tunes of a book (tunes.abc#2); for a model of text quoted sentences too.",
        show_default=False,
    ),
]


def out(folder: str) -> Any:
    """The --out of commands that write music into a folder, and print sentences."""
    return typer.Option(
        metavar="DIR|FILE.txt",
        parser=named,
        help=f"Where music is written, without it {folder}. Sentences are printed, and written to FILE.txt if named.",
    )


def named(value: str) -> Path:
    """A place that is read or written; without a name, as of a shell variable that is not set, it would be here."""
    if not value:
        raise typer.BadParameter(NAMELESS)
    return Path(value)


def decoding(given: Mapping[str, Any]) -> dict[str, Any]:
    """Those of the options named in DECODING that are `given` and not None."""
    return {name: given[name] for name in DECODING if given[name] is not None}


def numbers(n: int) -> list[str]:
    """01 ... n, which sort as they count."""
    width = max(2, len(str(n)))
    return [f"{number:0{width}}" for number in range(1, n + 1)]
