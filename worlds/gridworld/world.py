"""A grid world as the suite sees it: its recordings, features, measures and start states."""

import itertools
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from library.arrays import read_array, read_arrays
from library.errors import UnusableRecording
from worlds.gridworld.features import episode_features
from worlds.gridworld.measures import WORDINGS
from worlds.gridworld.names import FEATURE_NAMES
from worlds.gridworld.rules import (
    AGENT,
    BLOCK,
    CELLS,
    GOLD,
    HAZARD,
    MOVES,
    Grid,
    GridRules,
)
from worlds.measures import GENERIC
from worlds.world import Features, Recording, StateWorld, check, check_length, exactly

STATES, ACTIONS, Q_TABLE = "episode_states.npy", "episode_actions.npy", "q_table.npy"
EPISODES = "episodes.npz"


class GridFamily(StateWorld):
    """Grids of one size with one set of moves."""

    feature_names = FEATURE_NAMES
    wordings = (*GENERIC, *WORDINGS)
    # Displacement from the start, not the place: two grids may begin in different cells.
    situation = {"rows_moved": 10.0, "columns_moved": 10.0, "elapsed": 10.0}  # noqa: RUF012

    def __init__(self, rules: GridRules) -> None:
        """Describe the world with these rules."""
        self.rules = rules
        self.name = rules.name

    def features(self, recordings: Sequence[Recording]) -> list[list[Features]]:
        """Describe the states of recordings: for each episode of each a float32 (T_i + 1, d)."""
        episodes = [grids for recording in recordings for grids in recording.episodes]
        described = iter(episode_features(episodes))
        return [list(itertools.islice(described, len(r.lengths))) for r in recordings]

    def measures(self, recording: Recording) -> dict[str, float]:
        """Say how a policy behaves: energy, steps, and how often it came onto a kind of cell."""
        visited = np.concatenate([self._entered(grids) for grids in recording.episodes])
        k = len(recording.lengths)
        measures = {
            "energy": self.energy(recording),
            "steps": recording.n_transitions / k,
            "blocks": float((visited == BLOCK).sum() / k),
            "gold": float((visited == GOLD).sum() / k),
            "hazards": float((visited == HAZARD).sum() / k),
        }
        if recording.returns is not None and k > 1:
            measures["reward_std"] = float(recording.returns.std(ddof=1))
        return measures

    def energy(self, recording: Recording) -> float:
        """Motion energy, 0 to 1, mean over episodes.

        The squared displacements that the actions ask for, over the most that is possible in the
        steps allowed, or in those recorded if they are more.
        """
        squared = (self.rules.moves**2).sum(axis=1)[recording.actions]
        sums = np.add.reduceat(squared, np.cumsum(recording.lengths) - recording.lengths)
        allowed = np.maximum(self.rules.step_limit, recording.lengths)
        return float((sums / (allowed * self.rules.largest_squared_move)).mean())

    def start_state(self, recording: Recording) -> Grid | None:
        """Give the first grid, int8 (height, width), if all episodes begin with it."""
        firsts = [grids[0] for grids in recording.episodes]
        return firsts[0] if all((first == firsts[0]).all() for first in firsts) else None

    @staticmethod
    def _entered(grids: Grid) -> NDArray[np.int8]:
        """List what each step of an episode came onto: int8 (T,); a stay is onto nothing."""
        cells = np.argwhere(grids == AGENT)[:, 1:]
        covered = grids[np.arange(len(grids) - 1), *cells[1:].T]
        stayed = (cells[1:] == cells[:-1]).all(axis=1)
        return np.where(stayed, 0, covered).astype(np.int8)


def read_recording(folder: Path) -> tuple[GridFamily, Recording]:
    """Read the folder of a snapshot of a grid world.

    Args:
        folder: holds `q_table.npy` and either `episodes.npz` or `episode_states.npy`, with or
            without `episode_actions.npy`.

    Raises:
        UnusableRecording: a file is missing or damaged, or breaks the rules of the world.
    """
    if not folder.is_dir():
        raise UnusableRecording(f"{folder} is missing")
    try:
        q_table = read_array(folder / Q_TABLE)
        check(q_table.dtype.kind == "f", f"the Q-table is {q_table.dtype}, must be float")
        arrays = _read_episodes(folder)
        check(len(arrays["observations"]) > 0, "it has no state")
        rules = find_rules(arrays["observations"][0], q_table)
        recording = _complete(rules, arrays, q_table)
        _check_rules(rules, recording)
    except UnusableRecording as error:
        text = str(error)
        raise UnusableRecording(text if str(folder) in text else f"{folder}: {text}") from None
    return GridFamily(rules), recording


