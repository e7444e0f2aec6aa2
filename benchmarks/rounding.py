"""What products in bf16 and in int8 cost the models that come with seqvae.

    python -m benchmarks.rounding [--windows FOLDER] [--rows 1024]

Melodies are windows of FOLDER/2bar_valid.npz, else of samples/melodies; sentences are lines of samples/text. Decoders
take their steps one by one, as in decoding. In nats a sequence, or as a share of sequences:

    shift    how far means of posteriors move from those of fp32, in scales of q: root of the mean square
    KL(q)    KL(q of fp32 | q)
    KL(p)    KL(p of fp32 | p) of the next token after the true ones, from the same latents, summed over the tokens
    elbo     log p(x|z) - KL(q(z|x) | N(0, 1)), with the same noise for all
    exact    sequences that are decoded greedily from the means of their own posteriors
    same     means of fp32 that greedy decoding makes the same of as in fp32

A precision that the processor has not got is left out.
"""

import argparse
from collections.abc import Sequence
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
from seqvae.data import in_batches
from seqvae.devices import autocast
from seqvae.errors import OptionError
from seqvae.trained import TrainedModel

SAMPLES = Path("samples")
MODELS = ("melody-2bar", "text-psalms")
PRECISIONS = ("fp32", "bf16", "int8")
FIGURES = ("shift", "KL(q)", "KL(p)", "elbo", "exact", "same")
BATCH = 128


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


def log_p(vae: TrainedModel, z: Tensor, tokens: Tensor) -> Tensor:
    """Of each token (B, T) that could follow on those before: (B, T, V)."""
    decoder, steps = vae.model.decoder, []
    with autocast(vae.device, vae.precision):
        state = decoder.start(z)
        for step in range(tokens.shape[1]):
            logits, state = decoder.step(state, tokens[:, step - 1] if step else None)
            steps.append(logits.double().log_softmax(-1))
    return torch.stack(steps, 1)


@torch.no_grad()
def measured(exact: TrainedModel, vae: TrainedModel, given: Sequence[Example]) -> dict[str, float]:
    """The figures of a model beside the same one in fp32."""
    noise, prior = torch.Generator().manual_seed(0), Normal(0.0, 1.0)
    told, its = (
        Normal(torch.from_numpy(found.mean), torch.from_numpy(found.scale))
        for found in (each.encode_examples(given) for each in (exact, vae))
    )
    decoded = [exact.decode_ids(told.mean), vae.decode_ids(told.mean), vae.decode_ids(its.mean)]
    sums = dict.fromkeys(FIGURES, 0.0)
    for rows, batch in in_batches([example.ids for example in given], BATCH):
        tokens, said = batch.tokens, batch.counted
        q, its_q = (Normal(each.mean[rows], each.stddev[rows]) for each in (told, its))
        drawn = torch.randn(q.mean.shape, generator=noise)
        p, its_p = (log_p(each, q.mean, tokens) for each in (exact, vae))
        from_its_own = log_p(vae, its_q.mean + its_q.stddev * drawn, tokens)
        sums["shift"] += float(((its_q.mean - q.mean) / q.stddev).square().mean(-1).sum())
        sums["KL(q)"] += float(kl_divergence(q, its_q).sum())
        sums["KL(p)"] += float(((p.exp() * (p - its_p)).sum(-1) * said).sum())
        sums["elbo"] += float((from_its_own.gather(-1, tokens.unsqueeze(-1)).squeeze(-1) * said).sum())
        sums["elbo"] -= float(kl_divergence(its_q, prior).sum())
        ids = torch.from_numpy(decoded[2][rows, : tokens.shape[1]])
        sums["exact"] += float(((ids == tokens) | ~said).all(-1).sum())
        sums["same"] += float((decoded[0][rows] == decoded[1][rows]).all(-1).sum())
    figures = {name: value / len(given) for name, value in sums.items()}
    return figures | {"shift": figures["shift"] ** 0.5}


def main() -> None:
    """Print a table for each model."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.rounding")
    parser.add_argument("--windows", type=Path, metavar="FOLDER", help="with 2bar_valid.npz")
    parser.add_argument("--rows", type=int, default=1024, help="sequences of each model")
    options = parser.parse_args()
    print("python -m benchmarks.rounding", "--windows FOLDER" * bool(options.windows), end=" ")
    print(f"--rows {options.rows}\n{describe()}")
    for name in MODELS:
        exact = seqvae.load(name, "cpu", "fp32")
        given = sequences(exact, options.windows, options.rows)
        print(f"\n{name}, {len(given):,} sequences")
        print(f"{'':8}" + "".join(f"{figure:>11}" for figure in FIGURES))
        for precision in PRECISIONS:
            try:
                vae = seqvae.load(name, "cpu", precision)
            except OptionError:
                print(f"{precision:8}not measured: this processor has not got it")
                continue
            figures = measured(exact, vae, given)
            print(f"{precision:8}" + "".join(f"{figures[each]:11.5f}" for each in FIGURES), flush=True)


if __name__ == "__main__":
    main()
