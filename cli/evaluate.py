"""seqvae evaluate: figures of a model on music."""

import json
import math
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from cli import options
from cli.console import note, say
from cli.outputs import refuse_existing
from data_prep.files import atomic

if TYPE_CHECKING:
    from seqvae.config import Config

MEANINGS = {
    "elbo": "lower bound of log p(x), nats a sequence",
    "distortion": "-log p(x|z), nats a sequence",
    "rate": "KL(q(z|x) || p(z)), nats a sequence",
    "iw_nll": "importance-weighted -log p(x), nats a sequence",
    "active_units": "latent dimensions in use",
    "token_accuracy": "steps predicted rightly from the true ones before",
    "note_on_accuracy": "the same, note beginnings alone",
    "token_free_running": "steps right in the model's own greedy reconstruction",
    "note_on_free_running": "the same, note beginnings alone",
    "exact": "share of sequences reproduced without a fault",
}
SPLITS = ("train", "valid", "test")

Split = Annotated[str, options.choice(SPLITS, "Which part of the tunes.")]
Samples = Annotated[
    int, typer.Option(metavar="K", callback=options.at_least(0), help="Samples for iw_nll; 0 leaves it out.")
]


def evaluate(
    sources: options.Sources,
    split: Split = "test",
    samples: Samples = 16,
    seed: Annotated[int, typer.Option(metavar="N", callback=options.at_least(0), help="Of the noise.")] = 0,
    model: options.Model = None,
    device: options.Device = "auto",
    json_file: Annotated[
        Path | None, typer.Option("--json", metavar="FILE", help="Write the figures to this file too.")
    ] = None,
    force: options.Force = False,
) -> None:
    """Measure a model on music.

    Music files are split as seqvae prepare splits them, a dataset is split already.

    \b
    Examples:
      seqvae evaluate tunes.seqvae --model runs/mine
      seqvae evaluate tunes/ --split valid --json figures.json
    """
    if json_file is not None:
        refuse_existing([json_file], force)
    from seqvae.trained import load

    vae = load(model, device)
    with _dataset(sources, vae.config) as dataset:
        figures = vae.evaluate(dataset, split, samples, seed)
    say(f"model {vae.name} on the {split} split of {', '.join(map(str, sources))}")
    for name, value in figures.items():
        say(f"  {name:22} {value:10.4f}   {MEANINGS.get(name, '')}")
    if json_file is not None:
        plain = {name: value if math.isfinite(value) else None for name, value in figures.items()}
        about = {"model": vae.name, "sources": [str(source) for source in sources], "split": split, "seed": seed}
        with atomic(json_file) as temporary:
            temporary.write_text(json.dumps(about | {"samples": samples, "figures": plain}, indent=1) + "\n")
        say(f"the figures are in {json_file}")


@contextmanager
def _dataset(sources: Sequence[Path], config: "Config") -> Iterator[Path]:
    """The dataset given, or one made of the files for as long as it is needed."""
    from tempfile import TemporaryDirectory

    from data_prep import dataset

    if len(sources) == 1 and dataset.is_dataset(sources[0]):
        yield sources[0]
        return
    with TemporaryDirectory(prefix="seqvae-") as folder:
        place = Path(folder, "dataset")
        made = dataset.prepare(sources, place, options.melody_options(config.data), progress=True)
        note(made.summary().replace("\n", "; "))
        yield place
