"""Reading files that a stranger wrote, and writing files whole or not at all."""

import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import NamedTemporaryFile
from typing import IO
from uuid import uuid4

from library.errors import UnusableRecording

MAX_FILE = 64 * 2**20  # bytes; a table of a million rows of five float64 has 40 million


@contextmanager
def atomic_write(path: Path) -> Iterator[IO[bytes]]:
    """Open a file for writing that takes the place of `path` only when it is whole.

    The bytes go to a temporary file in the same folder, which is renamed at the end and removed
    when the writing fails.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    with NamedTemporaryFile(dir=path.parent, prefix=f".{path.name}.", delete=False) as file:
        try:
            yield file
            file.flush()
            os.fsync(file.fileno())
            Path(file.name).chmod(0o644)
            Path(file.name).replace(path)
        except BaseException:
            Path(file.name).unlink(missing_ok=True)
            raise


@contextmanager
def whole_folder(path: Path) -> Iterator[Path]:
    """Give an empty folder to write to, which is renamed to `path` when everything is written.

    When the writing fails it is removed; what a killed one left is replaced. Two processes may
    write the same, when a cluster takes one of them for dead: the later one takes over, and what is
    at `path` already stays.
    """
    remove_partial(path)
    place = path.with_name(f".{path.name}.{uuid4().hex}.partial")
    claim, partial = place / "claim", place / path.name
    partial.mkdir(parents=True)
    claim.touch()
    try:
        yield partial
        claim.unlink()  # no longer there where another process took over: then this is an error
        if not path.exists():
            partial.rename(path)
    finally:
        shutil.rmtree(place, ignore_errors=True)


def remove_partial(path: Path) -> None:
    """Remove what processes that were killed have written for a `whole_folder`."""
    for left in path.parent.glob(f".{path.name}.*partial"):
        shutil.rmtree(left, ignore_errors=True)


def read_bounded(path: Path, max_bytes: int = MAX_FILE) -> bytes:
    """Read a file that is not larger than any honest one.

    Raises:
        UnusableRecording: it is larger, no file, missing or unreadable.
    """
    try:
        if path.exists() and not path.is_file():  # a pipe or device may have no end
            raise UnusableRecording(f"{path} is no file")
        if path.stat().st_size > max_bytes:
            raise UnusableRecording(f"{path} has more than {max_bytes} bytes")
        return path.read_bytes()
    except OSError as error:
        reason = (
            "is missing" if isinstance(error, FileNotFoundError) else f"can't be read ({error})"
        )
        raise UnusableRecording(f"{path} {reason}") from None
