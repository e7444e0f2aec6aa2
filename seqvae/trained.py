"""A trained model with its tokenizer: files, scores or sentences in, music or sentences out.

    vae = seqvae.load()                          # the bundled melody model; or a model file, or a run folder
    mean, scale = vae.encode("tune.mid")
    vae.decode(mean)[0].write_midi("again.mid")
    seqvae.load("runs/psalms").interpolate("the lord is my shepherd", "the wicked flee", steps=5)

A model of music makes scores, one of text makes strings. Decoding is greedy unless a temperature or a beam is given, so
that the same latent gives the same result; but 64 and more at a time may be computed in bf16 (`load`), whose rounding
can change one.
"""

import operator
import os
from collections.abc import Iterable, Mapping, Sequence
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any, TypedDict, Unpack, cast

import numpy as np
import torch

from data_prep.dataset import is_dataset
from data_prep.errors import InputError
from data_prep.examples import Example, examples, of_first_tune, remarks, sentence, sentence_examples
from data_prep.files import SUFFIXES, free, is_path, tune_of
from data_prep.meters import DEFAULT_TEMPO
from data_prep.pictures import piano_rolls
from data_prep.score import Score, write_row
from data_prep.text import check_encoding
from data_prep.tokenizers.base import Tokenizer, create
from data_prep.tokenizers.text import TextTokenizer
from data_prep.windows import MelodyOptions
from seqvae import given, latents, sampling
from seqvae.batch import Batch
from seqvae.checkpoint import ModelFile, load_model, save_model
from seqvae.config import INFERENCE_PRECISIONS, MOST_SEED, OF_TOKENIZER, TEXT, Config
from seqvae.data import SequenceData, in_batches
from seqvae.devices import autocast, choose_device, choose_precision
from seqvae.errors import ModelError, OptionError
from seqvae.evaluation import evaluate
from seqvae.latent_file import Latents
from seqvae.memory import keep_freed_memory
from seqvae.model_files import find_model, model_name
from seqvae.run_folder import MODEL_FILE

BATCH, BATCH_OF_GPU = 512, 4096  # sequences decoded or encoded at a time
GREEDY = sampling.Decoding()
WORTH_LOW = 2**26  # weights times sequences at a time, from which products in bf16 are worth what they round

Item = Path | str | Score


class HowToDecode(TypedDict, total=False):
    """How results are decoded; what each means says `TrainedModel.decode`."""

    temperature: float
    top_k: int | None
    top_p: float | None
    seed: int | None
    beam: int | None
    length_penalty: float
    unknown: bool


def load(
    model: str | Path | None = None, device: str | torch.device = "auto", precision: str = "auto"
) -> "TrainedModel":
    """Load a model by bundled name, run folder or file; without a name, the bundled melody model.

    Args:
        device: "auto", "cpu", "cuda" or "mps"; a torch.device of such a kind, too.
        precision: of matrix products, "fp32", "bf16", "int8" or "auto": bf16 where the processor has it, for many
            sequences at a time (16 of `melody-2bar`) and big models; a few of a small model are computed exactly, which
            takes no longer. "int8" is faster still for many and for big models, and rounds more, see `int8`; it needs a
            processor with AVX-512 VNNI. `evaluate` is exact unless told "bf16".

    Raises:
        ModelError: there is none, or it is damaged.
        OptionError: the device is not there, or has no such products.
        InputError: its tokenizer cannot be made, for one because the package `tokenizers` is missing.
    """
    keep_freed_memory()
    path = find_model(model)
    return TrainedModel(model_name(path), load_model(path), device, precision)


def melody_options(config: Config, programs: str | None = None) -> MelodyOptions:
    """How files are cut into windows for a configuration. Raises InputError for impossible meters or programs."""
    data = config.data
    return MelodyOptions.parse(data.meter, data.bars, data.pair_bars, data.programs if programs is None else programs)


