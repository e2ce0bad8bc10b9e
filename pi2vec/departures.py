"""What becomes of a policy where no recording tells: learned from what was recorded only once.

Pairs of state and action that one single episode holds are the nearest thing to pairs that none
holds (Good 1953, Biometrika 40): without that episode they would be unknown. The first such step
of an episode is its departure. A guess of what a policy earns from there can be held to what the
episode did earn; how far off guesses are on average is added to them, and the rest is doubt.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from worlds.episodes import Episodes

Floats = NDArray[np.float64]
Integers = NDArray[np.int64]


@dataclass(frozen=True)
class Departures:
    """First steps of episodes at pairs that no other episode of the world holds: m of them.

    Attributes:
        policies: int64 (m,), the number of the recording.
        times: int64 (m,), the steps taken before.
        returns: float64 (m,), what the episode earned from there on.
        typical_variance: of the returns of all episodes of the world.
    """

    policies: Integers
    times: Integers
    returns: Floats
    typical_variance: float


@dataclass(frozen=True)
class GuessErrors:
    """What guesses of the return after a departure miss.

    Attributes:
        mean: to be added to a guess; drawn to 0 as far as it may be chance.
        variance: of what guesses for a policy still miss after that.
    """

    mean: float
    variance: float


def find_departures(recordings: Sequence[Episodes], pairs: Integers) -> Departures:
    """Find the departures in the recordings of a world.

    Args:
        recordings: T steps in all.
        pairs: int64 (T,), the number of each step's pair.
    """
    lengths = np.concatenate([each.lengths for each in recordings])
    episodes = np.repeat(np.arange(len(lengths)), lengths)
    alone = np.flatnonzero(_count_episodes(pairs, episodes)[pairs] == 1)
    departing, first = np.unique(episodes[alone], return_index=True)
    steps, starts = alone[first], (np.cumsum(lengths) - lengths)[departing]
    earned = np.cumsum(np.concatenate([[0.0], *(each.rewards for each in recordings)]))
    owners = np.repeat(np.arange(len(recordings)), [each.n_episodes for each in recordings])
    return Departures(
        policies=owners[departing],
        times=steps - starts,
        returns=earned[starts + lengths[departing]] - earned[steps],
        typical_variance=float(np.concatenate([each.returns for each in recordings]).var()),
    )


def judge_guesses(departures: Departures, guesses: Floats) -> GuessErrors:
    """Hold guesses to what episodes earned after their departures.

    The errors of one policy may all be alike, so the variance of their mean is that of clusters
    (Liang & Zeger 1986, Biometrika 73), and the mean is shrunk by the share of its square that
    this variance explains. After that a policy is taken to differ from its guess as much as
    guesses differ from one another: single episodes can't tell.

    Args:
        departures: those of policies >= n, or after H steps, are left out.
        guesses: float64 (n, H + 1), with 0 to H steps left.
    """
    known = (departures.policies < len(guesses)) & (departures.times < guesses.shape[1] - 1)
    policies, left = departures.policies[known], guesses.shape[1] - 1 - departures.times[known]
    errors = departures.returns[known] - guesses[policies, left]
    n_policies = len(np.unique(policies))
    if n_policies < 2:  # might be chance
        return GuessErrors(0.0, departures.typical_variance)
    mean, m = float(errors.mean()), len(errors)
    sums = np.bincount(policies, errors - mean)
    of_mean = float(sums @ sums) / m**2 * n_policies / (n_policies - 1)
    trust = max(1 - of_mean / mean**2, 0.0) if mean else 0.0
    common = of_mean + ((1 - trust) * mean) ** 2
    return GuessErrors(trust * mean, common + float(guesses[:, -1].var()))


def _count_episodes(pairs: Integers, episodes: Integers) -> Integers:
    """Count in how many episodes each pair occurs."""
    n_episodes = int(episodes[-1]) + 1
    return np.bincount(np.unique(pairs * n_episodes + episodes) // n_episodes)
