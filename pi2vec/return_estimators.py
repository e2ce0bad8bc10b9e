"""The expected return of policies, estimated from few recorded episodes, and how far off it may be.

The mean of k returns is right on average, but k is small. What policies of one world have in
common helps: how much of a return was the luck of its start (`start_states`), what policies that
behave alike are worth (`gaussian_process`), and in discrete worlds the model that all recordings
give together (`empirical_model`). Which of these helps differs from world to world, so it is
measured: starts on policies left out, and each estimator by seeing one half of every policy's
episodes and being scored on the other. Deviations are scaled to the errors found there.

With one episode a policy nothing can be split. Then the model is used where there is one, else
means drawn towards those of alike policies, and noise is told from the differences between
policies that behave alike (Rice 1984, Annals of Statistics 12(4)).
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np
from numpy.typing import NDArray
from scipy.special import stdtrit
from threadpoolctl import threadpool_limits  # type: ignore[import-untyped]

from pi2vec.gaussian_process import smooth
from pi2vec.start_states import correct_returns
from worlds.episodes import Episodes

Floats = NDArray[np.float64]
MIN_POLICIES = 8  # fewer have too little in common to be measured
N_SPLITS, N_TRIED = 6, 1_000  # splits; fewer, at least two, where they try more policies in all
MIN_NOISE = 0.05  # of the variance among policies; with less, shrinking can only lose
N_ALIKE = 10  # policies whose noise is pooled
PRIOR_DEGREES = 2.0  # what alike policies' noise counts for, in degrees of freedom
WITHIN = 1.645  # deviations hold 90% of a normal distribution
DOUBT = 4.0  # weight of the belief that deviations are right, in squared standard errors
MEDIAN_SQUARE = 0.455  # of a standard normal variable
TINY = 1e-12


class ModelOfReturns(Protocol):
    """What a model says of n policies; `empirical_model.ModelValues` is one."""

    @property
    def values(self) -> Floats:
        """float64 (n,), expected returns."""

    @property
    def variances(self) -> Floats:
        """float64 (n,), of their errors."""


Model = Callable[[Sequence[Episodes]], ModelOfReturns]


@dataclass(frozen=True)
class ReturnEstimates:
    """Estimates of the expected returns of n policies.

    Attributes:
        values: float64 (n,).
        deviations: float64 (n,), standard deviations of their errors; infinite where nothing
            tells: a world with a single episode.
        estimator: the name of the one that was chosen.
        measured: whether it was chosen by measuring; False with fewer than eight policies or
            with a single episode of each.
    """

    values: Floats
    deviations: Floats
    estimator: str
    measured: bool


@dataclass(frozen=True)
class Sample:
    """Recorded returns of n policies, and what is needed to estimate more of them.

    Attributes:
        returns: of each policy float64 (k_i,), k_i >= 1, corrected for the luck of the start.
        corrected: whether that changed anything.
        behaviours: float64 (n, b), the most important first.
        model: what a model of these very episodes says, if there is one.
    """

    returns: list[Floats]
    corrected: bool
    behaviours: Floats
    model: ModelOfReturns | None

    @property
    def counts(self) -> NDArray[np.int64]:
        """int64 (n,), k_i."""
        return np.array([len(each) for each in self.returns])

    @property
    def means(self) -> Floats:
        """float64 (n,)."""
        return np.array([each.mean() for each in self.returns])

    @property
    def noise(self) -> Floats:
        """float64 (n,), the variance of an episode's return."""
        return estimate_noise(self.returns, self.behaviours)


Estimate = tuple[Floats, Floats]  # values (n,) and their deviations (n,)


def estimate_returns(
    recordings: Sequence[Episodes],
    behaviours: NDArray[np.floating] | None = None,
    model: Model | None = None,
    seed: int = 0,
) -> ReturnEstimates:
    """Estimate the expected returns of the policies of one world.

    Adding a constant to all returns adds it to the values; a factor multiplies values and
    deviations.

    Args:
        recordings: of each policy its k_i >= 1 episodes; n of them.
        behaviours: (n, b), see `behaviour_vectors`; None: nothing that they have in common.
        model: evaluates the n policies on a model of the episodes it is given: a recording of
            each policy, in the same order, with some episodes left out. Discrete worlds.
        seed: of the splits.

    Raises:
        ValueError: no recordings, or not as many behaviours.
    """
    n = len(recordings)
    x = np.zeros((n, 0)) if behaviours is None else np.asarray(behaviours, np.float64)
    if n == 0 or x.ndim != 2 or len(x) != n:
        raise ValueError(f"{n} recordings, at least 1 needed, with behaviours of shape {x.shape}")
    with threadpool_limits(limits=1):  # with matrices this small, threads only wait
        return _estimate(recordings, x, model, seed)


