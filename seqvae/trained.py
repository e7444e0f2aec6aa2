"""A trained model with its tokenizer: files in, files out.

    vae = seqvae.load()                          # the bundled melody model; or a model file, or a run folder
    mean, scale = vae.encode("tune.mid")
    vae.decode(mean)[0].write_midi("again.mid")

Decoding is greedy unless a temperature is given, so that the same latent gives the same music.
"""

import time
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch

from data_prep.examples import Example, examples
from data_prep.pictures import piano_rolls
from data_prep.score import Score, join
from data_prep.tokenizers.base import Tokenizer, create
from data_prep.windows import MelodyOptions
from seqvae import latents
from seqvae.checkpoint import ModelFile, load_model, save_model
from seqvae.config import Config
from seqvae.data import SequenceData
from seqvae.devices import choose_device
from seqvae.errors import ModelError, OptionError
from seqvae.evaluation import evaluate
from seqvae.latent_file import Latents
from seqvae.run_folder import MODEL_FILE
from seqvae.sampling import generate
from seqvae.vae import SequenceVAE

BUNDLED = "melody-2bar"
BATCH = 512  # sequences decoded or encoded at a time

_MODELS = Path(__file__).parent / "models"

Item = Path | str | Score


def bundled_names() -> list[str]:
    """Names of the models that come with seqvae."""
    return sorted(path.stem for path in _MODELS.glob("*.safetensors"))


def find_model(model: str | Path | None = None) -> Path:
    """The model file meant by a bundled name, a run folder or a path; None is the bundled melody model.

    Raises:
        ModelError: there is none.
    """
    name = str(model) if model is not None else BUNDLED
    if name in bundled_names():
        return _MODELS / f"{name}.safetensors"
    path = Path(name)
    if path.is_dir():
        if not (path / MODEL_FILE).is_file():
            raise ModelError(f"{path} has no {MODEL_FILE}: it is no run folder of seqvae train")
        return path / MODEL_FILE
    if not path.is_file():
        raise ModelError(f"no model '{name}': give a model file, a run folder or one of {', '.join(bundled_names())}")
    return path


def load(model: str | Path | None = None, device: str = "auto") -> "TrainedModel":
    """Load a model by bundled name, run folder or file; without a name, the bundled melody model.

    Raises:
        ModelError: there is none, or it is damaged.
        OptionError: the device is not there.
    """
    path = find_model(model)
    name = path.parent.name if path.name == MODEL_FILE else path.stem
    return TrainedModel(name, load_model(path), device)


def melody_options(config: Config) -> MelodyOptions:
    """How files are cut into windows for a configuration. Raises InputError for an impossible meter."""
    data = config.data
    return MelodyOptions.parse(data.meter, data.bars, data.pair_bars, data.programs)