class TrainedModel:
    """A model, ready to encode and decode scores, sentences and files."""

    def __init__(
        self, name: str, file: ModelFile, device: str | torch.device = "auto", precision: str = "auto"
    ) -> None:
        self.name = name
        self.config: Config = file.config
        self.metrics: dict[str, float] = file.metrics
        self.origin = file.origin
        try:
            self.tokenizer: Tokenizer = create(file.tokenizer)
        except InputError as error:
            raise InputError(f"model '{name}': {error}") from None
        self.device = choose_device(device)
        self.precision = precision
        self._rows = BATCH_OF_GPU if self.device.type == "cuda" else BATCH
        self._fastest = choose_precision(precision, self.device, INFERENCE_PRECISIONS)
        self.model = file.model.to(self.device).eval()
        self._size = sum(weight.numel() for weight in self.model.parameters())
        if any(getattr(self.config.model, name) != getattr(self.tokenizer, name) for name in OF_TOKENIZER):
            raise ModelError(f"model '{name}' and its tokenizer do not fit each other")

    def __repr__(self) -> str:
        return f"<seqvae model '{self.name}' of {self.kind}, latent size {self.config.model.latent_size}>"

    @property
    def kind(self) -> str:
        """What it is a model of: "music" or "text"."""
        return self.tokenizer.kind

    def encode(
        self,
        items: Item | Sequence[Item],
        bar: int | None = None,
        all_windows: bool | None = None,
        encoding: str | None = None,
    ) -> Latents:
        """Posteriors of files, scores or sentences.

        Args:
            items: of music paths or scores, of text sentences or paths, or one of them. A string is a path if
                there is such a file or it looks like the name of one; a blank before it makes it a sentence. Each line
                of a text file is a sentence. "book.abc#2" is the second tune of a book.
            bar: of music, take the window that begins at this bar of each file (the first bar is 1), not the first one;
                of a book of tunes, of the first tune.
            all_windows: take every window or sentence of each file, or with False the first one. Without it music
                gives the first, text all.
            encoding: of text files; None is that of the files which the model was trained on.

        Returns:
            Latents of mean and scale (N, Z), in the order of the items; `mean, scale = vae.encode(...)` works too.

        Raises:
            data_prep's InputError: a file cannot be read or has no window, a sentence has no known word.
            OptionError: there is no window at `bar`, nothing to encode, or an argument means nothing for this model.
        """
        return self.encode_examples(self.read(items, bar, all_windows, encoding))

    def read(
        self,
        items: Item | Sequence[Item],
        bar: int | None = None,
        all_windows: bool | None = None,
        encoding: str | None = None,
    ) -> list[Example]:
        """The sequences that `encode` would encode; arguments and errors are the same."""
        items = _several(items)
        for item in items:
            if not isinstance(item, Path | str | Score):
                raise TypeError(f"{str(item)[:80]!r} is a {type(item).__name__}: give paths, sentences or scores")
        if self.kind == TEXT:
            if bar is not None:
                raise OptionError(f"--bar {bar}: model '{self.name}' reads text, which has no bars")
            encoding = encoding or self.config.data.encoding
            check_encoding(encoding)
            return [example for item in items for example in self._read_text(item, all_windows, encoding)]
        if encoding is not None:
            raise OptionError(f"--encoding {encoding}: model '{self.name}' reads music, which has none")
        return [example for item in items for example in self._read_music(item, bar, bool(all_windows))]

    @torch.no_grad()
    def encode_examples(self, found: Sequence[Example]) -> Latents:
        """As `encode`, of what `read` has found."""
        if not found:
            raise OptionError("there is nothing to encode")
        if not self.config.model.latent_size:
            raise ModelError(f"model '{self.name}' has no latents: it can be sampled and evaluated, no more")
        mean = np.empty((len(found), self.config.model.latent_size), np.float32)
        scale = np.empty_like(mean)
        for rows, batch in in_batches([example.ids for example in found], self._rows):
            moved = batch.to(self.device)
            with self._autocast(len(rows)):
                posterior = self.model.encode(moved.tokens, moved.lengths)
            mean[rows], scale[rows] = posterior.loc.cpu().numpy(), posterior.scale.cpu().numpy()
        if not (np.isfinite(mean).all() and np.isfinite(scale).all()):
            raise ModelError(f"model '{self.name}' gives latents that are not finite: its weights are damaged")
        return Latents(
            mean,
            scale,
            source=[example.source for example in found],
            place=[example.place for example in found],
            tempo=[example.tempo for example in found if example.tempo is not None] or None,
            model=self.name,
            kind=self.kind,
            remarks=remarks(found),
        )

    def decode(
        self,
        z: np.ndarray | torch.Tensor | Latents,
        temperature: float = 0.0,
        top_k: int | None = None,
        top_p: float | None = None,
        seed: int | None = None,
        tempo: float | Sequence[float] | None = None,
        shared_noise: bool = False,
        beam: int | None = None,
        length_penalty: float = 1.0,
        unknown: bool = False,
    ) -> list[Any]:
        """Scores or sentences of latents z (N, Z), or (Z) for one, or of what `encode` gave.

        Args:
            temperature: 0 is greedy; 1 draws from the model's own distribution.
            top_k, top_p: rule out unlikely events (see `seqvae.sampling.filtered`).
            seed: the same seed gives the same result; None draws a new one.
            tempo: of all scores, or of each, in quarters per minute; None is what `encode` found, else 120.
            shared_noise: all rows draw with the same random numbers, so that equal latents give equal results.
            beam, length_penalty: search for the likeliest with so many hypotheses, not draw (see `seqvae.beam`).
            unknown: sentences may have unknown words in them, which are written <unk>.

        Raises:
            ModelError: z has another latent size than the model.
            OptionError: a value is out of its range, or means nothing beside another one or for text.
        """
        beam = None if beam is None else operator.index(beam)
        how = sampling.Decoding(temperature, top_k, top_p, beam, length_penalty, unknown)
        if tempo is None and isinstance(z, Latents):
            tempo = z.tempo
        z = self._latents(z)
        if self.kind == TEXT:
            if tempo is not None:
                raise OptionError(f"tempo {tempo}: model '{self.name}' makes text, which has none")
            return [self.tokenizer.decode(row) for row in self.decode_ids(z, how, seed, shared_noise)]
        tempos = given.tempos(DEFAULT_TEMPO if tempo is None else tempo, len(z))  # told before the work is done
        ids = self.decode_ids(z, how, seed, shared_noise)
        return [self.tokenizer.decode(row, tempo=beat) for row, beat in zip(ids, tempos, strict=True)]

    def decode_ids(
        self,
        z: np.ndarray | torch.Tensor | Latents,
        how: sampling.Decoding = GREEDY,
        seed: int | None = None,
        shared_noise: bool = False,
    ) -> np.ndarray:
        """As `decode`, with the ids (N, T) for a result, which only the tokenizer can read."""
        if how.unknown and self.kind != TEXT:
            raise OptionError(f"--unknown is for text; model '{self.name}' makes music")
        z = self._latents(z)
        generator = torch.Generator(self.device).manual_seed(given.seed(seed))
        length, beams = self.config.model.length, how.beam or 1
        parts = []
        for part in z.to(self.device).split(len(z) if shared_noise else max(1, self._rows // beams)):
            with self._autocast(len(part) * beams):
                parts.append(sampling.decode(self.model.decoder, part, length, how, generator, shared_noise))
        return torch.cat(parts).cpu().numpy()

    def sample(self, n: int = 8, **how: Unpack[HowToDecode]) -> list[Any]:
        """New scores or sentences: n latents from the prior, decoded at temperature 1 unless told otherwise.

        Raises OptionError for n below 1 or above a million, else as `decode` does.
        """
        n = given.number("-n", n, 1)
        if how.get("beam") is None:
            how.setdefault("temperature", 1.0)
        seed = given.seed(how.get("seed"))
        how["seed"] = (seed + 1) % (MOST_SEED + 1)
        return self.decode(sampling.prior(n, self.config.model.latent_size, seed), **how)

    def interpolate(
        self,
        a: Item,
        b: Item,
        steps: int = 7,
        bar: int | None = None,
        encoding: str | None = None,
        **how: Unpack[HowToDecode],
    ) -> list[Any]:
        """`steps` results from the model's own picture of a to that of b, along the great circle between their means.

        Of a file the first window or sentence is taken. All steps draw with the same random numbers, so that
        `interpolate(a, a)` is constant at any temperature. Raises OptionError for less than two steps,
        else as `encode`, whose `bar` and `encoding` these are, and `decode` do.
        """
        ends = self.encode([a, b], bar, all_windows=False, encoding=encoding)
        return self.interpolate_latents(ends, steps, **how)

    def interpolate_latents(self, ends: Latents, steps: int = 7, **how: Unpack[HowToDecode]) -> list[Any]:
        """As `interpolate`, between the two of `ends`, which are encoded already."""
        steps = given.number("--steps", steps, 2)
        if len(ends.mean) != 2:
            raise OptionError(f"{len(ends.mean)} latents: an interpolation goes from one to another")
        z = latents.interpolate(ends.mean[0], ends.mean[1], steps)
        tempo = None if ends.tempo is None else np.linspace(ends.tempo[0], ends.tempo[1], steps).tolist()
        return self.decode(z, tempo=tempo, shared_noise=True, **how)

    def reconstruct(
        self,
        items: Item | Sequence[Item],
        bar: int | None = None,
        all_windows: bool | None = None,
        encoding: str | None = None,
        **how: Unpack[HowToDecode],
    ) -> list[Any]:
        """Each file, score or sentence as the model remembers it: its posterior mean, decoded.

        Arguments and errors are those of `encode` and `decode`.
        """
        return self.decode(self.encode(items, bar, all_windows, encoding), **how)

    def arithmetic(
        self,
        plus: Item | Sequence[Item],
        minus: Item | Sequence[Item] = (),
        bar: int | None = None,
        encoding: str | None = None,
        **how: Unpack[HowToDecode],
    ) -> Any:
        """What lies at the sum of the means of `plus` less those of `minus`; of a file its first window or sentence.

        Raises OptionError where `plus` is empty, else as `encode`, whose `bar` and `encoding` these are, and `decode`.
        """
        added, taken = _several(plus), _several(minus)
        if not added:
            raise OptionError("--plus: give at least one file or sentence to start from")
        found = self.encode([*added, *taken], bar, all_windows=False, encoding=encoding)
        return self.add_latents(found, len(added), **how)

    def add_latents(self, found: Latents, plus: int, **how: Unpack[HowToDecode]) -> Any:
        """As `arithmetic`, with latents that are encoded already: the first `plus` count, the others are taken away."""
        z = latents.arithmetic(list(found.mean[:plus]), list(found.mean[plus:]))
        return self.decode(z, tempo=found.tempo and found.tempo[0], **how)[0]

    def evaluate(
        self,
        data: Item | Sequence[Item] | Sequence[Example],
        split: str | None = None,
        samples: int = 16,
        seed: int = 0,
        progress: bool = False,
    ) -> dict[str, float]:
        """Figures of a prepared dataset, or of files, scores or sentences; `seqvae.evaluation.evaluate` explains them.

        Args:
            data: the folder of a dataset; items as for `read`, of which all windows or sentences count; or what it
                has found.
            split: of a dataset "train", "valid" or "test", which None is, too.
            samples, seed, progress: as for `seqvae.evaluation.evaluate`.

        Raises:
            ModelError: the dataset has another tokenizer than the model, or the split is empty.
            InputError: the dataset is damaged, or an item cannot be read.
            OptionError: there is no sequence, samples or seed are out of range, or a split is not of a dataset.
        """
        seed = given.seed(seed)
        samples = given.number("--samples", samples, 0)
        batches: Iterable[Batch]
        if isinstance(data, Path | str) and is_dataset(Path(data)):
            prepared, split = SequenceData(Path(data)), split or "test"
            prepared.check_serves(self.tokenizer, self.name, split)
            batches = prepared.batches(split, BATCH)
        else:
            if split is not None:
                raise OptionError(f"split {split}: {data} is no dataset; what is no dataset is measured whole")
            items = _several(data)
            found = items if all(isinstance(item, Example) for item in items) else self.read(items, all_windows=True)
            if not found:
                raise OptionError("there is nothing to evaluate: no sequence was given")
            batches = [batch for _, batch in in_batches([example.ids for example in found], BATCH)]
        with autocast(self.device, "bf16" if self.precision == "bf16" else "fp32"):
            return evaluate(self.model, batches, self.tokenizer.note_on, samples, seed, progress=progress)

    def _autocast(self, rows: int) -> AbstractContextManager:
        """The precision for so many rows at a time."""
        low = self.precision != "auto" or rows * self._size >= WORTH_LOW
        return autocast(self.device, self._fastest if low else "fp32")

    def save(self, path: Path | str, half: bool = False, force: bool = False) -> None:
        """Write a model file; `half` stores the weights in 16 bits.

        Raises:
            InputError: its name does not end in .safetensors, or the file exists (and `force` is not given), or is a
                folder.
        """
        path = Path(path)
        if path.is_dir():
            raise InputError(f"{path} is a folder; give the name of a file in it, like {path / MODEL_FILE}")
        if path.suffix != Path(MODEL_FILE).suffix:
            raise InputError(f"{path}: must end in {Path(MODEL_FILE).suffix}, as that is what is written")
        save_model(
            free(path, force), self.model, self.config, self.tokenizer.to_json(), self.metrics, self.origin, half
        )

    def _read_music(self, item: Item, bar: int | None, every: bool) -> list[Example]:
        if isinstance(item, Score):
            if bar not in (None, 1):
                raise OptionError(f"--bar {bar}: a score is taken from its beginning")
            return [Example(self.tokenizer.encode(item), item.name or "score", 1, item.tempo, "")]
        if not str(item):
            raise InputError("an empty name: give a file, or a folder of them")
        path, tune = tune_of(item)
        if not path.exists() and path.suffix.lower() not in SUFFIXES:
            raise InputError(f"{item} does not exist; model '{self.name}' reads music, for sentences take one of text")
        found = examples(path, melody_options(self.config), tune)
        if bar is not None or not every:
            found = of_first_tune(found)
        if bar is not None:
            at_bar = [example for example in found if example.place == bar]
            if not at_bar:
                bars = ", ".join(str(example.place) for example in found[:12]) + (" ..." if len(found) > 12 else "")
                raise OptionError(f"--bar {bar}: {found[0].source} has windows at bar {bars}")
            found = at_bar
        return found if every else found[:1]

    def _read_text(self, item: Item, every: bool | None, encoding: str) -> list[Example]:
        if isinstance(item, Score):
            raise ModelError(f"model '{self.name}' reads text, a score was given")
        tokenizer = cast(TextTokenizer, self.tokenizer)
        if not is_path(item):
            return [sentence(str(item), tokenizer)]
        if isinstance(item, str) and os.path.isdir(item):
            raise InputError(f"{item} is a folder, a file was expected; a blank before it makes it a sentence")
        found = sentence_examples(Path(item), tokenizer, encoding)
        return found[:1] if every is False else found

    def _latents(self, z: np.ndarray | torch.Tensor | Latents) -> torch.Tensor:
        return given.latents(z, self.config.model.latent_size, self.name)


def write_scores(rows: Mapping[Path, Sequence[Score]], titles: Sequence[str], picture: Path) -> None:
    """Write each row of scores to its MIDI file, and the piano rolls of all to a picture; what is there is replaced."""
    for path, scores in rows.items():
        write_row(scores, path, force=True)
    piano_rolls([score for scores in rows.values() for score in scores], titles, picture)


def _several(items: Any) -> list[Any]:
    """One item, or many, as a list."""
    if isinstance(items, Path | str | Score):
        return [items]
    if not isinstance(items, Iterable):
        raise TypeError(f"{items!r} is a {type(items).__name__}: give paths, sentences or scores")
    return list(items)
