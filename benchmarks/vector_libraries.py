"""Libraries of vector worlds: small networks by the cross-entropy method, judged by episodes.

The method is that of Mannor et al. 2003 (ICML). Every policy is rolled out with seeds of its own,
and judged by 100 episodes that no estimate sees.
"""

from collections.abc import Callable, Iterator
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from functools import partial
from typing import Any

import gymnasium
import numpy as np

from benchmarks.world_libraries import MAX_RECORDED, N_DRAWS, Floats, Library
from worlds.episodes import Episodes

HIDDEN = 8  # units of a network
N_CANDIDATES = 32  # networks tried in a round
N_TRUTH = 100  # episodes that judge a policy


def n_weights(n_inputs: int, n_outputs: int) -> int:
    """Count the weights of a network."""
    return (n_inputs + 1) * HIDDEN + (HIDDEN + 1) * n_outputs


def network(weights: Floats, n_inputs: int, n_outputs: int) -> Callable[[Floats], Floats]:
    """Build (..., m, n_inputs) -> (..., m, n_outputs) of weights (..., p); one tanh layer."""
    n_first, many = (n_inputs + 1) * HIDDEN, weights.shape[:-1]
    first = weights[..., :n_first].reshape(*many, n_inputs + 1, HIDDEN)
    second = weights[..., n_first:].reshape(*many, HIDDEN + 1, n_outputs)
    inner, inner_bias = first[..., :-1, :], first[..., -1:, :]
    outer, outer_bias = second[..., :-1, :], second[..., -1:, :]
    return lambda x: np.tanh(x @ inner + inner_bias) @ outer + outer_bias


@dataclass(frozen=True)
class VectorTask:
    """A vector environment and how a network acts in it.

    Attributes:
        environment: the Gymnasium id.
        scale: float64 (d,), by which observations are divided.
        n_outputs: discrete actions, or dimensions of vector actions.
        bounds: float64 (2, a) of vector actions, else None.
    """

    environment: str
    scale: Floats
    n_outputs: int
    bounds: Floats | None

    def act(self, weights: Floats) -> Callable[[Floats], Any]:
        """Build observations (..., m, d) -> actions (..., m) or (..., m, a) of weights (..., p)."""
        outputs = network(weights, len(self.scale), self.n_outputs)
        if self.bounds is None:
            return lambda x: outputs(x / self.scale).argmax(axis=-1)
        middle, half = self.bounds.mean(axis=0), np.ptp(self.bounds, axis=0) / 2
        return lambda x: middle + half * np.tanh(outputs(x / self.scale))


def describe_task(environment: str) -> VectorTask:
    """Read an environment's spaces."""
    env: Any = gymnasium.make(environment)
    high = env.observation_space.high.astype(np.float64)
    scale = np.where(high < 1e3, high, 2.0)
    if isinstance(env.action_space, gymnasium.spaces.Discrete):
        return VectorTask(environment, scale, int(env.action_space.n), None)
    bounds = np.stack([env.action_space.low, env.action_space.high]).astype(np.float64)
    return VectorTask(environment, scale, bounds.shape[1], bounds)


def play(
    env: gymnasium.Env[Any, Any], act: Callable[[Floats], Any], seed: int
) -> tuple[list[Any], list[Any], list[float], bool]:
    """Play one episode: observations, actions, rewards, terminated."""
    observation, _ = env.reset(seed=seed)
    observations, actions, rewards = [observation], [], []
    terminated = truncated = False
    while not (terminated or truncated):
        action = act(observation[None])[0]
        observation, reward, terminated, truncated, _ = env.step(action)
        observations.append(observation)
        actions.append(action)
        rewards.append(float(reward))
    return observations, actions, rewards, terminated


def record_vector(
    env: gymnasium.Env[Any, Any], act: Callable[[Floats], Any], seeds: Iterator[int]
) -> Episodes:
    """Record the draws of a policy."""
    played = [play(env, act, next(seeds)) for _ in range(N_DRAWS * MAX_RECORDED)]
    observations, actions, rewards, terminated = zip(*played, strict=True)
    ended = np.array(terminated)
    return Episodes(
        np.concatenate([np.array(each) for each in observations]),
        np.concatenate([np.array(each) for each in actions]),
        np.concatenate([np.array(each) for each in rewards]),
        np.array([len(each) for each in rewards]),
        ended,
        ~ended,
    )


