"""Magenta's training step, put together as its music_vae_train.py does it, and fed with windows of ids.

Runs in Magenta's environment, in the style of TensorFlow 1 as Magenta itself.
"""

import copy

import numpy as np
import tensorflow.compat.v1 as tf
from magenta.models.music_vae import configs

tf.disable_v2_behavior()
tf.logging.set_verbosity(tf.logging.ERROR)

FIRST, LAST = 2, 89  # ids of the lowest and the highest note; the alphabets of both are the same


def configuration(name: str, batch_size: int) -> configs.Config:
    """A copy of a configuration of configs.py, with another batch size."""
    config = copy.deepcopy(configs.CONFIG_MAP[name])
    config.hparams.batch_size = batch_size
    return config


def on_threads(threads: int) -> tf.ConfigProto:
    """Settings of a session that runs on so many threads."""
    return tf.ConfigProto(intra_op_parallelism_threads=threads, inter_op_parallelism_threads=threads)


def batches(ids: np.ndarray, batch_size: int, seed: int, semitones: int = 5) -> tf.Tensor:
    """The next batch of windows (N, T), one-hot (B, T, V): shuffled, repeated and transposed, and made ahead.

    Magenta moves a file's notes once, before it caches their windows for all epochs. Here windows move anew in each
    epoch, by the intervals that keep them in the alphabet, as seqvae's do: little work, done beside the training.
    """

    def moved(rows: tf.Tensor) -> tf.Tensor:
        rows = tf.cast(rows, tf.int32)
        notes = rows >= FIRST
        lowest = tf.reduce_min(tf.where(notes, rows, tf.fill(tf.shape(rows), LAST)), 1)
        highest = tf.reduce_max(tf.where(notes, rows, tf.fill(tf.shape(rows), FIRST)), 1)
        down, up = tf.maximum(-semitones, FIRST - lowest), tf.minimum(semitones, LAST - highest)
        drawn = tf.random.uniform([batch_size], seed=seed) * tf.cast(up - down + 1, tf.float32)
        shift = down + tf.cast(tf.floor(drawn), tf.int32)
        return tf.one_hot(tf.where(notes, rows + shift[:, None], rows), LAST + 1, True, False)

    data = tf.data.Dataset.from_tensor_slices(ids).shuffle(len(ids), seed=seed).repeat()
    data = data.batch(batch_size, drop_remainder=True)
    data = data.map(moved, num_parallel_calls=tf.data.experimental.AUTOTUNE).prefetch(tf.data.experimental.AUTOTUNE)
    return tf.data.make_one_shot_iterator(data).get_next()


def train_step(config: configs.Config, batch: tf.Tensor) -> tuple[tf.Operation, tf.Tensor]:
    """A step on a batch (B, T, V), with clipping and Adam as in music_vae_train.train; the step, and its loss."""
    size, steps, _ = batch.shape.as_list()
    config.model.build(config.hparams, config.data_converter.output_depth, is_training=True)
    optimizer = config.model.train(batch, batch, tf.fill([size], steps))
    gradients, variables = zip(*optimizer.compute_gradients(config.model.loss), strict=True)
    norm = tf.global_norm(gradients)
    clipped = tf.cond(
        norm < config.hparams.grad_norm_clip_to_zero,
        lambda: tf.clip_by_global_norm(gradients, config.hparams.grad_clip, use_norm=norm)[0],
        lambda: [tf.zeros(tf.shape(gradient)) for gradient in gradients],
    )
    pairs = list(zip(clipped, variables, strict=True))
    return optimizer.apply_gradients(pairs, global_step=config.model.global_step, name="train_step"), config.model.loss
