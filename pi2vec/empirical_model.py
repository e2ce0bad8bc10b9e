"""The pooled empirical model of a discrete world, and what it says of a policy.

All policies of a world act on the same transitions, so the steps of all recordings, counted
together, are one estimate of P(s' | s, a) and r(s, a, s'), far better than what one policy's few
episodes give. A policy's own table says what it would do in each state. Its expected return over
h steps is then, by dynamic programming (certainty equivalence; Sutton & Barto 2018, section 4.1),

    v_0 = 0,    v_h = r_pi + P_pi v_{h-1},

where nothing follows a terminated step, and a truncated one is no end of anything: what follows
it is known from other steps. The same model gives psi, the policy's successor features (Barreto
et al. 2017, arXiv 1606.05312, eq. 3), averaged over the start states: the discounted visits

    d_0 = starts,    d_{t+1} = P_pi^T d_t,    psi = sum over t of gamma^t d_t . Phi_pi.

Of a pair of state and action that no recording holds, nothing tells what follows. The guess is
that the policy goes on as from a state drawn from all recorded steps. How far off such guesses are
is learned from pairs recorded only once (`departures`), corrected, and counts in the deviation.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from pi2vec.departures import Departures, GuessErrors, find_departures, judge_guesses
from pi2vec.dynamic_programming import go_backwards, go_forwards, guess_values
from worlds.episodes import Episodes
from worlds.tabular import MAX_COLUMNS, state_columns

Floats = NDArray[np.float64]
Integers = NDArray[np.int64]
GAMMA = 0.99  # discount of psi; returns are not discounted
UNKNOWN = -1  # a choice that is not known
Plan = tuple[Integers, Integers, Floats, Floats, Integers, Floats]


@dataclass(frozen=True)
class EmpiricalModel:
    """Counts of all recorded steps of a world: S seen states, A actions, O distinct outcomes.

    An outcome is (state, action, what followed). Pair q is state q // A with action q % A.

    Attributes:
        states: int64 (S,), the observations that occur, ascending; others are unknown.
        n_actions: A.
        first: int64 (S * A + 1,), the outcomes of pair q are first[q] to first[q + 1] - 1.
        following: int64 (O,), the index of the next state in `states`; S where none follows.
        counts: int64 (O,), how often it was recorded.
        rewards: float64 (O,), mean reward.
        reward_variances: float64 (S * A,), of the rewards around the means of their outcomes.
        visits: float64 (S,), the share of each state in all recorded steps.
        starts: float64 (S,), its share in the first states of episodes.
        n_episodes: number of episodes counted.
        randomness: how often two records of one pair differ in what followed, 0 to 1.
        departures: steps at pairs that only one episode holds.
    """

    states: Integers
    n_actions: int
    first: Integers
    following: Integers
    counts: Integers
    rewards: Floats
    reward_variances: Floats
    visits: Floats
    starts: Floats
    n_episodes: int
    randomness: float
    departures: Departures

    @cached_property
    def pair_counts(self) -> Integers:
        """int64 (S * A,), how often each pair was recorded."""
        return np.diff(np.concatenate([[0], np.cumsum(self.counts)])[self.first])

    @cached_property
    def owners(self) -> Integers:
        """int64 (O,), the pair of each outcome."""
        return np.repeat(np.arange(len(self.first) - 1), np.diff(self.first))

    @cached_property
    def shares(self) -> Floats:
        """float64 (O,), the share of each outcome in the records of its pair: P(s' | s, a)."""
        return np.asarray(self.counts / self.pair_counts[self.owners])

    def index(self, observations: NDArray[np.integer]) -> Integers:
        """Give the positions of observations in `states`.

        Raises:
            ValueError: one of them does not occur.
        """
        positions = np.searchsorted(self.states, observations)
        known = positions < len(self.states)
        if not (known.all() and (self.states[positions] == observations).all()):
            raise ValueError("an observation does not occur in the recordings of the model")
        return positions.astype(np.int64)


@dataclass(frozen=True)
class ModelValues:
    """What a model says of n policies.

    Attributes:
        values: float64 (n,), expected undiscounted returns over the horizon.
        variances: float64 (n,), of the values' errors.
        unseen: float64 (n,), chance of an episode to meet a pair that was never recorded.
        occupancies: float64 (n, S), expected discounted visits of each state.
        terminations: float64 (n,), expected discounted number of terminated steps: 0 to 1.
    """

    values: Floats
    variances: Floats
    unseen: Floats
    occupancies: Floats
    terminations: Floats


def count_model(recordings: Sequence[Episodes], n_actions: int) -> EmpiricalModel:
    """Count the steps of all recordings of a world.

    Args:
        recordings: observations int (sum of T_i + 1,), actions int (sum of T_i,).
        n_actions: A; actions are 0 to A - 1.

    Raises:
        ValueError: no recordings, observations or actions that are not single integers, or an
            action out of range.
    """
    _check_discrete(recordings, n_actions)
    states = np.unique(np.concatenate([each.observations for each in recordings])).astype(np.int64)
    before, actions, after, rewards = _join_steps(recordings, states)
    pairs, width = before * n_actions + actions, len(states) + 1
    outcomes, which, counts = np.unique(
        pairs * width + after, return_inverse=True, return_counts=True
    )
    means = np.bincount(which, rewards) / counts
    n_pairs = len(states) * n_actions
    spread = np.bincount(pairs, (rewards - means[which]) ** 2, n_pairs)
    firsts = [each.observations[each.first_observations] for each in recordings]
    starts = np.bincount(np.searchsorted(states, np.concatenate(firsts)), minlength=len(states))
    return EmpiricalModel(
        states=states,
        n_actions=n_actions,
        first=np.searchsorted(outcomes, np.arange(n_pairs + 1) * width).astype(np.int64),
        following=outcomes % width,
        counts=counts.astype(np.int64),
        rewards=means,
        reward_variances=spread / np.maximum(np.bincount(pairs, minlength=n_pairs), 1),
        visits=np.bincount(before, minlength=len(states)) / len(before),
        starts=starts / starts.sum(),
        n_episodes=int(starts.sum()),
        randomness=_measure_randomness(outcomes // width, counts),
        departures=find_departures(recordings, pairs),
    )


def greedy_choices(tables: NDArray[np.floating], states: Integers) -> Integers:
    """Read what policies do in the states of a model from their Q-tables.

    Args:
        tables: (n, n_states, A); of equal values the first action is taken, as by argmax.
        states: int64 (S,), rows of the tables.

    Returns:
        int64 (n, S), an action each; `UNKNOWN` where a table has no such row.
    """
    known = (states >= 0) & (states < tables.shape[1])
    choices = np.full((len(tables), len(states)), UNKNOWN, np.int64)
    choices[:, known] = tables[:, states[known]].argmax(axis=2)
    return choices


def recorded_choices(recordings: Sequence[Episodes], model: EmpiricalModel) -> Integers:
    """Read what policies without tables do from their own recordings: what they did most often.

    Returns:
        int64 (n, S), an action each; `UNKNOWN` in states that the policy's recording lacks.
    """
    n_states, n_actions = len(model.states), model.n_actions
    choices = np.full((len(recordings), n_states), UNKNOWN, np.int64)
    for row, episodes in zip(choices, recordings, strict=True):
        pairs = model.index(episodes.observations[episodes.before]) * n_actions + episodes.actions
        counts = np.bincount(pairs, minlength=n_states * n_actions).reshape(n_states, n_actions)
        row[:] = np.where(counts.any(axis=1), counts.argmax(axis=1), UNKNOWN)
    return choices


def evaluate_policies(
    model: EmpiricalModel, choices: Integers, horizon: int, gamma: float = GAMMA
) -> ModelValues:
    """Evaluate n policies in the model, from its start states over `horizon` steps.

    The variance of a value is that of the delta method (Mannor et al. 2007, Management Science
    53(2), section 4): the value's derivative by P(. | s, a) is the expected sum, over the visits
    of the pair, of what follows it; its variance over the pair's outcomes is divided by their
    number. Pairs with few records borrow the world's randomness.

    Args:
        model: S states, A actions.
        choices: int64 (n, S), the action of each policy in each state, or `UNKNOWN`.
        horizon: steps after which an episode is truncated, >= 1.
        gamma: discount of the occupancies, 0 to 1.

    Raises:
        ValueError: the choices do not fit the model, or the horizon is < 1.
    """
    if choices.ndim != 2 or choices.shape[1] != len(model.states):
        raise ValueError(f"choices must be (n, {len(model.states)}), not {choices.shape}")
    if choices.size and not UNKNOWN <= choices.min() <= choices.max() < model.n_actions:
        raise ValueError(f"choices must be {UNKNOWN} to {model.n_actions - 1}")
    if horizon < 1:
        raise ValueError(f"the horizon must be at least 1, not {horizon}")
    plans = [_plan(model, choice) for choice in choices]
    guesses = np.array([guess_values(*plan, horizon) for plan in plans])
    errors = judge_guesses(model.departures, guesses)
    guesses[:, 1:] += errors.mean
    evaluated = [
        _evaluate(model, plan, guess, errors, gamma)
        for plan, guess in zip(plans, guesses, strict=True)
    ]
    numbers, occupancies = zip(*evaluated, strict=True)
    values, variances, unseen, terminations = np.array(numbers).T
    return ModelValues(values, variances, unseen, np.array(occupancies), terminations)


def embed_policies(
    model: EmpiricalModel, choices: Integers, horizon: int, n_states: int, gamma: float = GAMMA
) -> NDArray[np.float32]:
    """Compute psi of n policies in the model, averaged over its start states.

    Args:
        model: S of the world's `n_states` states, A actions.
        choices: int64 (n, S), the action of each policy in each state, or `UNKNOWN`.
        horizon: steps after which an episode is truncated, >= 1.
        n_states: of the world.
        gamma: discount, 0 to 1.

    Returns:
        float32 (n, d), columns as in `worlds.tabular.feature_names`.
    """
    measured = evaluate_policies(model, choices, horizon, gamma)
    columns, signs = state_columns(n_states)
    psi = np.zeros((len(choices), min(n_states, MAX_COLUMNS)))
    np.add.at(psi.T, columns[model.states], (measured.occupancies * signs[model.states]).T)
    of_actions = [
        np.where(choices == action, measured.occupancies, 0).sum(axis=1)
        for action in range(model.n_actions)
    ]
    return np.column_stack([psi, *of_actions, measured.terminations]).astype(np.float32)


def _plan(model: EmpiricalModel, choice: Integers) -> Plan:
    """Give what `dynamic_programming` needs to know of a policy that chooses (S,)."""
    pairs = _recorded_pairs(model, choice)
    restart = np.where(pairs >= 0, model.visits, 0.0)
    restart = restart / restart.sum() if restart.any() else restart
    return model.first, model.following, model.shares, model.rewards, pairs, restart


def _evaluate(
    model: EmpiricalModel, plan: Plan, guesses: Floats, errors: GuessErrors, gamma: float
) -> tuple[list[float], Floats]:
    """Give the numbers of `ModelValues`, occupancies last, of one policy.

    Args:
        model: S states.
        plan: of the policy.
        guesses: float64 (H + 1,), what it earns where nothing was recorded.
        errors: of the guesses.
        gamma: discount of the occupancies.
    """
    values, spreads = go_backwards(*plan, guesses)
    gradients, weights, doubts, unseen, occupancy, terminations = go_forwards(
        *plan, model.starts, values, spreads, gamma
    )
    value = float(model.starts @ values[-1])
    of_starts = float(model.starts @ values[-1] ** 2) - value**2
    variance = max(of_starts, 0.0) / model.n_episodes
    variance += _parameter_variance(model, gradients, weights, doubts)
    variance += unseen.sum() ** 2 * errors.variance
    return [value, variance, unseen.sum(), terminations], occupancy


def _recorded_pairs(model: EmpiricalModel, choice: Integers) -> Integers:
    """Give the pair that a policy takes in each state (S,); -1 where that was never recorded."""
    pairs = np.arange(len(choice)) * model.n_actions + choice
    recorded = (choice != UNKNOWN) & (model.pair_counts[pairs] > 0)
    return np.where(recorded, pairs, -1)


def _parameter_variance(
    model: EmpiricalModel, gradients: Floats, weights: Floats, doubts: Floats
) -> float:
    """Add up what few counts of each pair make of the value's variance.

    Args:
        model: O outcomes of S * A pairs.
        gradients: float64 (O,), derivatives of the value by an outcome's probability.
        weights: float64 (S * A,), expected visits of a pair.
        doubts: float64 (S * A,), what a pair's gradient might vary if little were known of it.
    """
    counts = model.pair_counts
    owners, shares = model.owners, model.shares
    means = np.bincount(owners, shares * gradients, len(counts))
    of_gradients = np.bincount(owners, shares * (gradients - means[owners]) ** 2, len(counts))
    spread = (counts * of_gradients + model.randomness * doubts**2) / (counts + 1)
    spread = spread + weights**2 * model.reward_variances
    return float((spread / np.maximum(counts, 1))[counts > 0].sum())


def _join_steps(
    recordings: Sequence[Episodes], states: Integers
) -> tuple[Integers, Integers, Integers, Floats]:
    """List all steps: state, action, next state (S where none follows), reward; (T,) each."""
    before = [each.observations[each.before] for each in recordings]
    after = [each.observations[each.before + 1] for each in recordings]
    terminal = np.concatenate([each.terminal for each in recordings])
    reached = np.searchsorted(states, np.concatenate(after))
    return (
        np.searchsorted(states, np.concatenate(before)),
        np.concatenate([each.actions for each in recordings]).astype(np.int64),
        np.where(terminal, len(states), reached),
        np.concatenate([each.rewards for each in recordings]).astype(np.float64),
    )


def _measure_randomness(owners: Integers, counts: Integers) -> float:
    """Tell how often two records of one pair differ, from each outcome's pair and count."""
    totals = np.bincount(owners, counts)
    same = float((counts * (counts - 1.0)).sum())
    both = float((totals * (totals - 1.0)).sum())
    return 1 - same / both if both else 1.0


def _check_discrete(recordings: Sequence[Episodes], n_actions: int) -> None:
    if not recordings:
        raise ValueError("a model needs recordings")
    for name in ("observations", "actions"):
        for each in recordings:
            array = getattr(each, name)
            if array.ndim != 1 or array.dtype.kind not in "iu":
                raise ValueError(f"{name} must be integers (n,), not {array.dtype} {array.shape}")
    low = min(int(each.actions.min()) for each in recordings)
    high = max(int(each.actions.max()) for each in recordings)
    if not 0 <= low <= high < n_actions:
        raise ValueError(f"actions must be 0 to {n_actions - 1}, not {low} to {high}")
