"""Planning on counts, in worlds with discrete observations whose rules are not known.

All policies of a world act on the same transitions, so the steps of all recordings, counted
together, say what an action leads to. Among the actions that the sources take, those are best by

    Q_h(s, a) = sum over outcomes of share * (reward + V_{h-1}(s')),    V_h(s) = max_a Q_h(s, a),

over as many steps h as an episode may have. What was recorded a few times only looks better than
it is to a plan that takes the best of many. So every pair is given `PRIOR` more records, which
lead to the worst: the lowest reward or the lowest value of any state. Where nothing allowed was
recorded at all the worst is assumed too (in the spirit of MOReL, arXiv 2005.05951).

The best action depends on the steps left, which a table does not know. So of the tables Q_h for
the whole horizon, half and a quarter of it the one is taken that earns most over the whole.

A plan fits the chances of its own counts. So another is made on each half of the recordings and
tested on the other half: that is what a plan like this can promise.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from composition.planning import greedy_actions, tried_actions
from composition.sources import CannotCompose

Floats = NDArray[np.float64]
Integers = NDArray[np.int64]
Booleans = NDArray[np.bool_]
PRIOR = 0.5  # records; between 0.5 and 2 nothing changes much, without any rare pairs mislead
CONVERGED = 1e-12  # more steps would change nothing
N_SINGLES = 20  # of the sources, the best ones first, among which the best single one is looked for
SUPPORTS: dict[str, Callable[[NDArray[np.floating]], Booleans]] = {
    "tried": tried_actions,
    "policies": greedy_actions,
}


class Outcomes(Protocol):
    """Counted steps of a world with S states and A actions; pair q is state q // A, action q % A.

    Attributes:
        n_actions: A.
        first: int64 (S * A + 1,), the outcomes of pair q are first[q] to first[q + 1] - 1.
        following: int64 (n_outcomes,), the next state; S where none follows.
        counts: int64 (n_outcomes,), how often it was recorded.
        rewards: float64 (n_outcomes,), mean reward.
        starts: float64 (S,), shares of the states in the first ones of episodes.
    """

    @property
    def n_actions(self) -> int: ...  # noqa: D102
    @property
    def first(self) -> Integers: ...  # noqa: D102
    @property
    def following(self) -> Integers: ...  # noqa: D102
    @property
    def counts(self) -> Integers: ...  # noqa: D102
    @property
    def rewards(self) -> Floats: ...  # noqa: D102
    @property
    def starts(self) -> Floats: ...  # noqa: D102


@dataclass(frozen=True)
class CountPlan:
    """A policy planned on counts.

    Attributes:
        q_table: float32 (S, A); what is not allowed lies below all that is.
        predicted_reward: expected return of its greedy policy, by the counts it was planned on.
        tested_reward: of plans made on one half of the recordings, by the counts of the other.
        single: position of the source with the highest expected return by all counts.
        single_reward: that return.
    """

    q_table: NDArray[np.float32]
    predicted_reward: float
    tested_reward: float
    single: int
    single_reward: float


def compose_on_counts(
    outcomes: Outcomes,
    halves: tuple[Outcomes, Outcomes],
    q_tables: NDArray[np.floating],
    horizon: int,
    support: str = "policies",
) -> CountPlan:
    """Make one policy of several for the same objective.

    Args:
        outcomes: all recorded steps; S states.
        halves: the steps of one half of the episodes, and of the other; the same S states.
        q_tables: (n, S, A) of the sources, a row a state; the best ones first.
        horizon: the most steps of an episode.
        support: a key of `SUPPORTS`.

    Raises:
        CannotCompose: a table can't be used, or the recordings are too few: what a plan made on
            half of them earns on the other half is less than the best source earns there.
    """
    _check_tables(outcomes, q_tables)
    allowed = SUPPORTS[support](q_tables)
    ours, theirs = np.mean(
        [_test(own, other, q_tables, allowed, horizon) for own, other in (halves, halves[::-1])],
        axis=0,
    )
    if ours < theirs:
        raise CannotCompose(
            f"the recordings are too few: planned on half of them a policy earns {ours:.4g} on the "
            f"other half, the best single one {theirs:.4g}; record more episodes"
        )
    q_values = plan_on_counts(outcomes, allowed, horizon)
    best = _evaluate_singles(outcomes, q_tables, horizon)
    return CountPlan(
        q_table=_to_table(q_values),
        predicted_reward=evaluate_on_counts(outcomes, q_values.argmax(axis=1), horizon),
        tested_reward=float(ours),
        single=int(np.argmax(best)),
        single_reward=max(best),
    )


def _test(
    own: Outcomes,
    other: Outcomes,
    q_tables: NDArray[np.floating],
    allowed: Booleans,
    horizon: int,
) -> tuple[float, float]:
    """Choose by one half; tell what a plan, and the best single source, earn by the other."""
    planned = plan_on_counts(own, allowed, horizon)
    single = q_tables[int(np.argmax(_evaluate_singles(own, q_tables, horizon)))]
    ours, theirs = (
        evaluate_on_counts(other, table.argmax(axis=1), horizon) for table in (planned, single)
    )
    return ours, theirs


def _evaluate_singles(
    outcomes: Outcomes, q_tables: NDArray[np.floating], horizon: int
) -> list[float]:
    """Compute the expected returns of the first sources."""
    greedy = q_tables[:N_SINGLES].argmax(axis=2)
    return [evaluate_on_counts(outcomes, choice, horizon) for choice in greedy]


def plan_on_counts(outcomes: Outcomes, allowed: Booleans, horizon: int) -> Floats:
    """Compute Q: float64 (S, A), -inf where an action is not allowed or was not recorded.

    Args:
        outcomes: of the world.
        allowed: bool (S, A).
        horizon: >= 1.
    """
    backup = _Backup(outcomes, PRIOR)
    usable = allowed & backup.recorded
    can_act = usable.any(axis=1)
    values, worst, plans = np.zeros(len(usable)), backup.lowest_reward, list[Floats]()
    for h in range(1, horizon + 1):
        q_values = np.where(usable, backup(values, worst), -np.inf)
        values = np.where(can_act, q_values.max(axis=1), worst)
        worst = min(backup.lowest_reward, float(values.min()))
        if h in (-(-horizon // 4), -(-horizon // 2), horizon):
            plans.append(q_values)
    return max(plans[::-1], key=lambda q: _evaluate(backup, outcomes, q.argmax(axis=1), horizon))


def evaluate_on_counts(outcomes: Outcomes, choice: NDArray[np.integer], horizon: int) -> float:
    """Compute the expected return of a policy over the horizon, from the recorded starts.

    Args:
        outcomes: of the world.
        choice: int (S,), an action a state.
        horizon: >= 1.
    """
    return _evaluate(_Backup(outcomes), outcomes, choice, horizon)


def _evaluate(
    backup: "_Backup", outcomes: Outcomes, choice: NDArray[np.integer], horizon: int
) -> float:
    each = np.arange(len(choice))
    recorded = backup.recorded[each, choice]
    values, worst = np.zeros(len(choice)), backup.lowest_reward
    for _ in range(horizon):
        before, values = values, np.where(recorded, backup(values, worst)[each, choice], worst)
        worst = min(backup.lowest_reward, float(values.min()))
        if np.abs(values - before).max() < CONVERGED:
            break
    return float(outcomes.starts @ values)


class _Backup:
    """One step of dynamic programming for all pairs at once."""

    def __init__(self, outcomes: Outcomes, prior: float = 0.0) -> None:
        """Prepare.

        Args:
            outcomes: of the world.
            prior: how many records more every pair is given, which lead to the worst.
        """
        n_pairs = len(outcomes.first) - 1
        self._owner = np.repeat(np.arange(n_pairs), np.diff(outcomes.first))
        totals = np.bincount(self._owner, outcomes.counts, n_pairs)
        self._share = outcomes.counts / totals[self._owner]
        self._outcomes = outcomes
        self._rewards = np.bincount(self._owner, self._share * outcomes.rewards, n_pairs)
        totals = totals.reshape(-1, outcomes.n_actions)
        self.recorded = totals > 0
        self._trust = totals / np.maximum(totals + prior, 1e-12)
        self.lowest_reward = min(0.0, float(outcomes.rewards.min(initial=0.0)))

    def __call__(self, values: Floats, worst: float) -> Floats:
        """Give Q of all pairs, float64 (S, A), from the values of the states after, (S,)."""
        later = np.append(values, 0.0)[self._outcomes.following]
        n_pairs = len(self._rewards)
        q_values = self._rewards + np.bincount(self._owner, self._share * later, n_pairs)
        trust = self._trust
        return np.asarray(trust * q_values.reshape(trust.shape) + (1 - trust) * worst)


@dataclass(frozen=True)
class CountedSteps:
    """`Outcomes` of steps that are at hand as arrays."""

    n_actions: int
    first: Integers
    following: Integers
    counts: Integers
    rewards: Floats
    starts: Floats


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


def _check_tables(outcomes: Outcomes, q_tables: NDArray[np.floating]) -> None:
    wanted = ((len(outcomes.first) - 1) // outcomes.n_actions, outcomes.n_actions)
    if q_tables.shape[1:] != wanted:
        raise CannotCompose(f"the Q-tables are {q_tables.shape[1:]}, must be {wanted}")
    if not (np.isfinite(q_tables) | np.isneginf(q_tables)).all():
        raise CannotCompose("a Q-table has NaN or infinity; record it anew")


def _to_table(q_values: Floats) -> NDArray[np.float32]:
    """Round Q-values to float32 with the same greedy actions, and what is not allowed below."""
    usable = np.isfinite(q_values)
    lowest = q_values[usable].min() if usable.any() else 0.0
    table = np.where(usable, q_values, lowest - 1.0).astype(np.float32)
    each, choice = np.arange(len(table)), q_values.argmax(axis=1)
    chosen = table[each, choice]
    table = np.minimum(table, np.nextafter(chosen, np.float32(-np.inf))[:, None])
    table[each, choice] = chosen
    return np.asarray(table)
