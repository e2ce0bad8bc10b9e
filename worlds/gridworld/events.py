"""What happened in a step of a grid world: the events that its rewards are made of.

=========================  ===========================================================
event                      counts, for the step that led to a grid
=========================  ===========================================================
stepped_on_block           1 when the agent came onto a block
took_gold, took_lever      1 when the agent came onto one, which then is gone
entered_hazard             1 when the agent came onto a hazard
stayed                     1 when the agent is where it was: its move was not possible
moved                      1 when it moved, but not onto a hazard
on_exit                    1 when the agent stands on the exit
exit_with_all_gold         1 on the exit, when no gold is left
exit_gold_missing          on the exit, the share of the gold that is left
exit_with_lever            1 on the exit, when there was a lever and it is taken
free_progress              decrease of the Manhattan distance to the exit / 2, of a step
                           that ended neither on a block, a hazard nor on the exit
exit_progress              decrease of the path length to the exit
.. _after_gold             the same, once no gold was left before the step
.. _after_lever            the same, once the lever is taken
.. _after_both             the same, once both hold
gold_progress              decrease of the path length to the nearest gold, while any is left
lever_progress             decrease of the path length to the lever, until it is taken
hazards_passed             decrease of the number of hazards beside the agent
=========================  ===========================================================

A path leads from neighbour to neighbour around blocks and hazards; where there is none, its length
is the number of cells. Progress is only made by steps that `moved` counts. The first grid of an
episode has no step before it: its events are 0.
"""

from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from worlds.gridworld.names import EVENT_NAMES
from worlds.gridworld.rules import BLOCK, GOLD, HAZARD, LEVER

NEIGHBOURS = np.array([(0, 1), (1, 0), (0, -1), (-1, 0)])

if TYPE_CHECKING:
    from scipy.sparse import csr_array

Grids = NDArray[np.int8]
Integers = NDArray[np.intp]


def episode_events(grids: Grids, agent: Integers, exit_cell: Integers) -> NDArray[np.float64]:
    """Describe the steps of one episode.

    Args:
        grids: int8 (T+1, H, W).
        agent: (T+1, 2), its (row, column) in each grid.
        exit_cell: (2,).

    Returns:
        float64 (T+1, n_events), columns as in `EVENT_NAMES`; of the first grid `on_exit` at most.
    """
    n_gold = (grids == GOLD).sum(axis=(1, 2))
    before, after = agent[:-1], agent[1:]
    covered = grids[np.arange(len(before)), *after.T]
    stayed = (before == after).all(axis=1)
    on_block, on_hazard = ~stayed & (covered == BLOCK), ~stayed & (covered == HAZARD)
    moved = ~stayed & ~on_hazard
    had_lever = bool((grids[0] == LEVER).any())
    has_lever = (grids[1:] == LEVER).any(axis=(1, 2))
    all_gold, lever_taken = n_gold[:-1] == 0, ~has_lever & had_lever
    arrived = (after == exit_cell).all(axis=1)
    manhattan = np.abs(exit_cell - agent).sum(axis=1)
    lengths = path_lengths(grids, agent, exit_cell)
    to_exit, to_gold, to_lever = (moved * (lengths[:-1, i] - lengths[1:, i + 3]) for i in range(3))
    hazards = _hazards_beside(grids[0], agent)
    steps = np.column_stack(
        [
            *(on_block, covered == GOLD, arrived),
            (moved & ~on_block & ~arrived) * (manhattan[:-1] - manhattan[1:]) / 2,
            *(stayed, on_hazard, covered == LEVER, moved),
            *(arrived & (n_gold[1:] == 0), arrived * n_gold[1:] / max(1, n_gold[0])),
            *(arrived & lever_taken, to_exit, to_exit * all_gold, to_exit * lever_taken),
            *(to_exit * (all_gold & lever_taken), to_gold * ~all_gold),
            *(to_lever * has_lever, moved * (hazards[:-1] - hazards[1:])),
        ]
    )
    first = np.zeros((1, len(EVENT_NAMES)))
    first[0, EVENT_NAMES.index("on_exit")] = (agent[0] == exit_cell).all()
    return np.vstack([first, steps])


def path_lengths(grids: Grids, agent: Integers, exit_cell: Integers) -> NDArray[np.float64]:
    """Measure the paths from the agent around blocks and hazards, which the first grid shows.

    Returns:
        float64 (T+1, 6): to the exit, the nearest gold and the nearest lever of each grid, and of
        the grid before it (of the first grid: its own).
    """
    from scipy.sparse.csgraph import dijkstra  # a sixth of a second that --help does not need

    n, height, width = grids.shape
    cells, of_grid = np.unique(agent @ (width, 1), return_inverse=True)
    graph = _neighbour_graph((grids[0] == BLOCK) | (grids[0] == HAZARD))
    steps = dijkstra(graph, unweighted=True, indices=cells)
    lengths = np.minimum(steps, height * width)[of_grid]
    flat = grids.reshape(n, -1)
    previous = flat[np.maximum(np.arange(n) - 1, 0)]
    to_exit = lengths[:, exit_cell @ (width, 1)]
    nearest = [
        np.where(shown == value, lengths, height * width).min(axis=1)
        for shown in (flat, previous)
        for value in (GOLD, LEVER)
    ]
    return np.column_stack([to_exit, *nearest[:2], to_exit, *nearest[2:]])


def _neighbour_graph(closed: NDArray[np.bool_]) -> "csr_array":
    """Connect each cell with its neighbours that are not closed: (H * W, H * W)."""
    from scipy.sparse import csr_array

    numbers = np.arange(closed.size).reshape(closed.shape)
    pairs = [(numbers[:, :-1], numbers[:, 1:]), (numbers[:-1], numbers[1:])]
    ends = np.concatenate([np.stack([one.ravel(), other.ravel()]) for one, other in pairs], axis=1)
    sources, targets = np.concatenate([ends, ends[::-1]], axis=1)
    is_open = ~closed.ravel()[targets]
    edges = (sources[is_open], targets[is_open])
    return csr_array((np.ones(len(edges[0])), edges), shape=(closed.size, closed.size))


def _hazards_beside(grid: Grids, agent: Integers) -> NDArray[np.int64]:
    """Count the hazards above, below, left and right of the agent: (T+1,)."""
    hazards = np.pad(grid == HAZARD, 1).astype(np.int64)
    row, column = agent.T + 1
    counts = [hazards[row + rows, column + columns] for rows, columns in NEIGHBOURS]
    total: NDArray[np.int64] = np.stack(counts).sum(axis=0)
    return total
