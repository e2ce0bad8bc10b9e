"""Dynamic programming over a counted model, compiled: the two passes of `empirical_model`.

Outcome o of pair q has first[q] <= o < first[q + 1]; it leads to state following[o], or to none
if that is S; counts[o] of the pair's records are of this kind, with mean reward rewards[o]. A
policy takes pair pairs[s] in state s; where that is -1, it goes on as from a state drawn by
`restart` (S,).
"""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from library.compiled import compiled

Floats = NDArray[np.float64]
Integers = NDArray[np.int64]


@compiled
def go_backwards(
    first: Integers,
    following: Integers,
    counts: Floats,
    rewards: Floats,
    reward_variances: Floats,
    pairs: Integers,
    restart: Floats,
    horizon: int,
) -> Any:
    """Compute v_h for h = 0 to H.

    Returns:
        values float64 (H + 1, S); expected squared returns over H steps, (S,); and (H + 1,), the
        variance of v_h over recorded states.
    """
    n_states = len(pairs)
    values, spreads = np.zeros((horizon + 1, n_states)), np.zeros(horizon + 1)
    squares, new_squares = np.zeros(n_states), np.zeros(n_states)
    for h in range(1, horizon + 1):
        guess, guessed_square, guessed_spread = 0.0, 0.0, 0.0
        for s in range(n_states):
            q, value, square = pairs[s], 0.0, 0.0
            if q < 0:
                continue
            total = counts[first[q] : first[q + 1]].sum()
            for o in range(first[q], first[q + 1]):
                share, reward, s_next = counts[o] / total, rewards[o], following[o]
                value += share * reward
                square += share * (reward**2 + reward_variances[q])
                if s_next < n_states:
                    later = values[h - 1, s_next]
                    value += share * later
                    square += share * (2 * reward * later + squares[s_next])
            values[h, s], new_squares[s] = value, square
            guess += restart[s] * value
            guessed_square += restart[s] * square
            guessed_spread += restart[s] * value**2
        spreads[h] = max(guessed_spread - guess**2, 0.0)
        for s in range(n_states):
            if pairs[s] < 0:
                values[h, s], new_squares[s] = guess, guessed_square
        squares[:] = new_squares
    return values, squares, spreads


@compiled
def go_forwards(
    first: Integers,
    following: Integers,
    counts: Floats,
    rewards: Floats,
    pairs: Integers,
    restart: Floats,
    starts: Floats,
    values: Floats,
    spreads: Floats,
    gamma: float,
) -> Any:
    """Follow the distribution over states from the starts.

    Returns:
        Of each outcome the derivative of the value by its probability, (O,); of each pair the
        expected visits and what its derivatives might vary if little were known, (S * A,) each;
        the discounted visits (S,), the chance of meeting an unrecorded pair, and the discounted
        terminations.
    """
    n_states, horizon = len(pairs), len(values) - 1
    gradients = np.zeros(len(counts))
    weights, doubts = np.zeros(len(first) - 1), np.zeros(len(first) - 1)
    occupancy, terminations, unseen, discount = np.zeros(n_states), 0.0, 0.0, 1.0
    now, certain = starts.copy(), starts.copy()  # `certain`: met no unrecorded pair so far
    for h in range(horizon, 0, -1):
        lost = 0.0
        for s in range(n_states):
            if pairs[s] < 0:
                lost += now[s]
                unseen += certain[s]
        new, new_certain = np.zeros(n_states), np.zeros(n_states)
        for s in range(n_states):
            q, mass = pairs[s], now[s] + lost * restart[s]
            if q < 0 or mass == 0:
                continue
            occupancy[s] += discount * mass
            weights[q] += mass
            doubts[q] += mass * np.sqrt(spreads[h - 1])
            total = counts[first[q] : first[q + 1]].sum()
            for o in range(first[q], first[q + 1]):
                share, gradient, s_next = counts[o] / total, rewards[o], following[o]
                if s_next < n_states:
                    gradient += values[h - 1, s_next]
                    new[s_next] += mass * share
                    new_certain[s_next] += certain[s] * share
                else:
                    terminations += discount * mass * share
                gradients[o] += mass * gradient
        now, certain, discount = new, new_certain, discount * gamma
    return gradients, weights, doubts, occupancy, unseen, terminations
