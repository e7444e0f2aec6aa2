"""seqvae encode: music to latents."""

from pathlib import Path
from typing import Annotated

import typer

from cli import inputs, options
from cli.console import say
from cli.outputs import refuse_existing
from data_prep.meters import count


def encode(
    files: options.Files,
    out: Annotated[Path, typer.Option(metavar="FILE.npz", help="The file to write.")] = Path("latents.npz"),
    model: options.Model = None,
    device: options.Device = "auto",
    force: options.Force = False,
) -> None:
    """Turn music into latents.

    Those of every window of each FILE are written to one .npz: mean and scale (N, Z), source, bar and tempo (N), and
    the model's name.

    \b
    Examples:
      seqvae encode tune.mid
      seqvae encode tunes/ --out tunes.npz
      python -c "import numpy; print(numpy.load('latents.npz')['mean'].shape)"
    """
    sources = inputs.find(files)
    refuse_existing([out], force)
    from seqvae.trained import load

    _, found = inputs.encode_each(load(model, device), sources, all_windows=True)
    found.save(out)
    N, Z = found.mean.shape
    say(f"{count(N, 'latent')} of size {Z} in {out}; seqvae decode {out} makes music of them again")