def _read_episodes(folder: Path) -> dict[str, NDArray[Any]]:
    """Read `episodes.npz`, or make the like of a folder with a single episode."""
    if (folder / EPISODES).exists():
        arrays = read_arrays(folder / EPISODES)
        missing = {"observations", "actions", "lengths"} - arrays.keys()
        check(not missing, f"{EPISODES} has no {', '.join(sorted(missing))}")
    else:
        arrays = {"observations": np.atleast_1d(read_array(folder / STATES))}
        arrays["lengths"] = np.array([len(arrays["observations"]) - 1])
        if (folder / ACTIONS).exists():
            arrays["actions"] = read_array(folder / ACTIONS)
    arrays["observations"] = exactly(arrays["observations"], np.int8, "states")
    return arrays


def find_rules(grid: Grid, q_table: NDArray[Any]) -> GridRules:
    """Tell the rules of a world from the shapes of a grid (height, width) and a Q-table.

    Raises:
        UnusableRecording: there is no such world, or the two do not go together.
    """
    check(grid.ndim == 2, f"a state has shape {grid.shape}, must be (height, width)")
    n_moves = q_table.shape[-1] if q_table.ndim == 2 else 0
    moves = " or ".join(str(n) for n in sorted(MOVES))
    check(n_moves in MOVES, f"the Q-table has shape {q_table.shape}, must have {moves} columns")
    rules = GridRules(grid.shape[0], grid.shape[1], n_moves)
    check(
        len(q_table) == rules.n_cells,
        f"the Q-table has shape {q_table.shape}, must be {(rules.n_cells, n_moves)}",
    )
    return rules


def _complete(
    rules: GridRules, arrays: dict[str, NDArray[Any]], q_table: NDArray[Any]
) -> Recording:
    """Bring together what was read, with the actions recovered where they are not recorded."""
    states = arrays["observations"]
    n_agents = (states == AGENT).sum(axis=(1, 2))
    check(bool((n_agents == 1).all()), "a grid shows no agent, or several")
    actions = arrays["actions"] if "actions" in arrays else _infer_actions(rules, states)
    rewards, terminated = arrays.get("rewards"), arrays.get("terminated")
    return Recording(
        observations=states,
        actions=exactly(actions, np.int8, "actions"),
        lengths=exactly(arrays["lengths"], np.int64, "lengths"),
        rewards=None if rewards is None else exactly(rewards, np.float64, "rewards"),
        terminated=None if terminated is None else exactly(terminated, np.bool_, "ends"),
        q_table=_narrow(q_table),
    )


def _narrow(q_table: NDArray[Any]) -> NDArray[np.floating]:
    """Store a table as float32 where no value changes, since ties decide a greedy action."""
    with np.errstate(over="ignore"):
        narrow = q_table.astype(np.float32)
    return narrow if (narrow == q_table).all() else q_table.astype(np.float64)


def _check_rules(rules: GridRules, recording: Recording) -> None:
    """Hold a recording against the rules of its world."""
    check(bool(np.isin(recording.observations, CELLS).all()), "a grid has an unknown cell value")
    check_length(recording.actions, recording.n_transitions, "actions")
    in_range = (recording.actions >= 0) & (recording.actions < rules.n_moves)
    check(bool(in_range.all()), f"an action is not 0 to {rules.n_moves - 1}")
    starts = np.cumsum(recording.lengths) - recording.lengths
    for grids, start in zip(recording.episodes, starts, strict=True):
        asked = rules.moves[recording.actions[start : start + len(grids) - 1]]
        moved = np.diff(np.argwhere(grids == AGENT)[:, 1:], axis=0)
        follows = (moved == asked).all(axis=1) | (moved == 0).all(axis=1)
        check(bool(follows.all()), "the agent does not move as its actions say")


def _infer_actions(rules: GridRules, states: Grid) -> NDArray[np.int8]:
    """Recover the actions of one episode from the agent's cells.

    An agent that stays where it is asked for a move that is not possible: the shortest of them.
    """
    cells = np.argwhere(states == AGENT)[:, 1:].tolist()
    known = {tuple(move): action for action, move in enumerate(rules.moves.tolist())}
    actions = []
    for grid, before, after in zip(states, cells, cells[1:], strict=False):
        moved = (after[0] - before[0], after[1] - before[1])
        if moved == (0, 0):
            actions.append(_shortest_impossible_move(rules, grid, (before[0], before[1])))
            continue
        check(moved in known, f"the agent moves by {moved}, which no action does")
        actions.append(known[moved])
    return np.array(actions, dtype=np.int8)


def _shortest_impossible_move(rules: GridRules, grid: Grid, cell: tuple[int, int]) -> int:
    lengths = (rules.moves**2).sum(axis=1)
    impossible = [a for a in range(rules.n_moves) if rules.destination(grid, cell, a) == cell]
    check(bool(impossible), "the agent stays where it could move")
    return min(impossible, key=lambda action: (lengths[action], action))
