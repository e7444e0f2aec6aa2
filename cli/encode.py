"""seqvae encode: music or sentences to latents."""

from pathlib import Path
from shlex import quote
from typing import Annotated

import typer

from cli import inputs, options
from cli.console import say
from cli.outputs import refuse_existing
from data_prep.wording import count
from seqvae.errors import OptionError


def encode(
    items: options.Items,
    encoding: options.Encoding = None,
    out: Annotated[Path, typer.Option(metavar="FILE.npz", help="The file to write.")] = Path("latents.npz"),
    model: options.Model = None,
    device: options.Device = "auto",
    precision: options.Precision = "auto",
    force: options.Force = False,
) -> None:
    """Turn music or sentences into latents.

    Those of every window or line of each file are written to one .npz: mean and scale (N, Z), source, bar and tempo, or
    line (N), and the model's name.

    \b
    Examples:
      seqvae encode tune.mid
      seqvae encode tunes/ --out tunes.npz
      seqvae encode notes.txt --model runs/notes-text-words --out notes.npz
      python -c "import numpy; print(numpy.load('latents.npz')['mean'].shape)"
    """
    if out.suffix.lower() != ".npz":
        raise OptionError(f"--out {out}: must end in .npz, as latents are written")
    refuse_existing([out], force)
    from seqvae.trained import load

    vae = load(model, device, precision)
    _, examples = inputs.read_each(vae, inputs.find(items, vae), all_windows=True, encoding=encoding)
    found = inputs.encode(vae, examples)
    refuse_existing([out], force)
    found.save(out)
    N, Z = found.mean.shape
    again = f"seqvae decode {quote(str(out))}" + (f" --model {quote(model)}" if model is not None else "")
    say(f"{count(N, 'latent')} of size {Z} in {out}; {again} makes {vae.kind} of them again")
