"""Planning on counts as if every pair of state and action might be worse than it was recorded.

All policies of a world act on the same transitions, so the steps of all recordings, counted
together, say what an action leads to. Among the actions that are allowed, those are best by

    Q_h(s, a) = sum over outcomes of share * (reward + V_{h-1}(s')),    V_h(s) = max_a Q_h(s, a),

over as many steps h as an episode may have. What was recorded a few times only looks better than
it is to a plan that takes the best of many. So every pair is given `PRIOR` more records, which
lead to the worst: the lowest reward or the lowest value of any state. Where nothing allowed was
recorded at all the worst is assumed too (in the spirit of MOReL, arXiv 2005.05951).

The best action depends on the steps left, which a table does not know. So of the tables Q_h for
the whole horizon, half and a quarter of it the one is taken that earns most over the whole.
"""

from collections.abc import Iterable, Iterator
from itertools import islice
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

from composition.outcomes import Booleans, CountedSteps, Floats

PRIOR = 0.5  # records; between 0.5 and 2 nothing changes much, without any rare pairs mislead
T = TypeVar("T")
CONVERGED = 1e-12  # more steps would change nothing


def plan_on_counts(outcomes: CountedSteps, allowed: Booleans, horizon: int) -> Floats:
    """Compute Q: float64 (S, A), -inf where an action is not allowed or was not recorded.

    Args:
        outcomes: of the world.
        allowed: bool (S, A).
        horizon: >= 1.
    """
    backup = _Backup(outcomes, PRIOR)
    plans = at_parts(_improve(backup, allowed & backup.recorded), horizon)
    return max(plans, key=lambda q: _evaluate(backup, outcomes, q.argmax(axis=1), horizon))


def at_parts(steps: Iterable[T], horizon: int) -> list[T]:
    """Take what dynamic programming has after all, half and a quarter of the horizon.

    Args:
        steps: what it has after 1, 2, ... steps; if they end before, nothing changes any more.
        horizon: >= 1.
    """
    parts = [-(-horizon // share) for share in (1, 2, 4)]
    found = dict[int, T]()
    for n_steps, last in enumerate(islice(steps, horizon), 1):
        found |= {part: last for part in parts if part >= n_steps}
    return [found[part] for part in parts]


def _improve(backup: "_Backup", usable: Booleans) -> Iterator[Floats]:
    """Give Q, float64 (S, A), with 1, 2, ... steps left."""
    can_act = usable.any(axis=1)
    values, worst = np.zeros(len(usable)), backup.lowest_reward
    while True:
        q_values = np.where(usable, backup(values, worst), -np.inf)
        yield q_values
        values = np.where(can_act, q_values.max(axis=1), worst)
        worst = min(backup.lowest_reward, float(values.min()))


def evaluate_on_counts(outcomes: CountedSteps, choice: NDArray[np.integer], horizon: int) -> float:
    """Compute the expected return of a policy over the horizon, from the recorded starts.

    Args:
        outcomes: of the world.
        choice: int (S,), an action a state.
        horizon: >= 1.
    """
    return _evaluate(_Backup(outcomes), outcomes, choice, horizon)


def q_values_of(outcomes: CountedSteps, choice: NDArray[np.integer], horizon: int) -> Floats:
    """Compute Q of a policy by the counts: float64 (S, A), -inf where nothing was recorded."""
    backup = _Backup(outcomes)
    q_values = backup(*_values(backup, choice, horizon))
    return np.where(backup.recorded, q_values, -np.inf)


def _evaluate(
    backup: "_Backup", outcomes: CountedSteps, choice: NDArray[np.integer], horizon: int
) -> float:
    return float(outcomes.starts @ _values(backup, choice, horizon)[0])


def _values(backup: "_Backup", choice: NDArray[np.integer], horizon: int) -> tuple[Floats, float]:
    """Compute the values of a policy, float64 (S,), and the worst that may be."""
    each = np.arange(len(choice))
    recorded = backup.recorded[each, choice]
    values, worst = np.zeros(len(choice)), backup.lowest_reward
    for _ in range(horizon):
        before, values = values, np.where(recorded, backup(values, worst)[each, choice], worst)
        worst = min(backup.lowest_reward, float(values.min()))
        if np.abs(values - before).max() < CONVERGED:
            break
    return values, worst


class _Backup:
    """One step of dynamic programming for all pairs at once."""

    def __init__(self, outcomes: CountedSteps, prior: float = 0.0) -> None:
        """Prepare.

        Args:
            outcomes: of the world.
            prior: how many records more every pair is given, which lead to the worst.
        """
        n_pairs, self._owner = len(outcomes.first) - 1, outcomes.pairs
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
