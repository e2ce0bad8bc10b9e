"""Counted steps of a world with discrete observations, and how they are kept."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
Integers = NDArray[np.int64]
Booleans = NDArray[np.bool_]


@dataclass(frozen=True)
class CountedSteps:
    """Counted steps of a world with S states and A actions; pair q is state q // A, action q % A.

    Attributes:
        n_actions: A.
        first: int64 (S * A + 1,), the outcomes of pair q are first[q] to first[q + 1] - 1.
        following: int64 (n_outcomes,), the next state; S where none follows.
        counts: int64 (n_outcomes,), how often it was recorded.
        rewards: float64 (n_outcomes,), mean reward.
        starts: float64 (S,), shares of the states in the first ones of episodes.
    """

    n_actions: int
    first: Integers
    following: Integers
    counts: Integers
    rewards: Floats
    starts: Floats

    @property
    def n_states(self) -> int:
        """Count the states: S."""
        return (len(self.first) - 1) // self.n_actions

    @property
    def pairs(self) -> Integers:
        """int64 (n_outcomes,), the pair of each outcome."""
        return np.repeat(np.arange(len(self.first) - 1), np.diff(self.first))


def count_steps(
    before: Integers,
    actions: Integers,
    after: Integers,
    rewards: Floats,
    firsts: Integers,
    sizes: tuple[int, int],
) -> CountedSteps:
    """Count steps.

    Args:
        before: int64 (T,), the state in which each step begins.
        actions: int64 (T,).
        after: int64 (T,), the state that follows; S where the step ended the episode for good.
        rewards: float64 (T,).
        firsts: int64 (n_episodes,), the states that episodes begin in.
        sizes: (S, A).
    """
    numbers = np.column_stack([before, actions, np.where(after == sizes[0], -1, after)])
    rows, which = np.unique(numbers, axis=0, return_inverse=True)
    counts = np.bincount(which.ravel(), minlength=len(rows)).astype(np.float64)
    means = np.bincount(which.ravel(), rewards, len(rows)) / counts
    return count_weighted(rows, means, counts, firsts, sizes)


def count_weighted(
    numbers: Integers, rewards: Floats, counts: Floats, firsts: Integers, sizes: tuple[int, int]
) -> CountedSteps:
    """Arrange steps that are counted already.

    Args:
        numbers: int64 (n, 3), distinct: state, action, and next state or -1.
        rewards: float64 (n,), their mean rewards.
        counts: float64 (n,), how often each was recorded; those with 0 are left out.
        firsts: int64 (n_episodes,), the states that episodes begin in.
        sizes: (S, A).
    """
    n_states, n_actions = sizes
    pairs = numbers[:, 0] * n_actions + numbers[:, 1]
    order = np.argsort(pairs, kind="stable")
    order = order[counts[order] > 0]
    return CountedSteps(
        n_actions=n_actions,
        first=np.searchsorted(pairs[order], np.arange(n_states * n_actions + 1)).astype(np.int64),
        following=np.where(numbers[order, 2] < 0, n_states, numbers[order, 2]),
        counts=counts[order].astype(np.int64),
        rewards=rewards[order],
        starts=np.bincount(firsts, minlength=n_states) / max(1, len(firsts)),
    )
