"""What the tests of the command line share: a way to run it, and to look at what it leaves behind."""

import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from cli import main as entry

Run = Callable[..., tuple[int, str, str]]


def runner(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], shelf: Path) -> Run:
    """Run `seqvae` with arguments, of which those like @a.mid lie on the shelf. Gives exit code, stdout, stderr."""

    def run(*arguments: object) -> tuple[int, str, str]:
        words = [str(word).replace("@", f"{shelf}/") for word in arguments]
        monkeypatch.setattr(sys, "argv", ["seqvae", *words])
        capsys.readouterr()
        with pytest.raises(SystemExit) as end:
            entry.main()
        out, err = capsys.readouterr()
        assert isinstance(end.value.code, int)
        return end.value.code, out, err

    return run


def succeed(result: tuple[int, str, str]) -> str:
    """The standard output of a command that did its work and had nothing to complain about."""
    code, out, err = result
    assert (code, err) == (0, "")
    return out


def files(folder: Path) -> dict[str, bytes]:
    """All files below a folder, by their paths in it."""
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in folder.rglob("*") if path.is_file()}
