"""Manners that all scripts share: arguments, one-line errors, exit codes."""

import argparse
import atexit
import os
import re
import shlex
import signal
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn

from library.errors import Command, LeverError
from library.files import absolute
from library.streams import flush_streams, is_closed_pipe, ready_streams
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
    ready_streams()
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
    with suppress(OSError):  # nobody may be there to read it
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
    ready_streams()
    code = _run(main)
    problem = flush_streams()
    if problem and code != UNUSABLE and not is_closed_pipe(problem):
        code = _fail_of_system(problem)
    sys.exit(code)


def _run(main: Callable[[], int]) -> int:
    try:
        code = main()
        sys.stdout.flush()
    except SystemExit as ended:  # after --help, or wrong usage
        return ended.code if isinstance(ended.code, int) else DONE
    except LeverError as error:
        return _fail(explain(error))
    except OSError as error:
        return DONE if is_closed_pipe(error) else _fail_of_system(error)
    except UnicodeEncodeError as error:
        what = f"{error.object!r} can't be written in this system's encoding {error.encoding}"
        return _fail(f"{what}; set PYTHONUTF8=1")
    except KeyboardInterrupt:
        notice("interrupted")
        return INTERRUPTED
    return code


def explain(error: LeverError) -> str:
    """Write an error's line, with the command that mends it as it can be pasted."""
    return error.line(paste(error.command)) if error.command else error.what


def paste(command: Command) -> str:
    """Write a command of the suite as it can be pasted here, for the workspace that was given."""
    script, *rest = command
    if not _is_here(HOME):
        file = f"{rest.pop(0).replace('.', '/')}.py" if script == "-m" else script
        script = str(HOME / file)
    words = ["python", script, *rest, *_workspace_option()]
    if sys.platform == "win32":
        from subprocess import list2cmdline  # another shell, other quotes

        return list2cmdline(words)
    return shlex.join(words)


def as_given(text: str, folder: Path, given: str) -> str:
    """Write the paths below a folder in a text as the user wrote the folder."""
    if folder == folder.parent:  # the root of a disk: its name is in every path
        return text
    whole = rf"(?<![\w/\\.]){re.escape(str(folder))}(?![\w.~+-])"
    return re.sub(whole, lambda _: str(Path(given)), text)


def notice(message: str) -> None:
    """Tell the user something on standard error; without a reader the work goes on."""
    with suppress(OSError):
        print(_shown(message), file=sys.stderr, flush=True)


def show(text: str) -> None:
    """Print a result on standard output."""
    print(_shown(text), flush=True)


def _shown(text: str) -> str:
    """Write a text so that it can be printed, with paths as the user writes them."""
    given = _given_workspace()
    return printable(text if given is None else as_given(text, absolute(given), given))


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


def _fail_of_system(error: OSError) -> int:
    """Say in one line what the system refused, and of which file."""
    reason = error.strerror or f"not all could be written ({error})"
    return _fail(f"{error.filename or 'input or output'}: {reason}; mend it and try again")


def _workspace_option() -> list[str]:
    """Write the option that names the workspace, as far as the user gave it."""
    given = _given_workspace()
    if given is None:
        return []
    return [f"--workspace={given}"] if given.startswith("-") else ["--workspace", given]


def _given_workspace() -> str | None:
    """Tell how the user named the workspace; None when they didn't."""
    parser = argparse.ArgumentParser(add_help=False, allow_abbrev=False, exit_on_error=False)
    parser.add_argument("--workspace")
    try:
        given, _ = parser.parse_known_args(sys.argv[1:])
    except argparse.ArgumentError:  # wrong usage: its value is missing
        return None
    return str(given.workspace) if given.workspace is not None else None


def _is_here(folder: Path) -> bool:
    """Tell whether a folder is the one that the user is in."""
    try:
        return Path.cwd() == folder
    except OSError:  # it was deleted
        return False


def _existing_folder(text: str) -> Workspace:
    path = absolute(text)
    if not path.is_dir():
        raise argparse.ArgumentTypeError(f"the folder {text!r} does not exist")
    return Workspace(path)
