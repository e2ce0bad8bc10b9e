"""The policies that a composition is made of, checked: what a search found, and their siblings."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from composition.rewards import Floats, TargetReward, fit_reward
from library.errors import LeverError
from worlds.gridworld.names import EVENT_COLUMNS, FEATURE_NAMES
from worlds.gridworld.rules import AGENT, CELLS, EXIT, Grid, GridRules

if TYPE_CHECKING:
    from faiss_utils.policy_database import PolicyDatabase, WorldArrays
    from faiss_utils.policy_retrieval import SubQueryResult

MAX_FITTED = 5_000  # policies of a target that its reward is fitted to


class CannotCompose(LeverError):
    """Why policies can't become one, in one line."""


@dataclass(frozen=True)
class Sources:
    """Policies of one grid world and one layout, and what their targets pay for.

    Attributes:
        rules: of the world.
        start: int8 (height, width), the first grid.
        seed: of the layout.
        targets: what is wanted, K of them.
        rewards: what each of them pays for.
        joint: what a target pays for that wants all of them, if the library has one.
        rows: of the n policies in the database.
        names: of the policies.
        q_tables: float (n, n_cells, n_moves), finite or -inf.
    """

    rules: GridRules
    start: Grid
    seed: str
    targets: tuple[str, ...]
    rewards: tuple[TargetReward, ...]
    joint: TargetReward | None
    rows: tuple[int, ...]
    names: tuple[str, ...]
    q_tables: NDArray[np.floating]


def find_sources(database: "PolicyDatabase", firsts: Sequence[int]) -> Sources:
    """Gather policies of a grid world, with what else was trained for their targets.

    Args:
        database: that was searched.
        firsts: rows, of `best_rows`.

    Raises:
        CannotCompose: they do not go together, or one of them can't be used.
    """
    best = [database.describe(row) for row in firsts]
    rules = GridRules.from_name(best[0]["world"])
    if rules is None:
        raise CannotCompose(
            f"what actions do in {best[0]['world']} is not known; only grid worlds can be composed"
        )
    seeds = sorted({policy["policy_seed"] for policy in best})
    check(
        len(seeds) == 1,
        f"they have different layouts, seeds {', '.join(seeds)}; choose one with --seed",
    )
    world, _ = database.place(firsts[0])
    start = _common_start(database, firsts, rules)
    rows = _siblings(database, firsts, seeds[0], start)
    names = tuple(database.describe(row)["policy_name"] for row in rows)
    tables = [_q_table(database, row, name, rules) for row, name in zip(rows, names, strict=True)]
    codes = [int(database.columns["objective"][row]) for row in firsts]
    targets = tuple(policy["policy_target"] for policy in best)
    return Sources(
        rules=rules,
        start=start,
        seed=seeds[0],
        targets=targets,
        rewards=tuple(_fit(database, world, code) for code in codes),
        joint=_find_joint(database, world, targets),
        rows=tuple(rows),
        names=names,
        q_tables=np.stack(tables),
    )


def check(rule: bool, complaint: str) -> None:
    """Raise CannotCompose unless a rule holds."""
    if not rule:
        raise CannotCompose(complaint)


def best_rows(database: "PolicyDatabase", answers: "Sequence[SubQueryResult]") -> list[int]:
    """Give the best policy of each target that is wanted, all of one world.

    Raises:
        CannotCompose: there is none for a sub-query, or they are of different worlds.
    """
    check(bool(answers), "nothing is wanted; describe what the policy should do")
    best: dict[str, int] = {}
    for answer in answers:
        if answer.best_policy is None:
            raise CannotCompose(f"no policy was found for '{answer.sub_query}'; leave it out")
        row = database.find(answer.best_policy["policy_name"])
        assert row is not None, "a search returns policies of its library"
        best.setdefault(answer.best_policy["policy_target"], row)
    return _in_one_world(database, list(best.values()))


def _in_one_world(database: "PolicyDatabase", rows: list[int]) -> list[int]:
    """Exchange policies for those of equally described targets, so that all are of one world.

    What is wanted in the same words may be trained in several worlds, say grids of two sizes.
    """
    options = [_twins(database, row) for row in rows]
    common = set.intersection(*(set(option) for option in options))
    own = [database.place(row)[0].name for row in rows]
    if not common:
        raise CannotCompose(f"they act in different worlds, {', '.join(sorted(set(own)))}")
    chosen = max(sorted(common), key=own.count)
    moved = [
        row if world == chosen else option[chosen]
        for row, world, option in zip(rows, own, options, strict=True)
    ]
    return list(dict.fromkeys(moved))


