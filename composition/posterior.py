"""Worlds that the counts leave possible, drawn at random: how far a policy may be off in them.

Of every pair of state and action in n states the chances of the outcomes are drawn,

    chances ~ Dirichlet(counts + TRUST * guess).

The guess is the shape of a well recorded pair, drawn at random: its shares, the largest first. They
are dealt out to what any action led to in the state, more likely to what this pair has led to more
often. So a pair that was recorded once is as random as others are known to be, and one that was
never recorded leads to where other actions of its state do, nobody knows with which chances.

A state may also lead to what was not recorded, if states that were recorded more often lead to
more. That is then the worst end of an episode that was recorded, as often as an outcome is an end,
and else the state itself.

What is not modelled: rewards but those of ends are the recorded ones, and so are the states in
which episodes begin.
"""

from collections import deque
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np

from composition.outcomes import Booleans, CountedSteps, Floats, Integers
from composition.pessimism import at_parts

TRUST = 10.0  # records that a guess is worth
DOUBT = 0.1  # of a record: how likely what a pair has not led to yet is dealt the next share
WELL_RECORDED = 10  # records of a pair whose shares tell a shape, or half of all pairs have fewer
N_UNSEEN = 2  # outcomes that a state may have beyond those recorded
MOST_WORLDS, FEWEST_WORLDS = 24, 8
MAX_WORK = 30_000_000  # chances, times worlds, times steps of an episode: half a second
MAX_CHANCES = 1_000_000  # of a world; more take too much memory
CHECKED = 10  # steps after which it is looked whether values still change
CONVERGED = 1e-7  # of a value; more steps would change nothing


@dataclass(frozen=True)
class Table:
    """The counts of n states in which anything was recorded; K columns, the most outcomes of one.

    Attributes:
        states: int64 (n,).
        following: int64 (n, K), the next state; S where none follows, and where there is no column.
        is_there: bool (n, K), the columns that a state has.
        counts: float64 (n, A, K).
        rewards: float64 (n, A, K); of what an action has not led to the mean of the others.
    """

    states: Integers
    following: Integers
    is_there: Booleans
    counts: Floats
    rewards: Floats

    @classmethod
    def of(cls, outcomes: CountedSteps) -> "Table":
        """Arrange counted steps."""
        pairs, n_states, n_actions = outcomes.pairs, outcomes.n_states, outcomes.n_actions
        keys = pairs // n_actions * (n_states + 1) + outcomes.following
        distinct, which = np.unique(keys, return_inverse=True)
        states, row, n_columns = np.unique(
            distinct // (n_states + 1), return_inverse=True, return_counts=True
        )
        column = np.arange(len(distinct)) - (np.cumsum(n_columns) - n_columns)[row]
        shape = (len(states), int(n_columns.max()))
        following = np.full(shape, n_states)
        following[row, column] = distinct % (n_states + 1)
        sums = np.zeros(shape)
        sums[row, column] = np.bincount(which, outcomes.counts * outcomes.rewards)
        totals = np.zeros(shape)
        totals[row, column] = np.bincount(which, outcomes.counts)
        rewards = np.repeat((sums / np.maximum(totals, 1))[:, None], n_actions, axis=1)
        counts = np.zeros_like(rewards)
        places = (row[which], pairs % n_actions, column[which])
        counts[places], rewards[places] = outcomes.counts, outcomes.rewards
        return cls(states, following, totals > 0, counts, rewards)

    @cached_property
    def recorded(self) -> Booleans:
        """Bool (n, A), the pairs with a record."""
        return np.asarray(self.counts.any(axis=2))