def swing_pendulums(task: VectorTask, weights: Floats, starts: Floats) -> Floats:
    """Compute the returns of c networks from m starts (2, m), all at once: float64 (c, m).

    Gymnasium's pendulum is written element by element: a state of many columns is many pendulums.
    """
    env: Any = gymnasium.make(task.environment).unwrapped
    env.reset(seed=0)
    env.state = np.tile(starts, (1, len(weights)))
    act, shape = task.act(weights), (len(weights), starts.shape[1], -1)
    observation, returns = env._get_obs(), np.zeros(env.state.shape[1])
    for _ in range(200):
        actions = act(observation.T.reshape(shape))
        observation, reward, *_ = env.step(actions.reshape(1, -1))
        returns += reward
    return returns.reshape(len(weights), -1)


def evaluate(
    env: gymnasium.Env[Any, Any],
    task: VectorTask,
    weights: Floats,
    n_episodes: int,
    generator: np.random.Generator,
) -> Floats:
    """Estimate the value of each of c networks, from the same starts: float64 (c,)."""
    if task.environment.startswith("Pendulum"):
        starts = np.array([[np.pi], [1]]) * generator.uniform(-1, 1, (2, n_episodes))
        return np.asarray(swing_pendulums(task, weights, starts).mean(axis=1))
    seeds = generator.integers(2**31, size=n_episodes).tolist()
    return np.array(
        [np.mean([sum(play(env, task.act(each), seed)[2]) for seed in seeds]) for each in weights]
    )


def improve(
    env: gymnasium.Env[Any, Any], task: VectorTask, generator: np.random.Generator, n_rounds: int
) -> list[Floats]:
    """Run the cross-entropy method; returns the mean weights before and after each round."""
    mean = generator.normal(size=n_weights(len(task.scale), task.n_outputs))
    deviation = np.ones_like(mean)
    kept = [mean]
    n_episodes = 8 if task.environment.startswith("Pendulum") else 1
    for progress in np.linspace(0, 1, n_rounds):
        candidates = mean + deviation * generator.normal(size=(N_CANDIDATES, len(mean)))
        scores = evaluate(env, task, candidates, n_episodes, generator)
        best = candidates[np.argsort(scores)[-N_CANDIDATES // 4 :]]
        mean, deviation = best.mean(axis=0), best.std(axis=0) + 0.1 * (1 - progress)
        kept.append(mean)
    return kept


def train_run(
    task: VectorTask, snapshots: tuple[int, ...], n_truth: int, run: int
) -> list[tuple[Floats, float, Episodes]]:
    """Train one run: weights, value and recording of each snapshot."""
    env = gymnasium.make(task.environment, disable_env_checker=True)
    rounds = improve(env, task, np.random.default_rng(run), snapshots[-1])
    policies = []
    for snapshot in snapshots:
        generator = np.random.default_rng([run, snapshot])
        act = task.act(rounds[snapshot])
        seeds = iter(generator.integers(2**31, size=N_DRAWS * MAX_RECORDED).tolist())
        recording = record_vector(env, act, seeds)
        value = evaluate(env, task, rounds[snapshot][None], n_truth, generator)[0]
        policies.append((rounds[snapshot], float(value), recording))
    return policies


def train_vector(
    environment: str,
    n_runs: int,
    snapshots: tuple[int, ...],
    n_truth: int = N_TRUTH,
    n_jobs: int = 2,
) -> Library:
    """Train `n_runs` networks and keep a policy after each number of rounds in `snapshots`."""
    task = describe_task(environment)
    train = partial(train_run, task, snapshots, n_truth)
    with ProcessPoolExecutor(n_jobs) as pool:
        policies = [policy for run in pool.map(train, range(n_runs)) for policy in run]
    weights, values, recordings = zip(*policies, strict=True)
    spec = gymnasium.spec(environment)
    return Library(
        environment,
        int(spec.max_episode_steps or 0),
        np.repeat(np.arange(n_runs), len(snapshots)),
        np.array(values),
        list(recordings),
        networks=weights,
        bounds=task.bounds,
        n_actions=0 if task.bounds is not None else task.n_outputs,
    )
