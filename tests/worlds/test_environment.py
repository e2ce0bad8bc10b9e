"""The environment keeps Gymnasium's contract, and the compiled loop keeps the environment's."""

import numpy as np
import pytest
from gymnasium.utils.env_checker import check_env
from hypothesis import given
from hypothesis import strategies as st

from worlds.gridworld.environment import (
    AGENT,
    BLOCK,
    EMPTY,
    EXIT,
    EXIT_CELL,
    GOLD,
    MAX_STEPS,
    START,
    TARGETS,
    GridWorld,
    draw_layout,
)
from worlds.gridworld.optimum import optimal_return
from worlds.gridworld.sarsa import WEIGHTS, compiled_step, replay, train

ACTIONS = st.lists(st.integers(0, 4), min_size=1, max_size=MAX_STEPS)


def greedy_return(layout, q_table, target):
    """Follow the Q-table greedily; return the undiscounted reward."""
    grid, row, column, total = layout.copy(), 0, 0, 0.0
    for _ in range(MAX_STEPS):
        action = int(q_table[16 * row + column].argmax())
        row, column, reward, terminated = compiled_step(grid, row, column, action, *WEIGHTS[target])
        total += reward
        if terminated:
            break
    return total


@pytest.mark.parametrize("target", TARGETS)
def test_environment_passes_gymnasiums_check(target):
    check_env(GridWorld(target), skip_render_check=True)


def test_layout_has_what_the_contract_says():
    layout = draw_layout(38)
    counts = {value: int((layout == value).sum()) for value in (GOLD, BLOCK, START, EXIT, EMPTY)}
    assert counts == {GOLD: 50, BLOCK: 50, START: 1, EXIT: 1, EMPTY: 154}
    assert layout[0, 0] == START and layout[15, 15] == EXIT and layout.dtype == np.int8
    assert (draw_layout(38) == layout).all() and (draw_layout(39) != layout).any()


@given(seed=st.integers(0, 10_000), target=st.sampled_from(TARGETS), actions=ACTIONS)
def test_compiled_loop_agrees_with_the_environment_step_by_step(seed, target, actions):
    environment = GridWorld(target)
    observation, info = environment.reset(seed=seed)
    grid, row, column = draw_layout(seed), 0, 0
    states = replay(grid, np.array(actions, dtype=np.int8))
    np.testing.assert_array_equal(states[0], observation)
    for t, action in enumerate(actions):
        observation, reward, terminated, truncated, info = environment.step(action)
        row, column, compiled_reward, compiled_end = compiled_step(
            grid, row, column, action, *WEIGHTS[target]
        )
        assert (row, column) == info["position"]
        assert (compiled_reward, compiled_end) == (reward, terminated)
        assert truncated == (t + 1 == MAX_STEPS and not terminated)
        np.testing.assert_array_equal(states[t + 1], observation)
        if terminated:
            break


def test_rewards_worked_by_hand():
    environment = GridWorld("combined")
    environment.reset(seed=0)
    layout = np.full((16, 16), EMPTY, dtype=np.int8)
    layout[0, 0], layout[15, 15], layout[0, 1], layout[0, 3] = START, EXIT, GOLD, BLOCK
    environment._layout = layout
    environment.reset()
    assert environment.step(0)[1] == 1 + 1  # gold, one step nearer
    assert environment.step(2)[1] == -10  # a block, two steps nearer
    observation, reward, *_ = environment.step(4)
    assert reward == 2  # free cell, two steps nearer
    assert observation[0, 3] == BLOCK and observation[0, 1] == EMPTY and observation[1, 4] == AGENT


def test_a_move_off_the_grid_stays_and_earns_nothing():
    environment = GridWorld("path")
    environment.reset(seed=1)
    for _ in range(15):
        environment.step(1)
    position = environment.step(1)[4]["position"]
    assert position == (15, 0)
    assert environment.step(3)[1] == 0.0


def test_an_episode_ends_at_the_exit_or_after_33_steps():
    environment = GridWorld("path")
    environment.reset(seed=1)
    for _ in range(14):
        environment.step(4)
    _, reward, terminated, truncated, info = environment.step(4)
    assert (reward, terminated, truncated, info["position"]) == (100.0, True, False, EXIT_CELL)
    environment.reset()
    ends = [environment.step(1)[2:4] for _ in range(MAX_STEPS)]
    assert ends[-2:] == [(False, False), (False, True)]


def test_reset_without_a_seed_brings_the_gold_back():
    environment = GridWorld("gold", layout_seed=3)
    before, _ = environment.reset()
    for action in (4, 4, 4, 0, 1):
        environment.step(action)
    after, _ = environment.reset()
    np.testing.assert_array_equal(before, after)


def test_unknown_target_is_refused():
    with pytest.raises(ValueError, match="target must be one of"):
        GridWorld("silver")


def test_optimum_of_an_empty_grid_is_known():
    layout = np.full((16, 16), EMPTY, dtype=np.int8)
    layout[0, 0], layout[15, 15] = START, EXIT
    assert optimal_return(layout, "path") == 29 + 100  # the last step of one earns 100 instead
    assert optimal_return(layout, "gold") == 100
    layout[0, 1] = layout[1, 0] = GOLD  # only one of them can be had
    assert optimal_return(layout, "gold") == 101


def test_training_is_reproducible_and_saves_evenly():
    first, second = (train(draw_layout(5), "gold", 500, 6, seed=5) for _ in range(2))
    assert [saved.episode for saved in first] == [0, 100, 200, 299, 399, 499]
    for a, b in zip(first, second, strict=True):
        assert a.reward == b.reward
        np.testing.assert_array_equal(a.q_table, b.q_table)
        np.testing.assert_array_equal(a.states, b.states)


@pytest.mark.slow
def test_learning_is_real():
    seeds = range(40)
    for target, share in (("path", 0.99), ("gold", 0.93)):
        reached, early, late = [], [], []
        for seed in seeds:
            layout = draw_layout(seed)
            saved = train(layout, target, 50_000, 6, seed)
            optimum = optimal_return(layout, target)
            reached.append(greedy_return(layout, saved[-1].q_table, target) / optimum)
            early.append(saved[1].reward)
            late.append(saved[-1].reward)
        assert np.mean(reached) >= share
        assert np.mean(early) < np.mean(late)
        assert max(reached) <= 1.0
