"""The reward regressor: predicted reward, and how far off it may be, from a policy embedding.

If a reward is linear in phi, a return is linear in successor features: r = phi . w gives
return = Psi . w (Barreto et al. 2017, arXiv 1606.05312, eq. 3). So the regression is linear.
For policy i of target k, with embedding x and reward y, both measured from the target's means in
units that are the world's,

    y_i = x_i . (w_0 + u_k) + noise,    noise ~ N(0, sigma^2),
    w_0 ~ N(0, diag(a)),  u_k ~ N(0, diag(b)).

w_0 is what the targets of a world have in common; it serves a target with few policies. u_k is a
target's own. a and b say how much each feature matters, in common and by target, and are learned
with sigma from the rewards (automatic relevance determination, MacKay 1992), here by variational
EM (Bishop 2006, section 10.3) with a factor for w_0 and one for each u_k. Time and memory are
linear in the number of targets.

Since rewards are measured from the mean of their target, and in units of their spread, any
rewards a * r + b with a > 0 give the same predictions, times a, plus b.
"""

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any, Self

import numpy as np
from numpy.typing import ArrayLike, NDArray

Floats = NDArray[np.float64]
CONSTANT = 1e-5  # a feature that differs by less, as a share of embeddings, differs by rounding
DIGITS = 5  # of standardised predictions: what is equal but for rounding counts as equal
SMALLEST_VARIANCE = 1e-12  # of standardised weights
LEAST_NOISE = 1e-10  # of standardised rewards: psi is not known better
MAX_ITERATIONS = 300  # of EM
TOLERANCE = 1e-5  # of standardised weights: EM has converged


@dataclass(frozen=True)
class RewardRegressor:
    """A fitted regressor, in plain numbers.

    Attributes:
        targets: the K targets that it knows, in alphabetical order.
        feature_means: float64 (K, d), of the embeddings of each target.
        feature_scale: float64 (d,), what features are multiplied by; 0 for those that are constant.
        reward_means: float64 (K,), of the rewards of each target.
        reward_scale: what predictions are multiplied by.
        weights: float64 (K, d), posterior means of w_0 + u_k.
        weight_variances: float64 (K, d), their posterior variances.
        noise_variance: sigma^2.
        calibration: what the posterior's standard deviations are multiplied by, so that 90% of
            held-out rewards lie within 1.645 of them.
    """

    targets: tuple[str, ...]
    feature_means: Floats
    feature_scale: Floats
    reward_means: Floats
    reward_scale: float
    weights: Floats
    weight_variances: Floats
    noise_variance: float
    calibration: float = 1.0

    def predict(self, embeddings: ArrayLike, targets: Sequence[str]) -> tuple[Floats, Floats]:
        """Predict the rewards of n policies.

        Args:
            embeddings: (n, d).
            targets: the target of each policy.

        Returns:
            Predicted rewards and their standard deviations, float64 (n,) each.

        Raises:
            ValueError: a target is unknown, or d is not that of the fit.
        """
        of_target = _positions(targets, self.targets)
        x = np.asarray(embeddings, dtype=np.float64)
        if x.shape[1] != len(self.feature_scale):
            d = len(self.feature_scale)
            raise ValueError(f"embeddings must have {d} dimensions, not {x.shape[1]}")
        x = (x - self.feature_means[of_target]) * self.feature_scale
        predicted = np.einsum("nd,nd->n", x, self.weights[of_target]).round(DIGITS)
        variance = self.noise_variance + np.einsum(
            "nd,nd->n", x**2, self.weight_variances[of_target]
        )
        return (
            self.reward_means[of_target] + self.reward_scale * predicted,
            self.reward_scale * self.calibration * np.sqrt(variance),
        )

    def to_dict(self) -> dict[str, Any]:
        """Give the fields as plain containers and arrays."""
        return asdict(self)

    @classmethod
    def from_dict(cls, fields: dict[str, Any]) -> Self:
        """Undo `to_dict`."""
        return cls(**fields)


