"""Planning on counts: exact on exact counts, near the optimum on many, and honest on few."""

import numpy as np
import pytest

from composition import counts as counts_module
from composition.counts import SUPPORTS, compose_on_counts
from composition.outcomes import count_steps
from composition.pessimism import evaluate_on_counts, plan_on_counts
from composition.planning import greedy_actions
from composition.sources import CannotCompose
from tests.composition.chance_worlds import slippery_grid


def mediocre_tables(world, rng, n=6, noise=1.0):
    """Make policies that are right in most states and wrong in others; the best first."""
    best = world.q_values()
    tables = best + noise * rng.normal(size=(n, *best.shape))
    return tables[np.argsort([-world.value(table.argmax(axis=1)) for table in tables])]


def record(world, tables, n_episodes, rng, epsilon=0.1):
    return [e for t in tables for e in world.record(t.argmax(axis=1), n_episodes, rng, epsilon)]


def compose(world, tables, episodes, support=None):
    return compose_on_counts(world.count(episodes), tables, world.horizon, support)


def earned_by(world, plan):
    return world.value(plan.q_table.argmax(axis=1))


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


@pytest.mark.parametrize("noise", [1.0, 10.0])
def test_a_slippery_grid_is_planned_to_99_percent_of_the_best_table(noise):
    shares = []
    for seed in range(4):
        world, rng = slippery_grid(seed=seed), np.random.default_rng(seed)
        tables = mediocre_tables(world, rng, noise=noise)
        plan = compose(world, tables, record(world, tables, 100, rng))
        optimum = world.value(world.q_values().argmax(axis=1))
        shares.append(earned_by(world, plan) / optimum)
        assert shares[-1] > world.value(tables[0].argmax(axis=1)) / optimum
        assert shares[-1] >= 0.99 or plan.loss.matters
        assert plan.predicted_reward == pytest.approx(earned_by(world, plan), rel=0.15)
        assert plan.loss.share < 0.2
    assert np.median(shares) >= 0.99


def test_no_loss_of_more_than_a_hundredth_is_silent():
    n_lost = 0
    for noise, n_episodes, epsilon in [(1, 3, 0), (10, 3, 0), (10, 30, 0.1), (10, 30, 0)]:
        for seed in range(4):
            world, rng = slippery_grid(seed=seed), np.random.default_rng(seed)
            tables = mediocre_tables(world, rng, noise=noise)
            plan = compose(world, tables, record(world, tables, n_episodes, rng, epsilon))
            lost = 1 - earned_by(world, plan) / world.value()
            n_lost += lost > 0.02
            assert lost < 0.02 or plan.loss.matters
    assert n_lost > 6


def test_the_loss_shrinks_with_more_recordings():
    shares = {3: [], 30: [], 200: []}
    for seed in range(3):
        world = slippery_grid(seed=seed)
        tables = mediocre_tables(world, np.random.default_rng(seed), noise=10)
        for n_episodes, told in shares.items():
            rng = np.random.default_rng(seed)
            plan = compose(world, tables, record(world, tables, n_episodes, rng))
            told.append(plan.loss.mean + plan.loss.deviation)
    few, some, many = (np.mean(told) for told in shares.values())
    assert few > some > many and many < few / 4


def test_a_source_that_no_mixture_exceeds_is_taken_as_it_is():
    world, rng = slippery_grid(), np.random.default_rng(0)
    best = world.q_values()[np.newaxis]
    plan = compose(world, best, record(world, best, 100, rng, 0))
    assert plan.is_single and plan.single == 0
    np.testing.assert_array_equal(plan.q_table.argmax(axis=1), best[0].argmax(axis=1))
    assert plan.predicted_reward == plan.single_reward


def test_without_any_reward_nothing_is_planned():
    world, rng = slippery_grid(), np.random.default_rng(0)
    world.arrival[:] = 0.0
    tables = mediocre_tables(world, rng)
    with pytest.raises(CannotCompose, match="no recording has a reward other than 0"):
        compose(world, tables, record(world, tables, 10, rng))


def test_a_world_too_large_to_draw_is_planned_without_a_loss(monkeypatch):
    monkeypatch.setattr(counts_module, "is_too_large", lambda outcomes: True)
    world, rng = slippery_grid(), np.random.default_rng(0)
    tables = mediocre_tables(world, rng)
    plan = compose(world, tables, record(world, tables, 100, rng))
    assert plan.loss is None and earned_by(world, plan) > 0.95 * world.value()


@pytest.mark.parametrize("support", SUPPORTS)
def test_nothing_outside_the_support_is_done(support):
    world, rng = slippery_grid(), np.random.default_rng(2)
    tables = mediocre_tables(world, rng)
    episodes = record(world, tables, 30, rng)
    plan = compose(world, tables, episodes, support)
    recorded = np.zeros((25, 4), dtype=bool)
    for state, action, *_ in (step for episode in episodes for step in episode):
        recorded[int(state), int(action)] = True
    usable = recorded & SUPPORTS[support](tables)
    assert plan.support == support
    done = usable[np.arange(25), plan.q_table.argmax(axis=1)]
    assert done[usable.any(axis=1)].all()
    assert (greedy_actions(tables) <= SUPPORTS["tried"](tables)).all()


@pytest.mark.parametrize(
    ("tables", "complaint"),
    [(np.full((1, 25, 4), np.nan), "NaN"), (np.zeros((1, 24, 4)), r"\(24, 4\)")],
)
def test_hostile_tables_are_refused_in_a_line(tables, complaint):
    world, rng = slippery_grid(), np.random.default_rng(3)
    with pytest.raises(CannotCompose, match=complaint):
        compose(world, tables, world.record(np.zeros(25, int), 4, rng, 1.0))
