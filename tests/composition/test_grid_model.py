"""The planner's own dynamics and events are those of the world."""

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from composition.grid_model import GridModel, StepRewards
from composition.planning import walk
from tests.worlds.published_rules import draw_grid
from worlds.gridworld.environment import draw_layout
from worlds.gridworld.events import episode_events
from worlds.gridworld.route import roll_out
from worlds.gridworld.rules import AGENT, EXIT, GOLD, LEVER, GridRules


def draw_start(rng, n_moves):
    """Draw a first grid of either kind, with two levers at times."""
    if n_moves == 5:
        start = draw_layout(int(rng.integers(1_000)))
        start[0, 0] = AGENT
        return start
    start = draw_grid(rng)
    if rng.random() < 0.3:
        start[start == GOLD] = LEVER if rng.random() < 0.5 else 0
    return start


def events_of(start, states):
    agent = np.argwhere(states == AGENT)[:, 1:]
    return episode_events(states, agent, np.argwhere(start == EXIT)[0]).sum(axis=0)


@given(seed=st.integers(0, 10_000), n_moves=st.sampled_from((4, 5)))
def test_a_walk_is_a_roll_out_with_its_events(seed, n_moves):
    rng = np.random.default_rng(seed)
    start = draw_start(rng, n_moves)
    rules = GridRules(*start.shape, n_moves)
    model, table = GridModel.from_start(rules, start), rng.normal(size=(rules.n_cells, n_moves))
    states, actions = roll_out(rules, start, table)
    walked = walk(model, table[np.newaxis])
    assert walked.actions == actions.tolist()
    np.testing.assert_allclose(walked.events, events_of(start, states), atol=1e-9)


@given(seed=st.integers(0, 10_000))
def test_a_walk_by_stages_uses_the_next_table_after_each_item(seed):
    rng = np.random.default_rng(seed)
    start = draw_grid(rng)
    rules = GridRules(*start.shape, 4)
    model, tables = GridModel.from_start(rules, start), rng.normal(size=(3, rules.n_cells, 4))
    n_taken, cell, taken = 0, model.start, set()
    for action in walk(model, tables).actions:
        assert action == tables[min(n_taken, 2), cell].argmax()
        cell = int(model.destinations[cell, action])
        if cell in model.items and cell not in taken:
            taken.add(cell)
            n_taken += 1


@given(seed=st.integers(0, 10_000), n_moves=st.sampled_from((4, 5)))
def test_what_steps_earn_is_the_worth_of_their_events(seed, n_moves):
    rng = np.random.default_rng(seed)
    start = draw_start(rng, n_moves)
    model = GridModel.from_start(GridRules(*start.shape, n_moves), start)
    cells, actions = rng.integers(start.size, size=50), rng.integers(n_moves, size=50)
    left = rng.random((50, len(model.items))) < 0.7
    weights = rng.normal(size=model.plain_events.shape[2]) * (rng.random(18) < 0.5)
    remaining, events = model.step(cells, actions, left)
    took, after, rewards = StepRewards(model, weights)(cells, actions, left)
    np.testing.assert_array_equal(after, remaining)
    np.testing.assert_array_equal(took, (left != remaining).any(axis=1))
    np.testing.assert_allclose(rewards, events @ weights, atol=1e-9)


@given(seed=st.integers(0, 10_000), n_moves=st.sampled_from((4, 5)))
def test_destinations_are_those_of_the_rules(seed, n_moves):
    start = draw_start(np.random.default_rng(seed), n_moves)
    rules = GridRules(*start.shape, n_moves)
    model = GridModel.from_start(rules, start)
    for number, cell in enumerate(np.ndindex(start.shape)):
        for action in range(n_moves):
            row, column = rules.destination(model.layout, cell, action)
            assert model.destinations[number, action] == row * rules.width + column
