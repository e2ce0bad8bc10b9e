"""What a library of trained policies is, to measure estimates on."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from worlds.episodes import Episodes

Floats = NDArray[np.float64]
Integers = NDArray[np.int64]
N_DRAWS = 10  # recordings of each policy
MAX_RECORDED = 10  # episodes of each


@dataclass(frozen=True)
class Library:
    """Policies of one world, recorded ten times, with what they are truly worth.

    Attributes:
        environment: the Gymnasium id.
        horizon: steps after which an episode is truncated.
        runs: int64 (n,), the training run of each policy.
        values: float64 (n,), the expected return of each policy.
        recordings: of each policy 100 episodes: ten draws of ten.
        tables: float64 (n, n_states, n_actions), action values; None in a vector world.
        networks: the weights of each policy's network; empty in a discrete world.
        bounds: float64 (2, a), of vector actions; None where actions are discrete.
        n_actions: number of discrete actions, else 0.
    """

    environment: str
    horizon: int
    runs: Integers
    values: Floats
    recordings: list[Episodes]
    tables: Floats | None = None
    networks: tuple[Floats, ...] = ()
    bounds: Floats | None = None
    n_actions: int = 0

    def draw(self, number: int, k: int) -> list[Episodes]:
        """Give the first k episodes, <= 10, of a draw of each policy."""
        first = number * MAX_RECORDED
        return [each.take(np.arange(first, first + k)) for each in self.recordings]
