"""What products in bf16 and in int8 cost the models that come with seqvae.

    python -m benchmarks.rounding [--windows FOLDER] [--rows 1024] [--samples 100]

Melodies are windows of FOLDER/2bar_valid.npz, else of samples/melodies; sentences are lines of samples/text. Beside
fp32:

    shift    how far means of posteriors move, in scales of q: root of the mean square
    KL(q)    KL(q of fp32 | q), nats a sequence
    KL(p)    KL(p of fp32 | p) of what is drawn from means of fp32, summed over steps, nats a sequence
    same     share of these means that greedy decoding makes the same sequence of
    elbo, iw_nll and exact are those of `seqvae evaluate`

A precision that the processor has not got is left out.
"""

import argparse
from pathlib import Path

import numpy as np
import torch
from torch import Tensor
from torch.distributions import Normal, kl_divergence

import seqvae
from benchmarks.machine import describe
from data_prep.examples import Example
from data_prep.files import find_sources
from seqvae.config import TEXT
from seqvae.devices import autocast
from seqvae.errors import OptionError
from seqvae.latent_file import Latents
from seqvae.sampling import Decoding
from seqvae.trained import TrainedModel

SAMPLES = Path("samples")
MODELS = ("melody-2bar", "text-psalms")
PRECISIONS = ("fp32", "bf16", "int8")
FIGURES = ("elbo", "iw_nll", "exact")


def sequences(vae: TrainedModel, windows: Path | None, rows: int) -> list[Example]:
    """So many that the model can read, evenly taken from all."""
    if vae.kind == TEXT:
        texts = (path.read_text(encoding="utf-8") for path in sorted((SAMPLES / "text").glob("*.txt")))
        found = vae.read([line for text in texts for line in text.splitlines() if line])
    elif windows is None:
        found = vae.read(find_sources([SAMPLES / "melodies"]), all_windows=True)
    else:
        found = [Example(ids, "window", 1, 120.0, "") for ids in np.load(windows / "2bar_valid.npz")["x"]]
    return [found[place] for place in np.linspace(0, len(found) - 1, min(rows, len(found))).astype(int)]


def posterior(latents: Latents) -> Normal:
    """q(z|x) of all sequences, (N, Z)."""
    return Normal(torch.from_numpy(latents.mean).double(), torch.from_numpy(latents.scale).double())


@torch.no_grad()
def log_p(vae: TrainedModel, z: np.ndarray, ids: np.ndarray, precision: str) -> Tensor:
    """What can be drawn at each step after the ids (N, T) before it: (N, T, V)."""
    decoder, tokens, steps = vae.model.decoder, torch.from_numpy(ids), []
    with autocast(vae.device, precision):
        state = decoder.start(torch.from_numpy(z))
        for step in range(ids.shape[1]):
            logits, state = decoder.step(state, tokens[:, step - 1] if step else None)
            steps.append(logits.double().log_softmax(-1))
    return torch.stack(steps, 1)


def main() -> None:
    """Print a table for each model."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.rounding")
    parser.add_argument("--windows", type=Path, metavar="FOLDER", help="with 2bar_valid.npz")
    parser.add_argument("--rows", type=int, default=1024, help="sequences of each model")
    parser.add_argument("--samples", type=int, default=100, help="of iw_nll")
    options = parser.parse_args()
    print("python -m benchmarks.rounding", "--windows FOLDER" * bool(options.windows), end=" ")
    print(f"--rows {options.rows} --samples {options.samples}\n{describe()}")
    for name in MODELS:
        exact = seqvae.load(name, "cpu", "fp32")
        given = sequences(exact, options.windows, options.rows)
        told = exact.encode_examples(given)
        z = told.mean
        drawn = exact.decode_ids(z, Decoding(temperature=1.0), seed=0)
        greedy, p = exact.decode_ids(z), log_p(exact, z, drawn, "fp32")
        print(f"\n{name}, {len(given):,} sequences")
        print(f"{'':8}" + "".join(f"{word:>10}" for word in ("shift", "KL(q)", "KL(p)", "same", *FIGURES)))
        for precision in PRECISIONS:
            try:
                vae = seqvae.load(name, "cpu", precision)
            except OptionError:
                print(f"{precision:8}not measured: this processor has not got it")
                continue
            found = vae.encode_examples(given)
            q, its_q = posterior(told), posterior(found)
            shift = ((its_q.mean - q.mean) / q.stddev).square().mean().sqrt()
            nats_of_q = kl_divergence(q, its_q).sum(-1).mean()
            nats_of_p = (p.exp() * (p - log_p(exact, z, drawn, precision))).sum((1, 2)).mean()
            same = (vae.decode_ids(z) == greedy).all(-1).mean()
            figures = vae.evaluate(given, samples=options.samples)
            row = [f"{value:10.5f}" for value in (shift, nats_of_q, nats_of_p)]
            row += [f"{same:10.4f}", *(f"{figures[figure]:10.3f}" for figure in FIGURES)]
            print(f"{precision:8}" + "".join(row), flush=True)


if __name__ == "__main__":
    main()
