"""The steps of all recordings of a discrete world, counted: what a search may plan on."""

from collections.abc import Iterable

import numpy as np
from numpy.typing import NDArray

from worlds.episodes import Episodes

NONE = -1  # what follows a step that ended its episode for good


def count_transitions(
    recordings: Iterable[Episodes],
) -> tuple[NDArray[np.float64], NDArray[np.int64]]:
    """Count steps.

    Args:
        recordings: observations int (sum of T_i + 1,), actions int (sum of T_i,).

    Returns:
        float64 (n, 5), a row for each distinct (state, action, next state): these three, the next
        one `NONE` if the step ended the episode for good; its mean reward; and how often it was
        recorded. And int64 (n_episodes, 2): the first state and length of each episode.
    """
    parts, starts = [], []
    for episodes in recordings:
        after = np.where(episodes.terminal, NONE, episodes.observations[episodes.before + 1])
        columns = (episodes.observations[episodes.before], episodes.actions, after)
        parts.append(np.column_stack([*columns, episodes.rewards]).astype(np.float64))
        firsts = episodes.observations[episodes.first_observations]
        starts.append(np.column_stack([firsts, episodes.lengths]).astype(np.int64))
    steps = np.concatenate(parts)
    rows, which = np.unique(steps[:, :3], axis=0, return_inverse=True)
    counts = np.bincount(which.ravel())
    rewards = np.bincount(which.ravel(), steps[:, 3]) / counts
    return np.column_stack([rows, rewards, counts]), np.concatenate(starts)
