"""Estimates of expected returns: what each part does, and that none does harm."""

import itertools

import numpy as np
import pytest
from scipy.stats import multivariate_normal

from pi2vec.behaviour import behaviour_vectors
from pi2vec.gaussian_process import smooth
from pi2vec.return_estimators import MIN_POLICIES, estimate_noise, estimate_returns
from pi2vec.start_states import correct_returns
from worlds.episodes import Episodes

N_POLICIES, K, N_BEHAVIOURS = 60, 4, 2


def episodes(returns, starts):
    """One-step episodes with these returns (k,) and starts (k, s)."""
    k = len(returns)
    observations = np.repeat(np.asarray(starts, float), 2, axis=0)
    ended = np.ones(k, bool)
    return Episodes(
        observations, np.zeros(k, int), np.asarray(returns), np.ones(k, int), ended, ~ended
    )


def draw_world(seed=0, noise=1.0, luck=0.0, k=K, n=N_POLICIES):
    """Values smooth in behaviour, returns with noise and with the luck of the start."""
    rng = np.random.default_rng(seed)
    behaviours = rng.normal(size=(n, N_BEHAVIOURS))
    values = 2 * np.sin(behaviours[:, 0]) + behaviours[:, 1]
    starts = rng.uniform(-1, 1, size=(n, k, 1))
    returns = values[:, None] + luck * starts[:, :, 0] + noise * rng.normal(size=(n, k))
    return values, behaviours, returns, starts


def estimate(returns, starts, behaviours=None, **options):
    recordings = [episodes(r, s) for r, s in zip(returns, starts, strict=True)]
    return estimate_returns(recordings, behaviours, **options)


def error(estimates, values):
    return np.abs(estimates - values).mean()


@pytest.mark.parametrize(
    ("options", "expected", "ratio"),
    [
        ({"noise": 1.0}, ["shrunk"], 0.8),
        ({"noise": 0.1, "luck": 3.0}, ["corrected", "corrected and shrunk"], 0.5),
        ({"noise": 0.7, "luck": 3.0}, ["corrected and shrunk"], 0.5),
        ({"noise": 0.01}, ["mean"], 1.001),
    ],
)
def test_what_helps_is_chosen(options, expected, ratio):
    values, behaviours, returns, starts = draw_world(**options)
    measured = estimate(returns, starts, behaviours)
    assert measured.estimator in expected and measured.measured
    assert error(measured.values, values) < ratio * error(returns.mean(axis=1), values)


def test_two_episodes_each_are_enough_to_choose_by():
    values, behaviours, returns, starts = draw_world(noise=1.0, k=2)
    measured = estimate(returns, starts, behaviours, model=lambda seen: Oracle(-values))
    assert measured.estimator == "shrunk" and measured.measured
    assert error(measured.values, values) < 0.8 * error(returns.mean(axis=1), values)


@pytest.mark.parametrize("k", [1, 2, 3, 10])
def test_deviations_cover(k):
    covered = []
    for seed in range(4):
        values, behaviours, returns, starts = draw_world(seed, luck=1.0, k=k)
        measured = estimate(returns, starts, behaviours)
        covered.append(np.abs(measured.values - values) <= 1.645 * measured.deviations)
    assert 0.8 <= np.mean(covered) <= (0.97 if k > 2 else 0.99)  # noise of few is a guess


@pytest.mark.parametrize(("scale", "shift"), [(2000, -5000), (1e-3, 0)])
@pytest.mark.parametrize("k", [1, 3])
def test_scale_and_shift(k, scale, shift):
    _, behaviours, returns, starts = draw_world(luck=1.0, k=k)
    plain = estimate(returns, starts, behaviours)
    moved = estimate(scale * returns + shift, starts, behaviours)
    assert moved.estimator == plain.estimator
    np.testing.assert_allclose((moved.values - shift) / scale, plain.values, atol=1e-4)
    np.testing.assert_allclose(moved.deviations / scale, plain.deviations, rtol=1e-3)


@pytest.mark.parametrize("n", [1, 3, MIN_POLICIES - 1])
@pytest.mark.parametrize("k", [1, 3])
def test_too_few_policies_are_not_measured(n, k):
    _, behaviours, returns, starts = draw_world(n=n, k=k)
    measured = estimate(returns, starts, behaviours)
    assert (measured.estimator, measured.measured) == ("mean", False)
    np.testing.assert_allclose(measured.values, returns.mean(axis=1))
    assert not np.isnan(measured.deviations).any() and (measured.deviations > 0).all()


