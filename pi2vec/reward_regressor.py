"""The reward regressor: predicted reward, and how far off it may be, from a policy embedding.

If a reward is linear in phi, a return is linear in successor features: r = phi . w gives
return = Psi . w (Barreto et al. 2017, arXiv 1606.05312, eq. 3). So the regression is linear and
has no intercept: a policy that meets nothing earns nothing. An intercept would swallow the
reward of the exit, which nearly every policy reaches, and over-rate by 100 those that do not.

For a policy with embedding x and target k:  reward = x . (w_0 + w_k) + noise.  w_0 is what
targets have in common; it serves a target with few policies. The fit is Bayesian ridge
regression (MacKay 1992), done twice: features whose weight was small the first time are scaled
down the second time, so that what does not matter adds no noise (the idea of the adaptive
lasso, Zou 2006).
"""

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any, Self

import numpy as np
from numpy.typing import ArrayLike, NDArray

Floats = NDArray[np.float64]
TINY = 1e-9  # a feature that never exceeds it is always 0


@dataclass(frozen=True)
class RewardRegressor:
    """A fitted regressor, in plain numbers.

    Attributes:
        targets: the K targets that it knows.
        scale: float64 ((K + 1) * d,), by which the columns of the design are multiplied.
        weights: float64 ((K + 1) * d,), posterior mean of the weights.
        covariance: float64 ((K + 1) * d, (K + 1) * d), posterior covariance of the weights.
        noise_variance: of the rewards around the regression.
        calibration: what the posterior's standard deviations are multiplied by, so that 90% of
            held-out rewards lie within 1.645 of them.
    """

    targets: tuple[str, ...]
    scale: Floats
    weights: Floats
    covariance: Floats
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
        design = _design(embeddings, targets, self.targets)
        if design.shape[1] != len(self.weights):
            d = len(self.weights) // (len(self.targets) + 1)
            raise ValueError(f"embeddings must have {d} dimensions, not {np.shape(embeddings)[1]}")
        design *= self.scale
        variance = self.noise_variance + np.einsum("np,np->n", design @ self.covariance, design)
        return design @ self.weights, self.calibration * np.sqrt(variance)

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
    """Fit the regressor to n policies, without calibration.

    Args:
        embeddings: (n, d), finite.
        rewards: (n,), undiscounted sums of rewards.
        targets: the target of each policy.
        known: all targets that may be asked for, by default those above; one without policies
            is predicted from what targets have in common.
    """
    from sklearn.linear_model import BayesianRidge  # two seconds that a prediction does not need

    known = tuple(sorted(set(known or targets)))
    design = _design(embeddings, targets, known)
    size = np.sqrt(np.mean(design**2, axis=0))
    scale = np.divide(1.0, size, out=np.zeros_like(size), where=size > TINY)
    first = np.abs(BayesianRidge(fit_intercept=False).fit(design * scale, rewards).coef_)
    scale *= first / max(first.max(), TINY)
    model = BayesianRidge(fit_intercept=False).fit(design * scale, rewards)
    return RewardRegressor(known, scale, model.coef_, model.sigma_, float(1.0 / model.alpha_))


def _design(embeddings: ArrayLike, targets: Sequence[str], known: Sequence[str]) -> Floats:
    """Repeat the embeddings as what is common and, in the target's own columns, what is not.

    Returns:
        float64 (n, (K + 1) * d).
    """
    unknown = sorted(set(targets) - set(known))
    if unknown:
        raise ValueError(f"the regressor knows the targets {known}, not {unknown}")
    common = np.asarray(embeddings, dtype=np.float64)
    own = [common * (np.asarray(targets) == target)[:, np.newaxis] for target in known]
    return np.hstack([common, *own])