def _estimate(
    recordings: Sequence[Episodes], x: Floats, model: Model | None, seed: int
) -> ReturnEstimates:
    """Do the work of `estimate_returns`."""
    sample = _draw_sample(recordings, x, model)
    if len(recordings) < MIN_POLICIES:
        return ReturnEstimates(*_plain_means(sample), "mean", measured=False)
    generator = np.random.default_rng(seed)
    if sample.counts.max() == 1:
        name = "model" if model else _candidates(sample)[-1]
        values, deviations = ESTIMATORS[name](sample)
        return ReturnEstimates(values, deviations, name, measured=False)
    n_splits = max(2, min(N_SPLITS, N_TRIED // len(recordings)))
    splits = [_split(recordings, sample, model, generator) for _ in range(n_splits)]
    name, factor = _choose(sample, splits)
    values, deviations = ESTIMATORS[name](sample)
    return ReturnEstimates(values, factor * deviations, _full_name(name, sample), measured=True)


def estimate_noise(returns: list[Floats], behaviours: Floats) -> Floats:
    """Estimate the variance of an episode's return, for each of n policies.

    A policy's own variance has few degrees of freedom, so that of the ten policies with the
    nearest means is mixed in: noise goes with value (who always fails, fails alike).

    Returns:
        float64 (n,); 0 for all where nothing tells.
    """
    means = np.array([each.mean() for each in returns])
    nearest = _nearest_means(means)
    degrees = np.array([len(each) - 1.0 for each in returns])
    if not degrees.any():
        halves = _half_squared_differences(means, behaviours)
        return np.asarray(np.median(halves[nearest], axis=1) / MEDIAN_SQUARE)
    squares = np.array([((each - each.mean()) ** 2).sum() for each in returns])
    pooled = squares.sum() / degrees.sum()
    alike = (squares[nearest].sum(axis=1) + pooled * (degrees[nearest].sum(axis=1) == 0)) / (
        np.maximum(degrees[nearest].sum(axis=1), 1)
    )
    return np.asarray((squares + PRIOR_DEGREES * alike) / (degrees + PRIOR_DEGREES))


def _nearest_means(means: Floats) -> NDArray[np.int64]:
    """Give the ten policies whose means are nearest to each, itself among them: (n, <= 10)."""
    return np.abs(means[:, None] - means).argsort(axis=1, kind="stable")[:, :N_ALIKE]


def _half_squared_differences(means: Floats, behaviours: Floats) -> Floats:
    """Compute half of the squared difference of each mean from that of the most alike policy."""
    if len(means) < 2 or not behaviours.shape[1]:
        return np.zeros_like(means)
    squares = (behaviours**2).sum(axis=1)
    distances = squares[:, None] + squares - 2 * behaviours @ behaviours.T
    np.fill_diagonal(distances, np.inf)
    return np.asarray((means - means[distances.argmin(axis=1)]) ** 2 / 2)


def _mean(sample: Sample) -> Estimate:
    if sample.counts.max() == 1:  # differences of value count as noise, too: rather too wide
        halves = _half_squared_differences(sample.means, sample.behaviours)
        return sample.means, np.sqrt(halves[_nearest_means(sample.means)].mean(axis=1))
    return sample.means, _widen(np.sqrt(sample.noise / sample.counts), sample.counts)


def _shrunk(sample: Sample) -> Estimate:
    posterior = smooth(sample.means, sample.noise / sample.counts, sample.behaviours)
    return posterior.means, _widen(np.sqrt(posterior.variances), sample.counts)


def _widen(deviations: Floats, counts: NDArray[np.int64]) -> Floats:
    """Make room for noise that is itself estimated: the 95% quantile of Student's t over 1.645."""
    return np.asarray(deviations * stdtrit(counts - 1 + PRIOR_DEGREES, 0.95) / WITHIN)


def _model(sample: Sample) -> Estimate:
    assert sample.model is not None
    return sample.model.values, np.sqrt(sample.model.variances)


ESTIMATORS: dict[str, Callable[[Sample], Estimate]] = {
    "mean": _mean,
    "shrunk": _shrunk,
    "model": _model,
}


def _plain_means(sample: Sample) -> Estimate:
    """Means, with the deviation that the few policies' pooled noise gives."""
    if sample.counts.max() == 1:
        return sample.means, np.full(len(sample.returns), np.inf)
    return _mean(sample)


def _draw_sample(recordings: Sequence[Episodes], behaviours: Floats, model: Model | None) -> Sample:
    """Take the luck of starts that are vectors out of the returns of recordings."""
    returns = [each.returns for each in recordings]
    firsts = [each.observations[each.first_observations] for each in recordings]
    corrected = returns
    if firsts[0].ndim == 2 and len(returns) >= MIN_POLICIES and max(map(len, returns)) > 1:
        starts = [first.astype(np.float64) for first in firsts]
        noise = estimate_noise(returns, behaviours)
        corrected = correct_returns(returns, starts, noise, behaviours).returns
    return Sample(
        corrected, corrected is not returns, behaviours, model(recordings) if model else None
    )


def _split(
    recordings: Sequence[Episodes],
    sample: Sample,
    model: Model | None,
    generator: np.random.Generator,
) -> tuple[Sample, list[Floats]]:
    """Draw the larger half of each policy's episodes; returns it and the other half's returns.

    Those of the other half are corrected by fits that saw no episode of their policy.
    """
    seen, held_out = [], []
    for each, returns in zip(recordings, sample.returns, strict=True):
        order = generator.permutation(each.n_episodes)
        half = (each.n_episodes + 1) // 2
        seen.append(each.take(np.sort(order[:half])))
        held_out.append(returns[order[half:]])
    return _draw_sample(seen, sample.behaviours, model), held_out


def _candidates(sample: Sample) -> list[str]:
    """Name the estimators that may help in this world, the plain mean first.

    Drawing means together can only lose where most policies have next to no noise.
    """
    names = ["mean"]
    if sample.model is not None:
        names.append("model")
    if np.median(sample.noise) > MIN_NOISE * sample.means.var():
        names.append("shrunk")
    return names


def _full_name(name: str, sample: Sample) -> str:
    """Say whether starts were corrected for in what an estimator uses."""
    if not sample.corrected or name == "model":
        return name
    return "corrected" if name == "mean" else f"corrected and {name}"


def _choose(sample: Sample, splits: list[tuple[Sample, list[Floats]]]) -> tuple[str, float]:
    """Choose the estimator that is nearest to the held-out halves, and calibrate it.

    Returns:
        Its name, and the factor that its deviations need.
    """
    judges = np.array([len(each) > 1 for each in sample.returns])
    trials = {
        name: [_try(ESTIMATORS[name], seen, held_out, judges) for seen, held_out in splits]
        for name in _candidates(sample)
    }
    squares = {name: np.mean([t.errors**2 for t in each], axis=0) for name, each in trials.items()}
    best = min(squares, key=lambda name: squares[name].mean())
    usual = "mean" if sample.model is None else "model"
    gain = squares[usual] - squares[best]
    if gain.mean() <= gain.std() / np.sqrt(len(gain)):
        best = usual
    return best, _calibrate(trials[best], sample.noise[judges])


@dataclass(frozen=True)
class Trial:
    """Estimates from one half of the episodes, held against the other.

    Attributes:
        errors: float64 (m,), estimates less the means of the other half.
        deviations: float64 (m,), claimed for the estimates.
        counts: int64 (m,), episodes in the other half.
    """

    errors: Floats
    deviations: Floats
    counts: NDArray[np.int64]


def _try(
    estimator: Callable[[Sample], Estimate],
    seen: Sample,
    held_out: list[Floats],
    judges: NDArray[np.bool_],
) -> Trial:
    """Estimate from `seen`; judged on policies that have anything held out."""
    values, deviations = estimator(seen)
    others = [each for each, judge in zip(held_out, judges, strict=True) if judge]
    means = np.array([each.mean() for each in others])
    counts = np.array([len(each) for each in others])
    return Trial(values[judges] - means, deviations[judges], counts)


def _calibrate(trials: list[Trial], noise: Floats) -> float:
    """Find the factor by which deviations are too small.

    The mean of error^2 - noise should be factor^2 * deviation^2. It is fitted by least squares,
    each term as uncertain as the square of a normal variable. Where noise drowns it, the factor
    stays near 1.

    Args:
        trials: of one estimator.
        noise: (m,), variance of an episode's return.
    """
    claimed = np.concatenate([each.deviations**2 for each in trials])
    of_means = np.concatenate([noise / each.counts for each in trials])
    squares = np.concatenate([each.errors**2 for each in trials])
    typical = claimed + of_means.mean()  # not each one's noise: that is told from these episodes
    weights = claimed / np.maximum(typical, TINY) ** 2
    information = float(((weights * typical) ** 2).sum()) / (2 * len(trials))
    if not information:
        return 1.0
    squared = float(weights @ (squares - of_means) / (weights @ claimed))
    squared = (DOUBT + information * squared) / (DOUBT + information)
    return float(np.sqrt(np.clip(squared, 1.0, 64)))
