"""Worlds with discrete observations and discrete actions: states and actions are numbers.

phi of a step (s, a, s') from `state_action_features`: one column a state, one an action, and one
for a step that ended the episode. So psi, its expected discounted sum, says how often each state
is visited and each action taken. Worlds of more than 1,024 states share columns: each state is
one of 1,024 with a sign (feature hashing, Weinberger et al. 2009, arXiv 0902.2206).
"""

import numpy as np
from numpy.typing import NDArray

from library.errors import UnusableRecording
from worlds.episodes import Episodes

Features = NDArray[np.float32]
Integers = NDArray[np.int64]
MAX_STATES = 2**31  # numbers that a state may have
MAX_COLUMNS = 1024  # of states in phi
HASH_SEED = 7


def check_recording(episodes: Episodes, n_states: int, n_actions: int) -> None:
    """Check that a recording is one of this world.

    Raises:
        UnusableRecording: observations or actions are not whole numbers below `n_states` and
            `n_actions`.
    """
    _check_numbers("observations", episodes.observations, n_states)
    _check_numbers("actions", episodes.actions, n_actions)


def feature_names(n_states: int, n_actions: int) -> list[str]:
    """Name the columns of phi: state_0 ... action_0 ... terminated."""
    states = range(min(n_states, MAX_COLUMNS))
    actions = range(n_actions)
    return [*(f"state_{s}" for s in states), *(f"action_{a}" for a in actions), "terminated"]


def state_action_features(
    states: Integers, actions: Integers, terminal: NDArray[np.floating], sizes: tuple[int, int]
) -> Features:
    """Describe steps.

    Args:
        states: int64 (T,), in which each step begins.
        actions: int64 (T,), taken there; -1: unknown, no column.
        terminal: (T,), 1 where the step ended the episode for good, or the chance of that.
        sizes: (n_states, n_actions).

    Returns:
        float32 (T, d), columns as in `feature_names`.
    """
    n_states, n_actions = sizes
    n_columns = min(n_states, MAX_COLUMNS)
    columns, signs = state_columns(n_states)
    rows = np.arange(len(states))
    phi = np.zeros((len(states), n_columns + n_actions + 1), np.float32)
    phi[rows, columns[states]] = signs[states]
    known = actions >= 0
    phi[rows[known], n_columns + actions[known]] = 1
    phi[:, -1] = terminal
    return phi


def episode_features(episodes: Episodes, n_states: int, n_actions: int) -> Features:
    """Describe all steps of a recording: float32 (sum of T_i, d), columns as in `feature_names`."""
    before = episodes.observations[episodes.before].astype(np.int64)
    actions = episodes.actions.astype(np.int64)
    sizes = (n_states, n_actions)
    return state_action_features(before, actions, episodes.terminal.astype(np.float32), sizes)


def state_columns(n_states: int) -> tuple[Integers, Features]:
    """Give each state a column and a sign, (n_states,) each: its own, unless there are too many."""
    if n_states <= MAX_COLUMNS:
        return np.arange(n_states), np.ones(n_states, np.float32)
    generator = np.random.default_rng(HASH_SEED)
    columns = generator.integers(MAX_COLUMNS, size=n_states)
    return columns, generator.choice(np.array([-1, 1], np.float32), size=n_states)


def _check_numbers(name: str, numbers: NDArray[np.integer], limit: int) -> None:
    if numbers.ndim != 1 or numbers.dtype.kind not in "iu":
        raise UnusableRecording(
            f"{name} are {numbers.dtype} {numbers.shape}, must be whole numbers (n,)"
        )
    low, high = int(numbers.min()), int(numbers.max())
    if not 0 <= low <= high < limit:
        raise UnusableRecording(f"{name} are {low} to {high}, must be 0 to {limit - 1}")
