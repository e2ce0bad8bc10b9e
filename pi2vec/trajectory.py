"""One recorded episode: what it must be, and how it is read from its folder."""

import itertools
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from library.errors import UnusableRecording
from library.files import read_array

CELL_VALUES = (0, 1, -1, 5, 10, 7)  # empty, gold, block, start, exit, agent
AGENT = 7
GRID_SHAPE = (16, 16)
MOVES = ((0, 1), (1, 0), (0, 2), (2, 0), (1, 1))  # (rows, columns) of actions 0 to 4
Q_TABLE_SHAPE = (GRID_SHAPE[0] * GRID_SHAPE[1], len(MOVES))
MAX_STEPS = 33
MAX_SQUARED_MOVE = 4
STATES, ACTIONS, Q_TABLE = ARRAYS = ("episode_states.npy", "episode_actions.npy", "q_table.npy")

Grids = NDArray[np.int8]


@dataclass(frozen=True)
class Trajectory:
    """One recorded episode and the Q-table after it, checked on construction.

    Attributes:
        states: int8 (T+1, 16, 16), the grids that the agent saw, T >= 1, one agent in each.
        actions: int8 (T,), 0 to 4.
        q_table: float32 (256, 5), finite, row = 16 * row + column.
        reward: the undiscounted sum of rewards, finite.

    Raises:
        UnusableRecording: a field breaks these rules.
    """

    states: Grids
    actions: NDArray[np.int8]
    q_table: NDArray[np.float32]
    reward: float

    def __post_init__(self) -> None:
        """Enforce what the class docstring says."""
        _check(self.states.dtype == np.int8, f"states are {self.states.dtype}, must be int8")
        _check(
            self.states.ndim == 3 and self.states.shape[1:] == GRID_SHAPE,
            f"states have shape {self.states.shape}, must be (T+1, 16, 16)",
        )
        _check(len(self.states) >= 2, "the episode has no step")
        _check(bool(np.isin(self.states, CELL_VALUES).all()), "a grid has an unknown cell value")
        n_agents = (self.states == AGENT).sum(axis=(1, 2))
        _check(bool((n_agents == 1).all()), "a grid shows no agent, or several")
        _check(self.actions.dtype == np.int8, f"actions are {self.actions.dtype}, must be int8")
        _check(
            self.actions.shape == (len(self.states) - 1,),
            f"actions have shape {self.actions.shape}, must be ({len(self.states) - 1},)",
        )
        in_range = (self.actions >= 0) & (self.actions < len(MOVES))
        _check(bool(in_range.all()), "an action is not 0 to 4")
        moved = np.diff(np.argwhere(self.states == AGENT)[:, 1:], axis=0)
        asked = np.array(MOVES)[self.actions]
        stayed = (moved == 0).all(axis=1)
        follows = (moved == asked).all(axis=1) | stayed
        _check(bool(follows.all()), "the agent does not move as its actions say")
        _check(
            self.q_table.dtype == np.float32 and self.q_table.shape == Q_TABLE_SHAPE,
            f"the Q-table has shape {self.q_table.shape}, must be {Q_TABLE_SHAPE}",
        )
        _check(bool(np.isfinite(self.q_table).all()), "the Q-table has NaN or infinity")
        _check(bool(np.isfinite(self.reward)), f"the reward is {self.reward}")

    @property
    def n_transitions(self) -> int:
        """T, the number of steps."""
        return len(self.actions)

    @property
    def energy(self) -> float:
        """Motion energy, 0 to 1: squared displacements that the actions ask for, over 33 * 4."""
        squared = np.array([rows**2 + columns**2 for rows, columns in MOVES])
        return float(squared[self.actions].sum() / (MAX_STEPS * MAX_SQUARED_MOVE))


def read_trajectory(folder: Path, reward: float) -> Trajectory:
    """Read one episode's folder.

    Raises:
        UnusableRecording: a file is missing or damaged, or breaks the rules of `Trajectory`.
    """
    if not folder.is_dir():
        raise UnusableRecording(f"{folder} is missing")
    states = read_array(folder / STATES)
    q_table = read_array(folder / Q_TABLE)
    actions_path = folder / ACTIONS
    try:
        _check(q_table.dtype.kind == "f", f"the Q-table is {q_table.dtype}, must be float")
        actions = read_array(actions_path) if actions_path.exists() else _infer_actions(states)
        return Trajectory(states, actions, q_table.astype(np.float32), reward)
    except UnusableRecording as error:
        raise UnusableRecording(f"{folder}: {error}") from None


def _infer_actions(states: Grids) -> NDArray[np.int8]:
    """Recover the actions from the agent's positions.

    An agent that stays where it is asked for a move off the grid: the cheapest one possible.
    """
    places = np.argwhere(states == AGENT)
    _check(len(places) == len(states), "a grid shows no agent, or several")
    positions = places[:, 1:]
    actions = []
    for before, after in itertools.pairwise(positions):
        moved = tuple(int(n) for n in after - before)
        if moved == (0, 0):
            actions.append(_cheapest_move_off_the_grid(before, states.shape[1:]))
            continue
        _check(moved in MOVES, f"the agent moves by {moved}, which no action does")
        actions.append(MOVES.index(moved))
    return np.array(actions, dtype=np.int8)


def _cheapest_move_off_the_grid(cell: NDArray[np.int64], shape: tuple[int, ...]) -> int:
    moves = [
        (rows**2 + columns**2, action)
        for action, (rows, columns) in enumerate(MOVES)
        if cell[0] + rows >= shape[0] or cell[1] + columns >= shape[1]
    ]
    _check(bool(moves), "the agent stays where it could move")
    return min(moves)[1]


def _check(rule: bool, complaint: str) -> None:
    if not rule:
        raise UnusableRecording(complaint)
