"""What a library of trained policies is, to measure estimates on."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from worlds.episodes import Episodes

Floats = NDArray[np.float64]
Integers = NDArray[np.int64]
MAX_RECORDED = 10  # episodes of a recording, and of the same policy recorded anew


@dataclass(frozen=True)
class Library:
    """Policies of one world, recorded twice, with what they are truly worth.

    Attributes:
        environment: the Gymnasium id.
        horizon: steps after which an episode is truncated.
        runs: int64 (n,), the training run of each policy.
        values: float64 (n,), the expected return of each policy.
        recordings, anew: n recordings of ten episodes, and as many of other episodes.
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
    anew: list[Episodes]
    tables: Floats | None = None
    networks: tuple[Floats, ...] = ()
    bounds: Floats | None = None
    n_actions: int = 0
