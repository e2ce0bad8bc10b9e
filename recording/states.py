"""How the states of an environment are numbered: what the rows of a Q-table mean."""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import singledispatch
from typing import Any

import numpy as np

from library.errors import UnusableRecording
from recording.environments import Env

MAX_STATES = 5_000_000  # a table of them with ten actions has 400 MB
DIRECTIONS = 4  # that a MiniGrid agent can look in


@dataclass(frozen=True)
class States:
    """The states of an environment in their order.

    A state is one whole number or a tuple of them; they are counted as the digits of a number are,
    the last the fastest.

    Attributes:
        sizes: how many values each number of a state has.
        starts: the least value of each.
        observe: reads a state's numbers from an observation.
        encode: numbers a tuple in the environment's own way, where it has one.
    """

    sizes: tuple[int, ...]
    starts: tuple[int, ...]
    observe: Callable[[Any], Sequence[int]]
    encode: Callable[..., int] | None = None

    @property
    def n_states(self) -> int:
        """How many there are."""
        return math.prod(self.sizes)

    def index(self, state: Sequence[int]) -> int | None:
        """Number a state, 0 to n_states - 1; None when the environment does not have it."""
        if len(state) == len(self.sizes):
            return self._count(state)
        if len(state) == 1 and 0 <= state[0] < self.n_states:
            return int(state[0])
        if self.encode is not None:
            return self._encode(state)
        return None

    def _count(self, state: Sequence[int]) -> int | None:
        digits = [value - start for value, start in zip(state, self.starts, strict=True)]
        if not all(0 <= digit < size for digit, size in zip(digits, self.sizes, strict=True)):
            return None
        return int(np.ravel_multi_index(digits, self.sizes))

    def _encode(self, state: Sequence[int]) -> int | None:
        assert self.encode is not None
        try:
            number = int(self.encode(*state))
        except (TypeError, ValueError, IndexError):
            return None
        return number if 0 <= number < self.n_states else None

    def __str__(self) -> str:
        """Say what states there are."""
        ranges = [
            f"{start} to {start + size - 1}"
            for start, size in zip(self.starts, self.sizes, strict=True)
        ]
        return ranges[0] if len(ranges) == 1 else "(" + ", ".join(ranges) + ")"


def states_of(env: Env) -> States:
    """Number the states of an environment.

    Raises:
        UnusableRecording: its observations are no whole numbers, or too many.
    """
    world = env.unwrapped
    try:
        sizes, starts, observe = _read(env.observation_space)
    except UnusableRecording:
        if hasattr(world, "agent_pos") and hasattr(world, "agent_dir"):
            return _states_of_minigrid(world)
        raise
    states = States(sizes, starts, observe, _encoder(world))
    if states.n_states > MAX_STATES:
        raise UnusableRecording(f"it has more than {MAX_STATES} states")
    return states


def _states_of_minigrid(world: Any) -> States:
    """Number the agent's places in a MiniGrid: column, row and direction.

    Its observations are what the agent sees; a table's rows are where it stands and looks.
    """
    return States(
        (world.width, world.height, DIRECTIONS),
        (0, 0, 0),
        lambda _: (*(int(place) for place in world.agent_pos), int(world.agent_dir)),
    )


def _encoder(world: Any) -> Callable[..., int] | None:
    """Find how an environment numbers tuples itself: Taxi's `encode`, a grid's rows and columns."""
    encode: Callable[..., int] | None = getattr(world, "encode", None)
    if callable(encode):
        return encode
    shape = getattr(world, "shape", None) or (getattr(world, "nrow", 0), getattr(world, "ncol", 0))
    if isinstance(shape, tuple) and len(shape) == 2 and all(shape):
        return lambda row, column: int(np.ravel_multi_index((row, column), shape))
    return None


Numbered = tuple[tuple[int, ...], tuple[int, ...], Callable[[Any], Sequence[int]]]


def _read(space: Any) -> Numbered:
    return _dispatch()(space)


def _dispatch() -> Callable[[Any], Numbered]:
    """Make the reader of spaces, one function a kind; Gymnasium is imported only here."""
    from gymnasium import spaces

    @singledispatch
    def read(space: Any) -> Numbered:
        raise UnusableRecording(
            f"its observations are of kind {type(space).__name__}, not whole numbers: "
            "how the table's author numbered them is not in the file"
        )

    @read.register
    def _(space: spaces.Discrete) -> Numbered:
        return (int(space.n),), (int(space.start),), lambda x: (int(x),)

    @read.register
    def _(space: spaces.MultiDiscrete) -> Numbered:
        sizes = tuple(int(n) for n in space.nvec.ravel())
        starts = tuple(int(n) for n in np.ravel(space.start))
        return sizes, starts, lambda x: [int(n) for n in np.ravel(x)]

    @read.register
    def _(space: spaces.MultiBinary) -> Numbered:
        n = math.prod(space.shape)
        return (2,) * n, (0,) * n, lambda x: [int(value) for value in np.ravel(x)]

    @read.register(spaces.Tuple)
    def _(space: Any) -> Numbered:
        return _join([read(part) for part in space.spaces], lambda x: x)

    @read.register
    def _(space: spaces.Dict) -> Numbered:
        parts = [read(part) for part in space.spaces.values()]
        return _join(parts, lambda x: [x[key] for key in space.spaces])

    return read


def _join(parts: list[Numbered], split: Callable[[Any], Any]) -> Numbered:
    """Number states of several parts: the numbers of all, one after the other."""

    def observe(observation: Any) -> list[int]:
        values = split(observation)
        return [n for (_, _, look), x in zip(parts, values, strict=True) for n in look(x)]

    sizes = tuple(size for part in parts for size in part[0])
    starts = tuple(start for part in parts for start in part[1])
    return sizes, starts, observe
