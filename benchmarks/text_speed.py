"""How fast a text VAE of Penn Treebank's sizes trains, beside the plain way to write the same model.

    python -m benchmarks.text_speed [--dataset ptb.seqvae] [--threads 1] [--batch-size 32] [--rounds 5]

The reference is what public text VAEs do (vae-lagging-encoder, vae-pretraining-encoder): the same layers in fp32,
logits of the whole vocabulary, cross entropy, gradient clipping and SGD. Both train on the same batches in turn,
A B A B; the figure is target words a second, </s> included, the median over the rounds, and the ratio of the medians.
Without a dataset the batches are random sentences of 21 words.
"""

import argparse
import os
import statistics
import sys
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from benchmarks.machine import describe
from seqvae.batch import Batch
from seqvae.data import SequenceData
from seqvae.devices import choose_device, choose_precision
from seqvae.optimization import Optimization
from seqvae.presets import preset
from seqvae.vae import SequenceVAE

V, STEPS = 10_002, 20
MODEL = replace(preset("ptb-vae").model, vocabulary_size=V, length=101, bos=0, eos=1, blank=2, pad=3)


class Plain(nn.Module):
    """The same VAE as anyone would write it."""

    def __init__(self) -> None:
        super().__init__()
        H, Z = MODEL.encoder_size, MODEL.latent_size
        self.read, self.said = nn.Embedding(V, H), nn.Embedding(V, H)
        self.encoder = nn.LSTM(H, H, batch_first=True)
        self.head = nn.Linear(H, 2 * Z, bias=False)
        self.initial = nn.Linear(Z, H, bias=False)
        self.decoder = nn.LSTM(H + Z, H, batch_first=True)
        self.output = nn.Linear(H, V, bias=False)

    def forward(self, tokens: Tensor) -> Tensor:
        """tokens (B, T) with bos and eos -> loss, nats a sentence."""
        _, (hidden, _) = self.encoder(self.read(tokens))
        mean, log_variance = self.head(hidden[-1]).chunk(2, -1)
        z = mean + (0.5 * log_variance).exp() * torch.randn_like(mean)
        inputs = F.dropout(self.said(tokens[:, :-1]), 0.5)
        inputs = torch.cat([inputs, z.unsqueeze(1).expand(-1, inputs.shape[1], -1)], -1)
        cell = self.initial(z).unsqueeze(0)
        outputs, _ = self.decoder(inputs, (cell.tanh(), cell))
        logits = self.output(F.dropout(outputs, 0.5))
        lost = F.cross_entropy(logits.flatten(0, 1), tokens[:, 1:].flatten(), reduction="sum") / len(tokens)
        return lost + 0.5 * (mean**2 + log_variance.exp() - log_variance - 1).sum(-1).mean()


def plain_step(device: torch.device) -> Callable[[Batch, int], object]:
    """A training step of the reference."""
    model = Plain().to(device)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)

    def step(batch: Batch, number: int) -> float:
        tokens = F.pad(batch.tokens.to(device), (1, 0), value=0)
        optimizer.zero_grad()
        loss = model(tokens)
        loss.backward()
        nn.utils.clip_grad_norm_(model.parameters(), 5.0)
        optimizer.step()
        return loss.item()

    return step


def our_step(device: torch.device) -> Callable[[Batch, int], object]:
    """A training step of seqvae, with the settings of the preset ptb-vae."""
    training = replace(preset("ptb-vae").training, learning_rate=0.1, annealing="none")
    optimization = Optimization(
        SequenceVAE(MODEL).to(device), training, device, choose_precision(training.precision, device), 1000
    )
    return lambda batch, number: optimization.step([batch], number, number, 0.0, 0)[0].cpu()


def words_per_second(step: Callable[[Batch, int], object], batches: list[Batch]) -> float:
    """Over all batches."""
    start = time.perf_counter()
    for number, batch in enumerate(batches):
        step(batch, number)
    return sum(batch.count for batch in batches) / (time.perf_counter() - start)


def drawn(dataset: Path | None, batch_size: int) -> list[Batch]:
    """Batches of one length each: of the dataset, or random ones."""
    if dataset is None:
        generator = torch.Generator().manual_seed(0)
        return [Batch(torch.randint(4, V, (batch_size, 22), generator=generator)) for _ in range(STEPS)]
    data, step = SequenceData(dataset), 0
    found: list[Batch] = []
    while len(found) < STEPS:
        batch = data.training_batch(step, batch_size, 0)
        step += 1
        if batch.lengths is None and len(batch) == batch_size:
            found.append(batch)
    return found


def main() -> None:
    """Print the figures."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.text_speed")
    parser.add_argument("--dataset", type=Path)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--batch-size", type=int, default=32)
    parser.add_argument("--rounds", type=int, default=5)
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    device = choose_device("auto")
    batches = drawn(options.dataset, options.batch_size)
    steps = {"plain torch, fp32": plain_step(device), f"seqvae, {choose_precision('auto', device)}": our_step(device)}
    rates: dict[str, list[float]] = {name: [] for name in steps}
    for step in steps.values():
        words_per_second(step, batches[:5])  # not counted
    for _ in range(options.rounds):
        for name, step in steps.items():
            rates[name].append(words_per_second(step, batches))
    print("python -m benchmarks.text_speed", " ".join(sys.argv[1:]))
    print(f"{describe()}, {options.threads} threads, device {device}, load now {os.getloadavg()[0]:.2f}\n")
    for name, found in rates.items():
        print(f"{name:24}{statistics.median(found):12,.0f} words/s   ({min(found):,.0f} to {max(found):,.0f})")
    plain, ours = (statistics.median(found) for found in rates.values())
    print(f"{'ratio of medians':24}{ours / plain:12.2f}")


if __name__ == "__main__":
    main()
