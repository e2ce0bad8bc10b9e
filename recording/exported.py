"""Composed policies that a search exported, as policies of their own.

A folder holds `policy.json`, `q_table.npy` and, in a grid world, `start_state.npy`, the grid that
the policy is for. It becomes a run with a single snapshot of a target of its own, whose name
begins with "composed", and so never one of its sources' targets. On a grid its table is rolled out
here, and what it earns is taken from `policy.json`, whose checksum of the table must hold.
Elsewhere it is recorded like any table, in the environment that `policy.json` names.
"""

import csv
import io
import json
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from library.arrays import read_array
from library.checksums import checksum, write_checksums
from library.errors import UnusableRecording
from library.files import read_bounded
from pi2vec.snapshots import REWARDS
from recording.environments import Environment
from recording.found_tables import DESCRIPTION, read_description, read_run
from recording.run import Findings, FoundRun, find_folders
from recording.snapshots import Settings
from recording.targets import is_usable_name
from worlds.gridworld.route import roll_out
from worlds.gridworld.rules import AGENT, CELLS, Grid, GridRules
from worlds.gridworld.world import ACTIONS, Q_TABLE, STATES, find_rules
from worlds.world import check, exactly

START = "start_state.npy"
PREFIX = "composed-"


def find_runs(folder: Path, given: Environment | None, settings: Settings) -> Findings:
    """Find the composed policies in a folder or anywhere below it; others are left alone.

    Args:
        folder: where to look.
        given: the environment that the user named, for those that are for no grid.
        settings: how they will be recorded.
    """
    on_grids, broken = find_folders(folder, START, _read_run)
    read = partial(_read_table_run, given, settings)
    others, unusable = find_folders(folder, DESCRIPTION, read)
    return on_grids + others, broken + unusable


def _read_run(own: Path) -> FoundRun:
    """Read a composed policy, and check that it is one."""
    fields = _read_description(own / DESCRIPTION)
    q_table = read_array(own / Q_TABLE)
    start = exactly(read_array(own / START), np.int8, "states")
    check(q_table.dtype.kind == "f" and bool(np.isfinite(q_table).all()), f"{Q_TABLE} is no table")
    rules = find_rules(start, q_table)
    check(bool(np.isin(start, CELLS).all()), "the grid has an unknown cell value")
    check(int((start == AGENT).sum()) == 1, "the grid shows no agent, or several")
    check(checksum(own / Q_TABLE) == fields["sha256"], f"{Q_TABLE} is not the one described")
    return FoundRun(
        origin=own,
        target=fields["target"],
        seed=fields["seed"],
        world=rules.name,
        size=f"{rules.height}x{rules.width}",
        n_snapshots=1,
        record=partial(_record, rules, start, q_table, fields),
    )


def _read_table_run(given: Environment | None, settings: Settings, own: Path) -> FoundRun | None:
    """Read a policy composed on counts; None for anything else."""
    target = str(read_description(own / DESCRIPTION).get("policy_target"))
    if (own / START).exists() or not target.startswith(PREFIX):
        return None
    fields = _read_description(own / DESCRIPTION)
    check(checksum(own / Q_TABLE) == fields["sha256"], f"{Q_TABLE} is not the one described")
    run = read_run(own / Q_TABLE, own, given, settings)
    return replace(run, origin=own, target=fields["target"], seed=fields["seed"])


def _read_description(path: Path) -> dict[str, Any]:
    """Read what is needed of `policy.json`."""
    try:
        content = json.loads(read_bounded(path))
        fields = {
            "target": str(content["policy_target"]),
            "seed": str(content["policy_seed"]),
            "reward": float(content.get("predicted_by_q_table", content["predicted"])["reward"]),
            "sha256": content["q_table_sha256"],
            "sources": [source["policy_name"] for source in content["sources"]],
            "weights": content["weights"],
            "support": content["support"],
        }
    except (KeyError, TypeError, ValueError, RecursionError) as error:
        raise UnusableRecording(
            f"{path} does not describe a composed policy ({type(error).__name__})"
        ) from None
    target, seed = fields["target"], fields["seed"]
    check(target.startswith(PREFIX), f"its target {target!r} does not begin with {PREFIX}")
    check(is_usable_name(target), f"its target {target!r} can't name a folder")
    check(seed.isascii() and seed.isdigit() and len(seed) >= 4, f"its seed {seed!r} is no digits")
    check(bool(np.isfinite(fields["reward"])), "its reward is not finite")
    return fields


def _record(
    rules: GridRules,
    start: Grid,
    q_table: NDArray[np.floating],
    fields: dict[str, Any],
    folder: Path,
) -> None:
    """Write the greedy roll-out of the table to a folder."""
    states, actions = roll_out(rules, start, q_table)
    episode = folder / "episodes" / "episode_000000"
    episode.mkdir(parents=True)
    for name, array in ((STATES, states), (ACTIONS, actions), (Q_TABLE, q_table)):
        np.save(episode / name, array)
    source = {"composed_of": fields["sources"], **{n: fields[n] for n in ("weights", "support")}}
    (episode / "source.json").write_bytes((json.dumps(source) + "\n").encode())
    table = io.StringIO()
    rows = [("episode", "reward"), (0, fields["reward"])]
    csv.writer(table, lineterminator="\n").writerows(rows)
    (folder / REWARDS).write_bytes(table.getvalue().encode())
    write_checksums(folder)
