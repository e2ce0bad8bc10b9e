"""Worlds that counts leave possible: near the truth on many counts, wide on few."""

import numpy as np
import pytest

from composition.beliefs import fit_slope, preferences
from composition.outcomes import count_weighted
from composition.posterior import N_UNSEEN, PossibleWorlds, Table, is_too_large
from tests.composition.chance_worlds import slippery_grid


def draw(outcomes, horizon=60):
    return PossibleWorlds.draw(outcomes, horizon, np.random.default_rng(0))


def exact_counts(world, n):
    """Count as if every pair had been recorded n times, in the true shares."""
    pairs = [
        (s, a, -1 if world.terminal[t] else t, world.arrival[t], n * p)
        for (s, a, t), p in np.ndenumerate(world.transitions)
        if p and not world.terminal[s]
    ]
    merged: dict = {}
    for s, a, t, reward, count in pairs:
        sum_, number = merged.get((s, a, t), (0.0, 0.0))
        merged[s, a, t] = (sum_ + reward * count, number + count)
    numbers = np.array(list(merged))
    sums, counts = np.array(list(merged.values())).T
    sizes = world.transitions.shape[:2]
    return count_weighted(numbers, sums / counts, counts, np.array([world.start]), sizes)


def test_counts_are_arranged_by_state():
    numbers = np.array([[0, 0, 2], [0, 1, -1], [2, 1, 2]])
    table = Table.of(
        count_weighted(
            numbers, np.array([1.0, 5.0, 0.0]), np.array([3, 2, 4]), np.array([0]), (3, 2)
        )
    )
    assert table.states.tolist() == [0, 2]
    assert table.following.tolist() == [[2, 3], [2, 3]]  # 3: the end, or nothing
    assert table.is_there.tolist() == [[True, True], [True, False]]
    assert table.counts.tolist() == [[[3, 0], [0, 2]], [[0, 0], [4, 0]]]
    assert table.rewards[0].tolist() == [[1, 5], [1, 5]]
    assert table.recorded.tolist() == [[True, True], [False, True]]


def test_chances_are_chances_and_many_counts_leave_one_world():
    world = slippery_grid()
    worlds = draw(exact_counts(world, 100_000))
    assert worlds.stays.shape == worlds.rewards.shape
    sums = worlds.chances.sum(axis=2) + worlds.stays
    assert (sums <= 1 + 1e-9).all() and (sums > 0.99).all()  # the rest: unseen ends
    choice = world.q_values().argmax(axis=1)
    returns, _ = worlds.value(choice)
    assert returns == pytest.approx(world.value(choice), rel=0.01)
    everything = np.ones(worlds.rewards.shape, dtype=bool)
    assert worlds.optimum(everything) == pytest.approx(world.value(), rel=0.01)
    best = max(world.value(plan) for plan in worlds.plan(everything[..., 0]))
    assert best >= 0.99 * world.value(choice)


def test_few_counts_leave_many_worlds_and_the_truth_among_them():
    inside, spreads = [], {2: [], 50: []}
    for seed in range(8):
        world = slippery_grid(seed=seed)
        choice = world.q_values().argmax(axis=1)
        for n, of_n in spreads.items():
            episodes = world.record(choice, 2 * n, np.random.default_rng(seed), 0.3)
            returns, _ = draw(world.count(episodes)).value(choice)
            of_n.append(returns.std())
            inside.append(abs(returns.mean() - world.value(choice)) < 3 * returns.std())
    assert np.mean(spreads[2]) > 2 * np.mean(spreads[50])
    assert np.mean(inside) > 0.8


def test_without_chance_few_records_are_enough():
    # 0 -> 1 -> the end, by action 0; action 1 stays
    numbers = np.array([[0, 0, 1], [0, 1, 0], [1, 0, -1], [1, 1, 1]])
    rewards = np.array([0.0, 0.0, 1.0, 0.0])
    once, often = (
        draw(count_weighted(numbers, rewards, np.full(4, n), np.array([0]), (2, 2)), 10)
        for n in (1, 100)
    )
    for worlds, least in ((once, 0.8), (often, 0.98)):
        returns, _ = worlds.value(np.array([0, 0]))
        assert 1.0 >= returns.mean() > least


@pytest.mark.parametrize("pays", [0.0, -3.0])
def test_an_end_that_was_not_seen_pays_as_little_as_the_worst_that_was(pays):
    """Whatever other steps cost. 1 and 2 may lead to as many places as 0, which is known well."""
    numbers = np.array([[0, 0, 1], [0, 0, 2], [0, 1, -1], [1, 0, -1], [2, 0, 0]])
    rewards, counts = np.array([-5.0, -5.0, pays, pays, -5.0]), np.array([9, 9, 9, 1, 1])
    worlds = draw(count_weighted(numbers, rewards, counts, np.array([0]), (3, 2)), 10)
    seen = np.einsum("nakm,nak->nam", worlds.chances, worlds.table.rewards)
    unseen_ends = 1 - worlds.chances.sum(axis=2) - worlds.stays
    assert unseen_ends.max() > 0.01
    np.testing.assert_allclose(worlds.rewards, seen + pays * unseen_ends, atol=1e-12)


def test_worlds_of_many_states_are_too_large():
    n = 100_000
    chain = np.column_stack([np.arange(n - 1), np.zeros(n - 1, int), np.arange(1, n)])
    counted = count_weighted(chain, np.zeros(n - 1), np.ones(n - 1), np.array([0]), (n, 10))
    assert is_too_large(counted)
    assert not is_too_large(exact_counts(slippery_grid(), 1))
    assert N_UNSEEN > 0


def test_tables_are_believed_as_far_as_they_were_right():
    rng = np.random.default_rng(0)
    truth = rng.normal(size=(200, 4))
    recorded = np.ones((200, 4), dtype=bool)
    good, random = truth + 0.1 * rng.normal(size=truth.shape), rng.normal(size=truth.shape)
    slopes = [
        fit_slope(preferences(tables[np.newaxis]), truth[..., np.newaxis], recorded)
        for tables in (good, random, -good)
    ]
    assert slopes[0] > 3 and slopes[1] < 0.3 and slopes[2] == 0
    assert fit_slope(truth, truth[..., np.newaxis], recorded & False) == 1.5
    scaled = preferences(np.stack([good, 1000 * good, good]))
    np.testing.assert_allclose(scaled, preferences(good[np.newaxis]))
    good[0, 0] = -np.inf
    assert np.isfinite(preferences(good[np.newaxis])).all()
