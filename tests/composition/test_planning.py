"""Plans against exact optima: forward grids, and small ones with gold and a lever."""

import numpy as np
import pytest

from composition.grid_model import EVENT, GridModel
from composition.planning import (
    began_at_zero,
    greedy_actions,
    plan,
    tried_actions,
    walk,
)
from tests.worlds.published_rules import PublishedGrid, draw_grid
from worlds.gridworld.environment import GridWorld, draw_layout
from worlds.gridworld.optimum import optimal_return
from worlds.gridworld.rewards import DEMONSTRATION, PUBLISHED
from worlds.gridworld.rules import AGENT, EXIT, GridRules
from worlds.gridworld.sarsa import train

KNOWN = np.ones(len(EVENT), dtype=bool)
PARTS = (("path", "gold"), ("path", "gold", "hazard"), ("gold", "lever"), ("gold",))


def exact_optimum(start, target):
    """Compute the optimum over (cell, gold left, lever) with the published rules themselves."""
    values, pending = {}, {}

    def state(world):
        return (world.cell, world.grid.tobytes(), world.lever_taken)

    def copy(world):
        other = object.__new__(PublishedGrid)
        other.__dict__.update(world.__dict__, grid=world.grid.copy())
        return other

    queue = [PublishedGrid(start)]
    while queue:
        world = queue.pop()
        if state(world) in pending:
            continue
        pending[state(world)] = options = []
        for action in range(4):
            after = copy(world)
            reward, ended = after.step(action, target)
            options.append((reward, None if ended else state(after)))
            if not ended:
                queue.append(after)
    values = dict.fromkeys(pending, -np.inf)
    for _ in range(start.size):
        new = {
            s: max(r + (0 if after is None else values[after]) for r, after in options)
            for s, options in pending.items()
        }
        if new == values:
            break
        values = new
    return values[state(PublishedGrid(start))]


@pytest.mark.parametrize("seed", range(6))
def test_what_was_tried_holds_the_optimum_and_the_table_earns_what_is_predicted(seed):
    layout = draw_layout(seed)
    runs = [train(layout, target, 20_000, 3, seed) for target in ("gold", "path")]
    tables = np.stack([run[-1].q_table for run in runs])
    model = GridModel.from_start(GridRules(16, 16, 5), runs[0][0].states[0])
    weights = DEMONSTRATION.reward(("gold", "path"))
    assert began_at_zero(model, tables)
    tried = plan(model, weights, tried_actions(tables), KNOWN)
    followed = plan(model, weights, greedy_actions(tables), KNOWN)
    optimum = optimal_return(layout, "combined")
    assert tried.events @ weights == pytest.approx(optimum) and tried.is_exact
    singles = [walk(model, table[np.newaxis]).events @ weights for table in tables]
    assert max(singles) - 1e-9 <= followed.events @ weights <= optimum + 1e-9
    for each in (tried, followed):
        environment, total, ended = GridWorld("combined"), 0.0, False
        _, info = environment.reset(seed=seed)
        while not ended:
            row, column = info["position"]
            action = each.q_tables[0, 16 * row + column].argmax()
            _, reward, terminated, truncated, info = environment.step(action)
            total, ended = total + reward, terminated or truncated
        assert total == pytest.approx(each.events @ weights)


@pytest.mark.parametrize("parts", PARTS)
@pytest.mark.parametrize("seed", range(4))
def test_with_four_moves_who_remembers_reaches_the_exact_optimum(seed, parts):
    start = draw_grid(np.random.default_rng(seed), 4, 5)
    model = GridModel.from_start(GridRules(4, 5, 4), start)
    weights = PUBLISHED.reward(parts)
    everything = np.ones((20, 4), dtype=bool)
    best = plan(model, weights, everything, KNOWN, remembers=True)
    optimum = exact_optimum(start, "-".join(parts))
    if best is None:  # the exit is walled in
        assert optimum < 100
        return
    earned = best.events @ weights
    assert earned == pytest.approx(optimum) or earned > 0.98 * optimum
    world, stage, total = PublishedGrid(start), 0, 0.0
    for action in best.actions:
        row, column = world.cell
        assert (
            action == best.q_tables[min(stage, len(best.q_tables) - 1), 5 * row + column].argmax()
        )
        taken = world.grid.copy()
        reward, _ = world.step(action, "-".join(parts))
        stage += int((taken != world.grid).any())
        total += reward
    assert total == pytest.approx(earned)
    single = plan(model, weights, everything, KNOWN)
    assert walk(model, single.q_tables).events @ weights <= earned + 1e-9


def test_gold_in_a_dead_end_takes_memory():
    start = np.array([[AGENT, 0, 10], [-1, 1, -1]], np.int8)
    model = GridModel.from_start(GridRules(2, 3, 4), start)
    weights = PUBLISHED.reward(("path", "gold"))
    everything = np.ones((6, 4), dtype=bool)
    table = plan(model, weights, everything, KNOWN)
    remembering = plan(model, weights, everything, KNOWN, remembers=True)
    assert table.actions == [0, 0] and len(table.q_tables) == 1
    assert remembering.actions == [0, 1, 3, 0] and len(remembering.q_tables) == 2
    assert remembering.is_exact and not table.is_exact


