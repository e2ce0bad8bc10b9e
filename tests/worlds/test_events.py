"""The events of a step are all that rewards are made of, in this world and the published one."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.worlds.published_rules import PublishedGrid, draw_grid
from worlds.gridworld.environment import GridWorld, draw_layout
from worlds.gridworld.events import episode_events
from worlds.gridworld.names import EVENT_NAMES
from worlds.gridworld.route import roll_out
from worlds.gridworld.rules import AGENT, EXIT, HAZARD, GridRules, without_agent

# What each target pays for each event: the published rewards, written as weights.
PUBLISHED = {
    "path": {"exit_progress": 1, "on_exit": 100, "moved": -0.1},
    "gold": {
        "gold_progress": 1,
        "took_gold": 5,
        "exit_progress_after_gold": 1,
        "exit_with_all_gold": 100,
        "exit_gold_missing": -10,
        "moved": -0.01,
    },
    "hazard": {"hazards_passed": 2, "on_exit": 100, "moved": -0.1, "exit_progress": 1},
    "lever": {
        "took_lever": 20,
        "lever_progress": 1,
        "exit_progress_after_lever": 1,
        "on_exit": 20,
        "exit_with_lever": 60,
        "moved": -0.1,
    },
    "path-gold": {
        "exit_progress": 1,
        "on_exit": 100,
        "moved": -0.11,
        "gold_progress": 1,
        "took_gold": 5,
        "exit_with_all_gold": 100,
        "exit_gold_missing": -10,
    },
    "gold-lever": {
        "gold_progress": 1,
        "took_gold": 5,
        "exit_progress_after_both": 1,
        "exit_with_all_gold": 100,
        "exit_gold_missing": -10,
        "took_lever": 20,
        "lever_progress": 1,
        "exit_progress_after_lever": 1,
        "on_exit": 20,
        "exit_with_lever": 60,
        "moved": -0.11,
    },
}
ALWAYS = {"stayed": -0.1, "entered_hazard": -100}


@given(
    seed=st.integers(0, 10_000),
    target=st.sampled_from(sorted(PUBLISHED)),
    actions=st.lists(st.integers(0, 3), min_size=1, max_size=60),
)
def test_published_rewards_are_linear_in_the_events(seed, target, actions):
    start = draw_grid(np.random.default_rng(seed))
    rules, world = GridRules(*start.shape, 4), PublishedGrid(start)
    grid, cell = without_agent(start)
    states, total = [start], 0.0
    for action in actions:
        reward, ended = world.step(action, target)
        total += reward
        cell = rules.destination(grid, cell, action)
        assert cell == world.cell
        shown = world.grid.copy()
        shown[cell] = AGENT
        states.append(shown)
        if ended:
            break
    states = np.stack(states)
    agent = np.argwhere(states == AGENT)[:, 1:]
    sums = episode_events(states, agent, np.argwhere(start == EXIT)[0]).sum(axis=0)
    weights = PUBLISHED[target] | ALWAYS
    predicted = sum(weights.get(n, 0) * s for n, s in zip(EVENT_NAMES, sums, strict=True))
    assert predicted == pytest.approx(total)


@given(seed=st.integers(0, 10_000))
def test_a_roll_out_does_what_the_published_world_does(seed):
    rng = np.random.default_rng(seed)
    start = draw_grid(rng)
    rules, world = GridRules(*start.shape, 4), PublishedGrid(start)
    table = rng.normal(size=(rules.n_cells, 4))
    states, actions = roll_out(rules, start, table)
    for state, action in zip(states[1:], actions, strict=True):
        row, column = world.cell
        assert action == table[rules.width * row + column].argmax()
        _, ended = world.step(int(action), "path")
        shown = world.grid.copy()
        shown[world.cell] = AGENT
        np.testing.assert_array_equal(state, shown)
    assert ended or len(actions) == rules.step_limit
    before = states[-2][tuple(np.argwhere(states[-1] == AGENT)[0])]
    assert ended == (before in (EXIT, HAZARD))


@given(seed=st.integers(0, 1_000))
def test_a_roll_out_does_what_the_environment_does(seed):
    table = np.random.default_rng(seed).normal(size=(256, 5))
    environment = GridWorld("path")
    observation, info = environment.reset(seed=seed)
    states, actions = roll_out(GridRules(16, 16, 5), observation, table)
    for t, action in enumerate(actions):
        row, column = info["position"]
        assert action == table[16 * row + column].argmax()
        observation, _, terminated, truncated, info = environment.step(action)
        np.testing.assert_array_equal(states[t + 1], observation)
    assert terminated or truncated


def test_names_of_worlds_are_read_as_they_are_written():
    for rules in (GridRules(16, 16, 5), GridRules(3, 200, 4)):
        assert GridRules.from_name(rules.name) == rules
    for name in ("gridworld-8x8-6", "gridworld-0x8-4", "CartPole-v1", "gridworld-8x8-4 "):
        assert GridRules.from_name(name) is None
    assert GridRules.from_name("gridworld-16x16-5").step_limit == 33


def test_the_demonstration_has_the_rules_of_its_world():
    layout = draw_layout(3)
    assert GridRules(16, 16, 5).destination(layout, (15, 3), 1) == (15, 3)
    assert GridRules(16, 16, 5).destination(layout, (0, 0), 4) == (1, 1)
