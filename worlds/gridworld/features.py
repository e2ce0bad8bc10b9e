"""phi: what a grid state, and the step that led to it, look like in numbers.

Successor features (Barreto et al. 2017, arXiv 1606.05312) describe transitions, phi(s, a, s'): the
events compare a grid with the one before it. All features come from the grids alone, never from
rewards or the target, and are defined for every grid that shows an agent. H and W are the height
and width of the grid; rows and columns count from the top left.

=======================  =======  =============================================================
feature                  range    meaning
=======================  =======  =============================================================
agent_row, _column       0 to 1   the agent's row / H, column / W
nearest_gold_rows, _cols -1 to 1  rows / H, columns / W to the nearest gold; 0 without any
nearest_gold_distance    0 to 1   its Euclidean distance / diagonal; 1 without any
gold_left                0 to 1   gold cells / all cells
exit_rows, exit_cols     -1 to 1  rows / H, columns / W to the exit
exit_distance            0 to 1   Euclidean distance to it / diagonal
wall_up, down, left,     0, 1     a block or the edge of the grid is next to the agent
    right
gold_distance_01 to _50  0 to 1   Manhattan distances / (H + W) of the nearest gold cells,
                                  sorted; 1 where there are fewer
the events               any      what happened in the step, see `events.py`
rows_moved, columns_.._  -1 to 1  rows / H, columns / W from where the episode began
elapsed                  0 and up steps since the first grid / (H + W)
=======================  =======  =============================================================

The first 13 + 50 are the published system's features, with two changes: `gold_left` is a share, so
that it means the same on every grid, and a distance that is missing is 1, the farthest, not 0, the
nearest. The exit is where the first grid shows it, and the bottom right cell if it does not.
`elapsed` is there because episodes have a step limit: what can still happen depends on the time
left (Pardo et al. 2018, arXiv 1712.00378).

There is no indicator of the start on purpose. Its sum is 1 for every policy, as is that of
`on_exit` for all that arrive, and a regression could not tell which of the two is worth 100.
"""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from worlds.gridworld.events import episode_events
from worlds.gridworld.names import EVENT_NAMES, FEATURE_NAMES, N_GOLD_DISTANCES
from worlds.gridworld.rules import AGENT, BLOCK, EXIT, GOLD

N_FEATURES = len(FEATURE_NAMES)
N_STATE_FEATURES = N_FEATURES - len(EVENT_NAMES) - 3
CHUNK = 4096  # states at a time: bounds the memory for the distances to every cell

States = NDArray[np.int8]
Features = NDArray[np.float32]
Integers = NDArray[np.intp]


def state_features(states: States) -> Features:
    """Describe the states of one episode.

    Args:
        states: int8 (T+1, H, W), its successive grids; T = 0 is a single grid.

    Returns:
        float32 (T+1, d), columns as in `FEATURE_NAMES`.

    Raises:
        ValueError: `states` is not a stack of grids, or a grid shows no agent.
    """
    return episode_features([states])[0]


def episode_features(episodes: Sequence[States]) -> list[Features]:
    """Describe the states of many episodes at once: `state_features` of each, but faster.

    Args:
        episodes: of each an int8 (T+1, H, W); T may differ, H and W may not.

    Returns:
        One float32 (T+1, d) an episode.

    Raises:
        ValueError: an entry is not a stack of grids, sizes differ, or a grid shows no agent.
    """
    for states in episodes:
        if states.ndim != 3 or states.shape[0] == 0:
            raise ValueError(f"states must have shape (T+1, H, W), not {states.shape}")
    lengths = np.array([len(states) for states in episodes])
    grids = np.concatenate(episodes)
    agent = _find_agents(grids)
    phi = np.empty((len(grids), N_FEATURES), np.float32)
    exits = np.repeat(_find_exits(np.stack([states[0] for states in episodes])), lengths, axis=0)
    _, height, width = grids.shape
    for start in range(0, len(grids), CHUNK):
        part = slice(start, start + CHUNK)
        phi[part, 2:6] = _nearest_gold(grids[part], agent[part])
        phi[part, 13:N_STATE_FEATURES] = _gold_distances(grids[part], agent[part])
    phi[:, :2] = agent / (height, width)
    phi[:, 6:9] = _vector(exits - agent, height, width)
    phi[:, 9:13] = _walls(grids, agent)
    ends = np.cumsum(lengths)
    for start, end in zip(ends - lengths, ends, strict=True):
        own = slice(start, end)
        phi[own, N_STATE_FEATURES:-3] = episode_events(grids[own], agent[own], exits[start])
        phi[own, -3:-1] = (agent[own] - agent[start]) / (height, width)
        phi[own, -1] = np.arange(end - start) / (height + width)
    return np.split(phi, ends[:-1])


