"""What a run sounds or reads like while it goes on."""

import time
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from seqvae.batch import Batch
from seqvae.config import TEXT
from seqvae.data import SequenceData
from seqvae.sampling import generate, prior
from seqvae.trained import write_scores
from seqvae.vae import SequenceVAE
from seqvae.writing import write_atomically

LONGEST = 200  # tokens of a sentence, if the data's own are shorter


class Previews:
    """Hand one to `training.train` as `on_validation`.

    At most once in `every` seconds it writes what the model makes: of music previews/step-N-samples.mid,
    step-N-reconstructions.mid (each original followed by its reconstruction) and a picture of both; of text step-N.txt.
    """

    def __init__(self, dataset: Path, every: float = 60.0, count: int = 4) -> None:
        """Raises data_prep's InputError when the folder is no dataset."""
        self._data = SequenceData(dataset)
        self._every, self._count = every, count
        self._next = 0.0  # of time.monotonic()

    def __call__(self, model: SequenceVAE, run: Path, step: int) -> None:
        """Write the previews of a step, unless the last ones were written a moment ago."""
        if time.monotonic() < self._next:
            return
        self._next = time.monotonic() + self._every
        batch = self._data.first("valid", self._count).to(next(model.parameters()).device)
        training = model.training
        model.eval()
        reconstructions, samples = map(self._items, _made(model, batch, self._count))
        model.train(training)
        pairs = list(zip(self._items(batch.tokens), reconstructions, strict=True))
        place = run / "previews" / f"step-{step:06}"
        place.parent.mkdir(exist_ok=True)
        if self._data.tokenizer.kind == TEXT:
            lines = [
                "samples:",
                *samples,
                "",
                "originals and reconstructions:",
                *(line for pair in pairs for line in pair),
            ]
            write_atomically(place.with_suffix(".txt"), lambda to: to.write_text("\n".join(lines) + "\n", "utf-8"))
            return
        titles = [f"{kind} {n}" for n in range(1, len(pairs) + 1) for kind in ("original", "reconstruction")]
        titles += [f"sample {n}" for n in range(1, self._count + 1)]
        row = [score for pair in pairs for score in pair]
        midi = {Path(f"{place}-reconstructions.mid"): row, Path(f"{place}-samples.mid"): samples}
        write_scores(midi, titles, place.with_suffix(".png"))

    def _items(self, ids: Tensor) -> list[Any]:
        """Scores or sentences."""
        return [self._data.tokenizer.decode(row) for row in ids.cpu().numpy()]


@torch.no_grad()
def _made(model: SequenceVAE, batch: Batch, count: int) -> tuple[Tensor, Tensor]:
    """Ids of the reconstructions of a batch, and of samples, always from the same latents."""
    T, device = model.config.length, batch.tokens.device
    if model.config.eos is not None:  # at first none of them ends by itself
        T = min(T, max(LONGEST, batch.tokens.shape[1] + 1))
    z = prior(count, model.config.latent_size, 0).to(device)
    mean = model.encode(batch.tokens, batch.lengths).loc
    samples = generate(model.decoder, z, T, generator=torch.Generator(device).manual_seed(0))
    return generate(model.decoder, mean, T, temperature=0.0), samples
