"""The regressor finds a known solution, holds on unseen seeds, and knows what it doesn't know."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from library import plain_pickle
from pi2vec import train_regressor
from pi2vec.reward_regressor import RewardRegressor, _compress, fit_regressor
from pi2vec.train_regressor import HeldOut, cross_validate, measure, predict_rewards

TARGETS = ("gold", "path")


def make_policies(n_seeds=12, noise=0.1, seed=0):
    """Draw policies whose reward is linear in the embedding, with weights of its own a target."""
    rng = np.random.default_rng(seed)
    n = n_seeds * 6
    targets = np.tile(np.repeat(TARGETS, 3), n_seeds)
    seeds = np.repeat([f"{i:04d}" for i in range(n_seeds)], 6)
    x = np.hstack([rng.normal(size=(n, 5)), np.zeros((n, 1))])  # a feature that is always 0
    weights = np.where(targets[:, None] == "gold", [3, 0, -1, 0, 0, 0], [0, 2, -1, 0, 0, 0])
    return x, (x * weights).sum(axis=1) + noise * rng.normal(size=n), targets, seeds


def test_a_known_solution_is_found():
    x, rewards, targets, _ = make_policies(noise=0.0)
    regressor = fit_regressor(x, rewards, targets.tolist())
    predicted, deviation = regressor.predict(x, targets.tolist())
    np.testing.assert_allclose(predicted, rewards, atol=1e-2)
    assert (deviation > 0).all()


def test_the_deviation_grows_away_from_what_was_seen():
    x, rewards, targets, _ = make_policies()
    regressor = fit_regressor(x, rewards, targets.tolist())
    _, near = regressor.predict(x[:1], ["gold"])
    _, far = regressor.predict(100 * x[:1], ["gold"])
    assert far > 2 * near


def test_with_many_policies_the_deviation_is_that_of_the_noise():
    x, rewards, targets, _ = make_policies(n_seeds=60, noise=0.1)
    _, deviation = fit_regressor(x, rewards, targets.tolist()).predict(x, targets.tolist())
    np.testing.assert_allclose(deviation, 0.1, rtol=0.1)


def test_intervals_cover_what_they_promise():
    x, rewards, targets, seeds = make_policies(n_seeds=60)
    held_out = cross_validate(x, rewards, targets.tolist(), seeds.tolist())
    figures = measure(held_out, rewards, targets.tolist(), seeds.tolist())
    assert 0.85 <= figures.coverage_90 <= 0.95
    assert figures.pearson > 0.99 and figures.nmae < 0.03 and figures.r2 > 0.98


def test_what_can_be_measured_is(monkeypatch):
    """One seed, or equal rewards, leave nothing to be held out."""
    x, rewards, targets, seeds = make_policies()
    columns = (rewards, targets.tolist(), seeds.tolist())
    monkeypatch.setattr(train_regressor, "columns", lambda policies: policies)
    assert predict_rewards(columns, x).held_out is not None
    assert predict_rewards((rewards, columns[1], ["0000"] * len(x)), x).held_out is None
    assert predict_rewards((np.ones(len(x)), *columns[1:]), x).held_out is None


def test_held_out_means_held_out():
    """Rewards that only depend on the seed can't be predicted for another seed."""
    x, _, targets, seeds = make_policies(n_seeds=30)
    rewards = np.random.default_rng(1).normal(size=30)[np.unique(seeds, return_inverse=True)[1]]
    onehot = (seeds[:, None] == np.unique(seeds)).astype(float)
    held_out = cross_validate(np.hstack([x, onehot]), rewards, targets.tolist(), seeds.tolist())
    assert abs(np.corrcoef(held_out.predicted, rewards)[0, 1]) < 0.5


def test_figures_by_hand():
    rewards, predicted = np.array([0.0, 10.0, 4.0, 8.0]), np.array([0.0, 9.0, 6.0, 5.0])
    held_out = HeldOut(predicted, np.array([1.0, 1.0, 1.0, 2.0]), calibration=1.0)
    runs = ["a", "a", "b", "b"]
    figures = measure(held_out, rewards, runs, runs)
    assert figures.nmae == pytest.approx(1.5 / 10)
    assert figures.coverage_90 == 0.75
    assert figures.regret_at_1 == pytest.approx((0.0 + 4.0) / 2 / 10)
    assert figures.spearman == pytest.approx(0.8)


def test_a_target_of_one_seed_is_predicted_from_what_targets_have_in_common():
    x, rewards, targets, seeds = make_policies()
    targets[:3] = "rare"
    held_out = cross_validate(x, rewards, targets.tolist(), seeds.tolist())
    assert np.isfinite(held_out.predicted).all() and np.isfinite(held_out.deviation).all()


@pytest.mark.parametrize("n", [1, 2, 3, 6])
def test_few_policies_are_enough_to_go_on(n):
    x, rewards, *_ = make_policies()
    regressor = fit_regressor(x[:n], rewards[:n], ["only"] * n)
    predicted, deviation = regressor.predict(x[:n], ["only"] * n)
    assert np.isfinite(predicted).all() and (deviation >= 0).all()


