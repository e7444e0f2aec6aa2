"""seqvae evaluate: figures of a model on music or text."""

import json
import math
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from cli import inputs, options
from cli.console import note, say
from cli.data_options import Programs
from cli.options import choice
from cli.outputs import refuse_existing
from data_prep.files import atomic, tune_of
from data_prep.wording import count
from seqvae.config import PRECISIONS, TEXT
from seqvae.errors import OptionError

if TYPE_CHECKING:
    from data_prep.examples import Example
    from seqvae.trained import TrainedModel

MEANINGS = {
    "elbo": "lower bound of log p(x), nats a sequence",
    "distortion": "-log p(x|z), nats a sequence",
    "rate": "KL(q(z|x) || p(z)), nats a sequence: the sum of the next two",
    "mutual_information": "I(x; z) in nats, sampled q(z|x) against q(z) of N sequences (Li et al. 2019)",
    "mutual_information_cap": "ln N, the most that this estimate can be; N is all, or 10,000 drawn of more",
    "aggregate_rate": "KL(q(z) || p(z)), nats",
    "iw_nll": "importance-weighted -log p(x), nats a sequence",
    "tokens": "of a sequence, its end included",
    "perplexity": "exp(iw_nll / tokens), or without samples exp(-elbo / tokens)",
    "active_units": "latent dimensions whose mean has a variance above 0.01",
    "token_accuracy": "tokens predicted rightly from the true ones before",
    "note_on_accuracy": "the same, note beginnings alone",
    "token_free_running": "tokens right in the model's own greedy reconstruction",
    "note_on_free_running": "the same, note beginnings alone",
    "exact": "share of sequences reproduced without a fault",
}
SPLITS = ("train", "valid", "test")

Sources = Annotated[
    list[str],
    typer.Argument(metavar="SOURCE", help="Files, folders or one prepared dataset.", show_default=False),
]
Split = Annotated[str | None, options.choice(SPLITS, "Which part of a dataset or of music.  [test]")]
Samples = Annotated[
    int, typer.Option(metavar="K", callback=options.at_least(0), help="Samples for iw_nll: more come closer; 0: none.")
]


def evaluate(
    sources: Sources,
    split: Split = None,
    samples: Samples = 16,
    seed: Annotated[int, typer.Option(metavar="N", callback=options.a_seed, help="Of the noise.")] = 0,
    programs: Programs = None,
    encoding: options.Encoding = None,
    model: options.Model = None,
    device: options.Device = "auto",
    precision: Annotated[str, choice(PRECISIONS, "Of matrix products; auto: fp32.")] = "auto",
    json_file: Annotated[
        Path | None, typer.Option("--json", metavar="FILE", help="Write the figures to this file too.")
    ] = None,
    force: options.Force = False,
) -> None:
    """Measure a model on music or text.

    Music files are split as seqvae prepare splits them, a dataset is split already. Text files are measured whole: name
    such as the model was not trained on, or the dataset in .datasets beside its run.

    \b
    Examples:
      seqvae evaluate tunes.seqvae --model runs/mine
      seqvae evaluate tunes/ --split valid --json figures.json
      seqvae evaluate ptb.test.txt --samples 500 --model runs/ptb
    """
    if json_file is not None:
        if str(json_file) == "-":
            raise OptionError("--json -: give the name of a file")
        refuse_existing([json_file], force, "--json")
    from seqvae.trained import load

    vae = load(model, device, precision)
    whole = vae.kind == TEXT and not _is_dataset(sources)
    if whole and split is not None:
        raise OptionError(f"--split {split}: text files are measured whole; seqvae prepare splits them")
    if encoding is not None and not whole:
        raise OptionError(f"--encoding {encoding}: is for text files")
    if programs is not None and (vae.kind == TEXT or _is_dataset(sources)):
        raise OptionError(f"--programs {programs}: is for music files")
    if whole:
        figures = vae.evaluate(_sentences(sources, vae, encoding), samples=samples, seed=seed, progress=True)
    else:
        split = split or "test"
        with _dataset(sources, vae, split, programs) as dataset:
            figures = vae.evaluate(dataset, split, samples, seed, progress=True)
    say(f"model {vae.name} on {'' if whole else f'the {split} split of '}{', '.join(sources)}")
    for name in sorted(figures, key=list(MEANINGS).index):
        say(f"  {name:22} {figures[name]:10.4f}   {MEANINGS[name]}")
    if json_file is not None:
        plain = {name: value if math.isfinite(value) else None for name, value in figures.items()}
        about = {"model": vae.name, "sources": sources, "split": split, "seed": seed}
        refuse_existing([json_file], force, "--json")
        with atomic(json_file) as temporary:
            temporary.write_text(json.dumps(about | {"samples": samples, "figures": plain}, indent=1) + "\n")
        say(f"the figures are in {json_file}")


def _is_dataset(sources: Sequence[str]) -> bool:
    from data_prep.dataset import is_dataset

    return len(sources) == 1 and is_dataset(Path(sources[0]))


def _sentences(sources: Sequence[str], vae: "TrainedModel", encoding: str | None) -> "list[Example]":
    _, examples = inputs.read_each(vae, inputs.find(sources, vae), encoding=encoding)
    if left_out := sum(example.nul_lines for example in examples):
        note(f"{count(left_out, 'line')} with NUL bytes left out")
    if remarks := sum(bool(example.remark) for example in examples):
        note(f"{count(remarks, 'sentence')} of {len(examples):,} with unknown words, or cut")
    return examples


@contextmanager
def _dataset(sources: Sequence[str], vae: "TrainedModel", split: str, programs: str | None) -> Iterator[Path]:
    """The dataset given, or one made of the music files for as long as it is needed."""
    from tempfile import TemporaryDirectory

    from data_prep import dataset
    from seqvae.trained import melody_options

    learnt = vae.origin and vae.origin.dataset
    if _is_dataset(sources):
        if learnt and learnt != dataset.open_dataset(Path(sources[0])).info["contents"]:
            note(f"model {vae.name} was trained on another dataset: what it has seen may be in any split of this one")
        yield Path(sources[0])
        return
    for source in sources:
        if not source:
            raise OptionError(f"SOURCE: {options.NAMELESS}")
        if tune_of(source)[1] is not None:
            raise OptionError(f"{source}: a book is split by its tunes; give the whole file")
    with TemporaryDirectory(prefix="seqvae-") as folder:
        place = Path(folder, "dataset")
        chosen = melody_options(vae.config, programs)
        made = dataset.prepare([Path(source) for source in sources], place, chosen, progress=True)
        note(made.summary().replace("\n", "; "))
        if made.info["contents"] != learnt:
            note("these files were split anew: tunes that the model was trained on may be in any split")
        if not len(made.split(split)):
            raise OptionError(f"--split {split}: of so few files it is empty; choose another")
        yield place
