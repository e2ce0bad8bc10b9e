"""The exact optimum of a layout: the yardstick for training, tests and benchmarks."""

import numpy as np

from worlds.gridworld.environment import (
    BLOCK_REWARD,
    EXIT_CELL,
    EXIT_REWARD,
    MOVES,
    SIZE,
    START_CELL,
)
from worlds.gridworld.rules import BLOCK, GOLD, Grid
from worlds.gridworld.sarsa import WEIGHTS


def optimal_return(layout: Grid, target: str) -> float:
    """Compute the largest undiscounted return from the start, for a target of `WEIGHTS`.

    Moves only go right and down, so no cell is visited twice and the step limit never binds:
    V(s) = max over moves of r(s, s') + V(s'), from the exit backwards, with V(exit) = 0. Staying
    put at the edge earns 0.
    """
    gold_weight, path_weight = WEIGHTS[target]
    value = np.zeros((SIZE, SIZE))
    for row, column in sorted(np.ndindex(SIZE, SIZE), key=sum, reverse=True):
        if (row, column) == EXIT_CELL:
            continue
        returns = []
        for rows, columns in MOVES:
            cell = (row + rows, column + columns)
            if max(cell) >= SIZE:
                returns.append(0.0)
                continue
            reward = gold_weight * (layout[cell] == GOLD) + path_weight * (rows + columns)
            if layout[cell] == BLOCK:
                reward = BLOCK_REWARD
            if cell == EXIT_CELL:
                reward = EXIT_REWARD
            returns.append(reward + value[cell])
        value[row, column] = max(returns)
    return float(value[START_CELL])
