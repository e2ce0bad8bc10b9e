"""Reading arrays that a stranger wrote: sizes are checked first, and nothing in them is run."""

import io
import math
import warnings
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from library.errors import UnusableRecording
from library.files import MAX_FILE, is_foreign, read_bounded


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
            members = {
                member: archive.read(member)
                for member in archive.namelist()
                if not any(map(is_foreign, member.split("/")))
            }
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
