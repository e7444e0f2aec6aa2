"""A run's folder: what its files are called, what its settings were, and whether a run may begin there."""

import os
from pathlib import Path

from seqvae.config import Config
from seqvae.errors import OptionError

CONFIG_FILE, MODEL_FILE, STATE_FILE = "config.toml", "model.safetensors", "last.pt"


def check_place(run: Path, resume: bool, force: bool) -> None:
    """Refuse a folder that is in the way, or that is not there to be resumed.

    Raises:
        OptionError: it says what to do instead.
    """
    known = (run / CONFIG_FILE).is_file()
    if resume and not known:
        raise OptionError(f"--resume: {run} is no run folder")
    if resume or not os.path.lexists(run) or (run.is_dir() and not any(run.iterdir())):
        return
    if not force:
        raise OptionError(f"{run} exists: go on with --resume, replace it with --force, or choose another --out")
    if not known:
        raise OptionError(f"--force: {run} is no run folder, and is left alone; choose another --out")


def read_config(run: Path) -> Config:
    """The settings of a run. Raises OptionError when they are damaged."""
    path = run / CONFIG_FILE
    return Config.from_toml(path.read_text(encoding="utf-8", errors="replace"), str(path))
