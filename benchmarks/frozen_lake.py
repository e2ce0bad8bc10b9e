"""FrozenLake 8x8, slippery: trainings, recordings and exact values, for benchmarks."""

from dataclasses import dataclass
from functools import cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

from composition.outcomes import CountedSteps, count_steps
from library.compiled import compiled

N_STATES, N_ACTIONS, HORIZON = 64, 4, 200
LEARNING_RATE, DISCOUNT, EPSILON_LAST = 0.1, 0.99, 0.1
Floats = NDArray[np.float64]
Integers = NDArray[np.int64]


@dataclass(frozen=True)
class Steps:
    """Recorded steps, and the episode of each: int64 (T,) each, rewards float64 (T,)."""

    before: Integers
    actions: Integers
    after: Integers
    rewards: Floats
    episode: Integers

    def count(self, chosen: NDArray[np.bool_] | None = None) -> CountedSteps:
        """Count the steps of all or of chosen episodes, which all begin in state 0."""
        rows = slice(None) if chosen is None else chosen[self.episode]
        return count_steps(
            self.before[rows],
            self.actions[rows],
            self.after[rows],
            self.rewards[rows],
            firsts=np.zeros(1, dtype=np.int64),
            sizes=(N_STATES, N_ACTIONS),
        )


@cache
def transitions() -> tuple[Floats, NDArray[np.bool_]]:
    """Read Gymnasium's own table: P float64 (64, 4, 64), and which states end an episode."""
    import gymnasium

    environment: Any = gymnasium.make("FrozenLake-v1", map_name="8x8", is_slippery=True).unwrapped
    probabilities, ends = np.zeros((N_STATES, N_ACTIONS, N_STATES)), np.zeros(N_STATES, dtype=bool)
    for state, actions in environment.P.items():
        for action, outcomes in actions.items():
            for probability, after, _, terminated in outcomes:
                probabilities[state, action, after] += probability
                ends[after] |= terminated
    return probabilities, ends


def exact_value(choice: Integers | None = None) -> float:
    """Compute the chance to arrive within 200 steps: the largest, or that of a policy (64,)."""
    probabilities, ends = transitions()
    values = np.zeros(N_STATES)
    for _ in range(HORIZON):
        later = np.where(ends, 0.0, values)
        later[-1] = 1.0
        q_values = probabilities @ later
        picked = q_values[np.arange(N_STATES), choice] if choice is not None else None
        values = q_values.max(axis=1) if picked is None else picked
    return float(values[0])


def train(n_episodes: int, n_snapshots: int, seed: int) -> Floats:
    """Train by Q-learning and keep evenly spaced tables: float64 (n_snapshots, 64, 4)."""
    probabilities, ends = transitions()
    saved = np.linspace(0, n_episodes, n_snapshots + 1)[1:].astype(np.int64)
    cumulative = probabilities.cumsum(axis=2)
    tables: Floats = _train(cumulative, ends, n_episodes, saved, np.random.default_rng(seed))
    return tables


def record(q_table: Floats, n_episodes: int, rng: np.random.Generator) -> Steps:
    """Roll out the greedy policy of a table."""
    probabilities, ends = transitions()
    choice = q_table.argmax(axis=1)
    return Steps(*_record(probabilities.cumsum(axis=2), ends, choice, n_episodes, rng))


def join(recordings: list[Steps]) -> Steps:
    """Join recordings, with numbers of their own for all episodes."""
    firsts = np.cumsum([0, *(int(r.episode[-1]) + 1 for r in recordings[:-1])])
    numbers = [r.episode + first for r, first in zip(recordings, firsts, strict=True)]
    return Steps(
        before=np.concatenate([r.before for r in recordings]),
        actions=np.concatenate([r.actions for r in recordings]),
        after=np.concatenate([r.after for r in recordings]),
        rewards=np.concatenate([r.rewards for r in recordings]),
        episode=np.concatenate(numbers),
    )


@compiled
def _next(cumulative, state, action, rng):  # type: ignore[no-untyped-def]
    return min(np.searchsorted(cumulative[state, action], rng.random(), side="right"), 63)


@compiled
def _train(cumulative, ends, n_episodes, saved, rng):  # type: ignore[no-untyped-def]
    q_table = np.zeros((64, 4))
    kept = np.zeros((len(saved), 64, 4))
    for episode in range(n_episodes):
        epsilon = 1.0 + (EPSILON_LAST - 1.0) * episode / n_episodes
        state = 0
        for _ in range(HORIZON):
            if rng.random() < epsilon:
                action = int(rng.random() * 4)
            else:
                best = np.flatnonzero(q_table[state] == q_table[state].max())
                action = best[int(rng.random() * len(best))]
            after = _next(cumulative, state, action, rng)
            reward = 1.0 if after == 63 else 0.0
            later = 0.0 if ends[after] else q_table[after].max()
            error = reward + DISCOUNT * later - q_table[state, action]
            q_table[state, action] += LEARNING_RATE * error
            state = after
            if ends[after]:
                break
        for slot in range(len(saved)):
            if saved[slot] == episode + 1:
                kept[slot] = q_table
    return kept


@compiled
def _record(cumulative, ends, choice, n_episodes, rng):  # type: ignore[no-untyped-def]
    size = n_episodes * HORIZON
    before, actions = np.zeros(size, np.int64), np.zeros(size, np.int64)
    after = np.zeros(size, np.int64)
    episode, rewards = np.zeros(size, np.int64), np.zeros(size)
    t = 0
    for number in range(n_episodes):
        state = 0
        for _ in range(HORIZON):
            reached = _next(cumulative, state, choice[state], rng)
            before[t], actions[t], episode[t] = state, choice[state], number
            after[t] = 64 if ends[reached] else reached
            rewards[t] = 1.0 if reached == 63 else 0.0
            t += 1
            state = reached
            if ends[reached]:
                break
    return before[:t], actions[:t], after[:t], rewards[:t], episode[:t]