def fit_regressor(
    embeddings: ArrayLike,
    rewards: ArrayLike,
    targets: Sequence[str],
    known: Sequence[str] | None = None,
) -> RewardRegressor:
    """Fit the regressor to n policies of one world, without calibration.

    Args:
        embeddings: (n, d), finite.
        rewards: (n,), finite, mean undiscounted returns.
        targets: the target of each policy.
        known: all targets that may be asked for, by default those above; one without policies
            is predicted from what targets have in common.
    """
    x, y = np.asarray(embeddings, np.float64), np.asarray(rewards, np.float64)
    names = tuple(sorted(set(known or targets)))
    of_target = _positions(targets, names)
    feature_means = _means(x, of_target, len(names))
    reward_means = _means(y[:, np.newaxis], of_target, len(names))[:, 0]
    constant = CONSTANT * float(np.sqrt((x**2).mean()))
    x, y = x - feature_means[of_target], y - reward_means[of_target]
    reward_scale = _spread(y)
    size = np.sqrt((x**2).mean(axis=0))
    feature_scale = np.divide(1.0, size, out=np.zeros_like(size), where=size > constant)
    x, y = x * feature_scale, y / (reward_scale or 1.0)
    weights, variances, noise = _fit_weights(x, y, of_target, len(names))
    return RewardRegressor(
        targets=names,
        feature_means=feature_means,
        feature_scale=feature_scale,
        reward_means=reward_means,
        reward_scale=reward_scale,
        weights=weights,
        weight_variances=variances,
        noise_variance=noise,
    )


def _fit_weights(
    x: Floats, y: Floats, of_target: NDArray[np.intp], n_targets: int
) -> tuple[Floats, Floats, float]:
    """Fit w_0 + u_k by variational EM.

    Args:
        x: float64 (n, d), standardised embeddings.
        y: float64 (n,), standardised rewards.
        of_target: (n,), the target of each row, 0 to n_targets - 1.
        n_targets: K.

    Returns:
        Posterior means and variances of w_0 + u_k, float64 (K, d) each, and sigma^2.
    """
    n, d = x.shape
    blocks = _make_blocks(x, y, of_target, n_targets)
    orthogonal, triangle = np.linalg.qr(np.concatenate([b.rows.reshape(-1, d) for b in blocks]))
    unexplained = float(y @ y) - sum(float((block.rewards**2).sum()) for block in blocks)
    a = b = np.full(d, 1.0 / d)
    noise, total = 0.1, np.zeros((n_targets, d))
    own, own_variance = np.zeros((2, n_targets, d))
    for _ in range(MAX_ITERATIONS):
        left = [block.rewards - block.apply(own[block.targets]) for block in blocks]
        common, common_variance, trace = _posterior(
            triangle, orthogonal.T @ np.concatenate([part.ravel() for part in left]), a, noise
        )
        square, traces = unexplained, float(trace)
        for block in blocks:
            left_own = block.rewards - block.rows @ common
            means, own_variance[block.targets], own_traces = _posterior(
                block.rows, left_own, b, noise
            )
            own[block.targets] = means
            traces += float(own_traces.sum())
            square += float(np.square(left_own - block.apply(means)).sum())
        a = np.maximum(common**2 + common_variance, SMALLEST_VARIANCE)
        b = np.maximum((own**2 + own_variance).mean(axis=0), SMALLEST_VARIANCE)
        noise = max((square + traces) / n, LEAST_NOISE)
        change, total = float(np.abs(common + own - total).max()), common + own
        if change < TOLERANCE:
            break
    return total, common_variance + own_variance, noise


