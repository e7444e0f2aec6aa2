"""seqvae arithmetic: sums and differences of melodies."""

from pathlib import Path
from typing import Annotated

import typer

from cli import options
from cli.console import note, say
from cli.outputs import refuse_existing
from seqvae.errors import OptionError

Plus = Annotated[list[Path] | None, typer.Option(metavar="FILE", help="Add this music; may be given many times.")]
Minus = Annotated[
    list[Path] | None, typer.Option(metavar="FILE", help="Take this music away; may be given many times.")
]


def arithmetic(
    plus: Plus = None,
    minus: Minus = None,
    temperature: options.Temperature = 0.0,
    bar: options.Bar = None,
    seed: options.Seed = None,
    model: options.Model = None,
    device: options.Device = "auto",
    out: Annotated[Path, typer.Option(metavar="FILE.mid", help="The file to write.")] = Path("arithmetic.mid"),
    force: options.Force = False,
) -> None:
    """Add and subtract melodies in the latent space.

    A - B + C is C with what makes A differ from B.

    \b
    Examples:
      seqvae arithmetic --plus a.mid --minus b.mid --plus c.mid
      seqvae arithmetic --plus a.mid --plus b.mid --out sum.mid
    """
    if not plus:
        raise OptionError("--plus is missing: give at least one file to start from")
    if out.suffix.lower() not in (".mid", ".midi"):
        raise OptionError(f"--out {out}: must end in .mid")
    refuse_existing([out], force)
    seed = options.chosen_seed(seed)
    minus = minus or []
    from seqvae.trained import load

    vae = load(model, device)
    found = vae.encode([*plus, *minus], bar)
    for remark in found.remarks:
        note(remark)
    vae.add_latents(found, len(plus), temperature, seed).write_midi(out, force=force)
    say(f"{' + '.join(map(str, plus))}{''.join(f' - {file}' for file in minus)} is in {out}")
    if temperature:
        say(f"--seed {seed} makes it again")
