"""How fast a text VAE of Penn Treebank's sizes trains, beside the plain way to write the same model, and a peer.

    python -m benchmarks.text_speed [--dataset ptb.seqvae] [--threads 1] [--batch-size 32] [--rounds 5] [--peer FOLDER]

The plain way is what public text VAEs do: the same layers in fp32, logits of the whole vocabulary, cross entropy,
gradient clipping and SGD. The peer is bohanli/vae-pretraining-encoder itself, of which FOLDER is a checkout: its model
as it is, and the step of its text_anneal_fb.py. Each trains in a process of its own, in turn, on the same batches; the
figure is target words a second, </s> included, the median over the rounds, and the ratio of the medians with the
smallest and the largest of single rounds behind it. Without a dataset the batches are random sentences of 21 words.
"""

import argparse
import os
import statistics
import sys
import tempfile
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from benchmarks.machine import describe
from benchmarks.serving import Served, serve
from seqvae.batch import Batch
from seqvae.data import SequenceData
from seqvae.devices import choose_device, choose_precision
from seqvae.memory import keep_freed_memory
from seqvae.optimization import Optimization
from seqvae.presets import preset
from seqvae.vae import SequenceVAE

V, STEPS = 10_002, 20
CLIP = 5.0
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
    """A training step of the plain way."""
    model = Plain().to(device)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)

    def step(batch: Batch, number: int) -> float:
        optimizer.zero_grad()
        loss = model(_with_bos(batch, device))
        loss.backward()
        nn.utils.clip_grad_norm_(model.parameters(), CLIP)
        optimizer.step()
        return loss.item()

    return step


def peer_step(device: torch.device, folder: Path) -> Callable[[Batch, int], object]:
    """A training step of vae-pretraining-encoder, as its text_anneal_fb.py does it with free bits a dimension."""
    sys.path.insert(0, str(folder))
    from modules import VAE, GaussianLSTMEncoder, LSTMDecoder

    H, Z = MODEL.encoder_size, MODEL.latent_size
    sizes = {"ni": H, "enc_nh": H, "dec_nh": H, "nz": Z, "dec_dropout_in": 0.5, "dec_dropout_out": 0.5}
    args = argparse.Namespace(**sizes, fix_var=-1.0, device=device)

    def first_weights(weight: Tensor) -> None:
        nn.init.uniform_(weight, -0.01, 0.01)

    words = {str(word): word for word in range(V)}
    encoder = GaussianLSTMEncoder(args, V, first_weights, first_weights)
    model = VAE(encoder, LSTMDecoder(args, words, first_weights, first_weights), args).to(device)
    optimizers = [torch.optim.SGD(part.parameters(), lr=0.1) for part in (model.encoder, model.decoder)]

    def step(batch: Batch, number: int) -> tuple[float, float]:
        tokens = _with_bos(batch, device)
        for optimizer in optimizers:
            optimizer.zero_grad()
        mean, log_variance = model.encoder(tokens)
        z = model.encoder.reparameterize(mean, log_variance, 1)
        rates = 0.5 * (mean.pow(2) + log_variance.exp() - log_variance - 1)
        charged = ((rates > 8.0 / Z).float() * rates).sum(dim=1)
        distortion = model.decoder.reconstruct_error(tokens, z).mean(dim=1)
        (distortion + charged).mean(dim=-1).backward()
        nn.utils.clip_grad_norm_(model.parameters(), CLIP)
        for optimizer in optimizers:
            optimizer.step()
        return distortion.sum().item(), rates.sum().item()

    return step


def our_step(device: torch.device) -> Callable[[Batch, int], object]:
    """A training step of seqvae, with the settings of the preset ptb-vae."""
    keep_freed_memory()  # as training does
    training = replace(preset("ptb-vae").training, learning_rate=0.1, annealing="none")
    optimization = Optimization(
        SequenceVAE(MODEL).to(device), training, device, choose_precision(training.precision, device), 1000
    )
    return lambda batch, number: optimization.step([batch], number, number, 0.0, 0)[0].cpu()


def _with_bos(batch: Batch, device: torch.device) -> Tensor:
    """(B, T) -> (B, T + 1)."""
    return F.pad(batch.tokens.to(device), (1, 0), value=0)


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


def parse(arguments: list[str] | None = None) -> argparse.Namespace:
    """Settings; `serve` names the way whose process this is."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.text_speed")
    parser.add_argument("--dataset", type=Path)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--batch-size", type=int, default=32)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--peer", type=Path, help="a checkout of vae-pretraining-encoder")
    parser.add_argument("--serve", choices=["plain", "peer", "ours"], help=argparse.SUPPRESS)
    return parser.parse_args(arguments)


def served(options: argparse.Namespace) -> None:
    """The process of one way: all batches, whenever it is asked."""
    torch.set_num_threads(options.threads)
    device = choose_device("auto")
    ways = {"plain": plain_step, "ours": our_step, "peer": lambda device: peer_step(device, options.peer)}
    step, batches = ways[options.serve](device), drawn(options.dataset, options.batch_size)

    def work() -> None:
        for number, batch in enumerate(batches):
            step(batch, number)

    serve(work)


def measured(options: argparse.Namespace, arguments: list[str], ways: list[str]) -> dict[str, list[float]]:
    """Words a second of each way, round by round."""
    words = sum(batch.count for batch in drawn(options.dataset, options.batch_size))
    rates: dict[str, list[float]] = {way: [] for way in ways}
    with ExitStack() as stack, tempfile.TemporaryDirectory() as logs:
        command = [sys.executable, "-m", "benchmarks.text_speed", *arguments, "--serve"]
        processes = {way: stack.enter_context(Served([*command, way], Path(logs, way))) for way in ways}
        for _ in range(options.rounds):
            for way, process in processes.items():
                rates[way].append(words / process.ask().seconds)
    return rates


def main() -> None:
    """Print the figures."""
    options = parse()
    if options.serve:
        return served(options)
    device = choose_device("auto")
    names = {"plain": "plain torch, fp32", "peer": "vae-pretraining-encoder, fp32"}
    names["ours"] = f"seqvae, {choose_precision('auto', device)}"
    if options.peer is None:
        del names["peer"]
    print("python -m benchmarks.text_speed", " ".join(sys.argv[1:]))
    print(f"{describe()}, {options.threads} threads, device {device}, load now {os.getloadavg()[0]:.2f}\n")
    rates = measured(options, sys.argv[1:], list(names))
    for way, found in rates.items():
        line = f"{names[way]:32}{statistics.median(found):8,.0f} words/s   ({min(found):,.0f} to {max(found):,.0f})"
        if way != "ours":
            ratios = [ours / theirs for ours, theirs in zip(rates["ours"], found, strict=True)]
            ratio = statistics.median(rates["ours"]) / statistics.median(found)
            line += f"   seqvae {ratio:.2f} times ({min(ratios):.2f} to {max(ratios):.2f})"
        print(line)


if __name__ == "__main__":
    main()
