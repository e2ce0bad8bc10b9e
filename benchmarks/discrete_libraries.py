"""Libraries of discrete worlds: Q-learning on transition tables, judged exactly.

Gymnasium's toy-text environments carry their transition table. Q-learning (Watkins & Dayan 1992)
and roll-outs on it are compiled, and dynamic programming gives each policy's true value.
"""

from dataclasses import dataclass
from functools import partial
from typing import Any

import gymnasium
import numpy as np
from numpy.typing import NDArray

from benchmarks.world_libraries import MAX_RECORDED, N_DRAWS, Floats, Integers, Library
from library.compiled import compiled
from worlds.episodes import Episodes

LEARNING_RATE, DISCOUNT, EXPLORATION = 0.1, 0.99, 0.2


@dataclass(frozen=True)
class Transitions:
    """A toy-text environment's table: K outcomes of each of S states and A actions.

    Attributes:
        probability: float64 (S, A, K), 0 where there are fewer outcomes.
        following: int64 (S, A, K), the next state.
        reward: float64 (S, A, K).
        terminal: bool (S, A, K).
        starts: float64 (S,), the probability of each start state.
    """

    probability: Floats
    following: Integers
    reward: Floats
    terminal: NDArray[np.bool_]
    starts: Floats

    @property
    def arrays(self) -> tuple[Floats, Integers, Floats, NDArray[np.bool_], Floats]:
        """The fields in order."""
        return self.probability, self.following, self.reward, self.terminal, self.starts


def read_transitions(environment: gymnasium.Env[Any, Any]) -> Transitions:
    """Read the table `P` and the start distribution of a toy-text environment."""
    table, starts = environment.unwrapped.P, environment.unwrapped.initial_state_distrib  # type: ignore[attr-defined]
    width = max(len(outcomes) for actions in table.values() for outcomes in actions.values())
    arrays = np.zeros((4, len(table), len(table[0]), width))
    for state, actions in table.items():
        for action, outcomes in actions.items():
            arrays[:, state, action, : len(outcomes)] = np.array(outcomes, float).T
    probability, following, reward, terminal = arrays
    return Transitions(
        probability, following.astype(np.int64), reward, terminal.astype(bool), np.array(starts)
    )


def train_discrete(
    environment: str,
    kwargs: dict[str, Any],
    horizon: int,
    n_runs: int,
    snapshots: tuple[int, ...],
) -> Library:
    """Train `n_runs` Q-learners and keep a policy after each number of episodes in `snapshots`."""
    transitions = read_transitions(gymnasium.make(environment, **kwargs))
    tables = np.concatenate(
        [
            learn(*transitions.arrays, np.array(snapshots), horizon, np.random.default_rng(run))
            for run in range(n_runs)
        ]
    )
    record = partial(record_discrete, transitions, horizon)
    seeds = np.random.SeedSequence(2).generate_state(len(tables))
    return Library(
        environment,
        horizon,
        np.repeat(np.arange(n_runs), len(snapshots)),
        np.array([exact_value(transitions, table, horizon) for table in tables]),
        [record(table, seed) for table, seed in zip(tables, seeds, strict=True)],
        tables=tables,
        n_actions=tables.shape[2],
    )


@compiled
def draw(probabilities: Floats, rng: np.random.Generator) -> int:
    """Draw an index."""
    level = rng.random()
    for index, probability in enumerate(probabilities):
        level -= probability
        if level < 0:
            return index
    return int(np.argmax(probabilities))


@compiled
def learn(
    probability: Floats,
    following: Integers,
    reward: Floats,
    terminal: NDArray[np.bool_],
    starts: Floats,
    snapshots: Integers,
    horizon: int,
    rng: np.random.Generator,
) -> Floats:
    """Q-learning; returns the tables (len(snapshots), S, A) after these numbers of episodes."""
    n_states, n_actions, _ = probability.shape
    table = rng.random((n_states, n_actions)) * 1e-3  # ties are broken at random
    kept = np.zeros((len(snapshots), n_states, n_actions))
    saved = 0
    for episode in range(snapshots[-1] + 1):
        while saved < len(snapshots) and snapshots[saved] == episode:
            kept[saved] = table
            saved += 1
        state = draw(starts, rng)
        for _ in range(horizon):
            greedy = rng.random() >= EXPLORATION
            action = np.argmax(table[state]) if greedy else int(rng.random() * n_actions)
            outcome = draw(probability[state, action], rng)
            after = following[state, action, outcome]
            ended = terminal[state, action, outcome]
            target = reward[state, action, outcome]
            if not ended:
                target += DISCOUNT * table[after].max()
            table[state, action] += LEARNING_RATE * (target - table[state, action])
            state = after
            if ended:
                break
    return kept


@compiled
def walk(
    probability: Floats,
    following: Integers,
    reward: Floats,
    terminal: NDArray[np.bool_],
    starts: Floats,
    actions: Integers,
    horizon: int,
    n_episodes: int,
    rng: np.random.Generator,
) -> tuple[Any, ...]:
    """Act greedily; returns the arrays of `Episodes`."""
    seen = np.zeros(n_episodes * (horizon + 1), np.int64)
    taken = np.zeros(n_episodes * horizon, np.int64)
    earned = np.zeros(n_episodes * horizon)
    lengths = np.zeros(n_episodes, np.int64)
    terminated = np.zeros(n_episodes, np.bool_)
    n_seen, n_taken = 0, 0
    for episode in range(n_episodes):
        state = draw(starts, rng)
        seen[n_seen] = state
        n_seen += 1
        for _ in range(horizon):
            action = actions[state]
            outcome = draw(probability[state, action], rng)
            taken[n_taken] = action
            earned[n_taken] = reward[state, action, outcome]
            n_taken += 1
            lengths[episode] += 1
            terminated[episode] = terminal[state, action, outcome]
            state = following[state, action, outcome]
            seen[n_seen] = state
            n_seen += 1
            if terminated[episode]:
                break
    return seen[:n_seen], taken[:n_taken], earned[:n_taken], lengths, terminated


def record_discrete(transitions: Transitions, horizon: int, table: Floats, seed: int) -> Episodes:
    """Record the draws of a greedy policy."""
    actions = table.argmax(axis=1)
    seen, taken, earned, lengths, terminated = walk(
        *transitions.arrays, actions, horizon, N_DRAWS * MAX_RECORDED, np.random.default_rng(seed)
    )
    return Episodes(seen, taken, earned, lengths, terminated, ~terminated)


def exact_value(transitions: Transitions, table: Floats, horizon: int) -> float:
    """Compute the expected return of a greedy policy by dynamic programming."""
    at = (np.arange(len(table)), table.argmax(axis=1))
    probability, following = transitions.probability[at], transitions.following[at]
    reward, going_on = transitions.reward[at], ~transitions.terminal[at]
    value = np.zeros(len(table))
    for _ in range(horizon):
        value = (probability * (reward + going_on * value[following])).sum(axis=1)
    return float(transitions.starts @ value)
