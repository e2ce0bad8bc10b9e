"""Behaviour spaces, in which near means alike."""

from collections.abc import Sequence

import numpy as np
from numpy.typing import ArrayLike, NDArray

N_COMPONENTS = 10
TINY = 1e-9


def behaviour_vectors(
    *descriptions: ArrayLike, weights: Sequence[float] | None = None
) -> NDArray[np.float32]:
    """Reduce descriptions of the n policies of a world to their leading principal components.

    Every column is standardised over the policies. What a description counts does not depend on
    how many columns it has. For instance embeddings, and actions at fixed probe states: these
    are no matter of luck, so they may count more.

    Args:
        descriptions: (n, d) each, finite; d may differ.
        weights: what the variance of each description counts, > 0; None: all alike.

    Returns:
        float32 (n, c), c <= min(10, n - 1), the most important component first; Euclidean
        distances tell alike from unlike. Columns have unequal variances on purpose. c = 0 where
        all policies are described alike.

    Raises:
        ValueError: there is none, or they are not matrices of equally many rows.
    """
    matrices = [np.asarray(each, np.float64) for each in descriptions]
    if not matrices or any(each.ndim != 2 or len(each) != len(matrices[0]) for each in matrices):
        raise ValueError(f"need matrices of n rows, not {[each.shape for each in matrices]}")
    shares = np.ones(len(matrices)) if weights is None else np.asarray(weights, np.float64)
    if shares.shape != (len(matrices),) or not (shares > 0).all():
        raise ValueError(f"need a positive weight for each of {len(matrices)}, not {weights}")
    x = np.hstack([np.sqrt(w) * _standardise(m) for w, m in zip(shares, matrices, strict=True)])
    if not x.shape[1]:
        return np.zeros((len(x), 0), np.float32)
    left, singular, right = np.linalg.svd(x, full_matrices=False)
    n_components = min(N_COMPONENTS, int((singular > TINY * singular[0]).sum()))
    signs = np.sign(right[np.arange(len(right)), np.abs(right).argmax(axis=1)])
    scores: NDArray[np.float64] = left * singular * signs  # SVD leaves the signs open
    return np.ascontiguousarray(scores[:, :n_components], np.float32)


def _standardise(x: NDArray[np.float64]) -> NDArray[np.float64]:
    """Give columns mean 0 and standard deviation 1, drop constant ones, and weigh all as one."""
    centred = x - x.mean(axis=0)
    deviations = centred.std(axis=0)
    varies = deviations > TINY * (1 + np.abs(x).max(axis=0))
    kept = centred[:, varies] / deviations[varies]
    return np.asarray(kept / np.sqrt(max(kept.shape[1], 1)))
