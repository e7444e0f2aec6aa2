"""seqvae prepare: files to a dataset folder."""

from pathlib import Path
from typing import Annotated

import typer

from cli import options
from cli.console import say
from data_prep.files import taken
from seqvae.errors import OptionError


def prepare(
    context: typer.Context,
    sources: Annotated[
        list[Path],
        typer.Argument(
            metavar="SOURCE", help="Folders (searched to their depths) and music files.", show_default=False
        ),
    ],
    out: Annotated[Path, typer.Option(metavar="DATASET", help="The folder to make.", show_default=False)],
    preset: options.Preset = options.PRESET,
    bars: options.Bars = None,
    meter: options.Meter = None,
    pair_bars: options.PairBars = None,
    programs: options.Programs = None,
    workers: options.Workers = None,
    force: Annotated[bool, typer.Option("--force", help="Replace a dataset that is there already.")] = False,
) -> None:
    """Make a dataset of music files.

    They are cut into windows and split by tune into train, valid and test. What gives no window is told with its
    reason, here and in dataset.json.

    \b
    Examples:
      seqvae prepare tunes/ --out tunes.seqvae
      seqvae prepare jigs.abc more/ --meter 6/8 --out jigs.seqvae
      seqvae train tunes.seqvae --minutes 30
    """
    from data_prep import dataset
    from seqvae.presets import preset as read_preset

    chosen = options.melody_options(options.with_data_options(read_preset(preset), context.params).data)
    if taken(out) and not dataset.is_dataset(out):
        raise OptionError(f"{out} exists and is no dataset: choose another --out")
    if taken(out) and not force:
        raise OptionError(f"{out} exists: replace it with --force, or choose another --out")
    made = dataset.prepare(sources, out, chosen, workers=workers, force=force, progress=True)
    say(f"{made.summary()}\nthe dataset is in {out}; seqvae train {out} learns from it")
