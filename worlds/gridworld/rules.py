"""The rules that grid worlds share: cells, moves, sizes and step limits, in one place.

A grid world is known by the height and width of its grids and by its number of moves, which is the
number of columns of a Q-table. Row `width * row + column` of a Q-table belongs to a cell.

Five moves are those of the demonstration: the agent goes right and down, may stand on blocks, and
stays where it is when a move would leave the grid. Four moves are those of the published system:
an edge or a block stops the agent. In both, a hazard ends the episode, gold and levers vanish when
they are taken, and the exit ends the episode.
"""

import re
from dataclasses import dataclass
from typing import Self

import numpy as np
from numpy.typing import NDArray

EMPTY, GOLD, BLOCK, HAZARD, LEVER, START, EXIT, AGENT = 0, 1, -1, -2, 2, 5, 10, 7
CELLS = (EMPTY, GOLD, BLOCK, HAZARD, LEVER, START, EXIT, AGENT)
MOVES = {  # (rows, columns) of each action
    5: np.array([(0, 1), (1, 0), (0, 2), (2, 0), (1, 1)]),  # right, down, by two, diagonally
    4: np.array([(0, 1), (1, 0), (0, -1), (-1, 0)]),  # right, down, left, up
}
BLOCKS_STOP = {5: False, 4: True}

Grid = NDArray[np.int8]


@dataclass(frozen=True)
class GridRules:
    """The rules of one grid world.

    Attributes:
        height, width: of the grids, in cells.
        n_moves: the number of actions, a key of `MOVES`.
    """

    height: int
    width: int
    n_moves: int

    @property
    def name(self) -> str:
        """The name of the world, for instance `gridworld-16x16-5`."""
        return f"gridworld-{self.height}x{self.width}-{self.n_moves}"

    @classmethod
    def from_name(cls, name: str) -> Self | None:
        """Undo `name`; None when it is that of another kind of world."""
        match = re.fullmatch(r"gridworld-([1-9][0-9]{0,4})x([1-9][0-9]{0,4})-([0-9])", name)
        if match is None or int(match[3]) not in MOVES:
            return None
        return cls(*map(int, match.groups()))

    @property
    def moves(self) -> NDArray[np.int64]:
        """int64 (n_moves, 2): rows and columns that each action asks for."""
        return MOVES[self.n_moves]

    @property
    def n_cells(self) -> int:
        """The number of cells, which is the number of rows of a Q-table."""
        return self.height * self.width

    @property
    def step_limit(self) -> int:
        """The most steps of an episode.

        Five moves lead right and down only, and arrive within height + width - 2 of them.
        """
        return self.height + self.width + 1 if self.n_moves == 5 else self.n_cells

    @property
    def largest_squared_move(self) -> int:
        """The largest squared displacement that an action asks for."""
        return int((self.moves**2).sum(axis=1).max())

    def destination(self, grid: Grid, cell: tuple[int, int], action: int) -> tuple[int, int]:
        """Tell where an action leads from a cell: back to it if the move is not possible.

        Args:
            grid: int8 (height, width).
            cell: (row, column) of the agent.
            action: 0 to n_moves - 1.
        """
        rows, columns = self.moves[action].tolist()
        row, column = cell[0] + rows, cell[1] + columns
        if not (0 <= row < self.height and 0 <= column < self.width):
            return cell
        if BLOCKS_STOP[self.n_moves] and grid[row, column] == BLOCK:
            return cell
        return row, column


def without_agent(grid: Grid) -> tuple[Grid, tuple[int, int]]:
    """Take the agent off the first grid of an episode, where it covers the start.

    Returns:
        The grid, and the agent's (row, column).
    """
    row, column = map(int, np.argwhere(grid == AGENT)[0])
    layout = grid.copy()
    layout[row, column] = START
    return layout, (row, column)
