"""Start states as a control variate: returns less what the luck of the start made of them.

Some episodes begin where much is to be had, some where little. With g(s) the part of a return
that the start s explains, the mean over a policy's k episodes of

    y_ij - g_i(s_ij) + (mean of g_i over all starts of the world)

estimates the same expectation with less noise (Hammersley & Handscomb 1964, Monte Carlo Methods,
section 5.5). g_i is linear in features of the start, and in their products with the policy's
leading behaviours: policies make different things of one start. It is fitted to differences
within policies, and its ridge penalty is the one that predicts best for policies left out. Each
policy is corrected by a fit to the others (cross-fitting, Chernozhukov et al. 2018, arXiv
1608.00060), so that what is left is its noise, not what a fit to that noise leaves.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
N_FOURIER = 50  # random Fourier features of a start (Rahimi & Recht 2007)
N_LEADING = 3  # behaviours that start features are multiplied by
N_FOLDS = 5
MIN_EXPLAINED = 0.1  # less is not worth the noise of the fit
PENALTIES = tuple(np.logspace(-3, 1, 9))  # of the mean square of a feature
TINY = 1e-9


@dataclass(frozen=True)
class Correction:
    """What starts explain of n policies' returns.

    Attributes:
        returns: the corrected returns of each policy, float64 (k_i,).
        explained: share of the variance within policies that it predicts for left-out policies;
            at least `MIN_EXPLAINED`, below which nothing is corrected.
    """

    returns: list[Floats]
    explained: float


def correct_returns(
    returns: list[Floats], starts: list[Floats], noise: Floats, behaviours: Floats, seed: int = 0
) -> Correction:
    """Take the luck of the start out of returns.

    Args:
        returns: of each policy float64 (k_i,).
        starts: of each policy float64 (k_i, s), the first observations of its episodes.
        noise: float64 (n,), the variance of an episode's return, >= 0; noisy policies count less.
        behaviours: float64 (n, b), the most important first.
        seed: of the random features and of the folds.

    Returns:
        The corrected returns; the given ones where starts explain less than a tenth.
    """
    generator = np.random.default_rng(seed)
    owners = np.repeat(np.arange(len(returns)), [len(each) for each in returns])
    features = _start_features(np.concatenate(starts), generator)
    y = np.concatenate(returns)
    folds = generator.integers(N_FOLDS, size=len(returns))[owners]
    weights = 1 / np.sqrt(noise + 0.1 * np.mean(noise) + TINY * (1 + y.std()) ** 2)[owners]
    best = Correction(returns, MIN_EXPLAINED)
    for n_leading in sorted({0, min(N_LEADING, behaviours.shape[1])}):
        design = _multiply(features, behaviours[owners, :n_leading])
        within = (design - _group_means(design, owners)) * weights[:, None]
        differences = (y - _group_means(y[:, None], owners)[:, 0]) * weights
        explained, coefficients = _fit(within, differences, folds)
        if explained > best.explained:
            luck = _predict(design, coefficients, folds)
            best = Correction(np.split(y - luck, _cuts(returns)), explained)
    return best


def _start_features(starts: Floats, generator: np.random.Generator) -> Floats:
    """Compute centred features of all starts: z, z^2 and random Fourier features; (N, d)."""
    deviations = starts.std(axis=0)
    varies = deviations > TINY * (1 + np.abs(starts).max(axis=0))
    z: Floats = (starts[:, varies] - starts[:, varies].mean(axis=0)) / deviations[varies]
    if not z.shape[1]:
        return z
    frequencies = generator.normal(size=(z.shape[1], N_FOURIER)) / np.sqrt(z.shape[1])
    waves = np.cos(z @ frequencies + generator.uniform(0, 2 * np.pi, N_FOURIER))
    features = np.hstack([z, z**2, waves])
    features -= features.mean(axis=0)
    return np.asarray(features / np.maximum(features.std(axis=0), TINY))


def _multiply(features: Floats, factors: Floats) -> Floats:
    """Append the products of (N, d) features with each of (N, c) factors: (N, d * (1 + c))."""
    products = features[:, None, :] * factors[:, :, None]
    both: Floats = np.hstack([features, products.reshape(len(features), -1)])
    return both


def _group_means(rows: Floats, owners: NDArray[np.integer]) -> Floats:
    """Give each of (N, d) rows the mean over the rows of its owner."""
    sums = np.zeros((owners.max() + 1, rows.shape[1]))
    np.add.at(sums, owners, rows)
    return np.asarray((sums / np.bincount(owners)[:, None])[owners])


def _fit(x: Floats, y: Floats, folds: NDArray[np.integer]) -> tuple[float, Floats]:
    """Fit ridge regressions, one without each fold, whose penalty predicts what is left out best.

    Returns:
        The share of y's square that they predict there, and coefficients float64 (N_FOLDS, d).
    """
    grams = np.array([x[folds == fold].T @ x[folds == fold] for fold in range(N_FOLDS)])
    products = np.array([x[folds == fold].T @ y[folds == fold] for fold in range(N_FOLDS)])
    others = list(zip(grams.sum(axis=0) - grams, products.sum(axis=0) - products, strict=True))
    best, least = np.zeros_like(products), float(y @ y)
    for penalty in PENALTIES:
        coefficients = np.array([_solve(gram, product, penalty) for gram, product in others])
        error = float(((y - _predict(x, coefficients, folds)) ** 2).sum())
        if error < least:
            best, least = coefficients, error
    total = float(y @ y)
    return (1 - least / total if total > 0 else 0.0), best


def _predict(x: Floats, coefficients: Floats, folds: NDArray[np.integer]) -> Floats:
    """Predict each of (N, d) rows by the coefficients (N_FOLDS, d) that did not see it: (N,)."""
    predicted = np.empty(len(x))
    for fold, weights in enumerate(coefficients):
        predicted[folds == fold] = x[folds == fold] @ weights
    return predicted


def _solve(gram: Floats, product: Floats, penalty: float) -> Floats:
    """Solve the normal equations with a penalty relative to the mean square of a feature."""
    scale = float(np.trace(gram)) / max(len(gram), 1)
    if scale <= 0:
        return np.zeros_like(product)
    return np.asarray(np.linalg.solve(gram + penalty * scale * np.eye(len(gram)), product))


def _cuts(returns: list[Floats]) -> NDArray[np.integer]:
    return np.cumsum([len(each) for each in returns])[:-1]