@dataclass(frozen=True)
class _Block:
    """Targets with a like number of policies, padded with rows of zeros, which say nothing.

    Attributes:
        targets: (k,), which they are.
        rows: float64 (k, r, d), their standardised embeddings.
        rewards: float64 (k, r).
    """

    targets: NDArray[np.intp]
    rows: Floats
    rewards: Floats

    def apply(self, weights: Floats) -> Floats:
        """Multiply each target's rows by its weights, float64 (k, d): float64 (k, r)."""
        products: Floats = np.einsum("krd,kd->kr", self.rows, weights)
        return products


def _make_blocks(x: Floats, y: Floats, of_target: NDArray[np.intp], n_targets: int) -> list[_Block]:
    """Sort targets into blocks; their numbers of rows in a block differ by less than twice."""
    parts = [_compress(x[of_target == k], y[of_target == k]) for k in range(n_targets)]
    sizes = np.array([1 << max(0, len(rows) - 1).bit_length() for rows, _ in parts])
    blocks = []
    for size in np.unique(sizes):
        targets = np.flatnonzero(sizes == size)
        rows, rewards = np.zeros((len(targets), size, x.shape[1])), np.zeros((len(targets), size))
        for place, k in enumerate(targets):
            rows[place, : len(parts[k][0])], rewards[place, : len(parts[k][1])] = parts[k]
        blocks.append(_Block(targets, rows, rewards))
    return blocks


def _posterior(
    rows: Floats, rewards: Floats, prior: Floats, noise: float
) -> tuple[Floats, Floats, Floats]:
    """Compute Gaussian posteriors of weights, in the dual form, which is quick for few rows.

    With B = diag(prior) and M = X B X' + sigma^2 I the mean is B X' M^-1 y, the covariance
    S = B - B X' M^-1 X B, and X S X' = sigma^2 M^-1 X B X'.

    Args:
        rows: float64 (..., r, d), X.
        rewards: float64 (..., r), y.
        prior: float64 (d,), prior variances.
        noise: sigma^2.

    Returns:
        The means (..., d), the diagonals of S (..., d), and the traces of X S X' (...).
    """
    spread = rows * prior
    matrix = spread @ rows.swapaxes(-1, -2) + noise * np.eye(rows.shape[-2])
    solved = np.linalg.solve(matrix, np.concatenate([spread, rewards[..., np.newaxis]], axis=-1))
    gain = solved[..., :-1]
    variance = np.maximum(prior - (spread * gain).sum(axis=-2), 0.0)
    mean = (spread * solved[..., -1:]).sum(axis=-2)
    return mean, variance, noise * (gain * rows).sum(axis=(-2, -1))


def _compress(x: Floats, y: Floats) -> tuple[Floats, Floats]:
    """Replace n rows by at most d with the same X'X and X'y."""
    if len(x) <= x.shape[1]:
        return x, y
    orthogonal, triangle = np.linalg.qr(x)
    return triangle, orthogonal.T @ y


def _means(values: Floats, of_target: NDArray[np.intp], n_targets: int) -> Floats:
    """Average rows by target, float64 (K, d); a target without rows gets the mean of all."""
    largest = float(np.abs(values).max()) or 1.0  # sums of the largest numbers overflow
    scaled = values / largest
    means = np.tile(scaled.mean(axis=0), (n_targets, 1))
    for k in np.unique(of_target):
        means[k] = scaled[of_target == k].mean(axis=0)
    return means * largest


def _spread(y: Floats) -> float:
    """Compute the root of the mean square, of numbers of any size; 0 for what is rounding only."""
    largest = float(np.abs(y).max())
    return largest * float(np.sqrt(np.mean((y / largest) ** 2))) if largest > 0.0 else 0.0


def _positions(targets: Sequence[str], known: tuple[str, ...]) -> NDArray[np.intp]:
    """Find targets among the known ones: (n,)."""
    unknown = sorted(set(targets) - set(known))
    if unknown:
        raise ValueError(f"the regressor knows the targets {known}, not {unknown}")
    place = {target: k for k, target in enumerate(known)}
    return np.array([place[target] for target in targets], dtype=np.intp)
