"""Libraries of trained policies to measure on: trained, recorded and judged in a minute or two each.

Discrete worlds are learned by Q-learning (Watkins & Dayan 1992) on the transition table that
Gymnasium's toy-text environments carry, and judged exactly by it. Vector worlds are learned by
the cross-entropy method (Mannor et al. 2003) on a small tanh network, and judged by episodes
that no estimate sees. Every policy is rolled out with seeds of its own.
"""

from collections.abc import Callable, Iterator
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from functools import partial
from typing import Any

import gymnasium
import numpy as np
from numba import njit
from numpy.typing import NDArray

from worlds.episodes import Episodes

Floats = NDArray[np.float64]
Integers = NDArray[np.int64]
HIDDEN = 8  # units of a network
N_CANDIDATES = 32  # networks tried in a round
N_TRUTH = 100  # episodes that judge a policy
MAX_RECORDED = 10  # episodes of a recording, and of the same policy recorded anew
LEARNING_RATE, DISCOUNT, EXPLORATION = 0.1, 0.99, 0.2


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


# ---------------------------------------------------------------- discrete worlds


@dataclass(frozen=True)
class Transitions:
    """A toy-text environment's table: K outcomes of each of S states and A actions.

    Attributes:
        probability: float64 (S, A, K), 0 where there are fewer outcomes.
        following: int64 (S, A, K), the next state.
        reward: float64 (S, A, K).
        terminal: bool (S, A, K).
        starts: float64 (S,), the probability of each start state.
    """

    probability: Floats
    following: Integers
    reward: Floats
    terminal: NDArray[np.bool_]
    starts: Floats

    @property
    def arrays(self) -> tuple[Any, ...]:
        """The fields in order."""
        return self.probability, self.following, self.reward, self.terminal, self.starts


def read_transitions(environment: gymnasium.Env[Any, Any]) -> Transitions:
    """Read the table `P` and the start distribution of a toy-text environment."""
    table, starts = environment.unwrapped.P, environment.unwrapped.initial_state_distrib  # type: ignore[attr-defined]
    width = max(len(outcomes) for actions in table.values() for outcomes in actions.values())
    arrays = np.zeros((4, len(table), len(table[0]), width))
    for state, actions in table.items():
        for action, outcomes in actions.items():
            arrays[:, state, action, : len(outcomes)] = np.array(outcomes, float).T
    probability, following, reward, terminal = arrays
    return Transitions(
        probability, following.astype(np.int64), reward, terminal.astype(bool), np.array(starts)
    )


def train_discrete(
    environment: str,
    kwargs: dict[str, Any],
    horizon: int,
    n_runs: int,
    snapshots: tuple[int, ...],
) -> Library:
    """Train `n_runs` Q-learners and keep a policy after each number of episodes in `snapshots`."""
    transitions = read_transitions(gymnasium.make(environment, **kwargs))
    tables = np.concatenate(
        [
            learn(*transitions.arrays, np.array(snapshots), horizon, seed=run)
            for run in range(n_runs)
        ]
    )
    record = partial(record_discrete, transitions, horizon)
    seeds = np.random.SeedSequence(2).generate_state(2 * len(tables))
    return Library(
        environment,
        horizon,
        np.repeat(np.arange(n_runs), len(snapshots)),
        np.array([exact_value(transitions, table, horizon) for table in tables]),
        [record(table, seed) for table, seed in zip(tables, seeds[::2], strict=True)],
        [record(table, seed) for table, seed in zip(tables, seeds[1::2], strict=True)],
        tables=tables,
        n_actions=tables.shape[2],
    )


@njit(cache=True)  # type: ignore[untyped-decorator]
def draw(probabilities: Floats) -> int:
    """Draw an index."""
    level = np.random.random()
    for index, probability in enumerate(probabilities):
        level -= probability
        if level < 0:
            return index
    return int(np.argmax(probabilities))


@njit(cache=True)  # type: ignore[untyped-decorator]
def learn(
    probability: Floats,
    following: Integers,
    reward: Floats,
    terminal: NDArray[np.bool_],
    starts: Floats,
    snapshots: Integers,
    horizon: int,
    seed: int,
) -> Floats:
    """Q-learning; returns the tables (len(snapshots), S, A) after these numbers of episodes."""
    np.random.seed(seed)
    n_states, n_actions, _ = probability.shape
    table = np.random.random((n_states, n_actions)) * 1e-3  # ties are broken at random
    kept = np.zeros((len(snapshots), n_states, n_actions))
    saved = 0
    for episode in range(snapshots[-1] + 1):
        while saved < len(snapshots) and snapshots[saved] == episode:
            kept[saved] = table
            saved += 1
        state = draw(starts)
        for _ in range(horizon):
            greedy = np.random.random() >= EXPLORATION
            action = np.argmax(table[state]) if greedy else np.random.randint(n_actions)
            outcome = draw(probability[state, action])
            after = following[state, action, outcome]
            ended = terminal[state, action, outcome]
            target = reward[state, action, outcome]
            if not ended:
                target += DISCOUNT * table[after].max()
            table[state, action] += LEARNING_RATE * (target - table[state, action])
            state = after
            if ended:
                break
    return kept