class TrainedModel:
    """A model, ready to encode and decode scores and files."""

    def __init__(self, name: str, file: ModelFile, device: str = "auto") -> None:
        self.name = name
        self.config: Config = file.config
        self.metrics: dict[str, float] = file.metrics
        self.tokenizer: Tokenizer = create(file.tokenizer)
        self.device = choose_device(device)
        self.model = file.model.to(self.device).eval()
        fits = (self.tokenizer.vocabulary_size, self.tokenizer.length)
        if fits != (self.config.model.vocabulary_size, self.config.model.length):
            raise ModelError(f"model '{name}' and its tokenizer do not fit each other")

    @torch.no_grad()
    def encode(self, items: Item | Sequence[Item], bar: int | None = None, all_windows: bool = False) -> Latents:
        """Posteriors of files or scores.

        Args:
            items: paths or scores, or one of them.
            bar: take the window that begins at this bar of each file (the first bar is 1), not the first one.
            all_windows: take every window of each file.

        Returns:
            Latents of mean and scale (N, Z); `mean, scale = vae.encode(...)` works too.

        Raises:
            data_prep's InputError: a file cannot be read, has no window, or none at `bar`.
        """
        items = [items] if isinstance(items, Path | str | Score) else list(items)
        found = [example for item in items for example in self._examples(item, bar, all_windows)]
        if not found:
            raise OptionError("there is nothing to encode")
        ids = torch.from_numpy(np.stack([example.ids for example in found]).astype(np.int64))
        parts = [self.model.encode(part.to(self.device)) for part in ids.split(BATCH)]
        return Latents(
            torch.cat([part.loc for part in parts]).cpu().numpy(),
            torch.cat([part.scale for part in parts]).cpu().numpy(),
            [example.source for example in found],
            [example.place for example in found],
            [example.tempo or 120.0 for example in found],
            self.name,
            [f"{example.source}: {example.remark}" for example in found if example.remark],
        )

    def decode(
        self,
        z: np.ndarray | torch.Tensor,
        temperature: float = 0.0,
        top_k: int | None = None,
        top_p: float | None = None,
        seed: int | None = None,
        tempo: float | Sequence[float] = 120.0,
        shared_noise: bool = False,
    ) -> list[Score]:
        """Music of latents z (N, Z), or (Z) for one.

        Args:
            z: latents.
            temperature: 0 is greedy; 1 draws from the model's own distribution.
            top_k, top_p: rule out unlikely events (see `seqvae.sampling.filtered`).
            seed: the same seed gives the same music; None draws a new one.
            tempo: of all, or of each, in quarters per minute.
            shared_noise: all rows draw with the same random numbers, so that equal latents give equal music.

        Raises:
            ModelError: z has another latent size than the model.
            OptionError: temperature, top_k or top_p is out of its range.
        """
        _check_sampling(temperature, top_k, top_p)
        z = torch.as_tensor(z, dtype=torch.float32)
        z = z.unsqueeze(0) if z.ndim == 1 else z
        if z.ndim != 2 or z.shape[1] != self.config.model.latent_size:
            given, size = "x".join(map(str, z.shape)), self.config.model.latent_size
            raise ModelError(f"latents of shape {given} do not fit model '{self.name}', whose latent size is {size}")
        generator = torch.Generator(self.device).manual_seed(_seed(seed))
        length = self.config.model.length
        parts = [
            generate(self.model.decoder, part, length, temperature, top_k, top_p, generator, shared_noise)
            for part in z.to(self.device).split(BATCH if not shared_noise else len(z))
        ]
        tempos = [tempo] * len(z) if isinstance(tempo, int | float) else list(tempo)
        ids = torch.cat(parts).cpu().numpy()
        return [self.tokenizer.decode(row, tempo=beat) for row, beat in zip(ids, tempos, strict=True)]

    def sample(
        self,
        n: int = 8,
        temperature: float = 1.0,
        top_k: int | None = None,
        top_p: float | None = None,
        seed: int | None = None,
    ) -> list[Score]:
        """New music: n latents from the prior, decoded."""
        if n < 1:
            raise OptionError(f"-n {n}: must be at least 1")
        seed = _seed(seed)
        generator = torch.Generator().manual_seed(seed)
        z = torch.randn(n, self.config.model.latent_size, generator=generator)
        return self.decode(z, temperature, top_k, top_p, seed=seed + 1)

    def interpolate(
        self,
        a: Item,
        b: Item,
        steps: int = 7,
        temperature: float = 0.0,
        seed: int | None = None,
        bar: int | None = None,
    ) -> list[Score]:
        """`steps` scores from the model's own picture of a to that of b, along the great circle between their means.

        All steps draw with the same random numbers, so that `interpolate(a, a)` is constant at any temperature.
        """
        return self.interpolate_latents(self.encode([a, b], bar), steps, temperature, seed)

    def interpolate_latents(
        self, ends: Latents, steps: int = 7, temperature: float = 0.0, seed: int | None = None
    ) -> list[Score]:
        """As `interpolate`, between the two of `ends`, which are encoded already."""
        if steps < 2:
            raise OptionError(f"--steps {steps}: must be at least 2, the two ends")
        z = latents.interpolate(ends.mean[0], ends.mean[1], steps)
        tempos = [float(tempo) for tempo in np.linspace(ends.tempo[0], ends.tempo[1], steps)]
        return self.decode(z, temperature, seed=seed, tempo=tempos, shared_noise=True)

    def reconstruct(
        self,
        items: Item | Sequence[Item],
        temperature: float = 0.0,
        seed: int | None = None,
        bar: int | None = None,
        all_windows: bool = False,
    ) -> list[Score]:
        """Each file or score as the model remembers it: its posterior mean, decoded."""
        found = self.encode(items, bar, all_windows)
        return self.decode(found.mean, temperature, seed=seed, tempo=found.tempo)

    def arithmetic(
        self,
        plus: Sequence[Item],
        minus: Sequence[Item] = (),
        temperature: float = 0.0,
        seed: int | None = None,
        bar: int | None = None,
    ) -> Score:
        """The music at the sum of the means of `plus` less those of `minus`."""
        if not plus:
            raise OptionError("--plus: give at least one file to start from")
        return self.add_latents(self.encode([*plus, *minus], bar), len(plus), temperature, seed)

    def add_latents(self, found: Latents, plus: int, temperature: float = 0.0, seed: int | None = None) -> Score:
        """As `arithmetic`, with latents that are encoded already: the first `plus` count, the others are taken away."""
        z = latents.arithmetic(list(found.mean[:plus]), list(found.mean[plus:]))
        return self.decode(z, temperature, seed=seed, tempo=found.tempo[0])[0]

    def evaluate(self, dataset: Path | str, split: str = "test", samples: int = 16, seed: int = 0) -> dict[str, float]:
        """Figures on a split of a prepared dataset ("train", "valid", "test"); see `seqvae.evaluation.evaluate`.

        Raises:
            ModelError: the dataset has another tokenizer than the model, or the split is empty.
        """
        data = SequenceData(Path(dataset))
        if data.tokenizer.to_json() != self.tokenizer.to_json():
            theirs, ours = data.tokenizer.to_json(), self.tokenizer.to_json()
            raise ModelError(f"{dataset} was prepared for {theirs}, model '{self.name}' is for {ours}")
        if not len(data.dataset.split(split)):
            raise ModelError(f"{dataset}: the {split} split is empty; choose another --split")
        return evaluate(self.model, data.batches(split, BATCH), torch.from_numpy(self.tokenizer.note_on), samples, seed)

    def save(self, path: Path | str, half: bool = False) -> None:
        """Write a model file; `half` stores the weights in 16 bits."""
        save_model(Path(path), self.model, self.config, self.tokenizer.to_json(), self.metrics, half)

    def _examples(self, item: Item, bar: int | None, all_windows: bool) -> list[Example]:
        if isinstance(item, Score):
            return [Example(self.tokenizer.encode(item), item.name or "score", 1, item.tempo, "")]
        found = examples(Path(item), melody_options(self.config))
        if bar is not None:
            at_bar = [example for example in found if example.place == bar]
            if not at_bar:
                bars = ", ".join(str(example.place) for example in found[:12]) + (" ..." if len(found) > 12 else "")
                raise OptionError(f"--bar {bar}: {item} has windows at bar {bars}")
            found = at_bar
        return found if all_windows else found[:1]


