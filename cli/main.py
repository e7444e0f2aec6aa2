"""The `seqvae` command: registration only. Each command has its file, and imports what it needs when it runs."""

import sys
from typing import Annotated

import typer

import seqvae
from cli import console
from cli.arithmetic import arithmetic
from cli.corpus import corpus
from cli.decode import decode
from cli.encode import encode
from cli.evaluate import evaluate
from cli.info import info
from cli.interpolate import interpolate
from cli.prepare import prepare
from cli.presets import presets
from cli.reconstruct import reconstruct
from cli.sample import sample
from cli.train import train

app = typer.Typer(
    add_completion=False,
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 110},
)
for command in (
    *(sample, interpolate, reconstruct, arithmetic, encode, decode),
    *(train, prepare, evaluate, presets, corpus, info),
):
    app.command()(command)


def _version(asked: bool) -> None:
    if asked:
        console.say(f"{console.PROGRAM} {seqvae.__version__}")
        raise typer.Exit


@app.callback(invoke_without_command=True)
def overview(
    context: typer.Context,
    version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Print the version and exit.")
    ] = False,
) -> None:
    """Learn a smooth latent space of short melodies or sentences, and move in it.

    \b
    Examples:
      seqvae sample                                  new melodies from the bundled model
      seqvae interpolate a.mid b.mid                 one melody turning into another
      seqvae train tunes/ --minutes 30               learn from a folder of your own
      seqvae train notes.txt                         ... or from text, a sentence a line
      seqvae COMMAND --help                          all options of a command, with examples
    """
    if context.invoked_subcommand is None:
        console.say(context.get_help())


def main() -> None:
    """Entry point of the `seqvae` command."""
    sys.exit(console.run(app))


if __name__ == "__main__":
    main()
