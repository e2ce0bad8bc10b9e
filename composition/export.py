"""Handing a composed policy over: a folder like any other policy's."""

import hashlib
import io
import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from composition.compose import Composition
from composition.grid_model import GridModel
from faiss_utils.export import DESCRIPTION, Q_TABLE, ROUTE, environment_of
from library.checksums import checksum
from library.errors import LeverError
from library.files import atomic_write, portable
from worlds.gridworld.route import draw_route, roll_out
from worlds.gridworld.rules import AGENT, EMPTY, Grid

if TYPE_CHECKING:
    from composition.tabular import TabularComposition
    from faiss_utils.policy_database import PolicyDatabase

Q_TABLES, START = "q_tables.npy", "start_state.npy"


def export_composition(
    database: "PolicyDatabase", composition: "Composition | TabularComposition", folder: Path
) -> list[Path]:
    """Write a composed policy to a folder of its own.

    Args:
        database: that holds the sources.
        composition: what was composed.
        folder: where its folder goes, which has the name of the policy.

    Returns:
        The files written: `q_table.npy` and `policy.json`; in a grid world also `q_tables.npy` if
        the policy remembers what it took, a table for every number of items taken;
        `start_state.npy`, the grid that it is for; and `route.png`.

    Raises:
        LeverError: there is such a folder already.
    """
    own = folder / portable(composition.name)
    try:
        own.mkdir(parents=True)
    except FileExistsError:
        raise LeverError(f"{own} is there already; export to another folder") from None
    if isinstance(composition, Composition):
        fields, arrays = describe(database, composition), _grid_arrays(composition)
        _draw(own / ROUTE, composition)
    else:
        fields = describe_tabular(database, composition)
        arrays = {Q_TABLE: composition.plan.q_table}
    for name, array in arrays.items():
        with atomic_write(own / name) as file:
            np.save(file, array)
    fields["q_table_sha256"] = checksum(own / Q_TABLE)
    with atomic_write(own / DESCRIPTION) as file:
        file.write((json.dumps(fields, indent=2, ensure_ascii=False) + "\n").encode())
    return sorted(own.iterdir())


def _grid_arrays(composition: Composition) -> dict[str, NDArray[Any]]:
    """Give the arrays of a policy on a grid, by file name."""
    arrays: dict[str, NDArray[Any]] = {
        Q_TABLE: composition.table_plan.q_tables[0],
        START: composition.sources.start,
    }
    return arrays | ({Q_TABLES: composition.plan.q_tables} if composition.remembers else {})


def describe_tabular(
    database: "PolicyDatabase", composition: "TabularComposition"
) -> dict[str, Any]:
    """Say all that is known of a policy composed on counts, in plain values."""
    plan = composition.plan
    descriptions = {o.target: o.description for o in database.objectives}
    return {
        "policy_name": composition.name,
        "policy_target": f"composed-{composition.target}",
        "policy_seed": composition.seed,
        "snapshot_percent": 100,
        "world": composition.world,
        **environment_of(database, composition.rows[0]),
        "description": descriptions[composition.target],
        "q_table_shape": list(plan.q_table.shape),
        "weights": {composition.target: 1.0},
        "support": plan.support,
        "predicted": {"reward": plan.predicted_reward, "deviation": plan.deviation},
        "composition": composition.to_json(),
        "sources": [
            {"policy_name": name, **_digest(database, row)}
            for name, row in zip(composition.names, composition.rows, strict=True)
        ],
    }


def describe(database: "PolicyDatabase", composition: Composition) -> dict[str, Any]:
    """Say all that is known of a composed policy, in plain values."""
    sources, table = composition.sources, composition.table_plan
    descriptions = {o.target: o.description for o in database.objectives}
    return {
        "policy_name": composition.name,
        "policy_target": composition.target,
        "policy_seed": sources.seed,
        "snapshot_percent": 100,
        "world": sources.rules.name,
        "description": " ".join(descriptions[target] for target in sources.targets),
        "q_table_shape": list(table.q_tables.shape[1:]),
        "weights": composition.weights,
        "support": composition.support,
        "predicted": {
            "reward": composition.predicted_reward,
            "deviation": composition.deviation,
            "by_objective": composition.predicted_by_objective,
            "alone": composition.alone,
            "n_steps": len(composition.plan.actions),
            "actions": composition.plan.actions,
        },
        "predicted_by_q_table": {
            "reward": composition.predicted_by_table,
            "n_steps": len(table.actions),
            "actions": table.actions,
        },
        "composition": composition.to_json(),
        "sources": [
            {"policy_name": name, **_digest(database, row)}
            for name, row in zip(sources.names, sources.rows, strict=True)
        ],
    }


def _digest(database: "PolicyDatabase", row: int) -> dict[str, Any]:
    """Identify a source: the digest of its table as a file, and where the table came from."""
    world, place = database.place(row)
    assert world.q_tables is not None, "a source has a table"
    buffer = io.BytesIO()
    np.save(buffer, world.q_tables[place])
    digest = hashlib.sha256(buffer.getvalue()).hexdigest()
    return {"q_table_sha256": digest, "source": database.source(row)}


def _draw(path: Path, composition: Composition) -> None:
    """Draw the routes of the sources, thin, and that of the composed policy, thick."""
    sources = composition.sources
    routes = [roll_out(sources.rules, sources.start, table)[0] for table in sources.q_tables]
    draw_route(path, sources.start, [*routes, replay(composition)], composition.name)


def replay(composition: Composition) -> Grid:
    """Show the grids that the plan's agent sees: int8 (T+1, height, width)."""
    sources = composition.sources
    model = GridModel.from_start(sources.rules, sources.start)
    grid, cell, seen = model.layout.copy(), model.start, [sources.start]
    for action in composition.plan.actions:
        cell = int(model.destinations[cell, action])
        if cell in model.items:
            grid.flat[cell] = EMPTY
        seen.append(grid.copy())
        seen[-1].flat[cell] = AGENT
    return np.stack(seen)