def best_simple_route(model, weights, route=(), cells=None):
    """Try all routes that come to no cell twice: what the best one earns."""
    cells = cells or [model.start]
    if model.ends[cells[-1]]:
        left = np.ones((len(route), len(model.items)), dtype=bool)
        for t in range(1, len(route)):
            left[t] = left[t - 1] & (model.items != cells[t])
        return model.step(np.array(cells[:-1]), np.array(route), left)[1].sum(axis=0) @ weights
    ways = [(a, model.destinations[cells[-1], a]) for a in range(4)]
    earned = [
        best_simple_route(model, weights, (*route, a), [*cells, cell])
        for a, cell in ways
        if cell not in cells
    ]
    return max(earned, default=-np.inf)


def test_one_table_is_nearly_the_best_that_comes_to_no_cell_twice():
    weights, everything = PUBLISHED.reward(("path", "gold")), np.ones((16, 4), dtype=bool)
    shares = []
    for seed in range(6):
        start = draw_grid(np.random.default_rng(seed), 4, 4)
        model = GridModel.from_start(GridRules(4, 4, 4), start)
        earned = plan(model, weights, everything, KNOWN).events @ weights
        shares.append(earned / best_simple_route(model, weights))
    assert min(shares) > 0.85 and max(shares) < 1 + 1e-9
    assert np.isclose(shares, 1).sum() >= 5


def test_what_is_worth_nothing_is_no_part_of_the_state():
    start = np.array([[AGENT, 1, 2, 10]], np.int8)
    model = GridModel.from_start(GridRules(1, 4, 4), start)
    kept = {
        parts: len(model.without_items_of_no_worth(PUBLISHED.reward(parts)).items)
        for parts in (("path",), ("hazard",), ("gold",), ("lever",), ("gold", "lever"))
    }
    assert kept == {
        ("path",): 0,
        ("hazard",): 0,
        ("gold",): 1,
        ("lever",): 1,
        ("gold", "lever"): 2,
    }


def test_events_of_unknown_worth_and_dead_ends_are_not_planned():
    start = np.array([[AGENT, 1, 10], [0, 0, 0]], np.int8)
    model = GridModel.from_start(GridRules(2, 3, 4), start)
    weights, everything = PUBLISHED.reward(("path", "gold")), np.ones((6, 4), dtype=bool)
    assert plan(model, weights, everything, KNOWN).actions == [0, 0]
    no_gold = KNOWN & (np.arange(len(KNOWN)) != EVENT["took_gold"])
    assert plan(model, weights, everything, no_gold).actions == [1, 0, 0, 3]
    only_right = np.zeros((6, 4), dtype=bool)
    only_right[[0, 3, 4, 5], 0] = True
    assert plan(model, weights, only_right, KNOWN) is None


def test_tables_that_did_not_begin_at_zero_are_known_by_where_episodes_end():
    start = np.array([[AGENT, 1, 10], [0, 0, 0]], np.int8)
    model, table = GridModel.from_start(GridRules(2, 3, 4), start), np.ones((1, 6, 4))
    assert not began_at_zero(model, table)
    table[:, 2] = 0
    assert began_at_zero(model, table)
    assert not began_at_zero(model, np.concatenate([table, np.ones((1, 6, 4))]))


def test_moves_that_only_lead_on_and_never_to_the_exit_are_no_plan():
    grid = np.zeros((3, 3), np.int8)
    grid[0, 0], grid[2, 2] = AGENT, EXIT
    model, weights = GridModel.from_start(GridRules(3, 3, 5), grid), DEMONSTRATION.reward(("path",))
    allowed = np.ones((9, 5), dtype=bool)
    assert plan(model, weights, allowed, KNOWN).is_exact
    allowed[model.destinations == model.exit_cell] = False
    assert plan(model, weights, allowed, KNOWN) is None


@pytest.mark.parametrize("n_moves", [5, 4])
def test_of_two_routes_that_earn_the_same_the_shorter_one_is_taken(n_moves):
    grid = np.zeros((5, 5), np.int8)
    grid[0, 0], grid[4, 4] = AGENT, EXIT
    model = GridModel.from_start(GridRules(5, 5, n_moves), grid)
    weights = np.zeros(len(EVENT))
    weights[EVENT["on_exit"]] = 1.0
    found = plan(model, weights, np.ones((25, n_moves), dtype=bool), KNOWN)
    assert found.events @ weights == 1.0 and len(found.actions) == (4 if n_moves == 5 else 8)


def test_tried_is_what_any_source_tried_and_no_forbidden_action():
    tables = np.zeros((2, 3, 2))
    tables[0, 0, 1], tables[1, 2, 0] = -0.5, 2.0
    tables[:, 1, :] = -np.inf  # forbidden
    np.testing.assert_array_equal(
        tried_actions(tables), [[False, True], [False, False], [True, False]]
    )
    tables[1, 0] = [3, 4]
    np.testing.assert_array_equal(
        greedy_actions(tables), [[True, True], [True, False], [True, False]]
    )
