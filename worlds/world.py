"""What a world is: a family of environments whose policies can be compared.

Policies of one world have equal observations, actions and features. A world is the one place that
knows what an observation means; everything else asks it.
"""

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from library.errors import UnusableRecording
from worlds.episodes import Episodes
from worlds.measures import GENERIC, Wording

Features = NDArray[np.float32]
MAX_NAME = 150  # characters; it names a folder


@dataclass(frozen=True)
class Recording:
    """One or more episodes of one policy, and the policy itself where it is a table.

    Attributes:
        observations: (sum of T_i + 1, ...), what the agent saw, episode after episode.
        actions: (sum of T_i, ...), what it did.
        lengths: int64 (k,), the T_i: the steps of each of the k >= 1 episodes, each >= 1.
        rewards: float64 (sum of T_i,); None where only their sum is known.
        terminated: bool (k,), whether the world ended each episode; None where that is not known.
        q_table: float (n_states, n_actions), greedy in its largest value; None without a table.
        network: `policy.npz`, the bytes of a policy that is a network; None without one.

    Raises:
        UnusableRecording: a field breaks these rules.
    """

    observations: NDArray[Any]
    actions: NDArray[Any]
    lengths: NDArray[np.int64]
    rewards: NDArray[np.float64] | None = None
    terminated: NDArray[np.bool_] | None = None
    q_table: NDArray[np.floating] | None = None
    network: bytes | None = None

    def __post_init__(self) -> None:
        """Enforce what the class docstring says."""
        lengths = self.lengths
        check(lengths.ndim == 1 and len(lengths) > 0, "it has no episode")
        check(bool((lengths >= 1).all()), "an episode has no step")
        n_steps, k = int(lengths.sum()), len(lengths)
        check_length(self.observations, n_steps + k, "observations")
        check_length(self.actions, n_steps, "actions")
        if self.rewards is not None:
            check_length(self.rewards, n_steps, "rewards")
            check(bool(np.isfinite(self.rewards).all()), "a reward is not finite")
        if self.terminated is not None:
            check_length(self.terminated, k, "ends of episodes")
        if self.q_table is not None:
            check(self.q_table.ndim == 2, f"the Q-table has shape {self.q_table.shape}")
            allowed = np.isfinite(self.q_table) | np.isneginf(self.q_table)  # forbidden actions
            check(bool(allowed.all()), "the Q-table has NaN or infinity")

    @property
    def n_transitions(self) -> int:
        """The number of steps of all episodes."""
        return len(self.actions)

    @cached_property
    def episodes(self) -> list[NDArray[Any]]:
        """The observations of each episode, (T_i + 1, ...)."""
        return np.split(self.observations, np.cumsum(self.lengths + 1)[:-1])

    def as_episodes(self) -> Episodes:
        """Give the episodes with their rewards.

        Raises:
            UnusableRecording: rewards or ends are not recorded.
        """
        check(self.rewards is not None and self.terminated is not None, "it has no rewards")
        ends: Any = self.terminated
        return Episodes(
            self.observations, self.actions, np.asarray(self.rewards), self.lengths, ends, ~ends
        )

    @property
    def returns(self) -> NDArray[np.float64] | None:
        """The undiscounted sum of rewards of each episode, float64 (k,)."""
        if self.rewards is None:
            return None
        starts = np.cumsum(self.lengths) - self.lengths
        return np.add.reduceat(self.rewards, starts)


class World(ABC):
    """A family of environments whose policies can be compared.

    Attributes:
        name: tells it from other worlds.
        wordings: how people ask for little or much of its measures.
        environment: what people call it; None where the name of its target says more.
    """

    name: str
    wordings: tuple[Wording, ...] = GENERIC
    environment: str | None = None

    @abstractmethod
    def measures(self, recording: Recording) -> dict[str, float]:
        """Say in numbers how a policy behaves: means over its episodes, by measure.

        `energy` is among them where the world knows what motion costs: 0 to 1.
        """

    def start_state(self, recording: Recording) -> NDArray[Any] | None:
        """Give the state in which all episodes begin; None where they begin anywhere."""
        return None


class StateWorld(World):
    """A world that describes states one by one, whatever else was recorded.

    Attributes:
        feature_names: of the d columns of phi.
        situation: the features that tell where in an episode a state is, and what each is
            multiplied by before distances between situations are measured.
    """

    feature_names: tuple[str, ...]
    situation: Mapping[str, float]

    @abstractmethod
    def features(self, recordings: Sequence[Recording]) -> list[list[Features]]:
        """Describe the states of recordings: for each episode of each a float32 (T_i + 1, d)."""


def check(rule: bool, complaint: str) -> None:
    """Raise UnusableRecording unless a rule holds."""
    if not rule:
        raise UnusableRecording(complaint)


def check_length(array: NDArray[Any], length: int, name: str) -> None:
    """Raise UnusableRecording unless an array has `length` entries."""
    check(array.ndim >= 1 and len(array) == length, f"{array.shape} {name}, must be {length}")


def exactly(array: NDArray[Any], dtype: Any, name: str) -> NDArray[Any]:
    """Convert an array where no value changes.

    Raises:
        UnusableRecording: a value would change.
    """
    check(array.dtype.kind in "biuf", f"{name} are {array.dtype}, must be numbers")
    with np.errstate(invalid="ignore"):  # NaN as an integer
        converted = array.astype(dtype)
    check(bool((converted == array).all()), f"{name} are no {np.dtype(dtype).name} numbers")
    return converted
