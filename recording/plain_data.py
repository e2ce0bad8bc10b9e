"""From the tree of a pickle to plain data: numbers, texts, containers and numpy arrays."""

import math
import re
from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from library.errors import UnusableRecording
from recording.pickle_trees import Call, Named, Pairs, read_tree

MAX_DEPTH = 20  # of containers in one another; an honest table has three or four
NUMBER_KINDS = re.compile(r"[fiu][1248]|b1")
SCALARS = (int, float, str, bytes, bytearray, bool, type(None))


def read_plain_pickle(content: bytes) -> Any:
    """Read a pickle that holds plain data only, numpy's arrays by their old and new names.

    A default dictionary becomes a dictionary: what it would make of missing keys is code.

    Raises:
        UnusableRecording: it is damaged, or asks for anything else, which is named.
    """
    tree = read_tree(content)
    foreign = sorted(_foreign_names(tree.root, len(content)))
    if foreign:
        raise UnusableRecording(f"the pickle asks for {', '.join(foreign[:5])}, which is no data")
    return build(tree.root)


def build(node: Any) -> Any:
    """Build plain data from a node of the tree.

    Raises:
        UnusableRecording: it is no plain data, damaged or too deep.
    """
    try:
        return _build(node)
    except UnusableRecording:
        raise
    except Exception as error:  # the arguments of a call can be anything
        raise UnusableRecording(f"the pickle is damaged ({type(error).__name__})") from None


def _build(node: Any, depth: int = 0) -> Any:
    if depth > MAX_DEPTH:
        raise UnusableRecording(f"it has more than {MAX_DEPTH} containers in one another")
    if isinstance(node, SCALARS):
        return node
    if isinstance(node, list | tuple):
        return type(node)(_build(element, depth + 1) for element in node)
    if isinstance(node, Pairs):
        return _build_dictionary(node.items, depth)
    if isinstance(node, Call) and isinstance(node.function, Named):
        builder = BUILDERS.get(_plain_name(node.function))
        if builder is not None:
            return builder(node, depth)
    raise UnusableRecording(f"it holds {_describe(node)}, which is no data")


def _plain_name(named: Named) -> str:
    """Name a function as today's numpy and Python do."""
    module = named.module.replace("numpy.core", "numpy._core").replace("__builtin__", "builtins")
    return f"{module}.{named.name}"


def _foreign_names(root: Any, budget: int) -> set[str]:
    """Find all names in the tree that stand for no data."""
    found, nodes, seen = set(), [root], 0
    while nodes and seen <= 4 * budget:  # shared parts are met again and again, in a bomb for ever
        node, seen = nodes.pop(), seen + 1
        if isinstance(node, Named) and _plain_name(node) not in HARMLESS:
            found.add(str(node))
        nodes += _children(node)
    if nodes:
        raise UnusableRecording("the pickle repeats its parts without end")
    return found


def _children(node: Any) -> list[Any]:
    if isinstance(node, list | tuple):
        return list(node)
    if isinstance(node, Pairs):
        return [part for pair in node.items for part in pair]
    if isinstance(node, Call):
        if node.function == Named("collections", "defaultdict"):
            return [part for pair in node.pairs for part in pair]
        pairs = [part for pair in node.pairs for part in pair]
        return [node.function, node.arguments, node.state, *pairs, *node.elements]
    return []


def _describe(node: Any) -> str:
    function = node.function if isinstance(node, Call) else node
    return str(function) if isinstance(function, Named) else type(function).__name__


def _build_dictionary(items: list[tuple[Any, Any]], depth: int) -> dict[Any, Any]:
    try:
        return {_build(key, depth + 1): _build(value, depth + 1) for key, value in items}
    except TypeError:
        raise UnusableRecording("a key of a dictionary is no number, text or tuple") from None


def _build_mapping(node: Call, depth: int) -> dict[Any, Any]:
    given = node.arguments[0] if node.arguments else None
    first = given.items if isinstance(given, Pairs) else given if isinstance(given, list) else []
    return _build_dictionary([*map(tuple, first), *node.pairs], depth)


def _build_array(node: Call, depth: int) -> Any:
    """Build an array from the state that numpy's `__reduce__` writes.

    One of objects becomes a list of them, or the single object that `numpy.save` wraps in one.
    """
    try:
        _, shape, kind, fortran_order, raw = node.state
    except (TypeError, ValueError):
        raise UnusableRecording("an array has no content") from None
    if isinstance(raw, list):
        objects = _build(raw, depth + 1)
        return objects[0] if shape == () and len(objects) == 1 else objects
    return _array_of(raw, kind, shape, "F" if fortran_order else "C")


def _build_from_buffer(node: Call, _: int) -> NDArray[Any]:
    raw, kind, shape, order = node.arguments
    return _array_of(raw, kind, shape, order)


def _array_of(raw: Any, kind: Any, shape: Any, order: Any) -> NDArray[Any]:
    raw, dtype = _build(raw), _number_kind(kind)
    if isinstance(raw, str):
        raw = raw.encode("latin1")  # how Python 3 reads what Python 2 wrote
    if not isinstance(shape, tuple) or not all(type(n) is int and n >= 0 for n in shape):
        raise UnusableRecording("the shape of an array is no tuple of whole numbers")
    if not isinstance(raw, bytes | bytearray) or math.prod(shape) * dtype.itemsize != len(raw):
        raise UnusableRecording(f"an array's content does not have the size {shape}"[:200])
    return np.frombuffer(raw, dtype).reshape(shape, order="F" if order == "F" else "C")


def _build_scalar(node: Call, _: int) -> Any:
    kind, raw = node.arguments
    return _array_of(raw, kind, (), "C").item()


def _build_encoded(node: Call, _: int) -> bytes:
    """Take the bytes that protocols below 3 write as text."""
    text, encoding = node.arguments
    if encoding not in ("latin1", "latin-1"):
        raise UnusableRecording("bytes are written in an unknown way")
    return bytes(text.encode("latin1"))


def _number_kind(node: Any) -> np.dtype[Any]:
    """Read a kind of numbers: a call of numpy.dtype, whose state has the byte order."""
    text = node.arguments[0] if isinstance(node, Call) and node.arguments else None
    if not isinstance(text, str) or not NUMBER_KINDS.fullmatch(text):
        raise UnusableRecording("an array holds no numbers")
    order = node.state[1] if isinstance(node.state, tuple) and len(node.state) > 1 else "="
    return np.dtype((">" if order == ">" else "<") + text if text != "b1" else "?")


BUILDERS: dict[str, Callable[[Call, int], Any]] = {
    "numpy._core.multiarray._reconstruct": _build_array,
    "numpy._core.multiarray.scalar": _build_scalar,
    "numpy._core.numeric._frombuffer": _build_from_buffer,
    "collections.OrderedDict": _build_mapping,
    "collections.defaultdict": lambda node, depth: _build_dictionary(node.pairs, depth),
    "builtins.dict": _build_mapping,
    "_codecs.encode": _build_encoded,
}
HARMLESS = {*BUILDERS, "numpy.ndarray", "numpy.dtype"}
