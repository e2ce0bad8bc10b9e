"""What the sources' tables tell of actions that no recording shows.

The tables are of policies that were trained, and what they think of an action is worth something:
how much, what was recorded tells. Of two recorded actions of a state the one that the tables
prefer by x is the better one with chance 1 / (1 + exp(-slope * x)); the slope is fitted.
"""

from itertools import combinations

import numpy as np
from numpy.typing import NDArray

from composition.outcomes import Booleans, Floats
from composition.posterior import PossibleWorlds

EXPECTED_SLOPE = 1.5  # of trained tables; weighs as much as a comparison or two
N_STEPS = 20  # of Newton's method
LARGEST = 30.0  # exponent


def preferences(q_tables: NDArray[np.floating]) -> Floats:
    """Average tables, each in units of its spread within states: float64 (S, A).

    Args:
        q_tables: (n, S, A), finite or -inf; what is -inf tells nothing.
    """
    usable = np.isfinite(q_tables)
    counts = np.maximum(usable.sum(axis=2, keepdims=True), 1)
    values = np.where(usable, q_tables, 0.0)
    centred = np.where(usable, values - values.sum(axis=2, keepdims=True) / counts, 0.0)
    spreads = np.sqrt((centred**2).mean(axis=(1, 2), keepdims=True))
    return np.asarray((centred / np.maximum(spreads, 1e-300)).mean(axis=0))


def fit_slope(preferred: Floats, q_values: Floats, recorded: Booleans) -> float:
    """Fit how well preferences tell the better of two actions; 0 if they tell nothing.

    Args:
        preferred: (n, A), of `preferences`.
        q_values: (n, A, M), in possible worlds.
        recorded: bool (n, A).
    """
    differences, shares = [np.zeros(0)], [np.zeros(0)]
    for one, other in combinations(range(recorded.shape[1]), 2):
        both = recorded[:, one] & recorded[:, other]
        differences.append((preferred[:, one] - preferred[:, other])[both])
        shares.append((q_values[both, one] > q_values[both, other]).mean(axis=1))
    x, share = np.concatenate(differences), np.concatenate(shares)
    slope = EXPECTED_SLOPE
    for _ in range(N_STEPS):
        chance = _logistic(slope * x)
        gradient = float((share - chance) @ x) + EXPECTED_SLOPE - slope
        step = gradient / (1.0 + float((chance * (1 - chance)) @ x**2))
        slope += min(1.0, max(-1.0, step))  # where the curve is flat Newton's would be too far
    return max(0.0, slope)


def worth_trying(
    worlds: PossibleWorlds,
    choice: NDArray[np.integer],
    values: Floats,
    q_tables: NDArray[np.floating],
    rng: np.random.Generator,
) -> Booleans:
    """Draw the actions that may be better than those of a policy: bool (n, A, M).

    These are all that were recorded. One that was not is as likely to be among them as the tables
    do not speak against it.

    Args:
        worlds: with n states of S.
        choice: int (S,), what the policy does.
        values: (S + 1, M), what it earns from each state.
        q_tables: (n_sources, S, A).
        rng: what is drawn from.
    """
    recorded, states = worlds.table.recorded, worlds.table.states
    preferred = preferences(q_tables)[states]
    slope = fit_slope(preferred, worlds.q_values(values), recorded)
    own = np.take_along_axis(preferred, choice[states][:, np.newaxis], axis=1)
    chance = 2 * _logistic(slope * (preferred - own))
    drawn = rng.random((*recorded.shape, values.shape[1]))
    return np.asarray(recorded[..., np.newaxis] | (drawn < chance[..., np.newaxis]))


def _logistic(x: Floats) -> Floats:
    return np.asarray(1 / (1 + np.exp(-np.clip(x, -LARGEST, LARGEST))))
