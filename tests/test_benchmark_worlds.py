"""The benchmark's libraries are what they say, and its figures right."""

import gymnasium
import numpy as np
import pytest

from benchmarks.benchmark_worlds import figures, measure_estimates, measure_neighbours, table
from benchmarks.discrete_libraries import train_discrete
from benchmarks.vector_libraries import describe_task, play, swing_pendulums, train_run
from worlds.episodes import Episodes


@pytest.fixture(scope="module")
def lake():
    return train_discrete("FrozenLake-v1", {}, 100, 5, (10, 300, 3_000))


def test_exact_values_are_those_of_episodes(lake):
    returns = [each.returns.mean() for each in lake.recordings]
    np.testing.assert_allclose(returns, lake.values, atol=0.2)
    assert np.mean(returns) == pytest.approx(lake.values.mean(), abs=0.03)
    assert len(lake.values) == len(lake.recordings) == 15


def test_draws_have_episodes_of_their_own(lake):
    first, anew = lake.draw(0, 10)[-1], lake.draw(1, 10)[-1]
    assert first.n_episodes == anew.n_episodes == 10
    same = np.array_equal(first.lengths, anew.lengths)
    assert not (same and np.array_equal(first.observations, anew.observations))


def test_a_report_has_every_figure(lake):
    measured = measure_estimates(lake, 3)
    assert set(measured["mean"]) == set(measured["lever"]) == {"nmae", "spearman", "regret_at_1"}
    low, high = measured["coverage_90_range"]
    assert 0 <= low <= measured["coverage_90"] <= high <= 1
    assert sum(measured["estimators"].values()) == 10
    neighbours = measure_neighbours(lake)
    assert neighbours["found_anew"] == 1 and neighbours["nearest"] < neighbours["random"]
    lines = table({"worlds": {"lake": {"k3": measured}}, "neighbours": {"lake": neighbours}})
    assert f"{measured['lever']['nmae']:.3f}" in lines[2]


def test_figures_by_hand():
    measured = figures(np.array([0.0, 3, 2]), np.array([0.0, 1, 2]))
    assert measured == pytest.approx({"nmae": 2 / 6, "spearman": 0.5, "regret_at_1": 0.5})


def test_many_pendulums_swing_like_one():
    task = describe_task("Pendulum-v1")
    weights = np.random.default_rng(0).normal(size=(2, 41))
    starts = np.array([[1.0, -2.0, 3.0], [0.5, 0.0, -1.0]])
    together = swing_pendulums(task, weights, starts)
    env = gymnasium.make("Pendulum-v1")
    env.reset(seed=0)
    env.unwrapped.state = starts[:, 1].copy()
    observation, total = env.unwrapped._get_obs(), 0.0
    for _ in range(200):
        observation, reward, *_ = env.step(task.act(weights[1])(observation[None])[0])
        total += reward
    assert together.shape == (2, 3) and together[1, 1] == pytest.approx(total, rel=1e-3)


def test_a_trained_run_is_recorded():
    task = describe_task("CartPole-v1")
    (_, value, recording), *rest = train_run(task, (0, 1), n_truth=3, run=0)
    assert isinstance(recording, Episodes) and recording.n_episodes == 100
    assert not rest[1:] and value > 0
    *_, terminated = play(gymnasium.make("CartPole-v1"), lambda x: np.zeros(len(x), int), seed=0)
    assert terminated