@pytest.mark.parametrize("k", [1, 2, 5])
@pytest.mark.parametrize("n", [1, 30])
def test_constant_rewards(n, k):
    _, behaviours, _, starts = draw_world(n=n, k=k)
    measured = estimate(np.full((n, k), -1000.0), starts, behaviours)
    np.testing.assert_allclose(measured.values, -1000)
    assert not np.isnan(measured.deviations).any()


def test_recordings_of_different_lengths_and_no_behaviours():
    values, _, returns, starts = draw_world()
    sizes = np.arange(N_POLICIES) % K + 1
    returns = [each[:size] for each, size in zip(returns, sizes, strict=True)]
    measured = estimate(returns, [s[: len(r)] for s, r in zip(starts, returns, strict=True)])
    assert np.isfinite(measured.values).all() and np.isfinite(measured.deviations).all()
    assert error(measured.values, values) < 1.05 * error([r.mean() for r in returns], values)


class Oracle:
    """A model that knows the values, or something else."""

    def __init__(self, values):
        self.values = values
        self.variances = np.full(len(values), 0.01)


def test_a_good_model_is_used_and_a_bad_one_is_not():
    values, behaviours, returns, starts = draw_world()
    good = estimate(returns, starts, behaviours, model=lambda seen: Oracle(values))
    assert good.estimator == "model"
    np.testing.assert_array_equal(good.values, values)
    bad = estimate(returns, starts, behaviours, model=lambda seen: Oracle(-values))
    assert bad.estimator != "model"


def test_what_cannot_be_estimated_is_refused():
    with pytest.raises(ValueError, match="0 recordings"):
        estimate_returns([])
    with pytest.raises(ValueError, match=r"behaviours of shape \(2, 1\)"):
        estimate_returns([episodes([1.0], [[0.0]])], np.zeros((2, 1)))


def test_noise_is_that_of_the_world():
    _, behaviours, returns, _ = draw_world(noise=3.0, k=5)
    assert estimate_noise(list(returns), behaviours).mean() == pytest.approx(9, rel=0.2)
    _, behaviours, returns, _ = draw_world(noise=3.0, k=1, n=400)
    assert estimate_noise(list(returns), behaviours).mean() == pytest.approx(9, rel=0.4)


def test_noise_of_two_policies_by_hand():
    """Alike policies with one episode each, 0 and 2: half of the squared difference is 2."""
    two = [np.array([0.0]), np.array([2.0])]
    np.testing.assert_allclose(estimate_noise(two, np.array([[0.0], [1.0]])), 2 / 0.455)
    np.testing.assert_array_equal(estimate_noise(two, np.zeros((2, 0))), 0)
    np.testing.assert_array_equal(estimate_noise(two[1:], np.ones((1, 1))), 0)


def test_the_scale_of_starts_and_noise_does_not_matter():
    _, behaviours, returns, starts = draw_world(luck=2.0)
    noise = np.linspace(1, 2, N_POLICIES)
    plain = correct_returns(list(returns), list(starts), noise, behaviours)
    moved = correct_returns(list(returns), list(7 * starts + 1000), 1e5 * noise, behaviours)
    assert plain.explained == pytest.approx(moved.explained, rel=1e-5) and plain.explained > 0.3
    np.testing.assert_allclose(moved.returns, plain.returns, rtol=1e-5, atol=1e-5)


def test_starts_explain_a_sum_by_hand():
    """Return = value + 5 * start: corrected, all returns of a policy are equal."""
    _, behaviours, _, starts = draw_world()
    values = np.arange(N_POLICIES, dtype=float)
    returns = list(values[:, None] + 5 * starts[:, :, 0])
    correction = correct_returns(returns, list(starts), np.ones(N_POLICIES), behaviours)
    assert correction.explained > 0.99
    expected = values + 5 * starts.mean()
    np.testing.assert_allclose([r.mean() for r in correction.returns], expected, atol=0.1)


def test_how_far_out_a_start_is_explains_in_six_dimensions_too():
    rng = np.random.default_rng(0)
    starts, behaviours = rng.normal(size=(N_POLICIES, K, 6)), rng.normal(size=(N_POLICIES, 2))
    returns = np.arange(N_POLICIES)[:, None] + 5 * (starts**2).sum(axis=2)
    noise = np.ones(N_POLICIES)
    assert correct_returns(list(returns), list(starts), noise, behaviours).explained > 0.99


