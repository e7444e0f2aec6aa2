"""seqvae interpolate: one melody turns into another."""

from pathlib import Path
from typing import Annotated

import typer

from cli import options
from cli.console import note, say
from cli.outputs import MidiFolder

A = Annotated[Path, typer.Argument(metavar="A", help="The music it begins with.", show_default=False)]
B = Annotated[Path, typer.Argument(metavar="B", help="The music it ends with.", show_default=False)]
Steps = Annotated[
    int, typer.Option(metavar="N", callback=options.at_least(2), help="How many melodies, both ends included.")
]


def interpolate(
    a: A,
    b: B,
    steps: Steps = 7,
    temperature: options.Temperature = 0.0,
    bar: options.Bar = None,
    seed: options.Seed = None,
    model: options.Model = None,
    device: options.Device = "auto",
    out: Annotated[Path, typer.Option(metavar="DIR", help="Folder for the files.")] = Path("interpolation"),
    force: options.Force = False,
) -> None:
    """Turn one melody into another, step by step.

    The steps are written to step-01.mid, step-02.mid ..., all of them in a row to interpolation.mid, and their piano
    rolls to interpolation.png. The first is the model's own reconstruction of A, the last that of B.

    \b
    Examples:
      seqvae interpolate a.mid b.mid
      seqvae interpolate a.mid b.mid --steps 13 --out slowly
      seqvae interpolate tune.abc other.abc --bar 5 --temperature 0.3 --seed 1
    """
    files = MidiFolder(out, options.numbered("step", steps), "interpolation.png", force, row="interpolation.mid")
    seed = options.chosen_seed(seed)
    from seqvae.trained import load

    vae = load(model, device)
    ends = vae.encode([a, b], bar)
    for remark in ends.remarks:
        note(remark)
    files.write(vae.interpolate_latents(ends, steps, temperature, seed))
    say(f"{steps} steps from {a} to {b}, interpolation.mid with all in a row and interpolation.png are in {out}")
    if temperature:
        say(f"--seed {seed} makes them again")
