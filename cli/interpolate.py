"""seqvae interpolate: one melody, or one sentence, turns into another."""

from pathlib import Path
from typing import Annotated

import typer

from cli import inputs, options, outputs
from seqvae.config import MOST_RESULTS

A = Annotated[str, typer.Argument(metavar="A", help="What it begins with: a file or a sentence.", show_default=False)]
B = Annotated[str, typer.Argument(metavar="B", help="What it ends with.", show_default=False)]
Steps = Annotated[
    int,
    typer.Option(metavar="N", callback=options.between(2, MOST_RESULTS), help="How many steps, both ends included."),
]


def interpolate(
    context: typer.Context,
    a: A,
    b: B,
    steps: Steps = 7,
    temperature: options.Temperature = 0.0,
    top_k: options.TopK = None,
    top_p: options.TopP = None,
    beam: options.Beam = None,
    length_penalty: options.LengthPenalty = None,
    unknown: options.Unknown = None,
    bar: options.Bar = None,
    encoding: options.Encoding = None,
    seed: options.Seed = None,
    model: options.Model = None,
    device: options.Device = "auto",
    precision: options.Precision = "auto",
    out: Annotated[Path | None, options.out("interpolation")] = None,
    force: options.Force = False,
) -> None:
    """Turn one melody or sentence into another, step by step.

    Melodies are written to step-01.mid, step-02.mid ..., all of them in a row to interpolation.mid, and their piano
    rolls to interpolation.png. Sentences are printed, a line each step. Of a text file the first sentence is taken, of
    a book of tunes the first one, of tunes.abc#2 the second. The first step is the model's own reconstruction of A, the
    last that of B.

    \b
    Examples:
      seqvae interpolate a.mid b.mid
      seqvae interpolate a.mid b.mid --steps 13 --out slowly
      seqvae interpolate tune.abc other.abc --bar 5 --temperature 0.3 --seed 1
      seqvae interpolate "the cat sat" "a storm is coming" --model runs/notes-text-words
    """
    from seqvae import given
    from seqvae.trained import load

    vae = load(model, device, precision)
    names = [f"step-{number}" for number in options.numbers(steps)]
    place = outputs.results(vae.kind, out, force, "interpolation", names, "interpolation.png", row="interpolation.mid")
    start = given.seed(seed)
    ends = inputs.encode(vae, vae.read([a, b], bar, all_windows=False, encoding=encoding))
    made = vae.interpolate_latents(ends, steps, seed=start, **options.decoding(context.params))
    place.write(made, f"{steps} steps from {a} to {b}")
    if temperature and seed is None:
        place.tell_seed(start)
