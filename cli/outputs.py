"""Output files: nothing is overwritten unasked, and all files of a command appear together or not at all.

A command names its files before any work starts (`refuse_existing`), writes them into a temporary folder once all is
computed, and they move to their place together (`appearing`), if that is still free.
"""

import os
import secrets
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from cli.console import note, say
from data_prep.errors import InputError
from data_prep.files import WRITTEN_SUFFIXES, atomic, remove
from seqvae.config import TEXT
from seqvae.errors import OptionError

if TYPE_CHECKING:
    from data_prep.score import Score


def refuse_existing(paths: Iterable[Path], force: bool, option: str = "--out") -> None:
    """Check, before any work, that these files, which `option` names, may be written.

    Raises:
        OptionError: one exists and `force` is not given, or is no file.
        InputError: there is no writing at that place.
    """
    paths = list(paths)
    for path in paths:
        if path.is_dir():
            raise OptionError(f"{option} {path}: is a folder, a file was expected")
        if path.exists() and not path.is_file():
            raise OptionError(f"{option} {path}: is a device, a file was expected")
        if os.path.lexists(path) and not force:
            raise OptionError(f"{path} exists: replace it with --force, or choose another {option}")
    for parent in dict.fromkeys(path.parent for path in paths):
        _check_writable(parent)


def _check_writable(folder: Path) -> None:
    place = next(above for above in (folder, *folder.absolute().parents) if os.path.lexists(above))
    if not place.is_dir():
        raise InputError(f"cannot write to {folder}: {place} is no folder")
    if not os.access(place, os.W_OK | os.X_OK):
        read_only = hasattr(os, "statvfs") and os.statvfs(place).f_flag & os.ST_RDONLY
        raise InputError(f"cannot write to {folder}: {'read-only file system' if read_only else 'permission denied'}")


@contextmanager
def appearing(folder: Path, force: bool) -> Iterator[Path]:
    """Yield a temporary folder to write into; its files appear in `folder` when the block ends without an error.

    Raises OptionError as `refuse_existing` does for what has come to stand there meanwhile.
    """
    if not folder.exists():
        with atomic(folder) as temporary:
            temporary.mkdir()
            yield temporary
        return
    temporary = folder / f".{secrets.token_hex(4)}"
    temporary.mkdir()
    try:
        yield temporary
        written = sorted(temporary.iterdir())
        refuse_existing([folder / file.name for file in written], force)
        for file in written:
            os.replace(file, folder / file.name)
    finally:
        remove(temporary)


@dataclass(frozen=True)
class MidiFolder:
    """The files of a command that makes several scores: one MIDI file each, a picture, perhaps all in a row.

    Raises OptionError or InputError as `refuse_existing` does, when it is made.
    """

    out: Path
    names: Sequence[str]  # file names without suffix; not all need be used
    picture: str
    force: bool
    row: str | None = None

    noun = "MIDI file"  # what is made

    def __post_init__(self) -> None:
        if self.out.suffix.lower() in (".mid", ".midi", ".txt"):
            raise OptionError(f"--out {self.out}: several files are written, into a folder; name one")
        extras = [self.picture, *filter(None, [self.row])]
        refuse_existing((self.out / name for name in [*(f"{n}.mid" for n in self.names), *extras]), self.force)

    def write(
        self,
        scores: "Sequence[Score]",
        what: str,
        names: Sequence[str] | None = None,
        originals: "Sequence[Score]" = (),
    ) -> None:
        """Write one score for each of `names`, which are all of them unless given; say `what` is where.

        Originals, one for each score or none, are drawn above them.
        """
        from data_prep.pictures import MOST, piano_rolls
        from data_prep.score import write_row

        names = self.names if names is None else names
        drawn, titles, stack = scores, names, 1
        if originals:
            drawn = [score for pair in zip(originals, scores, strict=True) for score in pair]
            titles = [title for name in names for title in (f"{name}, the original", f"{name}, reconstructed")]
            stack = 2
        with appearing(self.out, self.force) as folder:
            for name, score in zip(names, scores, strict=True):
                score.write_midi(folder / f"{name}.mid")
            if self.row is not None:
                write_row(scores, folder / self.row)
            piano_rolls(drawn, titles, folder / self.picture, stack)
        row = f", {self.row} with all in a row" if self.row else ""
        part = f" of the first {MOST // stack}" if len(drawn) > MOST else ""
        say(f"{what}{row} and {self.picture}{part} are in {self.out}")

    def tell_seed(self, seed: int) -> None:
        """Say how to make the same again."""
        say(f"--seed {seed} makes them again")


@dataclass(frozen=True)
class MidiFile:
    """The file of a command that makes one score; raises as `MidiFolder` does."""

    out: Path
    force: bool

    def __post_init__(self) -> None:
        if self.out.suffix.lower() not in WRITTEN_SUFFIXES:
            raise OptionError(f"--out {self.out}: must end in .mid, as music is written")
        refuse_existing([self.out], self.force)

    def write(self, scores: "Sequence[Score]", what: str) -> None:
        """Write the score, say `what` is where."""
        scores[0].write_midi(self.out, force=self.force)
        say(f"{what} is in {self.out}")

    def tell_seed(self, seed: int) -> None:
        """Say how to make the same again."""
        say(f"--seed {seed} makes it again")


@dataclass(frozen=True)
class Lines:
    """Sentences: printed, and where a file is named written there too. Raises as `MidiFolder` does."""

    out: Path | None
    force: bool

    noun = "sentence"

    def __post_init__(self) -> None:
        if self.out is None:
            return
        if self.out.suffix.lower() != ".txt":
            raise OptionError(f"--out {self.out}: must end in .txt, as sentences are written")
        refuse_existing([self.out], self.force)

    def write(self, lines: Sequence[str], what: str) -> None:
        """Print the lines and write them; note where `what` is."""
        if self.out is not None:
            refuse_existing([self.out], self.force)
            with atomic(self.out) as temporary:
                temporary.write_text("".join(f"{line}\n" for line in lines), encoding="utf-8")
        for line in lines:
            say(line)
        if self.out is not None:
            note(f"{what}: written to {self.out}")

    def tell_seed(self, seed: int) -> None:
        """Note how to make the same again."""
        note(f"--seed {seed} makes the same again")


def results(
    kind: str, out: Path | None, force: bool, folder: str, names: Sequence[str], picture: str, row: str | None = None
) -> MidiFolder | Lines:
    """Where what a model of this kind makes goes: music into `folder`, unless --out names another."""
    return Lines(out, force) if kind == TEXT else MidiFolder(out or Path(folder), names, picture, force, row)
