"""seqvae reconstruct: what a model makes of a melody."""

from pathlib import Path
from typing import Annotated

import typer

from cli import inputs, options
from cli.console import say
from cli.outputs import MidiFolder
from data_prep.meters import count


def reconstruct(
    files: options.Files,
    temperature: options.Temperature = 0.0,
    bar: options.Bar = None,
    seed: options.Seed = None,
    model: options.Model = None,
    device: options.Device = "auto",
    out: Annotated[Path, typer.Option(metavar="DIR", help="Folder for the files.")] = Path("reconstruction"),
    force: options.Force = False,
) -> None:
    """Encode music and decode it again: what does the model keep?

    One MIDI file is written for each FILE, and all piano rolls to reconstruction.png.

    \b
    Examples:
      seqvae reconstruct tune.mid
      seqvae reconstruct tune.mid --bar 9 --out ninth
      seqvae reconstruct tunes/ --model runs/mine
    """
    sources = inputs.find(files)
    names = inputs.file_names(sources)
    outputs = MidiFolder(out, names, "reconstruction.png", force)
    seed = options.chosen_seed(seed)
    from seqvae.trained import load

    vae = load(model, device)
    places, found = inputs.encode_each(vae, sources, bar)
    scores = vae.decode(found.mean, temperature, seed=seed, tempo=found.tempo)
    outputs.write(scores, [names[place] for place in places])
    say(f"{count(len(scores), 'reconstruction')} and reconstruction.png are in {out}")
    if temperature:
        say(f"--seed {seed} makes them again")
