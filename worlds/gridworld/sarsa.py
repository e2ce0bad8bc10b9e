"""SARSA on GridWorld, compiled: 20,000 episodes take about 20 ms.

The compiled step repeats the rules of `GridWorld.step`; a test holds the two together.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from library.compiled import compiled
from worlds.gridworld.environment import BLOCK_REWARD, EXIT_REWARD, MAX_STEPS, MOVES, SIZE
from worlds.gridworld.rules import AGENT, BLOCK, EMPTY, EXIT, GOLD, Grid

LEARNING_RATE = 0.1
DISCOUNT = 0.99
EPSILON_FIRST = 1.0
EPSILON_LAST = 0.0
N_STATES = SIZE * SIZE
N_ACTIONS = len(MOVES)
WEIGHTS = {"gold": (1.0, 0.0), "path": (0.0, 1.0), "combined": (1.0, 1.0)}  # of gold, of distance


@dataclass(frozen=True)
class SavedEpisode:
    """One training episode as it happened, with the Q-table after it.

    Attributes:
        episode: its number in the training, from 0.
        reward: the undiscounted sum of its rewards.
        states: int8 (T+1, 16, 16), the grids that the agent saw.
        actions: int8 (T,).
        q_table: float32 (256, 5), row = 16 * row + column.
    """

    episode: int
    reward: float
    states: Grid
    actions: NDArray[np.int8]
    q_table: NDArray[np.float32]


@compiled
def compiled_step(grid, row, column, action, gold_weight, path_weight):  # type: ignore[no-untyped-def]
    """Move the agent once, taking gold from `grid` (which does not show the agent).

    Returns:
        (row, column, reward, terminated) after the step.
    """
    new_row, new_column = row + MOVES[action, 0], column + MOVES[action, 1]
    if new_row >= SIZE or new_column >= SIZE:
        return row, column, 0.0, False
    content = grid[new_row, new_column]
    if content == BLOCK:
        return new_row, new_column, BLOCK_REWARD, False
    if content == EXIT:
        return new_row, new_column, EXIT_REWARD, True
    reward = path_weight * (new_row - row + new_column - column)
    if content == GOLD:
        grid[new_row, new_column] = EMPTY
        reward += gold_weight
    return new_row, new_column, reward, False


@compiled
def _choose(q_table, row, column, epsilon, rng):  # type: ignore[no-untyped-def]
    if rng.random() < epsilon:
        return int(rng.random() * N_ACTIONS)
    return np.argmax(q_table[row * SIZE + column])


@compiled
def _run_episode(layout, q_table, epsilon, gold_weight, path_weight, rng, actions):  # type: ignore[no-untyped-def]
    """Run and learn from one episode; fills `actions` and returns (reward, n_steps).

    SARSA: Q(s, a) += alpha * (r + gamma * Q(s', a') - Q(s, a)), with no successor at the exit.
    The step limit is no end of the world: the last step before it still bootstraps.
    """
    grid = layout.copy()
    row, column, total = 0, 0, 0.0
    action = _choose(q_table, row, column, epsilon, rng)
    for t in range(MAX_STEPS):
        actions[t] = action
        before = row * SIZE + column
        row, column, reward, terminated = compiled_step(
            grid, row, column, action, gold_weight, path_weight
        )
        total += reward
        next_action = _choose(q_table, row, column, epsilon, rng)
        successor = 0.0 if terminated else q_table[row * SIZE + column, next_action]
        error = reward + DISCOUNT * successor - q_table[before, action]
        q_table[before, action] += LEARNING_RATE * error
        action = next_action
        if terminated:
            return total, t + 1
    return total, MAX_STEPS


@compiled
def _train(layout, n_episodes, saved, gold_weight, path_weight, rng):  # type: ignore[no-untyped-def]
    """Train for `n_episodes` and keep those numbered in `saved` (increasing)."""
    q_table = np.zeros((N_STATES, N_ACTIONS))
    actions = np.zeros((len(saved), MAX_STEPS), np.int8)
    scratch = np.zeros(MAX_STEPS, np.int8)
    rewards, n_steps = np.zeros(len(saved)), np.zeros(len(saved), np.int64)
    q_tables = np.zeros((len(saved), N_STATES, N_ACTIONS), np.float32)
    slot = 0
    for episode in range(n_episodes):
        progress = episode / max(1, n_episodes - 1)
        epsilon = EPSILON_FIRST + (EPSILON_LAST - EPSILON_FIRST) * progress
        reward, length = _run_episode(
            layout, q_table, epsilon, gold_weight, path_weight, rng, scratch
        )
        while slot < len(saved) and saved[slot] == episode:
            rewards[slot], n_steps[slot] = reward, length
            actions[slot], q_tables[slot] = scratch, q_table
            slot += 1
    return rewards, n_steps, actions, q_tables


def replay(layout: Grid, actions: NDArray[np.int8]) -> Grid:
    """Show the grids that an agent sees which takes `actions`: int8 (T+1, 16, 16)."""
    grid, row, column = layout.copy(), 0, 0
    states = np.empty((len(actions) + 1, SIZE, SIZE), np.int8)
    states[0] = grid
    states[0, row, column] = AGENT
    for t, action in enumerate(actions):
        row, column, _, _ = compiled_step(grid, row, column, action, 0.0, 0.0)
        states[t + 1] = grid
        states[t + 1, row, column] = AGENT
    return states


def train(
    layout: Grid, target: str, n_episodes: int, n_saved: int, seed: int
) -> list[SavedEpisode]:
    """Train one policy with SARSA and save some of its episodes.

    Args:
        layout: int8 (16, 16), a grid without the agent (`draw_layout`).
        target: a key of `WEIGHTS`.
        n_episodes: episodes of training, over which epsilon falls linearly from 1 to 0.
        n_saved: how many of them to save, evenly spaced, the last and (of several) the first
            among them.
        seed: fixes every random choice.

    Returns:
        The saved episodes in the order of training.
    """
    saved = np.linspace(n_episodes - 1, 0, n_saved).round().astype(np.int64)[::-1].copy()
    rng = np.random.default_rng([seed, list(WEIGHTS).index(target)])
    columns = _train(layout, n_episodes, saved, *WEIGHTS[target], rng)
    return [
        SavedEpisode(int(episode), float(reward), replay(layout, taken[:length]), taken[:length], q)
        for episode, reward, length, taken, q in zip(saved, *columns, strict=True)
    ]
