"""seqvae info: what a file or folder is."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from cli.console import say
from cli.options import Encoding
from data_prep.errors import InputError
from data_prep.wording import count
from seqvae.config import MUSIC
from seqvae.errors import OptionError
from seqvae.run_folder import MODEL_FILE, STATE_FILE

if TYPE_CHECKING:
    from seqvae.trained import TrainedModel

What = Annotated[str, typer.Argument(metavar="MODEL|DATASET|FILE", help="What to describe.", show_default=False)]


def info(what: What, encoding: Encoding = None) -> None:
    """Describe a model, a dataset or a file.

    \b
    Examples:
      seqvae info melody-2bar
      seqvae info runs/mine
      seqvae info tunes.seqvae
      seqvae info tune.mid
      seqvae info notes.txt
    """
    say("\n".join(_describe(what, encoding)))


def _describe(what: str, encoding: str | None) -> list[str]:
    from data_prep.dataset import is_dataset, open_dataset
    from data_prep.files import SUFFIXES, TEXT_SUFFIXES

    path = Path(what)
    if path.suffix.lower() in TEXT_SUFFIXES:
        return _text(path, encoding)
    if encoding is not None:
        raise OptionError(f"--encoding {encoding}: is for text files, and {what} is none")
    if is_dataset(path):
        return [f"dataset {path}", open_dataset(path).summary()]
    if path.suffix.lower() in SUFFIXES:
        return _music(path)
    if path.suffix.lower() == ".npz":
        return _latents(path)
    return _model(what)


def _text(path: Path, encoding: str | None) -> list[str]:
    from data_prep.text import MOST, sentences
    from data_prep.tokenizers.words import WordTokenizer

    split_up = WordTokenizer(length=2).split_up
    lengths, different, characters, empty, nul, endless = [], set(), 0, 0, 0, 0
    for line in sentences(path, encoding or "utf-8"):
        nul += line.nul
        empty += not line.text and not line.nul
        if line.text and not line.nul:
            words = split_up(line.text)
            lengths.append(len(words))
            different.update(words)
            characters += len(line.text)
            endless += not line.whole
    of = f"of {count(sum(lengths), 'word')} ({len(different):,} different, signs among them)"
    lines = [f"{path.name}: {count(len(lengths), 'sentence')} {of}, {count(characters, 'character')}"]
    if lengths:
        lines.append(f"  words in a sentence: {sum(lengths) / len(lengths):.1f} on average, {max(lengths):,} at most")
    if endless:
        longer = f"{count(endless, 'line')} longer than {MOST:,} characters"
        lines.append(f"  {longer}, of which the beginning was read and counted")
    if empty or nul:
        lines.append(f"  {count(empty, 'empty line')}, {count(nul, 'line')} with NUL bytes")
    return lines


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
            lines.append(f"  {track.name or 'track'}: {kind}, {count(len(track.notes), 'note')}")
    return lines


def _latents(path: Path) -> list[str]:
    from seqvae.latent_file import Latents

    found = Latents.load(path)
    N, Z = found.mean.shape
    sources = count(len(set(found.source)), "file" if found.kind == MUSIC else "source")
    return [f"{count(N, 'latent')} of size {Z}, from {sources}, made by model '{found.model or 'unknown'}'"]


def _model(what: str) -> list[str]:
    from seqvae.model_files import bundled_names
    from seqvae.trained import load

    path = Path(what)
    if what not in bundled_names():
        if not path.exists():
            raise InputError(f"{what} does not exist, and is none of the bundled models: {', '.join(bundled_names())}")
        if path.is_dir() and not any((path / name).exists() for name in (MODEL_FILE, STATE_FILE)):
            more = "of music or text in it seqvae prepare makes a dataset"
            raise InputError(f"{what} is a folder, neither a dataset nor a run; {more}")
    vae = load(what, device="cpu")
    size = sum(weights.numel() for weights in vae.model.parameters())
    return [
        f"model {vae.name}: {size:,} parameters, latent size {vae.config.model.latent_size}",
        f"made for: {_made_for(vae)}",
        *_trained(vae),
        *["on the validation split:"] * bool(vae.metrics),
        *(f"  {name:22} {value:.4g}" for name, value in vae.metrics.items()),
        "its settings:",
        vae.config.to_toml().rstrip("\n"),
    ]


def _trained(vae: "TrainedModel") -> list[str]:
    from_ = vae.origin
    if from_ is None:
        return []
    by = f"by seqvae {from_.seqvae} with torch {from_.torch}, {from_.device}, {from_.precision}"
    return [f"trained on {count(from_.sequences, 'sequence')} {by}"]


def _made_for(vae: "TrainedModel") -> str:
    data, config = vae.config.data, vae.config.model
    if vae.kind == MUSIC:
        paired = ", bars of half the length paired" if data.pair_bars else ""
        return f"{data.tokenizer}, {count(data.bars, 'bar')} of {data.meter}{paired}"
    return f"{vae.tokenizer.name}, at most {config.length - 1} in a sentence, vocabulary of {config.vocabulary_size:,}"
