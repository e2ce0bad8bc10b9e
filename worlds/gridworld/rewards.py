"""Rewards of grid worlds that are documented, as weights of events.

A few recordings of greedy policies do not tell one event from another: who reaches the exit has
also come nearer to it. Where a documented reward explains what is recorded, it is the better
answer, and it says how the rewards of several parts add up.
"""

from collections.abc import Callable, Iterable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from worlds.gridworld.names import EVENT_NAMES

Weights = NDArray[np.float64]


@dataclass(frozen=True)
class RewardFamily:
    """Rewards that are made of parts.

    Attributes:
        parts: the names of the parts, as the names of targets have them.
        weights: gives the joint reward of some parts by event.
    """

    parts: tuple[str, ...]
    weights: Callable[[frozenset[str]], dict[str, float]]

    def reward(self, parts: Iterable[str]) -> Weights:
        """Give the joint reward of parts: float64 (n_events,), as `EVENT_NAMES`."""
        weights = self.weights(frozenset(parts))
        return np.array([weights.get(name, 0.0) for name in EVENT_NAMES])


def _demonstration(parts: frozenset[str]) -> dict[str, float]:
    """Reward by the rules of `environment.py`."""
    return {
        "stepped_on_block": -10.0,
        "on_exit": 100.0,
        "took_gold": float("gold" in parts),
        "free_progress": 2.0 * ("path" in parts),
    }


def _published(parts: frozenset[str]) -> dict[str, float]:
    """Reward by the rules of the published system's world with four moves.

    The parts named are added up, but only `path` pays for progress to the exit from the start;
    the others do when the gold that they want is gone and the lever that they want is taken.
    """
    path, gold, hazard, lever = (name in parts for name in ("path", "gold", "hazard", "lever"))
    when_done = {
        (False, False): "exit_progress",
        (True, False): "exit_progress_after_gold",
        (False, True): "exit_progress_after_lever",
        (True, True): "exit_progress_after_both",
    }[gold, lever]
    weights = {
        "stayed": -0.1,
        "entered_hazard": -100.0,
        "moved": -0.1 * (path + hazard + lever) - 0.01 * gold,
        "on_exit": 100.0 * (path + hazard) + 20.0 * lever,
        "exit_with_lever": 60.0 * lever,
        "took_lever": 20.0 * lever,
        "lever_progress": 1.0 * lever,
        "took_gold": 5.0 * gold,
        "gold_progress": 1.0 * gold,
        "exit_with_all_gold": 100.0 * gold,
        "exit_gold_missing": -10.0 * gold,
        "hazards_passed": 2.0 * hazard,
    }
    if path:
        return weights | {"exit_progress": 1.0}
    weights[when_done] = float(gold + hazard)
    weights["exit_progress_after_lever"] = weights.get("exit_progress_after_lever", 0.0) + lever
    return weights


DEMONSTRATION = RewardFamily(("gold", "path"), _demonstration)
PUBLISHED = RewardFamily(("path", "gold", "hazard", "lever"), _published)
FAMILIES = (DEMONSTRATION, PUBLISHED)
