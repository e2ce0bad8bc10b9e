"""What is learned of the unknown from what was recorded only once."""

import numpy as np
import pytest

from pi2vec.departures import Departures, find_departures, judge_guesses
from worlds.episodes import Episodes

HORIZON = 5


def record(actions, rewards, lengths):
    ended = np.ones(len(lengths), bool)
    observations = np.zeros(len(actions) + len(lengths), int)
    return Episodes(
        observations, np.array(actions), np.array(rewards, float), np.array(lengths), ended, ~ended
    )


def test_departures_by_hand():
    """Pair 4 occurs twice, but in one episode; pairs 0 and 1 in several."""
    first = record([0, 4, 4, 1], [1, 2, 3, 4], [4])
    second = record([0, 1, 7], [10, 20, 30], [2, 1])
    pairs = np.concatenate([first.actions, second.actions])
    found = find_departures([first, second], pairs)
    np.testing.assert_array_equal(found.policies, [0, 1])
    np.testing.assert_array_equal(found.times, [1, 0])
    np.testing.assert_array_equal(found.returns, [2 + 3 + 4, 30])
    assert found.typical_variance == pytest.approx(np.var([10, 30, 30]))


def depart(returns, n_each):
    """Departures with three steps left, `n_each` of every policy."""
    policies = np.arange(len(returns)) // n_each
    return Departures(policies, np.full(len(returns), 2), np.array(returns, float), 7.0)


def guess(n_policies, value=0.0):
    return np.full((n_policies, HORIZON + 1), value)


def test_a_constant_error_by_hand():
    """The prior variance of 7 counts for one degree of freedom beside the three of the errors."""
    errors = judge_guesses(depart([-4.0] * 6, 2), guess(3, value=1.0))
    assert errors.spread == pytest.approx(7 / 4)
    assert errors.mean == pytest.approx(-5 * (1 - 7 / 4 / 6 / 5**2))
    assert errors.variance == pytest.approx(7 / 4 / 6 + (5 + errors.mean) ** 2)


def test_the_guess_is_that_for_the_steps_left():
    guesses = np.arange(HORIZON + 1.0)[None]
    errors = judge_guesses(Departures(np.zeros(3, int), np.arange(3), np.ones(3), 0.0), guesses)
    assert errors.mean == pytest.approx(-3, rel=0.1)  # 1 - 5, 1 - 4, 1 - 3


def test_errors_by_chance_are_not_corrected():
    errors = judge_guesses(depart([9.0, -10, 11, -9, 10, -11], 2), guess(3))
    assert errors.mean == 0 and errors.spread > 50


def test_components_are_found_again():
    rng = np.random.default_rng(0)
    returns = rng.normal(8, 3, 400).repeat(5) + rng.normal(0, 2, 2_000)
    errors = judge_guesses(depart(returns, 5), guess(400))
    assert errors.mean == pytest.approx(8, abs=0.5)
    assert errors.variance == pytest.approx(9, rel=0.2)
    assert errors.spread == pytest.approx(4, rel=0.2)


def test_without_departures_doubt_is_that_of_any_episode():
    nothing = Departures(np.zeros(0, int), np.zeros(0, int), np.zeros(0), 7.0)
    errors = judge_guesses(nothing, guess(2))
    assert (errors.mean, errors.variance, errors.spread) == (0, 7, 7)
    assert judge_guesses(depart([1.0], 1), guess(0)).mean == 0  # of policies left out
