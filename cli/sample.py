"""seqvae sample: new music from nothing but a model."""

from pathlib import Path
from typing import Annotated

import typer

from cli import options
from cli.console import say
from cli.outputs import MidiFolder
from data_prep.meters import count


def sample(
    n: Annotated[int, typer.Option("-n", metavar="N", callback=options.at_least(1), help="How many.")] = 8,
    temperature: options.Temperature = 1.0,
    top_k: options.TopK = None,
    top_p: options.TopP = None,
    seed: options.Seed = None,
    model: options.Model = None,
    device: options.Device = "auto",
    out: Annotated[Path, typer.Option(metavar="DIR", help="Folder for the files.")] = Path("sampled"),
    force: options.Force = False,
) -> None:
    """Make new melodies.

    They are written to sample-01.mid, sample-02.mid ..., all of them in a row to samples.mid, and their piano rolls to
    samples.png.

    \b
    Examples:
      seqvae sample
      seqvae sample -n 20 --temperature 0.7 --seed 1 --out calm
      seqvae sample --model runs/mine --top-p 0.9 --out mine
    """
    files = MidiFolder(out, options.numbered("sample", n), "samples.png", force, row="samples.mid")
    seed = options.chosen_seed(seed)
    from seqvae.trained import load

    files.write(load(model, device).sample(n, temperature, top_k, top_p, seed))
    say(f"{count(n, 'new MIDI file')}, samples.mid with all in a row and samples.png are in {out}")
    say(f"--seed {seed} makes them again")