@njit(cache=True)  # type: ignore[untyped-decorator]
def walk(
    probability: Floats,
    following: Integers,
    reward: Floats,
    terminal: NDArray[np.bool_],
    starts: Floats,
    actions: Integers,
    horizon: int,
    n_episodes: int,
    seed: int,
) -> tuple[Any, ...]:
    """Act greedily; returns the arrays of `Episodes`."""
    np.random.seed(seed)
    seen = np.zeros(n_episodes * (horizon + 1), np.int64)
    taken = np.zeros(n_episodes * horizon, np.int64)
    earned = np.zeros(n_episodes * horizon)
    lengths = np.zeros(n_episodes, np.int64)
    terminated = np.zeros(n_episodes, np.bool_)
    n_seen, n_taken = 0, 0
    for episode in range(n_episodes):
        state = draw(starts)
        seen[n_seen] = state
        n_seen += 1
        for _ in range(horizon):
            action = actions[state]
            outcome = draw(probability[state, action])
            taken[n_taken] = action
            earned[n_taken] = reward[state, action, outcome]
            n_taken += 1
            lengths[episode] += 1
            terminated[episode] = terminal[state, action, outcome]
            state = following[state, action, outcome]
            seen[n_seen] = state
            n_seen += 1
            if terminated[episode]:
                break
    return seen[:n_seen], taken[:n_taken], earned[:n_taken], lengths, terminated


def record_discrete(
    transitions: Transitions, horizon: int, table: Floats, seed: int
) -> Episodes:
    """Record ten episodes of a greedy policy."""
    actions = table.argmax(axis=1)
    *arrays, terminated = walk(*transitions.arrays, actions, horizon, MAX_RECORDED, int(seed))
    return Episodes(*arrays, terminated=terminated, truncated=~terminated)


def exact_value(transitions: Transitions, table: Floats, horizon: int) -> float:
    """Compute the expected return of a greedy policy by dynamic programming."""
    at = (np.arange(len(table)), table.argmax(axis=1))
    probability, following = transitions.probability[at], transitions.following[at]
    reward, going_on = transitions.reward[at], ~transitions.terminal[at]
    value = np.zeros(len(table))
    for _ in range(horizon):
        value = (probability * (reward + going_on * value[following])).sum(axis=1)
    return float(transitions.starts @ value)


# ---------------------------------------------------------------- vector worlds


def n_weights(n_inputs: int, n_outputs: int) -> int:
    """Count the weights of a network."""
    return (n_inputs + 1) * HIDDEN + (HIDDEN + 1) * n_outputs


def network(weights: Floats, n_inputs: int, n_outputs: int) -> Callable[[Floats], Floats]:
    """Build x (..., m, n_inputs) -> (..., m, n_outputs) of weights (..., p): a hidden tanh layer."""
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
    env = gymnasium.make(environment)
    high = np.asarray(env.observation_space.high, float)  # type: ignore[attr-defined]
    scale = np.where(high < 1e3, high, 2.0)
    if isinstance(env.action_space, gymnasium.spaces.Discrete):
        return VectorTask(environment, scale, int(env.action_space.n), None)
    bounds = np.stack([env.action_space.low, env.action_space.high]).astype(float)  # type: ignore[attr-defined]
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
    """Record ten episodes."""
    played = [play(env, act, next(seeds)) for _ in range(MAX_RECORDED)]
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
        starts = generator.uniform([[-np.pi], [-1]], [[np.pi], [1]], (2, n_episodes))
        return swing_pendulums(task, weights, starts).mean(axis=1)
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
) -> list[tuple[Floats, float, Episodes, Episodes]]:
    """Train one run: weights, value and two recordings of each snapshot."""
    env = gymnasium.make(task.environment, disable_env_checker=True)
    rounds = improve(env, task, np.random.default_rng(run), snapshots[-1])
    policies = []
    for snapshot in snapshots:
        generator = np.random.default_rng([run, snapshot])
        act = task.act(rounds[snapshot])
        seeds = iter(generator.integers(2**31, size=2 * MAX_RECORDED).tolist())
        recordings = record_vector(env, act, seeds), record_vector(env, act, seeds)
        value = evaluate(env, task, rounds[snapshot][None], n_truth, generator)[0]
        policies.append((rounds[snapshot], float(value), *recordings))
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
    weights, values, recordings, anew = zip(*policies, strict=True)
    spec = gymnasium.spec(environment)
    return Library(
        environment,
        int(spec.max_episode_steps or 0),
        np.repeat(np.arange(n_runs), len(snapshots)),
        np.array(values),
        list(recordings),
        list(anew),
        networks=weights,
        bounds=task.bounds,
        n_actions=0 if task.bounds is not None else task.n_outputs,
    )
