"""Reading files that a stranger wrote, and writing files whole or not at all."""

import os
import re
import shutil
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import IO
from uuid import uuid4

from library.errors import UnusableRecording

MAX_FILE = 64 * 2**20  # bytes; a table of a million rows of five float64 has 40 million

# What other systems leave in folders: macOS, Synology and QNAP, Windows, Linux; in lower case.
FOREIGN = {
    *("__macosx", "@eadir", "@tmp", "#recycle", "#snapshot", "@recycle", "$recycle.bin"),
    *("system volume information", "thumbs.db", "ehthumbs.db", "desktop.ini", "lost+found"),
}


# What Windows gives to devices, whatever follows a dot, and has no place for in names.
RESERVED = re.compile(r"(con|prn|aux|nul|com[0-9]|lpt[0-9])(\..*)?", re.IGNORECASE)
UNUSABLE = re.compile(r'[<>:"/\\|?*\x00-\x1f]+|[. ]+$')


def is_portable(name: str) -> bool:
    """Tell whether a file or folder can have this name on any system."""
    return bool(name.strip(".")) and not RESERVED.fullmatch(name) and not UNUSABLE.search(name)


def portable(name: str) -> str:
    """Make a name that a file or folder can have on any system; most stay as they are."""
    usable = UNUSABLE.sub("-", name) or "-"
    return f"_{usable}" if RESERVED.fullmatch(usable) else usable


def is_foreign(name: str) -> bool:
    """Tell whether a file or folder is hidden, or some system's own, and so nobody's data."""
    return name.startswith(".") or name.lower() in FOREIGN


def files_below(folder: Path) -> list[Path]:
    """List all that is no folder in a folder and below it, but what is foreign, in order."""
    return [
        path
        for path in sorted(folder.rglob("*"))
        if (path.is_symlink() or not path.is_dir())
        and not any(map(is_foreign, path.relative_to(folder).parts))
    ]


@contextmanager
def atomic_write(path: Path) -> Iterator[IO[bytes]]:
    """Open a file for writing that takes the place of `path` only when it is whole.

    The bytes go to a temporary file in the same folder, which is closed, then renamed, and
    removed when the writing fails. Its mode is what the umask leaves, as that of any new file.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_name(f".{os.urandom(8).hex()}.partial")  # short: any name leaves room
    try:
        # For reading too: to a file for writing only, numpy writes without telling of a full disk.
        with open(partial, "x+b") as file:
            yield file
            file.flush()
            os.fsync(file.fileno())
        partial.replace(path)
    except OSError as error:
        _name_place(error, partial, path)
        raise
    finally:
        with suppress(OSError):  # it was renamed, or can't go
            partial.unlink()


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
    except OSError as error:
        _name_place(error, partial, path)
        raise
    finally:
        shutil.rmtree(place, ignore_errors=True)


def remove_partial(path: Path) -> None:
    """Remove what processes that were killed have written for a `whole_folder`."""
    for left in path.parent.glob(f".{path.name}.*partial"):
        shutil.rmtree(left, ignore_errors=True)


@contextmanager
def naming(path: Path) -> Iterator[None]:
    """Let the system's errors name a file where they name none, as when a disk is full."""
    try:
        yield
    except OSError as error:
        _name_place(error, path, path)
        raise


def _name_place(error: OSError, partial: Path, path: Path) -> None:
    """Let an error name the file that was to be there, not its temporary name or none."""
    error.filename = str(error.filename or partial).replace(str(partial), str(path), 1)


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
    except FileNotFoundError:
        raise UnusableRecording(f"{path} is missing") from None
    except OSError as error:
        raise UnusableRecording(f"{path} can't be read ({error.strerror})") from None


def absolute(text: str) -> Path:
    """Read the name of a file or folder as a user gives it; links stay links.

    Raises:
        OSError: the system can't follow it.
    """
    path = Path(text)
    with suppress(RuntimeError):  # there is no home, or no such user: the name is taken as it is
        path = path.expanduser()
    return path.resolve() if ".." in path.parts else path.absolute()