class Previews:
    """What a run sounds like while it goes on: hand one to `training.train` as `on_epoch`.

    Writes previews/step-N-samples.mid, step-N-reconstructions.mid (each original followed by what the model makes of
    it) and a picture of both, at most once in `every` seconds.
    """

    def __init__(self, dataset: Path, every: float = 60.0, count: int = 4) -> None:
        self._data = SequenceData(dataset)
        self._every, self._count = every, count
        self._next = 0.0  # of time.monotonic()

    def __call__(self, model: SequenceVAE, run: Path, step: int) -> None:
        """Write the previews of a step, unless the last ones were written a moment ago."""
        if time.monotonic() < self._next:
            return
        self._next = time.monotonic() + self._every
        tokens = self._data.first("valid", self._count).tokens
        originals = self._scores(tokens)
        z = torch.randn(self._count, model.config.latent_size, generator=torch.Generator().manual_seed(0))
        device = next(model.parameters()).device
        with torch.no_grad():
            mean = model.encode(tokens.to(device)).loc
            copies = self._scores(generate(model.decoder, mean, model.config.length, temperature=0.0))
            generator = torch.Generator(device).manual_seed(0)
            samples = self._scores(generate(model.decoder, z.to(device), model.config.length, generator=generator))
        pairs = [score for pair in zip(originals, copies, strict=True) for score in pair]
        folder = run / "previews"
        folder.mkdir(exist_ok=True)
        join(samples).write_midi(folder / f"step-{step:06}-samples.mid", force=True)
        join(pairs).write_midi(folder / f"step-{step:06}-reconstructions.mid", force=True)
        titles = [f"{kind} {n}" for n in range(1, len(originals) + 1) for kind in ("original", "reconstruction")]
        titles += [f"sample {n}" for n in range(1, self._count + 1)]
        piano_rolls([*pairs, *samples], titles, folder / f"step-{step:06}.png")

    def _scores(self, ids: torch.Tensor) -> list[Score]:
        return [self._data.tokenizer.decode(row) for row in ids.cpu().numpy()]


def _check_sampling(temperature: float, top_k: int | None, top_p: float | None) -> None:
    if not 0.0 <= temperature < float("inf"):
        raise OptionError(f"--temperature {temperature}: must be 0 or more")
    if top_k is not None and top_k < 1:
        raise OptionError(f"--top-k {top_k}: must be at least 1")
    if top_p is not None and not 0.0 < top_p <= 1.0:
        raise OptionError(f"--top-p {top_p}: must be above 0 and at most 1")


def _seed(seed: int | None) -> int:
    return int(np.random.SeedSequence().generate_state(1)[0]) if seed is None else seed
