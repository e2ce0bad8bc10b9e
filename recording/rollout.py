"""Rolling policies out: episodes of a policy in an environment, as arrays."""

import hashlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from library.errors import UnusableRecording
from recording.environments import Env, limits_steps, quiet
from recording.states import states_of
from worlds.episodes import Episodes
from worlds.policy import Policy, TablePolicy

DEFAULT_LIMIT = 1_000  # steps of an episode where neither the environment nor the user has a limit


def episode_seeds(identity: str, n: int) -> list[int]:
    """Draw the seeds of a policy's episodes.

    They differ between policies: under common seeds all would share one noise, which no model of
    all recordings could average out.

    Args:
        identity: what tells the policy from all others.
        n: how many episodes.
    """
    digest = hashlib.sha256(identity.encode()).digest()
    entropy = np.random.SeedSequence(int.from_bytes(digest[:16], "little"))
    return [int(seed) for seed in entropy.generate_state(n)]


def roll_out(env: Env, policy: Policy, seeds: list[int], max_steps: int | None = None) -> Episodes:
    """Let a policy act for one episode a seed.

    Args:
        env: a Gymnasium environment.
        policy: a table acts by numbered states, which are then what is recorded.
        seeds: of the episodes.
        max_steps: ends an episode that is not over by then; None: the environment's own limit.

    Returns:
        Observations float32, or int64 states; actions float32 or int64.

    Raises:
        UnusableRecording: the environment fails, or gives what is no number.
    """
    look = _observer(env, policy)
    limit = max_steps or (None if limits_steps(env) else DEFAULT_LIMIT)
    try:
        with quiet():
            episodes = [list(_steps(env, policy, look, seed, limit)) for seed in seeds]
    except Exception as error:  # an environment is anyone's code, and so are its errors
        reason = " ".join(str(error).split())[:200]
        raise UnusableRecording(
            f"the environment fails: {type(error).__name__}: {reason}"
        ) from None
    return _join(episodes)


@dataclass(frozen=True)
class _Step:
    observation: NDArray[Any]
    action: Any  # None in the last: the observation after the last step
    reward: float
    terminated: bool
    truncated: bool


def _steps(
    env: Env, policy: Policy, look: Callable[[Any], NDArray[Any]], seed: int, limit: int | None
) -> Iterator[_Step]:
    """Play an episode."""
    observation, _ = env.reset(seed=seed)
    n_steps, terminated, truncated = 0, False, False
    while not (terminated or truncated):
        seen = look(observation)
        action = policy.act(seen[None])[0]
        observation, reward, terminated, truncated, _ = env.step(_for_the(env, action))
        n_steps += 1
        truncated = bool(truncated) or (n_steps == limit and not terminated)
        yield _Step(seen, action, float(reward), bool(terminated), truncated)
    yield _Step(look(observation), None, 0.0, bool(terminated), truncated)


def _observer(env: Env, policy: Policy) -> Callable[[Any], NDArray[Any]]:
    """Choose what a policy is shown: the number of a state, or the numbers of an observation."""
    if not isinstance(policy, TablePolicy):
        numbers = type(env.observation_space).__name__ in ("Box", "MultiBinary")
        kind = np.float32 if numbers else np.int64
        return lambda observation: np.asarray(observation, dtype=kind)
    states = states_of(env)

    def number(observation: Any) -> NDArray[Any]:
        index = states.index(states.observe(observation))
        return np.asarray(-1 if index is None else index, dtype=np.int64)

    return number


def _for_the(env: Env, action: Any) -> Any:
    """Give an action the type that the environment expects."""
    if env.action_space.shape == ():
        return int(action) + int(getattr(env.action_space, "start", 0))
    return np.asarray(action, dtype=env.action_space.dtype)


def _join(episodes: list[list[_Step]]) -> Episodes:
    acted = [step for episode in episodes for step in episode[:-1]]
    return Episodes(
        np.stack([step.observation for episode in episodes for step in episode]),
        np.stack([np.asarray(step.action) for step in acted]),
        np.array([step.reward for step in acted]),
        np.array([len(episode) - 1 for episode in episodes], np.int64),
        np.array([episode[-1].terminated for episode in episodes]),
        np.array([episode[-1].truncated for episode in episodes]),
    )