def is_too_large(outcomes: CountedSteps) -> bool:
    """Tell whether worlds of these counts are too large to be drawn."""
    states, n_outcomes = np.unique(outcomes.pairs // outcomes.n_actions, return_counts=True)
    return bool(len(states) * outcomes.n_actions * (n_outcomes.max() + N_UNSEEN) > MAX_CHANCES)


@dataclass(frozen=True)
class PossibleWorlds:
    """M worlds that the counts leave possible.

    Attributes:
        outcomes: what was counted; S states, A actions.
        table: the same, arranged; n states.
        horizon: the most steps of an episode.
        chances: float64 (n, A, K, M), of what was recorded.
        stays: float64 (n, A, M), the chance that nothing changes, beyond what was recorded.
        rewards: float64 (n, A, M), expected ones.
    """

    outcomes: CountedSteps
    table: Table
    horizon: int
    chances: Floats
    stays: Floats
    rewards: Floats

    @classmethod
    def draw(
        cls, outcomes: CountedSteps, horizon: int, rng: np.random.Generator
    ) -> "PossibleWorlds":
        """Draw worlds; fewer where they are large."""
        table = Table.of(outcomes)
        n_worlds = MAX_WORK // (table.counts.size * horizon)
        n_worlds = int(np.clip(n_worlds, FEWEST_WORLDS, MOST_WORLDS))
        chances, is_end = _draw(table, outcomes, n_worlds, rng)
        chances, unseen = np.split(chances, [table.counts.shape[2]], axis=2)
        rewards = np.einsum("nakm,nak->nam", chances, table.rewards)
        rewards += _doubt_ends(table, outcomes.n_states, chances, rng)
        ends = outcomes.following == outcomes.n_states
        worst = float(outcomes.rewards[ends].min(initial=0.0))
        rewards += worst * (unseen * is_end[:, None]).sum(axis=2)
        stays = (unseen * ~is_end[:, None]).sum(axis=2)
        return cls(outcomes, table, horizon, chances, stays, rewards)

    @cached_property
    def average(self) -> "PossibleWorlds":
        """The mean of all worlds, as a single one."""
        return replace(
            self,
            chances=self.chances.mean(axis=3, keepdims=True),
            stays=self.stays.mean(axis=2, keepdims=True),
            rewards=self.rewards.mean(axis=2, keepdims=True),
        )

    def value(self, choice: Integers) -> tuple[Floats, Floats]:
        """Compute what a policy earns in each world.

        Args:
            choice: int (S,), an action a state; where it was not recorded the worst is assumed.

        Returns:
            The expected return, float64 (M,); and the values of all states and, 0, of the end,
            float64 (S + 1, M).
        """
        each, picked = np.arange(len(self.table.states)), choice[self.table.states]
        chances, rewards = self.chances[each, picked], self.rewards[each, picked]
        stays, recorded = self.stays[each, picked], self.table.recorded[each, picked, None]

        def backup(values: Floats, worst: Floats) -> Floats:
            later = (chances * values[self.table.following]).sum(axis=1)
            new = rewards + later + stays * values[self.table.states]
            return np.where(recorded, new, worst)

        values = _last(self._iterate(backup))
        return self.outcomes.starts @ values[:-1], values

    def optimum(self, usable: Booleans) -> Floats:
        """Compute what the best policy of each world earns: float64 (M,).

        Args:
            usable: bool (n, A, M), the actions that it may take.
        """
        values = _last(self._iterate(lambda *now: self._best(usable, *now)))
        return np.asarray(self.outcomes.starts @ values[:-1])

    def plan(self, usable: Booleans) -> list[Integers]:
        """Plan on the average world: the choices for all, half and a quarter of the horizon.

        Args:
            usable: bool (n, A), the actions that may be taken.

        Returns:
            int64 (S,) each; 0 in states without a record.
        """
        world, plans = self.average, list[Integers]()
        steps = world._iterate(lambda *now: world._best(usable[..., np.newaxis], *now))
        for values in at_parts(steps, self.horizon):
            q_values = np.where(usable, world.q_values(values)[..., 0], -np.inf)
            plans.append(np.zeros(self.outcomes.n_states, dtype=np.int64))
            plans[-1][self.table.states] = q_values.argmax(axis=1)
        return plans

    def q_values(self, values: Floats) -> Floats:
        """Compute Q, float64 (n, A, M), from the values of all states and the end, (S + 1, M)."""
        later = np.einsum("nakm,nkm->nam", self.chances, values[self.table.following])
        return np.asarray(
            self.rewards + later + self.stays * values[self.table.states][:, np.newaxis]
        )

    def _best(self, usable: Booleans, values: Floats, worst: Floats) -> Floats:
        best = np.where(usable, self.q_values(values), -np.inf).max(axis=1)
        return np.where(np.isfinite(best), best, worst)

    def _iterate(self, backup: Callable[[Floats, Floats], Floats]) -> Iterator[Floats]:
        """Repeat a step of dynamic programming: values (S + 1, M) with 1, 2, ... steps left.

        Args:
            backup: makes values of the n states, (n, M), from values and the worst one, (M,).
        """
        lowest = min(0.0, float(self.outcomes.rewards.min(initial=0.0)))
        n_worlds = self.rewards.shape[2]
        values, worst = np.zeros((self.outcomes.n_states + 1, n_worlds)), np.full(n_worlds, lowest)
        for n_steps in range(1, self.horizon + 1):
            before, values = values, np.empty_like(values)
            values[:] = worst
            values[self.table.states], values[-1] = backup(before, worst), 0.0
            worst = np.minimum(lowest, values.min(axis=0))
            yield values
            if n_steps % CHECKED == 0 and np.abs(values - before).max() < CONVERGED:
                break


def _last(steps: Iterator[Floats]) -> Floats:
    return deque(steps, maxlen=1).pop()


def _draw(
    table: Table, outcomes: CountedSteps, n_worlds: int, rng: np.random.Generator
) -> tuple[Floats, Booleans]:
    """Draw chances, float64 (n, A, K + N_UNSEEN, M); and which unseen outcomes are ends, (n, ., M).

    A state has as many outcomes as one drawn from those that were recorded most.
    """
    n, n_actions, n_columns = table.counts.shape
    counts = np.pad(table.counts.reshape(n * n_actions, -1), ((0, 0), (0, N_UNSEEN)))
    shapes = np.pad(_shapes(table), ((0, 0), (0, N_UNSEEN)))
    n_seen, totals = table.is_there.sum(axis=1), table.counts.sum(axis=(1, 2))
    most = n_seen[totals >= np.median(totals)]
    is_end = (table.following == outcomes.n_states) & table.is_there
    ends = rng.random((n, N_UNSEEN, n_worlds)) < is_end.sum() / n_seen.sum()
    chances = np.empty((*counts.shape, n_worlds))
    for world in range(n_worlds):
        unseen = np.arange(N_UNSEEN) < (rng.choice(most, n) - n_seen)[:, np.newaxis]
        is_there = np.repeat(np.hstack([table.is_there, unseen]), n_actions, axis=0)
        guess = _deal(shapes[rng.integers(len(shapes), size=len(counts))], counts, is_there, rng)
        drawn = np.where(is_there, rng.standard_gamma(counts + TRUST * guess), 0.0)
        chances[..., world] = drawn / drawn.sum(axis=1, keepdims=True)
    return chances.reshape(n, n_actions, n_columns + N_UNSEEN, n_worlds), ends


def _doubt_ends(table: Table, n_states: int, chances: Floats, rng: np.random.Generator) -> Floats:
    """Draw by how much rewards are off since not all ends of episodes are alike: (n, A, M).

    Ends are counted as one outcome, whatever they pay. So with a pair's recorded ends goes another
    one, of the weight of about one record, that pays what any pair's ends pay.
    """
    is_end = (table.following == n_states) & table.is_there
    state, column = np.nonzero(is_end)
    counts, paid = table.counts[state, :, column], table.rewards[state, :, column]
    drawn = np.zeros(chances.shape[:2] + chances.shape[3:])
    if counts.any():
        shape = (*counts.shape, chances.shape[3])
        other = rng.choice(paid[counts > 0], shape) - paid[..., np.newaxis]
        weight = rng.exponential(size=shape)
        weight /= weight + np.maximum(counts, 1.0)[..., np.newaxis]
        drawn[state] = chances[state, :, column] * weight * other
    return drawn


def _shapes(table: Table) -> Floats:
    """Give the shares of well recorded pairs, the largest first: float64 (n_shapes, K)."""
    totals = table.counts.sum(axis=2)
    least = min(WELL_RECORDED, np.median(totals[table.recorded]))
    largest_first = -np.sort(-table.counts[totals >= least], axis=1)
    return np.asarray(largest_first / largest_first.sum(axis=1, keepdims=True))


def _deal(shapes: Floats, counts: Floats, is_there: Booleans, rng: np.random.Generator) -> Floats:
    """Deal a shape out to each pair's outcomes: float64 (n_pairs, n_columns), sums are 1.

    Args:
        shapes: (n_pairs, n_columns), the largest share first.
        counts: (n_pairs, n_columns), what was recorded more often comes rather first.
        is_there: bool (n_pairs, n_columns), who is dealt a share.
        rng: what is drawn from.
    """
    turns = np.where(is_there, rng.exponential(size=counts.shape) / (counts + DOUBT), np.inf)
    ranks = turns.argsort(axis=1).argsort(axis=1)
    dealt = np.where(is_there, np.take_along_axis(shapes, ranks, axis=1), 0.0)
    return np.asarray(dealt / dealt.sum(axis=1, keepdims=True))
