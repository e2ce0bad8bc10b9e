"""What a target pays for, found in its recordings, and how rewards add up."""

import numpy as np
import pytest

from composition.grid_model import EVENT
from composition.rewards import combine, documented_joint, fit_reward
from worlds.gridworld.names import EVENT_NAMES
from worlds.gridworld.rewards import DEMONSTRATION, PUBLISHED

N = 40


def draw_events(seed=0, n=N):
    """Draw events of episodes, all different, so that they tell every weight."""
    return np.random.default_rng(seed).integers(0, 9, (n, len(EVENT_NAMES))).astype(float)


@pytest.mark.parametrize("name", ["gold", "GOLD", "gold-path", "treasure"])
@pytest.mark.parametrize("family", [DEMONSTRATION, PUBLISHED])
def test_a_documented_reward_is_known_by_what_is_earned(name, family):
    """The name only decides between parts that explain the recordings equally well."""
    events, parts = draw_events(), {"gold"}
    found = fit_reward(name, events, events @ family.reward(parts))
    assert (found.family, found.parts) == (family, frozenset(parts)) and found.known.all()
    np.testing.assert_array_equal(found.weights, family.reward(parts))
    assert found.deviation(events[0]) == 0.0


def test_of_documented_rewards_that_explain_alike_the_named_one_counts():
    events = np.zeros((6, len(EVENT_NAMES)))
    events[:, EVENT["stayed"]] = np.arange(6)  # nothing else happened: any parts explain it
    rewards = events @ PUBLISHED.reward({"lever"})
    assert fit_reward("Lever", events, rewards).parts == {"lever"}
    assert fit_reward("gold-hazard", events, rewards).parts == {"gold", "hazard"}
    assert fit_reward("other", events, rewards).family is None, "nobody knows which"


def test_rewards_are_explained_up_to_a_thousandth():
    events = draw_events()
    exact = events @ DEMONSTRATION.reward({"gold"})
    near, far = exact + 0.0009 * (1 + np.abs(exact)), exact.copy()
    far[3] += 0.002 * (1 + abs(far[3]))
    assert fit_reward("gold", events, near).family is DEMONSTRATION
    assert fit_reward("gold", events, far).family is None


def test_what_nobody_documented_is_fitted_and_says_how_sure_it_is():
    events = draw_events()
    events[:, EVENT["entered_hazard"]] = 0  # never seen
    weights = np.random.default_rng(1).normal(size=len(EVENT_NAMES))
    weights[EVENT["entered_hazard"]] = 0
    found = fit_reward("x", events, events @ weights)
    np.testing.assert_allclose(found.weights, weights, atol=1e-9)
    assert not found.known[EVENT["entered_hazard"]] and found.known.sum() == len(weights) - 1
    assert found.deviation(events[:3].sum(axis=0)) == pytest.approx(0, abs=1e-6)
    noise = np.random.default_rng(2).normal(size=N)
    noisy = fit_reward("x", events, events @ weights + noise)
    explained = events @ noisy.weights - (events @ weights + noise)
    expected = np.sqrt((explained**2).sum() / (N - len(weights) + 1))
    assert noisy.deviation(events[0]) == pytest.approx(expected)


def test_an_episode_like_none_on_record_is_uncertain():
    """Two events that always came together: one without the other may be worth anything."""
    events = np.zeros((5, len(EVENT_NAMES)))
    events[:, EVENT["took_gold"]] = events[:, EVENT["moved"]] = np.arange(1, 6)
    found = fit_reward("x", events, 3.0 * events[:, EVENT["moved"]])
    together, alone = np.zeros((2, len(EVENT_NAMES)))
    together[[EVENT["took_gold"], EVENT["moved"]]] = 4
    alone[EVENT["took_gold"]] = 4
    assert found.deviation(together) == pytest.approx(0, abs=1e-9)
    assert found.deviation(alone) > 3


def test_documented_rewards_join_as_they_are_documented():
    events = draw_events()
    gold, path = (fit_reward(p, events, events @ PUBLISHED.reward({p})) for p in ("gold", "path"))
    joint = PUBLISHED.reward({"gold", "path"})
    np.testing.assert_allclose(documented_joint([gold, path]), joint)
    np.testing.assert_allclose(combine([gold, path], np.ones(2)), joint, atol=1e-12)
    np.testing.assert_allclose(combine([gold], np.array([3.0])), 3 * gold.weights)
    other = fit_reward("gold", events, events @ DEMONSTRATION.reward({"gold"}))
    assert documented_joint([gold, other]) is None


def test_a_weight_is_what_a_target_counts_beyond_what_all_pay():
    """With weight 0 a target adds only what it shares; with 1 each the joint reward comes out."""
    events = draw_events()
    gold, path = (
        fit_reward(p, events, events @ DEMONSTRATION.reward({p})) for p in ("gold", "path")
    )
    only_path = combine([gold, path], np.array([0.0, 1.0]))
    np.testing.assert_allclose(only_path, path.weights, atol=1e-12)
    twice = combine([gold, path], np.array([2.0, 1.0]))
    assert twice[EVENT["took_gold"]] == pytest.approx(2)
    assert twice[EVENT["on_exit"]] == pytest.approx(100), "what all pay counts once"


def test_a_joint_reward_that_was_recorded_tells_what_counts_once():
    events = draw_events()
    rng = np.random.default_rng(3)
    one, other, both = (
        fit_reward("x", events, events @ rng.normal(size=len(EVENT_NAMES))) for _ in range(3)
    )
    np.testing.assert_allclose(combine([one, other], np.ones(2), both), both.weights, atol=1e-9)
