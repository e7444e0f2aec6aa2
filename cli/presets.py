"""seqvae presets: the settings that come with seqvae."""

from typing import Annotated

import typer

from cli.console import say
from seqvae.errors import OptionError


def presets(
    name: Annotated[
        str | None, typer.Argument(metavar="NAME", help="Print this one as TOML.", show_default=False)
    ] = None,
) -> None:
    """List the presets, or print one.

    It is printed as TOML: edit it, and give the file to --preset.

    \b
    Examples:
      seqvae presets
      seqvae presets melody-2bar > mine.toml
      seqvae train tunes/ --preset mine.toml
    """
    from seqvae.presets import preset, preset_names

    if name is not None:
        if name not in preset_names() and not name.endswith(".toml"):
            raise OptionError(f"NAME {name}: unknown; choose {', '.join(preset_names())} or a .toml file")
        say(preset(name).to_toml().rstrip("\n"))
        return
    width = max(map(len, preset_names()))
    for each in preset_names():
        say(f"{each:{width}}  {preset(each).description}")
