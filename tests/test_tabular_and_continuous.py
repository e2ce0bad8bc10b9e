"""Recordings as arrays, and phi of discrete and of vector worlds."""

import numpy as np
import pytest

from library.errors import UnusableRecording
from worlds import continuous, tabular
from worlds.episodes import Episodes

VALID = {
    "observations": np.arange(7.0)[:, None] * [1.0, -2.0],
    "actions": np.array([0, 1, 1, 0, 2]),
    "rewards": np.array([1.0, 2, 3, 4, 5]),
    "lengths": np.array([2, 3]),
    "terminated": np.array([True, False]),
    "truncated": np.array([False, True]),
}


def test_episodes_by_hand():
    both = Episodes(**VALID)
    np.testing.assert_array_equal(both.returns, [3, 12])
    np.testing.assert_array_equal(both.first_observations, [0, 3])
    np.testing.assert_array_equal(both.before, [0, 1, 3, 4, 5])
    np.testing.assert_array_equal(both.times, [0, 1, 0, 1, 2])
    np.testing.assert_array_equal(both.terminal, [False, True, False, False, False])


def test_taking_episodes():
    both = Episodes(**VALID)
    second = both.take(np.array([1]))
    np.testing.assert_array_equal(second.rewards, [3, 4, 5])
    np.testing.assert_array_equal(second.observations, both.observations[3:])
    swapped = both.take(np.array([1, 0])).take(np.array([1, 0]))
    for name, array in VALID.items():
        np.testing.assert_array_equal(getattr(swapped, name), array)


@pytest.mark.parametrize(
    ("field", "broken", "message"),
    [
        ("observations", np.zeros((6, 2)), "observations have 6 rows, must have 7"),
        ("observations", np.full((7, 2), np.nan), "observations have NaN"),
        ("observations", np.array(["a"] * 7), "must be numbers"),
        ("actions", np.zeros(4), "actions have 4 rows, must have 5"),
        ("rewards", np.zeros((5, 1)), r"rewards have shape \(5, 1\)"),
        ("rewards", np.full(5, np.inf), "rewards have NaN or infinity"),
        ("lengths", np.array([5, 0]), "an episode has no step"),
        ("lengths", np.array([2.0, 3.0]), "must be integers"),
        ("lengths", np.array([], int), "must be integers"),
        ("lengths", np.array([2**62, 2**62]), "must have"),
        ("lengths", np.array(5), "single number"),
        ("terminated", np.array([1, 0]), "terminated are int64, must be bool"),
        ("truncated", np.array([True]), r"truncated have shape \(1,\)"),
    ],
)
def test_broken_recordings_are_refused(field, broken, message):
    with pytest.raises(UnusableRecording, match=message):
        Episodes(**{**VALID, field: broken})


@pytest.fixture
def pushed():
    """A vector world with vector actions between -2 and 6."""
    both = Episodes(**{**VALID, "actions": np.array([[-2.0], [2], [6], [4], [0]])})
    return both, continuous.fit_world([both], 0, np.array([[-2.0], [6]]), horizon=10)


def column(phi, world, name):
    return phi[:, continuous.feature_names(world).index(name)]


def test_vector_features_by_hand(pushed):
    both, world = pushed
    phi = continuous.episode_features(both, world)
    assert phi.shape == (5, len(continuous.feature_names(world))) and phi.dtype == np.float32
    z = (np.arange(7) - 3) / 2  # the numbers 0 to 6 have mean 3 and standard deviation 2
    np.testing.assert_allclose(column(phi, world, "z_0"), z[both.before])
    np.testing.assert_allclose(column(phi, world, "z_squared_1"), z[both.before] ** 2)
    np.testing.assert_allclose(column(phi, world, "change_1"), -0.5)
    np.testing.assert_allclose(column(phi, world, "moved_1"), 0.5)
    np.testing.assert_allclose(column(phi, world, "action_0"), [-1, 0, 1, 0.5, -0.5])
    np.testing.assert_allclose(column(phi, world, "action_size_0"), [1, 0, 1, 0.5, 0.5])
    np.testing.assert_allclose(column(phi, world, "terminated"), [0, 1, 0, 0, 0])
    np.testing.assert_allclose(column(phi, world, "elapsed"), [0, 0.1, 0, 0.1, 0.2], rtol=1e-6)
    assert np.abs(phi[:, -continuous.N_WAVES :]).max() <= 1


def test_energy(pushed):
    both, world = pushed
    assert continuous.energy(both, world) == pytest.approx((1 + 0 + 1 + 0.25 + 0.25) / 5)
    chosen = continuous.fit_world([Episodes(**VALID)], 3, None, 10)
    assert continuous.energy(Episodes(**VALID), chosen) is None


def test_actions_count_in_units_of_their_bounds_and_no_more(pushed):
    _, world = pushed
    asked = np.array([[-99.0], [-2], [0], [6], [99]])
    np.testing.assert_allclose(continuous.encode_actions(asked, world)[:, 0], [-1, -1, -0.5, 1, 1])


