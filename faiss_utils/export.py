"""Handing a policy over: a folder with its Q-table, all that is known of it, and a picture."""

import json
from pathlib import Path
from typing import Any

import numpy as np

from faiss_utils.policy_database import PolicyDatabase
from library.errors import LeverError
from library.files import atomic_write, portable
from worlds.gridworld.route import draw_route, roll_out
from worlds.gridworld.rules import GridRules

Q_TABLE, NETWORK = "q_table.npy", "policy.npz"
DESCRIPTION, ROUTE = "policy.json", "route.png"


def export_policy(database: PolicyDatabase, policy: dict[str, Any], folder: Path) -> list[Path]:
    """Write a policy to a folder of its own.

    Args:
        database: that holds it.
        policy: its fields, as a search returns them.
        folder: where its folder goes, which has the name of the policy.

    Returns:
        The files written: `q_table.npy` or `policy.npz`, `policy.json`, and in a grid world
        `route.png`.

    Raises:
        LeverError: there is such a folder already.
    """
    own = folder / portable(policy["policy_name"])
    try:
        own.mkdir(parents=True)
    except FileExistsError:
        raise LeverError(f"{own} is there already; export to another folder") from None
    row = database.find(policy["policy_name"])
    assert row is not None, "a search returns policies of its library"
    world, place = database.place(row)
    written = []
    if world.q_tables is not None:
        with atomic_write(own / Q_TABLE) as file:
            np.save(file, world.q_tables[place])
        written.append(own / Q_TABLE)
    if network := world.network(place):
        with atomic_write(own / NETWORK) as file:
            file.write(network)
        written.append(own / NETWORK)
    rules = GridRules.from_name(world.name)
    if rules and world.q_tables is not None and world.start_states is not None:
        start = np.asarray(world.start_states[place])
        route, _ = roll_out(rules, start, world.q_tables[place])
        draw_route(own / ROUTE, start, [route], policy["policy_name"])
        written.append(own / ROUTE)
    policy = policy | environment_of(database, row)
    with atomic_write(own / DESCRIPTION) as file:
        file.write((json.dumps(policy, indent=2, ensure_ascii=False) + "\n").encode())
    return [*written, own / DESCRIPTION]


def environment_of(database: PolicyDatabase, row: int) -> dict[str, Any]:
    """Say how the environment of a policy is made, so that it can be recorded again.

    Returns:
        A field for `policy.json`; none where the recording does not tell.
    """
    environment = (database.source(row) or {}).get("environment")
    return {"environment": environment} if environment else {}
