"""Train Magenta's MusicVAE on windows of ids, and hand its weights on.

    PYTHON -m benchmarks.magenta.train_magenta --windows train.npy --out FOLDER --steps 2000 [--hparams beta_rate=0.999]

Runs in Magenta's environment. FOLDER gets a checkpoint now and then, from which the same command goes on, and in the
end weights.npz, each variable under "var:" and its name, and result.json: steps, seconds of training (the making of
the graph not counted) and the hyperparameters.
"""

import argparse
import json
import time
from pathlib import Path

import numpy as np

from benchmarks.magenta import graph
from benchmarks.magenta.graph import tf

SAVE_EVERY = 60.0  # seconds


def train(options: argparse.Namespace) -> None:
    """Train to the end of `options.steps`, from the latest checkpoint if there is one."""
    config = graph.configuration(options.config, options.batch_size)
    config.hparams.parse(options.hparams)
    latest = tf.train.latest_checkpoint(str(options.out))
    begun = tf.train.load_variable(latest, "global_step") if latest else 0
    tf.set_random_seed(options.seed + begun)  # a resumed run sees other batches than its beginning did
    batch = graph.batches(np.load(options.windows), options.batch_size, options.seed + begun)
    step, loss = graph.train_step(config, batch)
    seconds = tf.get_variable("seconds", [], tf.float64, tf.zeros_initializer(), trainable=False)
    saver = tf.train.Saver(max_to_keep=1)
    with tf.Session(config=graph.on_threads(options.threads)) as session:
        session.run(tf.global_variables_initializer())
        if latest:
            saver.restore(session, latest)
        started = saved = time.monotonic()
        spent = session.run(seconds)
        for number in range(begun + 1, options.steps + 1):
            _, lost = session.run([step, loss])
            now = time.monotonic()
            if number == options.steps or now - saved > SAVE_EVERY:
                elapsed = spent + now - started
                seconds.load(elapsed, session)
                saver.save(session, str(options.out / "model.ckpt"), global_step=number)
                print(f"step {number:,} of {options.steps:,}, loss {lost:.3f}, {elapsed:,.0f} s", flush=True)
                started, saved = started + time.monotonic() - now, now  # saving is not counted
        _hand_on(session, options.out, {"steps": options.steps, "seconds": float(session.run(seconds))}, config)


def _hand_on(session: tf.Session, folder: Path, result: dict[str, float], config: graph.configs.Config) -> None:
    """Write the weights, then, as the last file, the result."""
    variables = {f"var:{variable.op.name}": session.run(variable) for variable in tf.trainable_variables()}
    np.savez(folder / "weights.npz", **variables)
    temporary = folder / ".result.json"
    temporary.write_text(json.dumps(result | {"hparams": config.hparams.values()}))
    temporary.replace(folder / "result.json")


def main() -> None:
    """Read the arguments."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.magenta.train_magenta")
    parser.add_argument("--windows", type=Path, required=True, help="ids (N, 32), a file of numpy's")
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--steps", type=int, required=True)
    parser.add_argument("--config", default="cat-mel_2bar_small", help="of Magenta's configs.py")
    parser.add_argument("--hparams", default="", help="what differs from it, as for music_vae_train")
    parser.add_argument("--batch-size", type=int, default=512)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--seed", type=int, default=0)
    train(parser.parse_args())


if __name__ == "__main__":
    main()
