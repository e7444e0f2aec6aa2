"""The works of Magenta that `benchmarks.run` times, each in a process of its own (see `benchmarks.serving`).

    PYTHON -m benchmarks.magenta.time_magenta WORK [--config cat-mel_2bar_small] [--batch-size 512] [--threads 2] ...

Runs in Magenta's environment. Models have random weights, in a checkpoint that is made for it.
"""

import argparse
import tempfile
from collections.abc import Callable
from functools import partial
from pathlib import Path
from unittest import mock

import note_seq
import numpy as np
from magenta.models.music_vae.trained_model import TrainedModel

from benchmarks.magenta import graph
from benchmarks.magenta.graph import tf
from benchmarks.serving import serve

Work = Callable[[], object]

STEPS = 32


def train(options: argparse.Namespace) -> Work:
    """A training step of a run's beginning: batch, pass, gradient, clipping and optimizer."""
    config = graph.configuration(options.config, options.batch_size)
    if options.teacher_forced:
        config.hparams.sampling_schedule, config.hparams.sampling_rate = "constant", 0.0
    batch = graph.batches(np.load(options.windows), options.batch_size, seed=0)
    step, loss = graph.train_step(config, batch)
    session = tf.Session(config=graph.on_threads(options.threads))
    session.run(tf.global_variables_initializer())
    return lambda: session.run([step, loss])


def checkpoint(options: argparse.Namespace, folder: Path) -> str:
    """Write a checkpoint of random weights, named as Magenta's trainer names its own; where it is."""
    config = graph.configuration(options.config, 1)
    with tf.Graph().as_default(), tf.Session() as session:
        config.model.build(config.hparams, config.data_converter.output_depth, is_training=False)
        config.model.sample(1, max_length=STEPS, z=tf.zeros([1, config.hparams.z_size]), temperature=1.0)
        config.model.encode(tf.zeros([1, STEPS, config.data_converter.input_depth]), tf.constant([STEPS]))
        session.run(tf.global_variables_initializer())
        return tf.train.Saver().save(session, str(folder / "model.ckpt"), global_step=0)


def trained(options: argparse.Namespace) -> TrainedModel:
    """A model as one uses it, for batches of one size."""
    on_threads = partial(tf.Session, config=graph.on_threads(options.threads))
    with tempfile.TemporaryDirectory() as folder:
        path = checkpoint(options, Path(folder))
        with mock.patch.object(tf, "Session", on_threads):  # TrainedModel takes no threads
            return TrainedModel(graph.configuration(options.config, options.batch_size), options.batch_size, path)


def sample(options: argparse.Namespace) -> Work:
    """Ids of latents from the prior, at temperature 1."""
    model, size = trained(options), options.batch_size
    latents = graph.configuration(options.config, size).hparams.z_size
    return lambda: model.decode_to_tensors(np.random.randn(size, latents).astype(np.float32), STEPS, 1.0)


def write(options: argparse.Namespace) -> Work:
    """Samples as MIDI files, each time in a folder of their own."""
    model = trained(options)

    def work() -> None:
        folder = tempfile.mkdtemp(dir=options.out)
        for number, sequence in enumerate(model.sample(options.batch_size, STEPS, 1.0)):
            note_seq.sequence_proto_to_midi_file(sequence, f"{folder}/{number}.mid")

    return work


def encode(options: argparse.Namespace) -> Work:
    """Posteriors of windows, which are one-hot already."""
    model = trained(options)
    windows = list(np.eye(graph.LAST + 1, dtype=bool)[np.load(options.windows)[: options.batch_size]])
    return lambda: model.encode_tensors(list(windows), [STEPS] * len(windows))


def read(options: argparse.Namespace) -> Work:
    """MIDI files to windows."""
    converter = graph.configuration(options.config, 1).data_converter
    converter.max_tensors_per_notesequence = None  # all windows of a file
    converter.set_mode("eval")
    files = sorted(str(path) for path in options.melodies.rglob("*.mid"))

    def work() -> None:
        for path in files:
            converter.to_tensors(note_seq.midi_file_to_note_sequence(path))

    return work


WORKS = {work.__name__: work for work in (train, sample, write, encode, read)}


def main() -> None:
    """Serve a work, or write a checkpoint."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.magenta.time_magenta")
    parser.add_argument("work", choices=[*WORKS, "checkpoint"])
    parser.add_argument("--config", default="cat-mel_2bar_small", help="of Magenta's configs.py")
    parser.add_argument("--batch-size", type=int, default=512)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--teacher-forced", action="store_true", help="no scheduled sampling")
    parser.add_argument("--windows", type=Path, help="ids (N, 32), a file of numpy's")
    parser.add_argument("--melodies", type=Path, help="folder of MIDI files to read")
    parser.add_argument("--out", type=Path, help="folder for what is written")
    options = parser.parse_args()
    if options.work == "checkpoint":
        checkpoint(options, options.out)
    else:
        serve(WORKS[options.work](options))


if __name__ == "__main__":
    main()
