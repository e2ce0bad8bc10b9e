"""phi by hand, for every state that can occur, and enough of it to explain every reward."""

import numpy as np
import pytest

from worlds.gridworld.environment import AGENT, draw_layout
from worlds.gridworld.features import N_FEATURES, episode_features, state_features
from worlds.gridworld.names import FEATURE_NAMES
from worlds.gridworld.sarsa import train


def column(phi, name):
    return phi[:, FEATURE_NAMES.index(name)]


@pytest.fixture
def walk():
    """Four steps on a 2x3 grid: onto gold, onto a block, nowhere, onto the exit."""
    return np.array(
        [
            [[7, 1, 0], [0, -1, 10]],
            [[5, 7, 0], [0, -1, 10]],
            [[5, 0, 0], [0, 7, 10]],
            [[5, 0, 0], [0, 7, 10]],
            [[5, 0, 0], [0, -1, 7]],
        ],
        np.int8,
    )


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("agent_row", [0, 0, 1 / 2, 1 / 2, 1 / 2]),
        ("agent_column", [0, 1 / 3, 1 / 3, 1 / 3, 2 / 3]),
        ("nearest_gold_cols", [1 / 3, 0, 0, 0, 0]),
        ("nearest_gold_distance", [1 / 13**0.5, 1, 1, 1, 1]),
        ("gold_left", [1 / 6, 0, 0, 0, 0]),
        ("exit_rows", [1 / 2, 1 / 2, 0, 0, 0]),
        ("exit_distance", [(5 / 13) ** 0.5, (2 / 13) ** 0.5, 1 / 13**0.5, 1 / 13**0.5, 0]),
        ("wall_down", [0, 1, 1, 1, 1]),
        ("gold_distance_01", [1 / 5, 1, 1, 1, 1]),
        ("gold_distance_02", [1, 1, 1, 1, 1]),
        ("stepped_on_block", [0, 0, 1, 0, 0]),
        ("took_gold", [0, 1, 0, 0, 0]),
        ("on_exit", [0, 0, 0, 0, 1]),
        ("free_progress", [0, 1 / 2, 0, 0, 0]),
        ("stayed", [0, 0, 0, 1, 0]),
        ("moved", [0, 1, 1, 0, 1]),
        ("elapsed", [0, 1 / 5, 2 / 5, 3 / 5, 4 / 5]),
    ],
)
def test_features_by_hand(walk, name, expected):
    np.testing.assert_allclose(column(state_features(walk), name), expected, atol=1e-6)


def test_every_feature_is_named_and_documented():
    from worlds.gridworld import events, features

    documented = features.__doc__ + events.__doc__
    assert len(FEATURE_NAMES) == len(set(FEATURE_NAMES)) == N_FEATURES
    for name in FEATURE_NAMES:
        stems = {name, name.rsplit("_", 1)[0], name.split("_after")[0]}
        assert any(stem in documented for stem in stems), name


@pytest.mark.parametrize("shape", [(8, 8), (20, 12), (1, 1), (16, 16)])
def test_every_state_has_finite_features_of_one_width(shape):
    grid = np.zeros((1, *shape), np.int8)
    grid[0, -1, -1] = AGENT
    phi = state_features(grid)
    assert phi.shape == (1, N_FEATURES) and phi.dtype == np.float32
    assert np.isfinite(phi).all() and column(phi, "on_exit") == 1


def test_more_gold_than_distances():
    grid = np.ones((1, 20, 20), np.int8)
    grid[0, 0, 0] = AGENT
    assert column(state_features(grid), "gold_distance_50") < 1


def test_episodes_do_not_leak_into_each_other(walk):
    alone = [state_features(walk), state_features(walk[2:]), state_features(walk[:1])]
    for one, batched in zip(alone, episode_features([walk, walk[2:], walk[:1]]), strict=True):
        np.testing.assert_array_equal(one, batched)


@pytest.mark.parametrize(
    ("shape", "message"),
    [((2, 2), r"\(T\+1, H, W\)"), ((0, 2, 2), r"\(T\+1, H, W\)"), ((1, 2, 2), "agent")],
)
def test_what_is_no_episode_is_refused(shape, message):
    with pytest.raises(ValueError, match=message):
        state_features(np.zeros(shape, np.int8))


@pytest.mark.parametrize(
    ("target", "gold", "progress"), [("gold", 1, 0), ("path", 0, 2), ("combined", 1, 2)]
)
def test_events_add_up_to_the_reward(target, gold, progress):
    """The features never see a reward, but they see all that it depends on."""
    for saved in train(draw_layout(3), target, 300, 4, seed=3):
        phi = state_features(saved.states)
        total = 100 * column(phi, "on_exit") - 10 * column(phi, "stepped_on_block")
        total += gold * column(phi, "took_gold") + progress * column(phi, "free_progress")
        assert total.sum() == pytest.approx(saved.reward)
