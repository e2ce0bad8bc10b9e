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


def test_errors_by_hand():
    """Errors -6, -4, -4, -6 of two policies, then with both of each policy alike."""
    errors = judge_guesses(depart([-5.0, -3, -3, -5], 2), guess(2, value=1.0))
    assert (errors.mean, errors.variance) == (-5, 0)
    errors = judge_guesses(depart([-5.0, -5, -3, -3], 2), guess(2, value=1.0))
    of_mean = (2**2 + 2**2) / 4**2 * 2  # sums of -2 and 2 around -5
    assert errors.mean == pytest.approx(-5 * (1 - of_mean / 25))
    assert errors.variance == pytest.approx(of_mean + (5 + errors.mean) ** 2)


def test_the_guess_is_that_for_the_steps_left():
    guesses = np.tile(np.arange(HORIZON + 1.0), (2, 1))
    times, returns = np.array([0, 2, HORIZON]), np.array([1.0, -1, 100])  # the last one: too late
    errors = judge_guesses(Departures(np.array([0, 1, 1]), times, returns, 7.0), guesses)
    assert errors.mean == -4  # 1 - 5 and -1 - 3


def test_errors_by_chance_are_not_corrected():
    errors = judge_guesses(depart([9.0, -10, 11, -9, 10, -11], 1), guess(6))
    assert errors.mean == 0 and errors.variance == pytest.approx(604 / 6**2 * 6 / 5)


def test_policies_differ_from_guesses_as_guesses_differ():
    errors = judge_guesses(depart([1.0, 3.0], 1), np.array([[0.0] * 6, [2.0] * 6]))
    assert errors.variance == pytest.approx(1) and errors.mean == pytest.approx(1)


def test_without_departures_doubt_is_that_of_any_episode():
    nothing = Departures(np.zeros(0, int), np.zeros(0, int), np.zeros(0), 7.0)
    errors = judge_guesses(nothing, guess(2))
    assert (errors.mean, errors.variance) == (0, 7)
    assert judge_guesses(depart([1.0], 1), guess(0)).mean == 0  # of policies left out
