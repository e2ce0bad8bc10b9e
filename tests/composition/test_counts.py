"""Planning on counts: exact on exact counts, near the optimum on many, and honest on few."""

import numpy as np
import pytest

from composition.counts import compose_on_counts, count_steps, evaluate_on_counts, plan_on_counts
from composition.planning import greedy_actions
from composition.sources import CannotCompose
from tests.composition.chance_worlds import slippery_grid


def mediocre_tables(world, rng, n=6):
    """Make policies that are right in most states and wrong in others."""
    best = world.q_values()
    return best + rng.normal(size=(n, *best.shape))


def record(world, tables, n_episodes, rng):
    return [e for t in tables for e in world.record(t.argmax(axis=1), n_episodes, rng, 0.1)]


def compose(world, tables, episodes):
    halves = (world.count(episodes[::2]), world.count(episodes[1::2]))
    return compose_on_counts(world.count(episodes), halves, tables, world.horizon)


def test_counts_of_a_chain_by_hand():
    # 0 -> 1 (twice) or the end (once, reward 3) by action 0; 1 -> the end, reward 6, by action 1
    counted = count_steps(
        np.array([0, 0, 0, 1, 1]),
        np.array([0, 0, 0, 1, 1]),
        np.array([1, 1, 2, 2, 2]),
        np.array([0.0, 0.0, 3.0, 6.0, 6.0]),
        np.array([0, 0, 0]),
        (2, 2),
    )
    q_values = plan_on_counts(counted, np.ones((2, 2), dtype=bool), 2)
    # after one step the values are 1 * 3 / 3.5 and 6 * 2 / 2.5, with half a record of the worst, 0
    later = np.array([3.0 / 3.5, 12 / 2.5])
    assert q_values[0, 0] == pytest.approx((2 * later[1] + 3) / 3.5)
    assert q_values[1].tolist() == [-np.inf, pytest.approx(12 / 2.5)] and q_values[0, 1] == -np.inf
    assert evaluate_on_counts(counted, np.array([0, 1]), 1) == pytest.approx(1.0)
    assert evaluate_on_counts(counted, np.array([0, 1]), 2) == pytest.approx(5.0)


@pytest.mark.parametrize("seed", range(4))
def test_a_slippery_grid_is_planned_to_99_percent_of_the_best_table(seed):
    world, rng = slippery_grid(seed=seed), np.random.default_rng(seed)
    tables = mediocre_tables(world, rng)
    best = max(world.value(table.argmax(axis=1)) for table in tables)
    plan = compose(world, tables, record(world, tables, 100, rng))
    earned = world.value(plan.q_table.argmax(axis=1))
    optimum = world.value(world.q_values().argmax(axis=1))
    assert earned >= 0.99 * optimum > 1.05 * best
    assert plan.tested_reward == pytest.approx(earned, rel=0.1)


def test_too_few_recordings_are_refused_or_their_loss_is_told():
    world, refused, promises = slippery_grid(), 0, []
    for seed in range(12):
        rng = np.random.default_rng(seed)
        tables = mediocre_tables(world, rng)
        try:
            plan = compose(world, tables, record(world, tables, 1, rng))
        except CannotCompose as reason:
            assert "too few" in str(reason)
            refused += 1
            continue
        earned = world.value(plan.q_table.argmax(axis=1))
        promises.append((plan.predicted_reward - earned, plan.tested_reward - earned))
    optimism, tested = np.mean(promises, axis=0) if promises else (0, 0)
    assert refused or tested <= 0
    assert tested <= optimism


def test_nothing_outside_the_support_is_done():
    world, rng = slippery_grid(), np.random.default_rng(2)
    tables = mediocre_tables(world, rng)
    greedy = greedy_actions(tables)
    counted = world.count(record(world, tables, 30, rng))
    q_values = plan_on_counts(counted, greedy, world.horizon)
    assert np.isfinite(q_values).any() and not np.isfinite(q_values)[~greedy].any()


@pytest.mark.parametrize(
    ("tables", "complaint"),
    [(np.full((1, 25, 4), np.nan), "NaN"), (np.zeros((1, 24, 4)), r"\(24, 4\)")],
)
def test_hostile_tables_are_refused_in_a_line(tables, complaint):
    world, rng = slippery_grid(), np.random.default_rng(3)
    with pytest.raises(CannotCompose, match=complaint):
        compose(world, tables, world.record(np.zeros(25, int), 4, rng, 1.0))
