"""Means of few noisy observations, drawn towards what alike policies have: a Gaussian process.

Policy i is worth v_i = m + f(x_i) + u_i: a constant, a smooth function of its behaviour x_i, and
something of its own. Observed is y_i = v_i + e_i with known noise variance. The covariance is

    V * (share * exp(-|x_i - x_j|^2 / (2 l^2)) + (1 - share) * [i = j])

and V, share and l are those of the largest marginal likelihood on a grid (Rasmussen & Williams
2006, Gaussian Processes for Machine Learning, eq. 2.23 to 2.30; the constant by eq. 2.42).
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
LENGTHS = (0.1, 0.3, 1.0)  # of the median distance between policies
SHARES = (0.0, 0.5, 0.9)
VARIANCES = (0.3, 1.0, 2.0)  # of the observations' variance
MAX_FIT = 300  # policies that the grid is searched on
TINY = 1e-9


@dataclass(frozen=True)
class Posterior:
    """What is believed of n values after the observations.

    Attributes:
        means: float64 (n,).
        variances: float64 (n,), >= 0.
    """

    means: Floats
    variances: Floats


def smooth(observed: Floats, noise: Floats, behaviours: Floats, seed: int = 0) -> Posterior:
    """Estimate n values from one noisy observation each.

    Args:
        observed: float64 (n,), y.
        noise: float64 (n,), the variance of each observation's error, >= 0.
        behaviours: float64 (n, b), x; b = 0 knows nothing that policies have in common.
        seed: of the draw of policies that the covariance is fitted to, when there are many.

    Returns:
        The posterior; the observations themselves where they are all alike.
    """
    scale = float(observed.std())
    if scale <= TINY * (1 + float(np.abs(observed).max())):
        return Posterior(observed.copy(), np.minimum(noise, scale**2))
    y, variances = (observed - observed.mean()) / scale, noise / scale**2 + TINY
    distances = _squared_distances(behaviours)
    chosen = np.random.default_rng(seed).permutation(len(y))[:MAX_FIT]
    few = distances[np.ix_(chosen, chosen)]
    kernels = _kernels(behaviours.shape[1])
    best = max(kernels, key=lambda k: _likelihood(y[chosen], variances[chosen], _prior(few, *k)))
    means, left = _condition(y, variances, _prior(distances, *best))
    return Posterior(observed.mean() + scale * means, scale**2 * left)


def _kernels(n_behaviours: int) -> list[tuple[float, float, float]]:
    """List the (V, share, l) to try; without behaviours only V matters."""
    if not n_behaviours:
        return [(variance, 0.0, 1.0) for variance in VARIANCES]
    return [
        (variance, share, length)
        for variance in VARIANCES
        for share in SHARES
        for length in (LENGTHS if share else LENGTHS[:1])
    ]


def _squared_distances(x: Floats) -> Floats:
    """Compute the squared distances of (n, b) rows over their median: (n, n)."""
    squares = (x**2).sum(axis=1)
    distances = np.maximum(squares[:, None] + squares - 2 * x @ x.T, 0)
    positive = distances[distances > TINY * (1 + squares.max(initial=0))]
    return distances / np.median(positive) if positive.size else np.zeros_like(distances)


def _prior(distances: Floats, variance: float, share: float, length: float) -> Floats:
    """Build the covariance (n, n) of the values."""
    smooth_part = share * np.exp(-distances / (2 * length**2))
    return variance * (smooth_part + (1 - share) * np.eye(len(distances)))


def _likelihood(y: Floats, noise: Floats, prior: Floats) -> float:
    """Compute the log marginal likelihood, up to a constant, at the best constant mean."""
    factor = np.linalg.cholesky(prior + np.diag(noise))
    white, ones = np.linalg.solve(factor, np.stack([y, np.ones_like(y)], axis=1)).T
    residual = white - ones * (ones @ white) / (ones @ ones)
    return float(-0.5 * residual @ residual - np.log(np.diag(factor)).sum())


def _condition(y: Floats, noise: Floats, prior: Floats) -> tuple[Floats, Floats]:
    """Compute the posterior's means and variances, (n,) each."""
    inverse = np.linalg.inv(prior + np.diag(noise))
    sums = inverse.sum(axis=1)
    mean = float(sums @ y / sums.sum())
    gain = prior @ inverse
    means = mean + gain @ (y - mean)
    variances = np.diag(prior) - np.einsum("ij,ij->i", gain, prior)
    of_mean = (1 - gain.sum(axis=1)) ** 2 / sums.sum()  # the constant is estimated, too
    return means, np.maximum(variances, 0) + of_mean
