"""seqvae sample: new music or sentences from nothing but a model."""

from pathlib import Path
from typing import Annotated

import typer

from cli import options, outputs
from data_prep.wording import count
from seqvae.config import MOST_RESULTS


def sample(
    context: typer.Context,
    n: Annotated[int, typer.Option("-n", metavar="N", callback=options.between(1, MOST_RESULTS), help="How many.")] = 8,
    temperature: options.TemperatureOfSamples = None,
    top_k: options.TopK = None,
    top_p: options.TopP = None,
    beam: options.Beam = None,
    length_penalty: options.LengthPenalty = None,
    unknown: options.Unknown = None,
    seed: options.Seed = None,
    model: options.Model = None,
    device: options.Device = "auto",
    precision: options.Precision = "auto",
    out: Annotated[Path | None, options.out("sampled")] = None,
    force: options.Force = False,
) -> None:
    """Make new melodies or sentences.

    Melodies are written to sample-01.mid, sample-02.mid ..., all of them in a row to samples.mid, and their piano rolls
    to samples.png. Sentences are printed, a line each.

    \b
    Examples:
      seqvae sample
      seqvae sample -n 20 --temperature 0.7 --seed 1 --out calm
      seqvae sample --model runs/mine --top-p 0.9 --out mine
      seqvae sample --model runs/psalms-text-words --beam 5
    """
    from seqvae import given
    from seqvae.trained import load

    vae = load(model, device, precision)
    names = [f"sample-{number}" for number in options.numbers(n)]
    place = outputs.results(vae.kind, out, force, "sampled", names, "samples.png", row="samples.mid")
    start = given.seed(seed)
    place.write(vae.sample(n, seed=start, **options.decoding(context.params)), count(n, f"new {place.noun}"))
    if seed is None:
        place.tell_seed(start)