def test_starts_that_explain_nothing_change_nothing():
    _, behaviours, returns, starts = draw_world(luck=0.0)
    correction = correct_returns(list(returns), list(starts), np.ones(N_POLICIES), behaviours)
    np.testing.assert_array_equal(correction.returns, returns)


def test_a_gaussian_process_in_closed_form():
    """Without behaviours, means are drawn towards the common mean by V / (V + noise)."""
    observed, noise = np.array([-3.0, 1.0, 1.0, 1.0]), np.full(4, 3.0)
    posterior = smooth(observed, noise, np.zeros((4, 0)))
    shares = (posterior.means / observed)[1:]
    variance = 3 * shares[0] / (1 - shares[0])  # V from V / (V + 3)
    assert variance / observed.var() == pytest.approx(0.3, abs=1e-6)
    np.testing.assert_allclose(posterior.means, observed * variance / (variance + 3), rtol=1e-6)
    claimed = 3 * shares[0] + (1 - shares[0]) ** 2 * (variance + 3) / 4
    np.testing.assert_allclose(posterior.variances, claimed, rtol=1e-6)


def brute_force(y, noise, distances):
    """The posterior means by the formulas at the top of the module, each kernel tried."""
    best = -np.inf, y
    for variance, share, length in itertools.product((0.3, 1, 2), (0, 0.5, 0.9), (0.1, 0.3, 1)):
        alike = np.exp(-(distances**2) / (2 * (length * np.median(distances[distances > 0])) ** 2))
        prior = y.var() * variance * (share * alike + (1 - share) * np.eye(len(y)))
        inverse = np.linalg.inv(prior + np.diag(noise))
        m = inverse.sum(axis=0) @ y / inverse.sum()
        likelihood = multivariate_normal.logpdf(y, np.full(len(y), m), prior + np.diag(noise))
        best = max(best, (likelihood, m + prior @ inverse @ (y - m)), key=lambda pair: pair[0])
    return best[1]


@pytest.mark.parametrize("frequency", [0.5, 3, 12])
@pytest.mark.parametrize("deviation", [0.1, 1])
def test_a_gaussian_process_is_that_of_the_largest_likelihood(frequency, deviation):
    """Of 42 policies there are 861 pairs, so that one of them has the median distance."""
    rng = np.random.default_rng(3)
    x = rng.uniform(-1, 1, size=(42, 1))
    noise = deviation**2 * rng.uniform(0.5, 1.5, size=42)
    observed = 100 + np.sin(frequency * x[:, 0]) + np.sqrt(noise) * rng.normal(size=42)
    posterior = smooth(observed, noise, x)
    expected = brute_force(observed, noise, np.abs(x - x.T))
    np.testing.assert_allclose(posterior.means, expected, rtol=0, atol=1e-4)


def test_without_noise_nothing_is_smoothed():
    values, behaviours, _, _ = draw_world()
    posterior = smooth(values, np.zeros(N_POLICIES), behaviours)
    np.testing.assert_allclose(posterior.means, values, atol=1e-3)
    assert np.sqrt(posterior.variances).max() < 1e-3


def test_behaviour_vectors():
    rng = np.random.default_rng(0)
    wide, narrow = rng.normal(size=(30, 400)), rng.normal(size=(30, 2)) * 1e6
    placed = behaviour_vectors(wide, narrow)
    assert placed.shape == (30, 10) and placed.dtype == np.float32
    assert (np.diff(placed.std(axis=0)) <= 1e-6).all()
    np.testing.assert_allclose(placed.mean(axis=0), 0, atol=1e-5)
    same = behaviour_vectors(narrow)
    distances = np.linalg.norm(same[:, None] - same, axis=2)
    z = (narrow - narrow.mean(axis=0)) / narrow.std(axis=0) / np.sqrt(2)
    np.testing.assert_allclose(
        distances, np.linalg.norm(z[:, None] - z, axis=2), rtol=1e-4, atol=1e-4
    )
    heavy = behaviour_vectors(wide, narrow, weights=(1, 100))
    assert abs(np.corrcoef(heavy[:, 0], narrow[:, 0])[0, 1]) > 0.5


def test_policies_that_are_all_alike_have_no_behaviour():
    assert behaviour_vectors(np.ones((5, 3))).shape == (5, 0)
    assert behaviour_vectors(np.ones((1, 3))).shape == (1, 0)
    with pytest.raises(ValueError, match="matrices of n rows"):
        behaviour_vectors(np.ones((5, 3)), np.ones((4, 3)))
