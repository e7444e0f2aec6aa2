"""seqvae prepare: files to a dataset folder."""

from pathlib import Path
from shlex import quote
from typing import Annotated

import typer

from cli import data_options as data
from cli.console import say
from cli.options import Encoding, named
from data_prep.errors import InputError
from seqvae.errors import OptionError


def prepare(
    context: typer.Context,
    sources: Annotated[
        list[Path],
        typer.Argument(
            metavar="SOURCE",
            parser=named,
            help="Folders (searched to their depths), music or text files.",
            show_default=False,
        ),
    ],
    out: Annotated[Path, typer.Option(metavar="DATASET", parser=named, help="The folder to make.", show_default=False)],
    preset: data.Preset = None,
    bars: data.Bars = None,
    meter: data.Meter = None,
    pair_bars: data.PairBars = None,
    programs: data.Programs = None,
    workers: data.Workers = None,
    vocabulary_size: data.VocabularySize = None,
    min_count: data.MinCount = None,
    max_length: data.MaxLength = None,
    long: data.Long = None,
    words: data.Words = None,
    lowercase: data.Lowercase = None,
    encoding: Encoding = None,
    tokenizer: data.TokenizerFile = None,
    valid: data.Valid = None,
    test: data.Test = None,
    force: Annotated[bool, typer.Option("--force", help="Replace a dataset that is there already.")] = False,
) -> None:
    """Make a dataset of music or text files.

    Music is cut into windows and split by tune into train, valid and test; of text each line is a sentence. What gives
    nothing is told with its reason, here and in dataset.json.

    \b
    Examples:
      seqvae prepare tunes/ --out tunes.seqvae
      seqvae prepare jigs.abc more/ --meter 6/8 --out jigs.seqvae
      seqvae prepare ptb.train.txt --valid ptb.valid.txt --test ptb.test.txt --preset ptb-best --out ptb.seqvae
      seqvae train tunes.seqvae --minutes 30
    """
    from data_prep import dataset

    data.check_splits(valid, test)
    config = data.with_data_options(data.read_preset(preset, sources), context.params)
    try:
        named = [*sources, *(valid or []), *(test or []), *filter(None, [tokenizer])]
        dataset.check_place(out, force, named)
    except InputError as error:
        raise OptionError(f"--out: {error}") from None
    made = dataset.prepare(
        sources,
        out,
        data.data_options(config.data),
        valid=valid or [],
        test=test or [],
        workers=workers,
        force=force,
        progress=True,
    )
    say(
        f"{made.summary()}\nthe dataset is in {out}"
        + "; its dataset.json names all that was skipped" * bool(made.skipped)
    )
    if len(made.split("valid")):
        say(f"train on it: seqvae train {quote(str(out))}")
    else:
        say("it has nothing to validate on: add more sources, or give --valid, to train on it")
