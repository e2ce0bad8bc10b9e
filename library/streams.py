"""The standard streams of a script: closed ones, poor encodings, readers that went away."""

import codecs
import errno
import io
import os
import sys
import unicodedata
from contextlib import suppress
from typing import TextIO

NAMES = ("stdin", "stdout", "stderr")  # in the order of their descriptors
PLAIN = "lever.plain"  # the name of the error handler
MARKS = {
    "✅": "+",
    "❌": "x",
    "\N{VARIATION SELECTOR-16}": "",
    "±": "+-",
    "→": "->",
    "π": "pi",
    "–": "-",
    "—": "-",
    "‘": "'",
    "’": "'",
    "“": '"',
    "”": '"',
}


def ready_streams() -> None:
    """Give every standard stream a place to go, and a plain mark for what it can't encode.

    Where one is closed, the next file opened would get its number, and with it what libraries
    write to standard error.
    """
    missing = [name for name in NAMES if getattr(sys, name) is None]
    for name in missing:
        _occupy(NAMES.index(name))
    for name in missing:
        mode = "r" if name == "stdin" else "w"
        setattr(sys, name, open(os.devnull, mode, encoding="utf-8"))  # noqa: SIM115
    codecs.register_error(PLAIN, plain_marks)
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors=PLAIN)


def plain_marks(error: UnicodeError) -> tuple[str, int]:
    """Write what an encoding lacks in ASCII, as the handler of an encoding's errors."""
    if not isinstance(error, UnicodeEncodeError):
        raise error
    missing = error.object[error.start : error.end]
    return "".join(map(plain_mark, missing)), error.end


def plain_mark(character: str) -> str:
    """Write a character in ASCII: a letter without its accent, a mark, or its number."""
    if character in MARKS:
        return MARKS[character]
    bare = unicodedata.normalize("NFKD", character).encode("ascii", "ignore").decode()
    if bare:
        return bare
    is_symbol = unicodedata.category(character).startswith("S")
    return "*" if is_symbol else character.encode("ascii", "backslashreplace").decode()


def flush_streams() -> OSError | None:
    """Write out what is waiting, as far as anybody takes it.

    Returns:
        Why a stream took it no more. Then nothing more goes there, so that Python, which writes
        out once more when it ends, has nothing to say.
    """
    problem = None
    for stream in (sys.stdout, sys.stderr):
        try:
            stream.flush()
        except OSError as error:
            problem = problem or error
            _redirect(stream)
    return problem


def is_closed_pipe(error: OSError) -> bool:
    """Tell whether a reader went away (`| head`), which is no failure."""
    on_windows = sys.platform == "win32" and error.errno == errno.EINVAL
    return isinstance(error, BrokenPipeError) or (on_windows and error.filename is None)


def _occupy(number: int) -> None:
    """Open a descriptor that is closed; the lowest free one is given first."""
    try:
        os.fstat(number)
    except OSError:
        os.set_inheritable(os.open(os.devnull, os.O_RDWR), True)


def _redirect(stream: TextIO) -> None:
    """Let a stream go nowhere."""
    with suppress(OSError, ValueError):  # a test's stream has no descriptor
        os.dup2(os.open(os.devnull, os.O_WRONLY), stream.fileno())