def test_embedding_identities(pushed):
    both, world = pushed
    phi = continuous.episode_features(both, world)
    np.testing.assert_allclose(
        continuous.embed(both, world, gamma=0.0), phi[[0, 2]].mean(axis=0), rtol=1e-5, atol=1e-6
    )
    total = continuous.embed(both, world, gamma=1.0)
    np.testing.assert_allclose(total, phi.sum(axis=0) / 2, rtol=1e-5, atol=1e-5)
    constant = continuous.embed(both, world, gamma=0.9)[0]
    expected = np.mean([(1 - 0.9**length) / 0.1 for length in both.lengths])
    assert constant == pytest.approx(expected)


def test_discrete_actions_of_a_vector_world():
    both = Episodes(**VALID)
    world = continuous.fit_world([both], 3, None, horizon=10)
    phi = continuous.episode_features(both, world)
    np.testing.assert_array_equal(column(phi, world, "action_2"), [0, 0, 0, 0, 1])
    names = continuous.feature_names(world)
    assert len(names) == len(set(names)) == phi.shape[1]


def test_observations_that_do_not_vary_and_outliers():
    still = Episodes(**{**VALID, "observations": np.full((7, 2), 1e8)})
    world = continuous.fit_world([still], 3, None, horizon=10)
    np.testing.assert_allclose(continuous.standardise(still.observations, world), 0)
    far = np.array([[1e30, -1e30]])
    np.testing.assert_array_equal(continuous.standardise(far, world), [[5, -5]])


def test_tabular_features_by_hand():
    both = Episodes(**{**VALID, "observations": np.array([0, 3, 1, 2, 2, 3, 0])})
    phi = tabular.episode_features(both, n_states=4, n_actions=3)
    assert phi.shape == (5, len(tabular.feature_names(4, 3))) and phi.dtype == np.float32
    np.testing.assert_array_equal(phi[1], [0, 0, 0, 1, 0, 1, 0, 1])
    np.testing.assert_array_equal(phi[:, :4].argmax(axis=1), [0, 3, 2, 2, 3])


def test_many_states_share_columns():
    columns, signs = tabular.state_columns(5_000)
    assert len(columns) == len(signs) == 5_000 and columns.max() < tabular.MAX_COLUMNS
    assert set(np.unique(signs)) == {-1, 1}
    assert len(tabular.feature_names(5_000, 2)) == tabular.MAX_COLUMNS + 3


def test_an_action_that_is_not_known_has_no_column():
    phi = tabular.state_action_features(np.array([1, 0]), np.array([-1, 1]), np.zeros(2), (2, 2))
    np.testing.assert_array_equal(phi, [[0, 1, 0, 0, 0], [1, 0, 0, 1, 0]])


@pytest.mark.parametrize(
    ("field", "broken", "message"),
    [
        ("observations", np.array([0, 3, 1, 2, 2, 4, 0]), "0 to 4, must be 0 to 3"),
        ("observations", np.zeros((7, 1), int), "whole numbers"),
        ("observations", np.array([0, 3, 1, -1, 2, 3, 0]), "-1 to 3, must be 0 to 3"),
        ("observations", np.array([0.0, 3, 1, 2, 2, 3, 0]), "whole numbers"),
        ("actions", np.array([0, -1, 1, 0, 2]), "-1 to 2, must be 0 to 2"),
        ("actions", np.array([0, 3, 1, 0, 2]), "0 to 3, must be 0 to 2"),
    ],
)
def test_recordings_of_another_discrete_world_are_refused(field, broken, message):
    valid = {**VALID, "observations": np.array([0, 3, 1, 2, 2, 3, 0])}
    tabular.check_recording(Episodes(**valid), 4, 3)
    tabular.check_recording(Episodes(**{**valid, "actions": np.full(5, 2)}), 4, 3)  # always one
    with pytest.raises(UnusableRecording, match=message):
        tabular.check_recording(Episodes(**{**valid, field: broken}), 4, 3)


@pytest.mark.parametrize(
    ("changes", "sizes", "message"),
    [
        ({}, (3, 3, 0), r"\(n, 3\)"),
        ({}, (2, 2, 0), "0 to 2, not 0 to 1"),
        ({}, (2, 0, 1), r"\(n, 1\)"),
        ({"observations": np.zeros(7)}, (2, 3, 0), r"shape \(7,\)"),
        ({"actions": np.array([0, -1, 1, 0, 2])}, (2, 3, 0), "-1 to 2"),
        ({"actions": np.zeros(5)}, (2, 3, 0), "whole numbers"),
        ({"actions": np.zeros((5, 1), int)}, (2, 3, 0), "whole numbers"),
        ({"actions": np.zeros((5, 2))}, (2, 0, 1), r"\(n, 1\)"),
    ],
)
def test_recordings_of_another_vector_world_are_refused(changes, sizes, message):
    continuous.check_recording(Episodes(**VALID), 2, 3, 0)
    continuous.check_recording(Episodes(**{**VALID, "actions": np.zeros((5, 1))}), 2, 0, 1)
    with pytest.raises(UnusableRecording, match=message):
        continuous.check_recording(Episodes(**{**VALID, **changes}), *sizes)
