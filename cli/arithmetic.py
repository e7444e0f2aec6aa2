"""seqvae arithmetic: sums and differences of melodies or sentences."""

from pathlib import Path
from typing import Annotated

import typer

from cli import inputs, options
from cli.outputs import Lines, MidiFile
from seqvae.config import TEXT
from seqvae.errors import OptionError

Plus = Annotated[
    list[str] | None, typer.Option(metavar="ITEM", help="Add this file or sentence; may be given many times.")
]
Minus = Annotated[list[str] | None, typer.Option(metavar="ITEM", help="Take this away; may be given many times.")]
Out = Annotated[
    Path | None,
    typer.Option(
        metavar="FILE",
        help="Where music is written, without it arithmetic.mid. Text is printed, and written to FILE.txt if named.",
    ),
]


def arithmetic(
    context: typer.Context,
    plus: Plus = None,
    minus: Minus = None,
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
    out: Out = None,
    force: options.Force = False,
) -> None:
    """Add and subtract melodies or sentences in the latent space.

    A - B + C is C with what makes A differ from B.

    \b
    Examples:
      seqvae arithmetic --plus a.mid --minus b.mid --plus c.mid
      seqvae arithmetic --plus a.mid --plus b.mid --out sum.mid
      seqvae arithmetic --plus "he went home" --minus "he ran" --plus "she ran" --model runs/notes-text-words
    """
    if not plus:
        raise OptionError("--plus is missing: give at least one file or sentence to start from")
    from seqvae import given
    from seqvae.trained import load

    minus = minus or []
    vae = load(model, device, precision)
    place = Lines(out, force) if vae.kind == TEXT else MidiFile(out or Path("arithmetic.mid"), force)
    start = given.seed(seed)
    found = inputs.encode(vae, vae.read([*plus, *minus], bar, all_windows=False, encoding=encoding))
    made = vae.add_latents(found, len(plus), seed=start, **options.decoding(context.params))
    place.write([made], f"{' + '.join(plus)}{''.join(f' - {item}' for item in minus)}")
    if temperature and seed is None:
        place.tell_seed(start)
