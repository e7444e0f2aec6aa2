"""seqvae presets: the settings that come with seqvae."""

from typing import Annotated

import typer

from cli.console import say


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
        say(preset(name, "NAME").to_toml().rstrip("\n"))
        return
    width = max(map(len, preset_names()))
    for each in preset_names():
        say(f"{each:{width}}  {preset(each).description}")
