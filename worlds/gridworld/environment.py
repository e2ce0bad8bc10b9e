"""GridWorld: a 16x16 grid with gold, blocks and an exit, as a Gymnasium environment."""

from typing import Any

import gymnasium
import numpy as np

from worlds.gridworld.rules import AGENT, BLOCK, EMPTY, EXIT, GOLD, START, Grid, GridRules

SIZE = 16
N_GOLD = 50
N_BLOCKS = 50
START_CELL = (0, 0)
EXIT_CELL = (SIZE - 1, SIZE - 1)
RULES = GridRules(SIZE, SIZE, n_moves=5)
MOVES, MAX_STEPS = RULES.moves, RULES.step_limit
BLOCK_REWARD = -10.0
EXIT_REWARD = 100.0
TARGETS = ("gold", "path", "combined")


def draw_layout(seed: int) -> Grid:
    """Draw the grid of a seed, without the agent.

    Args:
        seed: any non-negative integer; equal seeds give equal grids.

    Returns:
        int8 (16, 16): start, exit, 50 gold and 50 block cells, the rest empty.
    """
    layout = np.full((SIZE, SIZE), EMPTY, dtype=np.int8)
    layout[START_CELL], layout[EXIT_CELL] = START, EXIT
    free = np.flatnonzero(layout == EMPTY)
    drawn = np.random.default_rng(seed).choice(free, N_GOLD + N_BLOCKS, replace=False)
    layout.flat[drawn[:N_GOLD]] = GOLD
    layout.flat[drawn[N_GOLD:]] = BLOCK
    return layout


class GridWorld(gymnasium.Env[Grid, np.int64]):
    """A walk from the top left to the bottom right corner, past gold and blocks.

    ## Action space
    `Discrete(5)`: 0 right, 1 down, 2 right by two, 3 down by two, 4 diagonally right and down.
    A move off the grid leaves the agent where it is.

    ## Observation space
    `Box(-1, 10, (16, 16), int8)`, the whole grid: empty 0, gold 1, block -1, start 5, exit 10,
    agent 7. The agent's value covers what it stands on.

    ## Reward
    A step onto a block: -10. A step onto the exit: +100. Otherwise, by target, `gold`: +1 when
    the cell holds gold; `path`: the decrease of the Manhattan distance to the exit; `combined`:
    the sum of both. A move off the grid is no step: 0.

    ## Start
    The agent stands at (0, 0). `reset(seed=n)` draws the layout of seed n; without a seed the
    layout stays and its gold comes back.

    ## Episode end
    Terminated at the exit; truncated after 33 steps.

    ## Info
    `position`: (row, column) of the agent.
    """

    metadata = {"render_modes": []}  # noqa: RUF012 (declared so by Gymnasium)

    def __init__(self, target: str = "path", layout_seed: int = 0) -> None:
        """Create the environment.

        Args:
            target: what earns reward, one of `TARGETS`.
            layout_seed: the seed whose layout is used until `reset` is given another.

        Raises:
            ValueError: the target is unknown.
        """
        if target not in TARGETS:
            raise ValueError(f"target must be one of {', '.join(TARGETS)}, not {target!r}")
        self.target = target
        self.action_space = gymnasium.spaces.Discrete(len(MOVES))
        self.observation_space = gymnasium.spaces.Box(BLOCK, EXIT, (SIZE, SIZE), np.int8)
        self._layout = draw_layout(layout_seed)
        self._position: tuple[int, ...] = START_CELL
        self._restart()

    def reset(
        self, *, seed: int | None = None, options: dict[str, Any] | None = None
    ) -> tuple[Grid, dict[str, Any]]:
        """Put the agent back at the start; with a seed, on the layout of that seed."""
        super().reset(seed=seed)
        if seed is not None:
            self._layout = draw_layout(seed)
        self._restart()
        return self._observe(), self._info()

    def step(self, action: int | np.int64) -> tuple[Grid, float, bool, bool, dict[str, Any]]:
        """Move once; see the class docstring for rewards and endings."""
        after = tuple((MOVES[action] + self._position).tolist())
        on_grid = max(after) < SIZE
        reward = self._arrive(after) if on_grid else 0.0
        self._n_steps += 1
        terminated = self._position == EXIT_CELL
        truncated = self._n_steps >= MAX_STEPS and not terminated
        return self._observe(), reward, terminated, truncated, self._info()

    def _arrive(self, cell: tuple[int, ...]) -> float:
        """Move the agent to a cell of the grid and return the reward of the step."""
        decrease = float(sum(cell) - sum(self._position))
        content = self._grid[cell]
        self._position = cell
        if content == BLOCK:
            return BLOCK_REWARD
        if content == EXIT:
            return EXIT_REWARD
        taken = float(content == GOLD)
        if content == GOLD:
            self._grid[cell] = EMPTY
        return {"gold": taken, "path": decrease, "combined": taken + decrease}[self.target]

    def _restart(self) -> None:
        self._grid = self._layout.copy()
        self._position = START_CELL
        self._n_steps = 0

    def _observe(self) -> Grid:
        observation = self._grid.copy()
        observation[self._position] = AGENT
        return observation

    def _info(self) -> dict[str, Any]:
        return {"position": self._position}
