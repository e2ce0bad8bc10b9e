"""A recording as arrays: one or more episodes of one policy in a Gymnasium environment."""

from dataclasses import dataclass, fields
from typing import Any

import numpy as np
from numpy.typing import NDArray

from library.errors import UnusableRecording


@dataclass(frozen=True)
class Episodes:
    """k recorded episodes of one policy, one after the other, checked on construction.

    Episode i has T_i steps and T_i + 1 observations: the last one is where it ended.

    Attributes:
        observations: (sum of T_i + 1, ...), numbers without NaN or infinity.
        actions: (sum of T_i, ...), numbers without NaN or infinity.
        rewards: (sum of T_i,), finite.
        lengths: integers (k,), T_i >= 1, k >= 1.
        terminated: bool (k,), the episode came to an end of its own.
        truncated: bool (k,), it was cut off, for instance by a time limit.

    Raises:
        UnusableRecording: a field breaks these rules.
    """

    observations: NDArray[Any]
    actions: NDArray[Any]
    rewards: NDArray[Any]
    lengths: NDArray[Any]
    terminated: NDArray[np.bool_]
    truncated: NDArray[np.bool_]

    def __post_init__(self) -> None:
        """Enforce what the class docstring says."""
        for field in fields(self):
            _check_numbers(field.name, getattr(self, field.name))
        lengths = self.lengths
        _check(
            lengths.ndim == 1 and lengths.dtype.kind in "iu" and len(lengths) > 0,
            f"lengths are {lengths.dtype} {lengths.shape}, must be integers (k,)",
        )
        _check(bool((lengths >= 1).all()), "an episode has no step")
        n_steps = sum(lengths.tolist())  # Python's integers do not overflow
        _check_rows("observations", self.observations, n_steps + len(lengths))
        _check_rows("actions", self.actions, n_steps)
        _check_shape("rewards", self.rewards, (n_steps,))
        for name in ("terminated", "truncated"):
            flags = getattr(self, name)
            _check(flags.dtype == np.bool_, f"{name} are {flags.dtype}, must be bool")
            _check_shape(name, flags, lengths.shape)

    @property
    def n_episodes(self) -> int:
        """k, the number of episodes."""
        return len(self.lengths)

    @property
    def returns(self) -> NDArray[np.float64]:
        """float64 (k,), the undiscounted sum of each episode's rewards."""
        firsts = np.cumsum(self.lengths) - self.lengths
        return np.add.reduceat(self.rewards.astype(np.float64), firsts)

    @property
    def first_observations(self) -> NDArray[np.int64]:
        """int64 (k,), the row of `observations` in which each episode starts."""
        firsts: NDArray[np.int64] = np.cumsum(self.lengths + 1) - self.lengths - 1
        return firsts

    @property
    def before(self) -> NDArray[np.int64]:
        """int64 (sum of T_i,), the row of `observations` in which each step begins.

        It ends in the next row.
        """
        n_steps = int(self.lengths.sum())
        return np.arange(n_steps) + np.repeat(np.arange(self.n_episodes), self.lengths)

    @property
    def times(self) -> NDArray[np.int64]:
        """int64 (sum of T_i,), the steps taken in the episode before each step."""
        firsts = np.cumsum(self.lengths) - self.lengths
        times: NDArray[np.int64] = np.arange(len(self.rewards)) - np.repeat(firsts, self.lengths)
        return times

    @property
    def terminal(self) -> NDArray[np.bool_]:
        """Bool (sum of T_i,), the step after which an episode was terminated."""
        ends = np.zeros(int(self.lengths.sum()), np.bool_)
        ends[np.cumsum(self.lengths) - 1] = self.terminated
        return ends

    def take(self, episodes: NDArray[np.integer]) -> "Episodes":
        """Keep some of the episodes, by number, in the given order."""
        steps = _ranges(np.cumsum(self.lengths) - self.lengths, self.lengths, episodes)
        seen = _ranges(self.first_observations, self.lengths + 1, episodes)
        return Episodes(
            self.observations[seen],
            self.actions[steps],
            self.rewards[steps],
            *(each[episodes] for each in (self.lengths, self.terminated, self.truncated)),
        )


def _ranges(
    firsts: NDArray[np.integer], sizes: NDArray[np.integer], chosen: NDArray[np.integer]
) -> NDArray[np.int64]:
    """Concatenate the ranges firsts[i] ... firsts[i] + sizes[i] - 1 of the chosen i."""
    return np.concatenate([firsts[i] + np.arange(sizes[i]) for i in chosen]).astype(np.int64)


def _check_numbers(name: str, array: NDArray[Any]) -> None:
    _check(array.dtype.kind in "biuf", f"{name} are {array.dtype}, must be numbers")
    _check(array.ndim >= 1, f"{name} are a single number, must be an array")
    _check(bool(np.isfinite(array).all()), f"{name} have NaN or infinity")


def _check_rows(name: str, array: NDArray[Any], n_rows: int) -> None:
    _check(len(array) == n_rows, f"{name} have {len(array)} rows, must have {n_rows}")


def _check_shape(name: str, array: NDArray[Any], shape: tuple[int, ...]) -> None:
    _check(array.shape == shape, f"{name} have shape {array.shape}, must be {shape}")


def _check(rule: bool, complaint: str) -> None:
    if not rule:
        raise UnusableRecording(complaint)
