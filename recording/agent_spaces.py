"""Observation and action spaces, as Stable-Baselines3 writes them into its files as text."""

from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from library.errors import UnusableRecording

MAX_NUMBERS = 100_000  # of an observation; vector observations have up to a few thousand


@dataclass(frozen=True)
class AgentSpace:
    """A space of observations or actions.

    Attributes:
        kind: "Box", "Discrete", "MultiDiscrete" or "MultiBinary".
        shape: of one observation or action; () for Discrete.
        sizes: int64, how many values each number can have, for Discrete and MultiDiscrete.
        low: float32 of `shape`, for Box; None where the text leaves numbers out.
        high: likewise.
        dtype: the kind of numbers.
    """

    kind: str
    shape: tuple[int, ...]
    sizes: NDArray[np.int64] = field(default_factory=lambda: np.zeros(0, np.int64))
    low: NDArray[np.float32] | None = None
    high: NDArray[np.float32] | None = None
    dtype: str = "float32"


def read_space(text: Any, what: str) -> AgentSpace:
    """Read a space from its entry in `data`.

    Args:
        text: the entry, parsed from JSON.
        what: "observation" or "action", for errors.

    Raises:
        UnusableRecording: it is missing, or of a kind that no vector policy has.
    """
    name = str(text.get(":type:", "")) if isinstance(text, dict) else ""
    kind = name.removesuffix("'>").rsplit(".", 1)[-1]
    if kind not in READERS:
        known = ", ".join(READERS)
        raise UnusableRecording(f"{what}s of kind {kind[:40] or 'unknown'} are none of {known}")
    try:
        return READERS[kind](text)
    except (KeyError, TypeError, ValueError, OverflowError) as error:
        raise UnusableRecording(f"its {what} space can't be read ({error})"[:200]) from None


def _read_box(text: dict[str, Any]) -> AgentSpace:
    shape = _shape_of(text)
    return AgentSpace(
        "Box",
        shape,
        low=_numbers_of(text, "low", shape),
        high=_numbers_of(text, "high", shape),
        dtype=str(text.get("dtype", "float32")),
    )


def _read_discrete(text: dict[str, Any]) -> AgentSpace:
    return AgentSpace("Discrete", (), _sizes_of([int(text["n"])]))


def _read_multi_discrete(text: dict[str, Any]) -> AgentSpace:
    sizes = _sizes_of([int(part) for part in str(text["nvec"]).strip("[] ").split()])
    return AgentSpace("MultiDiscrete", (len(sizes),), sizes)


def _read_multi_binary(text: dict[str, Any]) -> AgentSpace:
    return AgentSpace("MultiBinary", _shape_of(text))


def _shape_of(text: dict[str, Any]) -> tuple[int, ...]:
    shape = text.get("_shape", text.get("shape"))
    if not isinstance(shape, list) or not all(type(n) is int and n > 0 for n in shape):
        raise ValueError(f"its shape is {shape!r}")
    if np.prod(shape, dtype=float) > MAX_NUMBERS:
        raise ValueError(f"it has more than {MAX_NUMBERS} numbers")
    return tuple(shape)


def _sizes_of(sizes: list[int]) -> NDArray[np.int64]:
    if not sizes or min(sizes) < 1 or sum(sizes) > MAX_NUMBERS:
        raise ValueError(f"its sizes are {sizes}")
    return np.array(sizes, np.int64)


def _numbers_of(text: dict[str, Any], name: str, shape: tuple[int, ...]) -> Any:
    """Read an array that numpy printed; of long ones it prints the ends only."""
    for printed in (
        text.get(f"{name}_repr"),
        text[name],
    ):  # the first is "-1.0" where all are equal
        numbers = str(printed).replace("[", " ").replace("]", " ").split()
        if "..." in numbers or printed is None or len(numbers) not in (1, np.prod(shape)):
            continue
        values = np.array([float(number) for number in numbers], np.float32)
        return values.reshape(shape) if len(values) > 1 else np.full(shape, values[0])
    return None


READERS = {
    "Box": _read_box,
    "Discrete": _read_discrete,
    "MultiDiscrete": _read_multi_discrete,
    "MultiBinary": _read_multi_binary,
}
