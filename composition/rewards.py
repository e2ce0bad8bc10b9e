"""What targets pay for, from what was recorded of their policies, and what they pay together.

An episode's reward is the sum of its events times the target's weights w_k. In the embedding of a
policy the events are summed already. Where a documented reward explains all that is recorded it
is taken; otherwise w_k is fitted by least squares, among events that the recordings tell apart.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import combinations

import numpy as np
from numpy.typing import NDArray

from worlds.gridworld.rewards import FAMILIES, RewardFamily

Floats = NDArray[np.float64]
TOLERANCE = 1e-3  # of a reward: embeddings are float32 sums of hundreds of steps
NOTHING = 1e-9  # a weight below is a rounding error
DEPENDENT = 1e-3  # an event that others explain up to this share tells nothing new


@dataclass(frozen=True)
class TargetReward:
    """What a target pays for each event.

    Attributes:
        target: its name.
        weights: float64 (n_events,).
        known: bool (n_events,), the events whose weight is known.
        recorded: float64 (n, n_events), what it was fitted to; None when it is documented.
        residual: standard deviation of the rewards around the fit.
        family: of documented rewards, and `parts`: which of them it is; None when fitted.
    """

    target: str
    weights: Floats
    known: NDArray[np.bool_]
    recorded: Floats | None = None
    residual: float = 0.0
    family: RewardFamily | None = None
    parts: frozenset[str] = frozenset()

    def deviation(self, events: Floats) -> float:
        """Tell how far the reward of an episode may be off.

        Args:
            events: float64 (n_events,), the events of an episode, summed.

        Returns:
            The residual, and for what no mixture of recorded episodes looks like the largest
            contribution that any event has had.
        """
        if self.recorded is None:
            return self.residual
        scale = np.maximum(np.abs(self.recorded).max(axis=0), 1e-12)
        rows, events = self.recorded / scale, np.where(self.known, events / scale, 0.0)
        _, sizes, basis = np.linalg.svd(rows, full_matrices=False)
        basis = basis[sizes > DEPENDENT * sizes[0]]
        strange = float(np.linalg.norm(events - basis.T @ (basis @ events)))
        largest = float(np.abs(self.weights * scale).max())
        return float(np.hypot(self.residual, strange * largest if strange > 1e-3 else 0.0))


def fit_reward(target: str, events: Floats, rewards: Floats) -> TargetReward:
    """Find out what a target pays for.

    Args:
        target: its name, whose words are tried first as parts of a documented reward.
        events: float64 (n, n_events), events of its policies' episodes, summed.
        rewards: float64 (n,), what they earned.
    """
    documented = _documented(target, events, rewards)
    return documented or _least_squares(target, events, rewards)


def combine(
    rewards: Sequence[TargetReward], weights: Floats, joint: TargetReward | None = None
) -> Floats:
    """Join the rewards of targets: c + sum over k of weight_k (w_k - c).

    c is what counts once however many targets pay it. A joint reward that is known, of weights 1
    each, tells it: c = (sum of w_k - joint) / (K - 1). Otherwise it is what all pay alike.

    Args:
        rewards: of K targets.
        weights: float64 (K,).
        joint: of a target that wants what all of them want, if one is known.

    Returns:
        float64 (n_events,).
    """
    parts = np.stack([reward.weights for reward in rewards])
    if len(parts) == 1:
        return np.asarray(weights[0] * parts[0])
    total = joint.weights if joint else documented_joint(rewards)
    if total is not None:
        once = (parts.sum(axis=0) - total) / (len(parts) - 1)
    else:
        alike = np.isclose(parts, parts[0], rtol=TOLERANCE, atol=TOLERANCE).all(axis=0)
        once = np.where(alike, parts[0], 0.0)
    joint_weights = once + weights @ (parts - once)
    return np.where(np.abs(joint_weights) < NOTHING, 0.0, joint_weights)


def documented_joint(rewards: Sequence[TargetReward]) -> Floats | None:
    """Give the documented reward of all parts together; None when a part is not documented."""
    family = rewards[0].family
    if family is None or any(reward.family is not family for reward in rewards):
        return None
    return family.reward(frozenset().union(*(reward.parts for reward in rewards)))


def _documented(target: str, events: Floats, rewards: Floats) -> TargetReward | None:
    """Find the documented reward that explains what is recorded, by the target's name or alone."""
    words = set(target.lower().split("-"))
    fitting = []
    for family in FAMILIES:
        named = frozenset(words.intersection(family.parts))
        for parts in _subsets(family.parts):
            weights = family.reward(parts)
            if _explains(weights, events, rewards):
                known = np.ones(len(weights), dtype=bool)
                found = TargetReward(target, weights, known, family=family, parts=parts)
                if parts == named:
                    return found
                fitting.append(found)
    return fitting[0] if len(fitting) == 1 else None


def _subsets(parts: tuple[str, ...]) -> list[frozenset[str]]:
    return [frozenset(c) for n in range(1, len(parts) + 1) for c in combinations(parts, n)]


def _explains(weights: Floats, events: Floats, rewards: Floats) -> bool:
    return bool((np.abs(events @ weights - rewards) <= TOLERANCE * (1 + np.abs(rewards))).all())


def _least_squares(target: str, events: Floats, rewards: Floats) -> TargetReward:
    """Fit weights to the events that were seen and that earlier ones do not explain.

    The order of `EVENT_NAMES` goes from plain events to derived ones, so a plain one explains.
    """
    scale = np.abs(events).max(axis=0)
    seen = scale > TOLERANCE
    chosen: list[int] = []
    basis = np.zeros((0, len(events)))
    for column in np.flatnonzero(seen):
        rest = events[:, column] / np.linalg.norm(events[:, column])
        rest = rest - basis.T @ (basis @ rest)
        if np.linalg.norm(rest) > DEPENDENT:
            basis = np.vstack([basis, rest / np.linalg.norm(rest)])
            chosen.append(int(column))
    weights = _solve(events, rewards, chosen)
    matter = np.abs(weights * scale) > TOLERANCE * np.abs(rewards).max()
    weights = _solve(events, rewards, [column for column in chosen if matter[column]])
    freedom = max(1, len(rewards) - len(chosen))
    residual = float(np.sqrt(((events @ weights - rewards) ** 2).sum() / freedom))
    return TargetReward(target, weights, seen, events, residual)


def _solve(events: Floats, rewards: Floats, chosen: list[int]) -> Floats:
    """Fit the weights of chosen events; those of the others are 0: float64 (n_events,)."""
    weights = np.zeros(events.shape[1])
    weights[chosen], *_ = np.linalg.lstsq(events[:, chosen], rewards, rcond=None)
    return weights