def _find_agents(grids: States) -> Integers:
    """Find the agent's (row, column) in each of (n, H, W) grids."""
    flat = (grids == AGENT).reshape(len(grids), -1)
    cells = flat.argmax(axis=1)
    if not flat[np.arange(len(grids)), cells].all():
        raise ValueError(f"a state shows no agent (value {AGENT})")
    return np.stack(np.divmod(cells, grids.shape[2]), axis=1)


def _find_exits(grids: States) -> Integers:
    """Find the exit's (row, column) in each of (n, H, W) grids; the bottom right cell if unseen."""
    flat = (grids == EXIT).reshape(len(grids), -1)
    cells = np.where(flat.any(axis=1), flat.argmax(axis=1), flat.shape[1] - 1)
    return np.stack(np.divmod(cells, grids.shape[2]), axis=1)


def _vector(offset: NDArray[np.integer], height: int, width: int) -> NDArray[np.float64]:
    """Normalise (n, 2) offsets in cells and append their Euclidean lengths: (n, 3)."""
    lengths = np.hypot(*offset.T) / np.hypot(height, width)
    return np.column_stack([offset / (height, width), lengths])


def _nearest_gold(grids: States, agent: Integers) -> NDArray[np.float64]:
    """Compute nearest_gold_rows, _cols, _distance and gold_left: (n, 4)."""
    n, height, width = grids.shape
    gold = (grids == GOLD).reshape(n, -1)
    rows = (np.arange(height) - agent[:, :1]).astype(np.int32)
    columns = (np.arange(width) - agent[:, 1:]).astype(np.int32)
    squared = (rows[:, :, None] ** 2 + columns[:, None, :] ** 2).reshape(n, -1)
    nearest = np.where(gold, squared, height**2 + width**2).argmin(axis=1)
    vector = _vector(np.stack(np.divmod(nearest, width), axis=1) - agent, height, width)
    vector[~gold.any(axis=1)] = (0.0, 0.0, 1.0)
    return np.column_stack([vector, gold.mean(axis=1)])


def _gold_distances(grids: States, agent: Integers) -> NDArray[np.float64]:
    """Compute the sorted Manhattan distances to the nearest gold cells: (n, N_GOLD_DISTANCES)."""
    n, height, width = grids.shape
    rows = np.abs(np.arange(height) - agent[:, :1]).astype(np.int16)
    columns = np.abs(np.arange(width) - agent[:, 1:]).astype(np.int16)
    distances = rows[:, :, None] + columns[:, None, :]
    distances[grids != GOLD] = height + width
    nearest = np.sort(distances.reshape(n, -1), axis=1)[:, :N_GOLD_DISTANCES]
    missing = N_GOLD_DISTANCES - nearest.shape[1]
    return np.pad(nearest / (height + width), ((0, 0), (0, missing)), constant_values=1.0)


def _walls(grids: States, agent: Integers) -> NDArray[np.bool_]:
    """Tell whether a block or the edge is above, below, left and right of the agent: (n, 4)."""
    walled = np.pad(grids == BLOCK, ((0, 0), (1, 1), (1, 1)), constant_values=True)
    row, column = agent.T + 1
    each = np.arange(len(grids))
    neighbours = ((row - 1, column), (row + 1, column), (row, column - 1), (row, column + 1))
    return np.column_stack([walled[each, r, c] for r, c in neighbours])
