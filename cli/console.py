"""What all commands share at the terminal: how they speak, and how they fail.

Results go to stdout, everything else to stderr. A failure is one line on stderr and an exit code:

    2    the command was called wrongly: a bad option, a file in the way without --force
    1    it was called rightly and failed: a broken file, no model, no space left
    130  the user interrupted it, or something else asked it to end (SIGTERM, SIGHUP)

Whoever listens may leave (`seqvae ... | head -1`): the work is brought to its end all the same. A programming error
keeps its traceback.
"""

import io
import os
import signal
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType
from typing import Any

import typer

PROGRAM = "seqvae"
FAILURE, USAGE, INTERRUPTED = 1, 2, 130

# Typer's usage errors descend from Click's, of which Typer brings its own copy or not, depending on its version.
UsageError: type[Exception] = typer.BadParameter.__mro__[1]


def say(text: str = "") -> None:
    """Print a result."""
    _print(text, err=False)


def note(text: str) -> None:
    """Tell something beside the result, on stderr."""
    _print(f"{PROGRAM}: {one_line(text)}", err=True)


def _print(text: str, *, err: bool) -> None:
    try:
        typer.echo(text, err=err)
    except BrokenPipeError:
        stream = sys.stderr if err else sys.stdout
        nowhere = os.open(os.devnull, os.O_WRONLY)
        os.dup2(nowhere, stream.fileno())  # where it also leaves what it still holds
        os.close(nowhere)


def one_line(text: object) -> str:
    """A message on one line, whatever a file's name or a library puts into it."""
    return " ".join(str(text).split())


def run(app: Callable[..., Any]) -> int:
    """Run the Typer app on the arguments of the process; return its exit code."""
    from data_prep.errors import InputError
    from seqvae.errors import ModelError, OptionError, TrainingError

    for closed in [name for name in ("stdout", "stderr") if getattr(sys, name) is None]:  # by `>&-`: nobody listens
        setattr(sys, closed, open(os.devnull, "w"))  # noqa: SIM115 - open as long as the process lives
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(errors="backslashreplace")  # names of files hold anything; stderr is like this already
    try:
        os.getcwd()
    except FileNotFoundError:
        return _fail("the folder in which this runs is not there any more: go to another one", FAILURE)
    try:
        with _ended_like_interrupted():
            status = app(prog_name=PROGRAM, standalone_mode=False)
    except UsageError as error:
        return _fail(usage_message(error), USAGE)
    except OptionError as error:
        return _fail(str(error), USAGE)
    except (InputError, ModelError, TrainingError) as error:
        return _fail(str(error), FAILURE)
    except OSError as error:
        if error.errno is None:  # raised by code, not by the system
            raise
        return _fail(_system_message(error), FAILURE)
    except (KeyboardInterrupt, typer.Abort):
        status = INTERRUPTED
    except (MemoryError, RuntimeError) as error:  # typer.Abort is one of these, too
        if not _out_of_memory(error):
            raise
        return _fail(
            "there is not enough memory for this: do less at a time (a lower -n, --steps or --batch-size, fewer "
            "files), or choose --device cpu where a GPU has too little",
            FAILURE,
        )
    if status == INTERRUPTED:
        return _fail("interrupted", INTERRUPTED)
    return status if isinstance(status, int) else 0


@contextmanager
def _ended_like_interrupted() -> Iterator[None]:
    """SIGTERM, and SIGHUP of a terminal that is closed, leave as Ctrl-C does: what is half done is put away.

    Libraries that are interrupted while they are loaded may raise something else; that is an interruption, too.
    """
    from seqvae.interruption import endings, handled

    asked = False

    def interrupt(number: int, frame: FrameType | None) -> None:
        nonlocal asked
        asked = True
        raise KeyboardInterrupt

    ctrl_c = [signal.SIGINT] if signal.getsignal(signal.SIGINT) is signal.default_int_handler else []
    try:
        with handled([*endings(), *ctrl_c], interrupt):
            yield
    except Exception as error:
        if asked:
            raise KeyboardInterrupt from error
        raise


def usage_message(error: Any) -> str:
    """A usage error of Typer's in one line: the option, what is wrong, where to read on."""
    message = error.format_message()
    if file := next((given for given in sys.argv[1:] if given.startswith("-") and os.path.exists(given)), None):
        message = f"{message.rstrip('.')}; if the file {file} is meant, write ./{file}"
    if isinstance(error, typer.BadParameter) and error.message and error.param is not None:
        message = f"{option_name(error.param)}: {error.message}"
    command = error.ctx.command_path if getattr(error, "ctx", None) else PROGRAM
    return f"{one_line(message).rstrip('.')} (see {command} --help)"


def option_name(parameter: Any) -> str:
    """An option as it is spelled in full (--steps); an argument by its name in the help."""
    if parameter.param_type_name == "argument":
        return str(parameter.metavar or parameter.name)
    return str(max(parameter.opts, key=len))


def _system_message(error: OSError) -> str:
    reason = error.strerror or os.strerror(error.errno or 0)
    return f"{error.filename}: {reason}" if error.filename else reason


def _out_of_memory(error: Exception) -> bool:
    if isinstance(error, MemoryError):
        return True
    if "torch" not in sys.modules:
        return False
    from seqvae.devices import out_of_memory

    return isinstance(error, RuntimeError) and out_of_memory(error)


def _fail(message: str, status: int) -> int:
    sys.stdout.flush()
    note(message)
    return status
