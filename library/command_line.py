"""Manners that all scripts share: arguments, one-line errors, exit codes."""

import argparse
import atexit
import os
import re
import signal
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn

from library.errors import LeverError
from library.workspace import HOME, Workspace

if TYPE_CHECKING:
    from library.parallel import Engine

DONE, NOTHING_FOUND, UNUSABLE, INTERRUPTED = 0, 1, 2, 130
STDERR = 2  # its descriptor


class Parser(argparse.ArgumentParser):
    """An argument parser whose errors are one line."""

    def error(self, message: str) -> NoReturn:
        """Exit with code 2 and one line on standard error."""
        self.exit(UNUSABLE, f"error: {printable(message)}; see {self.prog} --help\n")


def end_on_interrupt() -> None:
    """Let Ctrl-C end this process at once, in one line.

    For scripts without temporary folders to remove, before they import anything slow. A job in
    the background ignores interrupts, and goes on to do so.
    """
    if signal.getsignal(signal.SIGINT) is signal.default_int_handler:
        signal.signal(signal.SIGINT, _end_interrupted)
        atexit.register(signal.signal, signal.SIGINT, signal.SIG_IGN)  # then the work is done


def _interrupt_by_exception() -> None:
    """Take `end_on_interrupt` back."""
    if signal.getsignal(signal.SIGINT) is _end_interrupted:
        signal.signal(signal.SIGINT, signal.default_int_handler)


def _end_interrupted(*_: Any) -> None:
    """End at once with one line: what is half written lies under another name.

    An exception would not do. Libraries swallow it in callbacks, or turn it into an ImportError
    when it meets them while they are imported.
    """
    os.write(STDERR, b"\ninterrupted\n" if os.isatty(STDERR) else b"interrupted\n")
    os._exit(INTERRUPTED)


def create_parser(description: str | None) -> Parser:
    """Create a script's parser from its docstring, with the option that all scripts have."""
    parser = Parser(
        description=description,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    parser.add_argument(
        "--workspace",
        metavar="DIR",
        type=_existing_folder,
        default=Workspace(),
        help=f"the folder that holds the library (default: {HOME})",
    )
    return parser


def add_engine(parser: Parser, n_jobs: int) -> None:
    """Add the options that say where runs are worked on; `open_engine` makes it of them."""
    where = parser.add_mutually_exclusive_group()
    where.add_argument(
        "--jobs",
        metavar="N",
        type=positive_number,
        default=n_jobs,
        help="runs at a time, each in a process of its own (default: %(default)s)",
    )
    where.add_argument(
        "--cluster",
        metavar="ADDRESS",
        type=scheduler_address,
        help="work on a Dask cluster of yours, for instance tcp://host:8786",
    )


@contextmanager
def open_engine(arguments: argparse.Namespace) -> Iterator["Engine"]:
    """Open what the arguments of `add_engine` name.

    Raises:
        LeverError: the cluster can't be used.
    """
    from library.parallel import Processes  # what --help does not need

    if not arguments.cluster:
        if arguments.jobs > 1:  # its processes have to be ended as well
            _interrupt_by_exception()
        yield Processes(arguments.jobs)
        return
    from library.cluster import connect

    with connect(arguments.cluster, arguments.workspace.root) as cluster:
        if cluster.has_threads:
            notice(
                "notice: workers take one run at a time, whatever their threads: start more "
                "workers instead, --nworkers N --nthreads 1"
            )
        yield cluster


def run(main: Callable[[], int]) -> NoReturn:
    """Run a script's main function and exit with its code.

    A foreseen error ends in one line and code 2, and a reader that closed the pipe (`| head`) in
    silence.
    """
    try:
        code = main()
        sys.stdout.flush()
    except LeverError as error:
        code = _fail(str(error))
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        code = DONE
    except OSError as error:
        code = _fail(
            f"{error.filename or 'input or output'}: {error.strerror}; mend it and try again"
        )
    except KeyboardInterrupt:
        notice("interrupted")
        code = INTERRUPTED
    sys.exit(code)


def notice(message: str) -> None:
    """Tell the user something on standard error."""
    print(printable(message), file=sys.stderr, flush=True)


def show(text: str) -> None:
    """Print a result on standard output."""
    print(printable(text), flush=True)


def printable(text: str) -> str:
    """Replace what a terminal would obey (control characters, escapes) by a visible form."""
    return "".join(c if c.isprintable() or c == "\n" else f"\\x{ord(c):02x}" for c in text)


def seed(text: str) -> str:
    """Read a seed, an argparse type: digits, at least four with leading zeros."""
    if not re.fullmatch(r"[0-9]{1,100}", text):
        raise argparse.ArgumentTypeError(
            f"{text!r} is no seed; a seed is four digits or more, for instance 0038"
        )
    return text.zfill(4)


def scheduler_address(text: str) -> str:
    """Read the address of a Dask scheduler, an argparse type."""
    match = re.fullmatch(r"(?:tcp|tls)://(?:[^\s/:\[\]]+|\[[0-9A-Fa-f:.]+\]):([0-9]{1,5})", text)
    if not match or not 0 < int(match[1]) < 2**16:
        raise argparse.ArgumentTypeError(
            f"{text!r} is no address of a Dask scheduler; give one like tcp://host:8786"
        )
    return text


def positive_number(text: str) -> int:
    """Read a whole number from 1, an argparse type."""
    if not re.fullmatch(r"[0-9]{1,18}", text) or int(text) < 1:
        raise argparse.ArgumentTypeError(f"{text!r} is no whole number from 1")
    return int(text)


def share(text: str) -> float:
    """Read a number above 0 and at most 1, an argparse type."""
    value = number_between(0.0, 1.0)(text)
    if value == 0.0:
        raise argparse.ArgumentTypeError(f"{text!r} is no share; give a number above 0")
    return value


def number_between(least: float, most: float) -> Callable[[str], float]:
    """Make an argparse type that reads a number from `least` to `most`."""

    def read(text: str) -> float:
        try:
            value = float(text)
        except ValueError:
            value = float("nan")
        if not least <= value <= most:
            raise argparse.ArgumentTypeError(f"{text!r} is no number from {least:g} to {most:g}")
        return value

    return read


def _fail(message: str) -> int:
    """Say what is wrong in one line."""
    notice("error: " + " ".join(message.split()))
    return UNUSABLE


def _existing_folder(text: str) -> Workspace:
    path = Path(text).expanduser().resolve()
    if not path.is_dir():
        raise argparse.ArgumentTypeError(f"the folder {text!r} does not exist")
    return Workspace(path)
