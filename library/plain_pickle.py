"""Pickles that hold data only: reading one can't run code.

The suite's `.pkl` files keep their published names. Reading builds plain containers and numpy
arrays; any other class or function in the stream is refused by name before anything runs.
"""

import io
import pickle
import pickletools
from pathlib import Path
from typing import Any

from library.errors import REBUILD, UnusableLibrary
from library.files import atomic_write

ALLOWED = {
    ("numpy", "ndarray"),
    ("numpy", "dtype"),
    ("numpy._core.multiarray", "_reconstruct"),
    ("numpy._core.numeric", "_frombuffer"),
}


def save(path: Path, content: Any) -> None:
    """Write plain containers and numpy arrays; equal content gives equal bytes."""
    with atomic_write(path) as file:
        pickler = pickle.Pickler(file, protocol=5)
        pickler.fast = True  # without it the bytes tell which of equal texts are one object
        pickler.dump(content)


def load(path: Path) -> Any:
    """Read what `save` wrote.

    Raises:
        FileNotFoundError: there is no such file.
        UnusableLibrary: the file is damaged, or holds more than data.
    """
    content = path.read_bytes()
    try:
        for _ in pickletools.genops(content):
            pass  # it holds every size that is declared against what is there, before it is taken
        return _PlainUnpickler(io.BytesIO(content)).load()
    except pickle.UnpicklingError as error:
        reason = str(error)
    except Exception as error:  # a damaged stream can raise nearly anything
        reason = f"{type(error).__name__}: {error}"
    raise UnusableLibrary(f"{path} is damaged or unsafe ({reason})", REBUILD)


class _PlainUnpickler(pickle.Unpickler):
    def find_class(self, module: str, name: str) -> Any:
        """Allow what arrays are made of and nothing else."""
        if (module, name) not in ALLOWED:
            raise pickle.UnpicklingError(f"it asks for {module}.{name}")
        return super().find_class(module, name)
