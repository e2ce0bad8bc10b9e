"""Dynamic programming over a counted model, compiled: the passes of `empirical_model`.

Outcome o of pair q has first[q] <= o < first[q + 1]; it leads to state following[o], or to none
if that is S; shares[o] of the pair's records are of this kind, with mean reward rewards[o]. A
policy takes pair pairs[s] in state s; -1 where that was never recorded. `restart` (S,) is a
distribution over states in which its pair was.
"""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from library.compiled import compiled

Floats = NDArray[np.float64]
Integers = NDArray[np.int64]


@compiled
def look_ahead(
    first: Integers,
    following: Integers,
    shares: Floats,
    rewards: Floats,
    pairs: Integers,
    later: Floats,
    guess: float,
) -> Any:
    """Compute v_h from v_{h-1}, (S,) each; `guess` where nothing was recorded."""
    n_states = len(pairs)
    values = np.full(n_states, guess)
    for s in range(n_states):
        q, value = pairs[s], 0.0
        if q >= 0:
            for o in range(first[q], first[q + 1]):
                s_next = following[o]
                value += shares[o] * (rewards[o] + (later[s_next] if s_next < n_states else 0.0))
            values[s] = value
    return values


@compiled
def guess_values(
    first: Integers,
    following: Integers,
    shares: Floats,
    rewards: Floats,
    pairs: Integers,
    restart: Floats,
    horizon: int,
) -> Any:
    """Compute v_h of a state drawn by `restart`, for h = 0 to H: (H + 1,).

    Where nothing was recorded, the policy goes on as from another state drawn so.
    """
    guesses, values = np.zeros(horizon + 1), np.zeros(len(pairs))
    for h in range(1, horizon + 1):
        values = look_ahead(first, following, shares, rewards, pairs, values, 0.0)
        guesses[h] = restart @ values
        values[pairs < 0] = guesses[h]
    return guesses


@compiled
def go_backwards(
    first: Integers,
    following: Integers,
    shares: Floats,
    rewards: Floats,
    pairs: Integers,
    restart: Floats,
    guesses: Floats,
) -> Any:
    """Compute v_h for h = 0 to H; where nothing was recorded it is guesses[h].

    Returns:
        values float64 (H + 1, S); and (H + 1,), the variance of v_h over recorded states.
    """
    horizon = len(guesses) - 1
    values, spreads = np.zeros((horizon + 1, len(pairs))), np.zeros(horizon + 1)
    for h in range(1, horizon + 1):
        values[h] = look_ahead(first, following, shares, rewards, pairs, values[h - 1], guesses[h])
        spreads[h] = max(restart @ values[h] ** 2 - (restart @ values[h]) ** 2, 0.0)
    return values, spreads


@compiled
def go_forwards(
    first: Integers,
    following: Integers,
    shares: Floats,
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
        expected visits and what its derivatives might vary if little were known, (S * A,) each,
        before any unrecorded pair; the chance to meet an unrecorded pair first in each state,
        and the discounted visits, (S,) each; and the discounted terminations.
    """
    n_states, horizon = len(pairs), len(values) - 1
    gradients = np.zeros(len(shares))
    weights, doubts = np.zeros(len(first) - 1), np.zeros(len(first) - 1)
    occupancy, unseen, terminations, discount = np.zeros(n_states), np.zeros(n_states), 0.0, 1.0
    now, certain = starts.copy(), starts.copy()  # `certain`: met no unrecorded pair so far
    for h in range(horizon, 0, -1):
        lost = 0.0
        for s in range(n_states):
            if pairs[s] < 0:
                lost += now[s]
                unseen[s] += certain[s]
        new, new_certain = np.zeros(n_states), np.zeros(n_states)
        for s in range(n_states):
            q, mass = pairs[s], now[s] + lost * restart[s]
            if q < 0 or mass == 0:
                continue
            occupancy[s] += discount * mass
            weights[q] += certain[s]
            doubts[q] += certain[s] * np.sqrt(spreads[h - 1])
            for o in range(first[q], first[q + 1]):
                share, gradient, s_next = shares[o], rewards[o], following[o]
                if s_next < n_states:
                    gradient += values[h - 1, s_next]
                    new[s_next] += mass * share
                    new_certain[s_next] += certain[s] * share
                else:
                    terminations += discount * mass * share
                gradients[o] += certain[s] * gradient
        now, certain, discount = new, new_certain, discount * gamma
    return gradients, weights, doubts, unseen, occupancy, terminations
