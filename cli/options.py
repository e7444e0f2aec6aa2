"""The options that several commands share, each defined once, and the checks of their values.

A check is a Typer callback: it sees the parameter and its value, and refuses with a line that names the option.
"""

import dataclasses
import math
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from cli.console import option_name
from data_prep import meters, programs
from data_prep.errors import InputError
from seqvae.config import DEVICES, Config, DataConfig
from seqvae.errors import OptionError

if TYPE_CHECKING:
    from data_prep.windows import MelodyOptions

PRESET = "melody-2bar"  # of train and prepare, unless another is asked for
SOURCES_HELP = "Folders (searched to their depths), music files, or one prepared dataset."
DATA_OPTIONS = ("bars", "meter", "pair_bars", "programs")

Check = Callable[[typer.CallbackParam, Any], Any]


def at_least(minimum: int) -> Check:
    """A number, not below `minimum`."""

    def check(parameter: typer.CallbackParam, value: float | None) -> float | None:
        return _require(
            value is None or (math.isfinite(value) and value >= minimum), parameter, value, f"at least {minimum}"
        )

    return check


def above_0(parameter: typer.CallbackParam, value: float | None) -> float | None:
    """A number above 0."""
    return _require(value is None or (math.isfinite(value) and value > 0), parameter, value, "above 0")


def _share(parameter: typer.CallbackParam, value: float | None) -> float | None:
    return _require(value is None or 0 < value <= 1, parameter, value, "above 0 and at most 1")


def one_of(*allowed: str) -> Check:
    """One of the words `allowed`."""

    def check(parameter: typer.CallbackParam, value: str | None) -> str | None:
        return _require(value is None or value in allowed, parameter, value, "one of " + ", ".join(allowed))

    return check


def choice(allowed: Sequence[str], meaning: str) -> Any:
    """An option whose value is one of the words `allowed`, which its help lists."""
    return typer.Option(metavar="|".join(allowed), callback=one_of(*allowed), help=meaning, show_default=True)


def _require(ok: bool, parameter: typer.CallbackParam, value: Any, allowed: str) -> Any:
    if not ok:
        raise OptionError(f"{option_name(parameter)} {value}: must be {allowed}")
    return value


Model = Annotated[
    str | None,
    typer.Option(
        metavar="M", help="A model file, a run folder or a bundled name; without it the bundled melody model."
    ),
]
Device = Annotated[str, choice(DEVICES, "Where to compute.")]
Seed = Annotated[
    int | None,
    typer.Option(
        metavar="N",
        callback=at_least(0),
        help="Random numbers start here: the same seed makes the same files. Without it one is drawn, and told.",
    ),
]
Temperature = Annotated[
    float,
    typer.Option(
        metavar="T", callback=at_least(0), help="0: always the likeliest next step; 1: drawn as the model has it."
    ),
]
TopK = Annotated[
    int | None, typer.Option(metavar="K", callback=at_least(1), help="Draw among the K likeliest steps alone.")
]
TopP = Annotated[
    float | None,
    typer.Option(metavar="P", callback=_share, help="Draw among the likeliest steps that hold a share P of it all."),
]
Bar = Annotated[
    int | None,
    typer.Option(
        metavar="N",
        callback=at_least(1),
        help="Take the window that begins at this bar of a longer file; without it the first full one.",
    ),
]
Force = Annotated[bool, typer.Option("--force", help="Replace files that are there already.")]
Workers = Annotated[
    int | None,
    typer.Option(metavar="N", callback=at_least(1), help="Processes that read music; without it one for each core."),
]
Meter = Annotated[
    str | None, typer.Option(metavar="N/D", help="The meter of the windows, like 3/4 or 6/8.  [the preset's: 4/4]")
]
Bars = Annotated[
    int | None,
    typer.Option(metavar="N", callback=at_least(1), help="Length of the windows in bars.  [the preset's: 2]"),
]
Programs = Annotated[
    str | None,
    typer.Option(
        metavar="RANGES", help="General MIDI programs that play melodies, like 0-7,40 or 0-127.  [the preset's: 0-31]"
    ),
]
PairBars = Annotated[
    bool | None,
    typer.Option(
        "--pair-bars/--no-pair-bars",
        help="Read two bars of 2/4 as one of 4/4 (of 3/8 as one of 6/8 ...).",
        show_default=False,
    ),
]
Files = Annotated[list[Path], typer.Argument(metavar="FILE", help="Music files or folders.", show_default=False)]
Sources = Annotated[list[Path], typer.Argument(metavar="SOURCE", help=SOURCES_HELP, show_default=False)]
Preset = Annotated[str, typer.Option(metavar="NAME|FILE.toml", help="Settings to start from.")]


def chosen_seed(seed: int | None) -> int:
    """The seed given, or one drawn now."""
    import secrets

    return secrets.randbelow(2**31) if seed is None else seed


def numbered(stem: str, n: int) -> list[str]:
    """stem-01 ... stem-n: names that sort as they count."""
    width = max(2, len(str(n)))
    return [f"{stem}-{number:0{width}}" for number in range(1, n + 1)]


def with_data_options(config: Config, given: Mapping[str, Any]) -> Config:
    """The configuration with those of --bars, --meter, --pair-bars and --programs that are `given` and not None."""
    changes = {name: given[name] for name in DATA_OPTIONS if given[name] is not None}
    chosen = melody_options(dataclasses.replace(config.data, **changes))
    plain = {"meter": meters.name(chosen.meter), "programs": programs.text(chosen.programs)}
    return dataclasses.replace(config, data=dataclasses.replace(config.data, **changes | plain))


def melody_options(data: DataConfig) -> "MelodyOptions":
    """How files are cut into windows. Raises OptionError for a meter or programs that are none."""
    from data_prep.windows import MelodyOptions  # with numpy, which --help can do without

    try:
        return MelodyOptions.parse(data.meter, data.bars, data.pair_bars, data.programs)
    except InputError as error:
        raise OptionError(str(error)) from None
