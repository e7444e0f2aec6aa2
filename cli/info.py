"""seqvae info: what a file or folder is."""

from pathlib import Path
from typing import Annotated

import typer

from cli.console import say
from data_prep.errors import InputError
from data_prep.meters import count

What = Annotated[str, typer.Argument(metavar="MODEL|DATASET|FILE", help="What to describe.", show_default=False)]


def info(what: What) -> None:
    """Describe a model, a dataset or a file.

    \b
    Examples:
      seqvae info melody-2bar
      seqvae info runs/mine
      seqvae info tunes.seqvae
      seqvae info tune.mid
    """
    say("\n".join(_describe(what)))


def _describe(what: str) -> list[str]:
    from data_prep.dataset import is_dataset, open_dataset
    from data_prep.files import SUFFIXES

    path = Path(what)
    if is_dataset(path):
        return [f"dataset {path}", open_dataset(path).summary()]
    if path.suffix.lower() in SUFFIXES:
        return _music(path)
    if path.suffix.lower() == ".npz":
        return _latents(path)
    return _model(what)


def _music(path: Path) -> list[str]:
    from data_prep.piece import END
    from data_prep.reading import read_pieces

    lines = []
    for piece in read_pieces(path):
        tracks = [track for track in piece.tracks if len(track.notes)]
        quarters = max((track.notes[:, END].max() for track in tracks), default=0) / piece.ticks_per_quarter
        meters = ", ".join(dict.fromkeys(f"{n}/{d}" for _, n, d in piece.meters)) or "4/4 (not said)"
        tempos = ", ".join(dict.fromkeys(f"{tempo:g}" for _, tempo in piece.tempos)) or "120 (not said)"
        lines.append(f"{piece.name or path.stem}: {quarters:g} quarters long, meter {meters}, tempo {tempos}")
        for track in tracks:
            kind = "drums" if track.is_drum else f"program {track.program}"
            lines.append(f"  {track.name or 'track'}: {kind}, {len(track.notes)} notes")
    return lines


def _latents(path: Path) -> list[str]:
    from seqvae.latent_file import Latents

    found = Latents.load(path)
    N, Z = found.mean.shape
    files = len(set(found.source))
    return [
        f"{count(N, 'latent')} of size {Z}, from {count(files, 'file')}, made by model '{found.model or 'unknown'}'"
    ]


def _model(what: str) -> list[str]:
    from seqvae.trained import bundled_names, load

    if not Path(what).exists() and what not in bundled_names():
        raise InputError(f"{what} does not exist, and is none of the bundled models: {', '.join(bundled_names())}")
    vae = load(what, device="cpu")
    size = sum(weights.numel() for weights in vae.model.parameters())
    data = vae.config.data
    paired = ", bars of half the length paired" if data.pair_bars else ""
    return [
        f"model {vae.name}: {size:,} parameters, latent size {vae.config.model.latent_size}",
        f"made for: {data.tokenizer}, {data.bars} bars of {data.meter}{paired}",
        *(f"  {name:22} {value:.4g}" for name, value in vae.metrics.items()),
        "its settings:",
        vae.config.to_toml().rstrip("\n"),
    ]