def _twins(database: "PolicyDatabase", row: int) -> dict[str, int]:
    """Give the best policy, of the same seed, of each world's target with the same description."""
    own = database.objectives[database.columns["objective"][row]]
    seed = database.seeds[database.columns["seed"][row]]
    twins: dict[str, int] = {}
    for code, objective in enumerate(database.objectives):
        if objective.description == own.description:
            for run in database.runs(np.array([code], dtype=np.int32), seed):
                twins.setdefault(database.place(int(run[0]))[0].name, int(run[0]))
    return twins | {database.place(row)[0].name: row}


def _start(database: "PolicyDatabase", row: int) -> Grid | None:
    world, place = database.place(row)
    return None if world.start_states is None else np.asarray(world.start_states[place])


def _begins_on(database: "PolicyDatabase", row: int, start: Grid) -> bool:
    other = _start(database, row)
    return other is not None and np.array_equal(other, start)


def _common_start(database: "PolicyDatabase", rows: Sequence[int], rules: GridRules) -> Grid:
    """Give the grid that all policies begin on."""
    start = _start(database, rows[0])
    if start is None:
        raise CannotCompose("the library does not hold the grids that policies begin on")
    check(
        all(_begins_on(database, row, start) for row in rows),
        f"they have different layouts under one seed, in {rules.name}",
    )
    is_grid = start.shape == (rules.height, rules.width) and bool(np.isin(start, CELLS).all())
    check(is_grid and int((start == AGENT).sum()) == 1, "their first grid is none; prepare anew")
    check(bool((start == EXIT).any()), "their grid shows no exit, so no plan has an end")
    return start.astype(np.int8)


def _siblings(
    database: "PolicyDatabase", firsts: Sequence[int], seed: str, start: Grid
) -> list[int]:
    """List all policies of the layout for the targets of some, those first."""
    codes = sorted({int(database.columns["objective"][row]) for row in firsts})
    runs = database.runs(np.array(codes, dtype=np.int32), seed)
    rows = [int(row) for run in runs for row in run]
    same = [row for row in rows if _begins_on(database, row, start)]
    return list(dict.fromkeys([*firsts, *same]))


def _q_table(
    database: "PolicyDatabase", row: int, name: str, rules: GridRules
) -> NDArray[np.floating]:
    """Read a policy's table and hold it against the rules of the world."""
    world, place = database.place(row)
    if world.q_tables is None:
        raise CannotCompose(f"{name} has no Q-table, so what it would do elsewhere is not known")
    table = np.asarray(world.q_tables[place])
    wanted = (rules.n_cells, rules.n_moves)
    check(table.shape == wanted, f"the Q-table of {name} is {table.shape}, must be {wanted}")
    usable = table.dtype.kind == "f" and bool((np.isfinite(table) | np.isneginf(table)).all())
    check(usable, f"the Q-table of {name} has NaN or infinity; record it anew")
    return table


def _fit(database: "PolicyDatabase", world: "WorldArrays", code: int) -> TargetReward:
    """Fit what a target pays for to all of its policies, whatever their layout."""
    target = database.objectives[code].target
    rows = np.concatenate(database.runs(np.array([code], dtype=np.int32)))[:MAX_FITTED]
    places = rows - (int(rows[0]) - database.place(int(rows[0]))[1])
    check(
        world.embeddings.shape[1] == len(FEATURE_NAMES),
        f"the embeddings of {target} are from another version; prepare anew",
    )
    events: Floats = np.asarray(world.embeddings[places, EVENT_COLUMNS], dtype=np.float64)
    rewards = np.asarray(database.columns["reward"][rows], dtype=np.float64)
    check(
        bool(np.isfinite(events).all() and np.isfinite(rewards).all()),
        f"the embeddings or rewards of {target} are not finite; prepare anew",
    )
    return fit_reward(target, events, rewards)


def _find_joint(
    database: "PolicyDatabase", world: "WorldArrays", targets: tuple[str, ...]
) -> TargetReward | None:
    """Find a target of the same world whose name is made of the words of all these."""
    if len(targets) == 1:
        return None
    words = set().union(*(target.split("-") for target in targets))
    for code, objective in enumerate(database.objectives):
        runs = database.runs(np.array([code], dtype=np.int32))
        is_new = objective.target not in targets and set(objective.target.split("-")) == words
        if is_new and runs and database.place(int(runs[0][0]))[0] is world:
            return _fit(database, world, code)
    return None
