"""The tensors of a `.pth` file as numpy arrays, in torch's two formats, without torch.

Importing torch takes longer than reading a hundred agents, and its reader takes all tensors of an
agent where its actor is enough. Every length is held against the bytes that are there.
"""

import math
import struct
from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.lib.stride_tricks import as_strided
from numpy.typing import NDArray

from library.errors import UnusableRecording
from recording.archives import Archive
from recording.pickle_trees import Call, Named, Reference, items_of, read_tree

MAGIC = 0x1950A86A20F9469CFC6C  # the first of the pickles in the format before torch 1.6
KINDS = {
    "FloatStorage": "<f4",
    "DoubleStorage": "<f8",
    "HalfStorage": "<f2",
    "LongStorage": "<i8",
    "IntStorage": "<i4",
    "ShortStorage": "<i2",
    "CharStorage": "<i1",
    "ByteStorage": "<u1",
    "BoolStorage": "?",
}
Load = Callable[[Reference], NDArray[Any]]  # the numbers of a storage


def read_tensors(
    content: bytes, name: str, wanted: Callable[[str], bool] = lambda key: True
) -> dict[str, NDArray[Any]]:
    """Read a state dictionary.

    Args:
        content: the bytes of the file.
        name: what an error calls it.
        wanted: tells by a tensor's name whether to read it.

    Raises:
        UnusableRecording: it is damaged, or holds anything but tensors.
    """
    try:
        read = _read_zip if content.startswith(b"PK") else _read_sequence
        root, load = read(content, name)
        return {str(key): _build_tensor(n, load) for key, n in items_of(root) if wanted(str(key))}
    except UnusableRecording as error:
        raise UnusableRecording(f"{name} can't be read: {error}") from None
    except (TypeError, ValueError, IndexError, KeyError, AttributeError, struct.error) as error:
        raise UnusableRecording(f"{name} is damaged ({type(error).__name__})") from None


def _read_zip(content: bytes, name: str) -> tuple[Any, Load]:
    """Read the format since torch 1.6: an archive of a pickle and of one member a storage."""
    archive = Archive(content, name)
    pickles = [member for member in archive.names if member.endswith("/data.pkl")]
    if len(pickles) != 1:
        raise UnusableRecording("it has no data.pkl")
    folder = pickles[0].removesuffix("data.pkl")
    if f"{folder}byteorder" in archive.names and archive.read(f"{folder}byteorder") != b"little":
        raise UnusableRecording("its numbers are big-endian")

    storages: dict[str, NDArray[Any]] = {}

    def load(reference: Reference) -> NDArray[Any]:
        kind, key, n = _storage(reference)
        if key not in storages:  # members are not compressed: together they are below the file
            left = len(content) - sum(storage.nbytes for storage in storages.values())
            storages[key] = _numbers(archive.read(f"{folder}data/{key}", left), kind, n)
        return storages[key]

    return read_tree(archive.read(pickles[0])).root, load


def _read_sequence(content: bytes, name: str) -> tuple[Any, Load]:
    """Read the format before: five pickles, then each storage's length and numbers."""
    magic = read_tree(content)
    if magic.root != MAGIC:
        raise UnusableRecording(f"{name} is no file of torch")
    position = magic.end
    for _ in range(2):  # versions, and sizes of the machine that wrote it
        position = read_tree(content, position).end
    tree = read_tree(content, position)
    order = read_tree(content, tree.end)
    kinds = {key: (kind, n) for kind, key, n in map(_storage, tree.references)}
    storages, position = {}, order.end
    for key in order.root:
        kind, n = kinds[key]
        start, end = position + 8, position + 8 + n * kind.itemsize
        if struct.unpack_from("<q", content, position)[0] != n:
            raise UnusableRecording("a storage has two lengths")
        storages[key], position = _numbers(content[start:end], kind, n), end
    return tree.root, lambda reference: storages[_storage(reference)[1]]


def _storage(reference: Reference) -> tuple[np.dtype[Any], str, int]:
    """Read what kind of numbers a storage has, its key and its length."""
    _, named, key, _, n, *_ = reference.identity
    if not isinstance(named, Named) or named.module != "torch" or named.name not in KINDS:
        raise UnusableRecording(f"it holds {str(named)[:100]}")
    if type(n) is not int or n < 0 or not isinstance(key, str):
        raise UnusableRecording("a storage has no length")
    return np.dtype(KINDS[named.name]), key, n


def _numbers(raw: bytes, kind: np.dtype[Any], n: int) -> NDArray[Any]:
    if len(raw) != n * kind.itemsize:
        raise UnusableRecording(f"a storage has {len(raw)} bytes, not {n} numbers of {kind}")
    return np.frombuffer(raw, kind)


def _build_tensor(node: Any, load: Load) -> NDArray[Any]:
    """View a storage as the tensor that the call would build."""
    name = str(node.function) if isinstance(node, Call) else type(node).__name__
    if name == "torch._utils._rebuild_parameter":
        return _build_tensor(node.arguments[0], load)
    if name != "torch._utils._rebuild_tensor_v2":
        raise UnusableRecording(f"it asks for {name}, which is no tensor"[:200])
    reference, offset, shape, strides, *_ = node.arguments
    numbers = load(reference)
    places = (offset, *shape, *strides)
    if not all(type(place) is int and place >= 0 for place in places) or len(shape) != len(strides):
        raise UnusableRecording("a tensor has no shape")
    last = offset + sum((n - 1) * stride for n, stride in zip(shape, strides, strict=True))
    size = math.prod(shape)
    if size > len(numbers) or (size > 0 and last >= len(numbers)):
        raise UnusableRecording("a tensor reaches out of its storage")
    bytes_between = [stride * numbers.itemsize for stride in strides]
    return as_strided(numbers[min(offset, len(numbers)) :], shape, bytes_between, writeable=False)