def test_unknown_targets_and_widths_are_refused():
    x, rewards, targets, _ = make_policies()
    regressor = fit_regressor(x, rewards, targets.tolist())
    with pytest.raises(ValueError, match="'other'"):
        regressor.predict(x[:1], ["other"])
    with pytest.raises(ValueError, match="6 dimensions, not 5"):
        regressor.predict(x[:1, :5], ["gold"])


def test_what_is_stored_predicts_the_same(tmp_path):
    x, rewards, targets, _ = make_policies()
    regressor = fit_regressor(x, rewards, targets.tolist())
    plain_pickle.save(tmp_path / "regressor.pkl", regressor.to_dict())
    again = RewardRegressor.from_dict(plain_pickle.load(tmp_path / "regressor.pkl"))
    for a, b in zip(again.predict(x, targets), regressor.predict(x, targets), strict=True):
        np.testing.assert_array_equal(a, b)


@pytest.mark.parametrize("n", [0, 3, 5, 400])
def test_rows_are_never_more_than_features_and_say_the_same(n):
    rng = np.random.default_rng(n)
    x, y = rng.normal(size=(n, 5)), rng.normal(size=n)
    rows, rewards = _compress(x, y)
    assert rows.shape == (min(n, 5), 5) and rewards.shape == (min(n, 5),)
    np.testing.assert_allclose(rows.T @ rows, x.T @ x, atol=1e-9)
    np.testing.assert_allclose(rows.T @ rewards, x.T @ y, atol=1e-9)


@given(
    scale=st.floats(1e-6, 1e6),
    shift=st.floats(-1e6, 1e6),
    seed=st.integers(0, 5),
)
def test_rewards_of_any_scale_give_the_same_order(scale, shift, seed):
    x, rewards, targets, _ = make_policies(seed=seed)
    targets = targets.tolist()
    expected, deviation = fit_regressor(x, rewards, targets).predict(x, targets)
    found, other = fit_regressor(x, scale * rewards + shift, targets).predict(x, targets)
    rounding = 1e-4 * np.ptp(rewards) + 1e-8 * abs(shift) / scale
    np.testing.assert_allclose((found - shift) / scale, expected, atol=rounding)
    np.testing.assert_allclose(other / scale, deviation, rtol=1e-2, atol=rounding)


def test_extreme_and_equal_rewards_are_predicted():
    x, rewards, targets, _ = make_policies()
    targets = targets.tolist()
    huge, _ = fit_regressor(x, 1e145 * rewards, targets).predict(x, targets)
    assert np.corrcoef(huge / 1e145, rewards)[0, 1] > 0.99
    equal, deviation = fit_regressor(x, np.full(len(x), 7.0), targets).predict(x, targets)
    assert (equal == 7.0).all() and (deviation == 0.0).all()


def test_what_is_stored_grows_with_the_targets_and_not_with_their_square():
    x, rewards, *_ = make_policies()
    sizes = []
    for n_targets in (4, 8, 16):
        names = [f"target{i % n_targets}" for i in range(len(x))]
        fields = fit_regressor(x, rewards, names).to_dict()
        arrays = [value for value in fields.values() if isinstance(value, np.ndarray)]
        sizes.append(sum(array.size for array in arrays))
    assert sizes[2] - sizes[1] == 2 * (sizes[1] - sizes[0])


def test_a_feature_that_only_differs_by_rounding_predicts_nothing():
    """psi of a feature whose sum is always 0 is rounding: it must not be blown up."""
    x, rewards, targets, _ = make_policies()
    x[:, 5] = 1e-8 * np.random.default_rng(2).normal(size=len(x))
    x[-1, 5] = -1.0
    regressor = fit_regressor(x[:-6], rewards[:-6], targets[:-6].tolist())
    predicted, _ = regressor.predict(x[-6:], targets[-6:].tolist())
    np.testing.assert_allclose(predicted, rewards[-6:], atol=1.0)


def test_units_of_features_do_not_matter():
    x, rewards, targets, _ = make_policies()
    targets = targets.tolist()
    expected, deviation = fit_regressor(x, rewards, targets).predict(x, targets)
    units = np.array([1e-2, 1.0, 1e2, 1.0, 1e2, 1.0])
    changed = x * units + 3 * units
    found, other = fit_regressor(changed, rewards, targets).predict(changed, targets)
    np.testing.assert_allclose(found, expected, atol=1e-3)
    np.testing.assert_allclose(other, deviation, rtol=1e-2)


@pytest.mark.parametrize("size", [1e-3, 1e-4])
def test_a_small_feature_that_rewards_depend_on_is_used(size):
    x, rewards, targets, _ = make_policies(noise=0.0)
    targets = targets.tolist()
    x[:, 5] = size * np.random.default_rng(3).normal(size=len(x))
    predicted, _ = fit_regressor(x, rewards + 5 / size * x[:, 5], targets).predict(x, targets)
    np.testing.assert_allclose(predicted, rewards + 5 / size * x[:, 5], atol=0.1)
