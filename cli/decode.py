"""seqvae decode: latents to music."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from cli import options
from cli.console import note, say
from cli.outputs import MidiFolder
from data_prep.meters import count
from seqvae.errors import OptionError

if TYPE_CHECKING:
    from seqvae.latent_file import Latents

LatentsFile = Annotated[
    Path, typer.Argument(metavar="LATENTS.npz", help="Made by seqvae encode, or any .npz with mean (N, Z).")
]


def decode(
    latents: LatentsFile,
    temperature: options.Temperature = 0.0,
    seed: options.Seed = None,
    model: options.Model = None,
    device: options.Device = "auto",
    out: Annotated[Path, typer.Option(metavar="DIR", help="Folder for the files.")] = Path("decoded"),
    force: options.Force = False,
) -> None:
    """Turn latents into music.

    One MIDI file is written for the mean in each row, and all piano rolls to decoded.png.

    \b
    Examples:
      seqvae decode latents.npz
      seqvae decode latents.npz --temperature 0.5 --seed 1 --out varied
    """
    from seqvae.latent_file import Latents
    from seqvae.trained import load

    found = Latents.load(latents)
    files = MidiFolder(out, _names(found), "decoded.png", force)
    model = _model(found, model, latents)
    seed = options.chosen_seed(seed)
    vae = load(model, device)
    if found.model not in ("", vae.name):
        note(f"{latents} was made by model '{found.model}' and is decoded by '{vae.name}'")
    scores = vae.decode(found.mean, temperature, seed=seed, tempo=found.tempo)
    files.write(scores)
    say(f"{count(len(scores), 'MIDI file')} and decoded.png are in {out}")
    if temperature:
        say(f"--seed {seed} makes them again")


def _names(found: "Latents") -> list[str]:
    """01-tune-bar5: in the order of the rows, and telling where each comes from."""
    from data_prep.notation import slugify

    stems = (slugify(Path(source).stem) for source in found.source)
    numbers = options.numbered("", len(found))
    return [
        f"{number.lstrip('-')}-{stem}-bar{bar}" for number, stem, bar in zip(numbers, stems, found.bar, strict=True)
    ]


def _model(found: "Latents", model: str | None, latents: Path) -> str | None:
    """The model to use: the one asked for, else the one that made the latents, which must then be a bundled one."""
    from seqvae.trained import bundled_names

    if model is not None or not found.model or found.model in bundled_names():
        return model or found.model or None
    raise OptionError(f"{latents} was made by model '{found.model}': say with --model where it is")
