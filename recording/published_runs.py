"""Training runs of the published system's grid worlds.

A run is a folder `<target>/seed_0000/` with `episode_rewards.csv`, `episodes/episode_1000/` for
some of its rows, each with a Q-table and a recorded episode, and `q_table_final.npy` for the last
row. The reward of a row is that of the table's *greedy* policy, while the recorded episode is an
exploring one of training. So the greedy policy is rolled out here, on the first grid recorded.
"""

import csv
import io
import json
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from library.arrays import read_array
from library.checksums import checksum, write_checksums
from pi2vec.snapshots import REWARDS, find_episodes, read_rewards
from recording.run import Findings, FoundRun, find_folders
from worlds.gridworld.route import roll_out
from worlds.gridworld.rules import AGENT, CELLS, Grid, GridRules
from worlds.gridworld.world import ACTIONS, Q_TABLE, STATES, find_rules
from worlds.world import check, exactly

FINAL = "q_table_final.npy"


def find_runs(folder: Path) -> Findings:
    """Find the runs in a folder or anywhere below it."""
    return find_folders(folder, REWARDS, _read_run)


def _read_run(run: Path) -> FoundRun:
    """Read what a run needs to be recorded, and check that it is one of this kind."""
    seed = run.name.removeprefix("seed_")
    check(seed.isascii() and seed.isdigit(), "its folder is not named seed_ and digits")
    rewards, _ = read_rewards(run / REWARDS)
    episodes = find_episodes(run / "episodes")
    check(bool(episodes), "it has no recorded episode")
    check((run / FINAL).exists(), f"it has no {FINAL}; copy it into states_f/ as it is")
    start = _first_grid(episodes[min(episodes)])
    rules = find_rules(start, read_array(run / FINAL))
    tables = {number: folder / Q_TABLE for number, folder in episodes.items()}
    last = int(rewards["episode"].iloc[-1])
    tables.setdefault(last, run / FINAL)
    rows = {
        int(number): float(reward)
        for number, reward in zip(rewards["episode"], rewards["reward"], strict=True)
        if int(number) in tables
    }
    check(bool(rows), f"no row of {REWARDS} has a Q-table")
    return FoundRun(
        origin=run,
        target=run.resolve().parent.name,
        seed=seed.zfill(4),
        world=rules.name,
        size=f"{rules.height}x{rules.width}",
        n_snapshots=len(rows),
        record=partial(_record, run, rules, start, {n: tables[n] for n in rows}, rows),
    )


def _first_grid(episode: Path) -> Grid:
    """Read the grid that an episode began with."""
    states = exactly(read_array(episode / STATES), np.int8, "states")
    check(states.ndim == 3 and len(states) > 0, f"states have shape {states.shape}")
    start: Grid = states[0]
    check(bool(np.isin(start, CELLS).all()), "a grid has an unknown cell value")
    check(int((start == AGENT).sum()) == 1, "the first grid shows no agent, or several")
    return start


def _record(
    run: Path,
    rules: GridRules,
    start: Grid,
    tables: dict[int, Path],
    rewards: dict[int, float],
    folder: Path,
) -> None:
    """Write the greedy roll-outs of all saved tables to a folder."""
    for number, path in tables.items():
        q_table = _read_q_table(path, rules)
        states, actions = roll_out(rules, start, q_table)
        episode = folder / "episodes" / f"episode_{number:06d}"
        episode.mkdir(parents=True)
        np.save(episode / STATES, states)
        np.save(episode / ACTIONS, actions)
        np.save(episode / Q_TABLE, q_table)
        origin = path.relative_to(run.parent.parent).as_posix()
        source: dict[str, Any] = {"file": origin, "sha256": checksum(path), "episodes": number}
        (episode / "source.json").write_bytes((json.dumps(source) + "\n").encode())
    table = io.StringIO()
    csv.writer(table, lineterminator="\n").writerows([("episode", "reward"), *rewards.items()])
    (folder / REWARDS).write_bytes(table.getvalue().encode())
    write_checksums(folder)


def _read_q_table(path: Path, rules: GridRules) -> NDArray[np.floating]:
    q_table: NDArray[np.floating] = read_array(path)
    wanted = (rules.n_cells, rules.n_moves)
    check(q_table.shape == wanted, f"{path} has shape {q_table.shape}, must be {wanted}")
    check(q_table.dtype.kind == "f" and bool(np.isfinite(q_table).all()), f"{path} is no Q-table")
    return q_table
