"""A run's folder: what its files are called, what its settings were, and whether a run may begin there."""

import os
import tomllib
from collections.abc import Sequence
from pathlib import Path

from seqvae.config import Config
from seqvae.errors import OptionError

CONFIG_FILE, MODEL_FILE, STATE_FILE, METRICS_FILE = "config.toml", "model.safetensors", "last.pt", "metrics.csv"
BEGUN = (CONFIG_FILE, "events.out.tfevents")  # what is there of a run that failed before its first state was saved


class FolderLock:
    """Holds a folder for this process alone, until a `with` block or the process ends. On Windows it holds none."""

    def __init__(self) -> None:
        self._held: int | None = None  # the folder, opened

    def __enter__(self) -> "FolderLock":
        return self

    def __exit__(self, *_: object) -> None:
        self.release()

    def take(self, folder: Path) -> None:
        """Hold this folder, and no longer the one before.

        Raises:
            OptionError: another process holds it.
        """
        try:
            import fcntl
        except ImportError:
            return
        self.release()
        opened = os.open(folder, os.O_RDONLY)
        try:
            fcntl.flock(opened, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            os.close(opened)
            if isinstance(error, BlockingIOError):
                told = f"another process is training {folder}: wait for it, or choose another --out"
                raise OptionError(told) from None
            return  # file systems that know no locks
        self._held = opened

    def release(self) -> None:
        """Let others have it."""
        if self._held is not None:
            import fcntl

            fcntl.flock(self._held, fcntl.LOCK_UN)  # a process that was forked meanwhile may still have it open
            os.close(self._held)
            self._held = None


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
    if not _is_run(run):
        raise OptionError(f"{run} exists and is no run folder, so it is left alone; choose another --out")
    if not force and any(not file.name.startswith(BEGUN) for file in run.iterdir()):
        raise OptionError(f"{run} exists: go on with --resume, replace it with --force, or choose another --out")


def _is_run(folder: Path) -> bool:
    """Whether a folder may be removed as a run: other programs have a config.toml, too."""
    try:
        read_config(folder)
    except (OSError, OptionError):
        return False
    return True


def check_spared(run: Path, force: bool, sources: Sequence[Path]) -> None:
    """Refuse to replace a run in whose folder there is what a new one is to be trained on.

    Raises:
        OptionError: it says what to do instead.
    """
    run = Path(os.path.realpath(run))
    for source in sources if force else ():
        real = Path(os.path.realpath(source))
        if run in (real, *real.parents):
            raise OptionError(f"--force: {source} lies in {run}, which would be removed; choose another --out")


def read_config(run: Path) -> Config:
    """The settings of a run. Raises OptionError when they are damaged."""
    path = run / CONFIG_FILE
    text = path.read_text(encoding="utf-8", errors="surrogateescape")
    config = Config.from_toml(text, str(path))
    if not {"model", "training"} <= tomllib.loads(text).keys():
        raise OptionError(f"{path} is damaged: it has no settings of a run")
    return config
