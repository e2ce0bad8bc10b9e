"""Reading files that a stranger wrote, and writing files whole or not at all."""

import io
import math
import os
import shutil
import warnings
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import NamedTemporaryFile
from typing import IO, Any

import numpy as np
from numpy.typing import NDArray

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

    When the writing fails it is removed; what a killed one left is replaced.
    """
    partial = path.with_name(f".{path.name}.partial")
    shutil.rmtree(partial, ignore_errors=True)
    partial.mkdir(parents=True)
    try:
        yield partial
        partial.rename(path)
    except BaseException:
        shutil.rmtree(partial, ignore_errors=True)
        raise


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


def read_array(path: Path) -> NDArray[Any]:
    """Read a `.npy` file of at most `MAX_FILE` bytes.

    Raises:
        UnusableRecording: it is missing or damaged, or holds objects.
    """
    return parse_array(read_bounded(path), str(path))


def read_arrays(path: Path) -> dict[str, NDArray[Any]]:
    """Read an `.npz` file whose arrays have at most `MAX_FILE` bytes together.

    Raises:
        UnusableRecording: it is missing or damaged, or holds objects.
    """
    return parse_arrays(read_bounded(path), str(path))


def parse_arrays(content: bytes, name: str) -> dict[str, NDArray[Any]]:
    """Read the arrays of an `.npz` file from its bytes, as `read_arrays` does."""
    try:
        with zipfile.ZipFile(io.BytesIO(content)) as archive:
            n_bytes = sum(member.file_size for member in archive.infolist())
            if n_bytes > MAX_FILE:
                raise ValueError(f"its arrays have {n_bytes} bytes, more than {MAX_FILE}")
            members = {member: archive.read(member) for member in archive.namelist()}
    except Exception as error:  # a damaged archive can raise nearly anything
        raise UnusableRecording(f"{name} is no archive of arrays ({error})") from None
    return {
        member.removesuffix(".npy"): parse_array(array, f"{name}: {member}")
        for member, array in members.items()
    }


def parse_array(content: bytes, name: str) -> NDArray[Any]:
    """Read an array from the bytes of a `.npy` file, held against what its header claims.

    Args:
        content: the whole file.
        name: what an error calls it.

    Raises:
        UnusableRecording: it is damaged, or holds objects.
    """
    try:
        file = io.BytesIO(content)
        version = np.lib.format.read_magic(file)
        read_header = {
            (1, 0): np.lib.format.read_array_header_1_0,
            (2, 0): np.lib.format.read_array_header_2_0,
        }[version]
        with warnings.catch_warnings():
            warnings.simplefilter("error")  # a header that needs mending is no header
            shape, fortran_order, dtype = read_header(file)
        n_bytes = math.prod(shape) * dtype.itemsize
        if dtype.hasobject or n_bytes != len(content) - file.tell():
            raise ValueError(f"{shape} of {dtype} is not what the file holds")
        array = np.frombuffer(content, dtype, offset=file.tell())
        return array.reshape(shape, order="F" if fortran_order else "C")
    except Exception as error:  # numpy parses a header as Python: damage can raise nearly anything
        raise UnusableRecording(f"{name} is no array ({error})") from None
