"""seqvae decode: latents to music or sentences."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from cli import options, outputs
from cli.console import note
from data_prep.wording import count
from seqvae.config import MUSIC
from seqvae.errors import OptionError

if TYPE_CHECKING:
    from seqvae.latent_file import Latents

WITHOUT_MODEL = "the bundled model that made the latents, if any is named in them, else that of melodies"
LatentsFile = Annotated[
    Path, typer.Argument(metavar="LATENTS.npz", help="Made by seqvae encode, or any .npz with mean (N, Z).")
]


def decode(
    context: typer.Context,
    latents: LatentsFile,
    temperature: options.Temperature = 0.0,
    top_k: options.TopK = None,
    top_p: options.TopP = None,
    beam: options.Beam = None,
    length_penalty: options.LengthPenalty = None,
    unknown: options.Unknown = None,
    seed: options.Seed = None,
    model: Annotated[str | None, options.model(WITHOUT_MODEL)] = None,
    device: options.Device = "auto",
    precision: options.Precision = "auto",
    out: Annotated[Path | None, options.out("decoded")] = None,
    force: options.Force = False,
) -> None:
    """Turn latents into music or sentences.

    Of music one MIDI file is written for the mean in each row, and all piano rolls to decoded.png. Sentences are
    printed, a line for each row.

    \b
    Examples:
      seqvae decode latents.npz
      seqvae decode latents.npz --temperature 0.5 --seed 1 --out varied
      seqvae decode notes.npz --model runs/notes-text-words --beam 5
    """
    from seqvae import given
    from seqvae.latent_file import Latents
    from seqvae.trained import load

    found = Latents.load(latents)
    vae = load(_model(found, model, latents), device, precision)
    names = _names(found) if vae.kind == MUSIC else []
    place = outputs.results(vae.kind, out, force, "decoded", names, "decoded.png")
    if found.model not in ("", vae.name):
        note(f"{latents} was made by model '{found.model}' and is decoded by '{vae.name}'")
    start = given.seed(seed)
    tempo = found.tempo if vae.kind == MUSIC else None
    made = vae.decode(found.mean, seed=start, tempo=tempo, **options.decoding(context.params))
    place.write(made, count(len(made), place.noun))
    if temperature and seed is None:
        place.tell_seed(start)


def _names(found: "Latents") -> list[str]:
    """01-tune-bar5: in the order of the rows, and telling where each comes from; 02-book-2-bar1 of book.abc#2."""
    rows = zip(options.numbers(len(found)), map(_stem, found.source), found.place, strict=True)
    return [f"{number}-{stem}-bar{place}" for number, stem, place in rows]


def _stem(source: str) -> str:
    from data_prep.files import slugify

    path = Path(source)
    _, _, tune = path.suffix.partition("#")
    return slugify(path.stem) + (f"-{tune}" if tune.isdecimal() else "")


def _model(found: "Latents", model: str | None, latents: Path) -> str | None:
    """The model to use: the one asked for, else the one that made the latents, which must then be a bundled one."""
    from seqvae.model_files import bundled_names

    if model is not None or not found.model or found.model in bundled_names():
        return model or found.model or None
    raise OptionError(f"{latents} was made by model '{found.model}': say with --model where it is")
