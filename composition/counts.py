"""One policy of several for the same objective, in worlds with discrete observations.

What an action leads to is known from recordings alone, so the best plan is not the one that looks
best on the counts. Several are made, on what is allowed by each support: one that fears what was
recorded rarely (`pessimism`), and some for the mean of the worlds that the counts leave possible
(`posterior`). That one is taken which earns most over all these worlds, be it the best source as
it is.

In each of these worlds the best policy is computed as well, which may do what no recording shows.
What the chosen one earns less is the loss to be expected. It is told with its deviation.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from composition.beliefs import worth_trying
from composition.outcomes import Booleans, CountedSteps, Floats, Integers
from composition.pessimism import evaluate_on_counts, plan_on_counts, q_values_of
from composition.planning import greedy_actions, tried_actions
from composition.posterior import PossibleWorlds, is_too_large
from composition.sources import check

TOLERABLE = 0.01  # share of what the best policy earns
CAUTION = 0.5  # deviations that a policy's return is counted less
N_SINGLES = 20  # of the sources, the best ones first, among which the best single one is looked for
SUPPORTS: dict[str, Callable[[NDArray[np.floating]], Booleans]] = {
    "policies": greedy_actions,
    "tried": tried_actions,
}


@dataclass(frozen=True)
class Loss:
    """What a policy may earn less than the best one there is.

    Attributes:
        mean: over possible worlds.
        deviation: over these.
        of_any_table: what of it no table can avoid, since none knows how many steps are left:
            what the policy earns less than a plan on the same support that does.
        optimum: what the best one earns, mean over possible worlds.
    """

    mean: float
    deviation: float
    of_any_table: float
    optimum: float

    @property
    def share(self) -> float:
        """The mean, as a share of what the best policy earns."""
        return self.mean / max(abs(self.optimum), 1e-12)

    @property
    def matters(self) -> bool:
        """Whether more than a hundredth may be lost that another table would earn."""
        return self.mean + self.deviation - self.of_any_table > TOLERABLE * abs(self.optimum)


@dataclass(frozen=True)
class CountPlan:
    """A policy planned on counts.

    Attributes:
        q_table: float32 (S, A); what is not allowed lies below all that is.
        support: of `SUPPORTS`, the one that it was planned on.
        predicted_reward: expected return of its greedy policy, mean over possible worlds.
        deviation: of that return.
        loss: to the best policy of the world; None if the world is too large to tell.
        single: position of the source with the highest expected return.
        single_reward: that return, over the same worlds.
        is_single: whether the policy is that source, no mixture being better.
    """

    q_table: NDArray[np.float32]
    support: str
    predicted_reward: float
    deviation: float
    loss: Loss | None
    single: int
    single_reward: float
    is_single: bool


@dataclass(frozen=True)
class _Candidate:
    """A policy that may be chosen: int64 (S,), and the actions it was chosen among, (S, A)."""

    support: str
    choice: Integers
    usable: Booleans
    is_single: bool = False


def compose_on_counts(
    outcomes: CountedSteps,
    q_tables: NDArray[np.floating],
    horizon: int,
    support: str | None = None,
    seed: int = 0,
) -> CountPlan:
    """Make one policy of several for the same objective.

    Args:
        outcomes: all recorded steps; S states.
        q_tables: (n, S, A) of the sources, a row a state; the best ones first.
        horizon: the most steps of an episode.
        support: a key of `SUPPORTS`; None for the better one.
        seed: of what is drawn.

    Raises:
        CannotCompose: a table can't be used, or the recordings tell nothing.
    """
    _check(outcomes, q_tables)
    rng = np.random.default_rng(seed)
    singles = [evaluate_on_counts(outcomes, greedy, horizon) for greedy in _greedy(q_tables)]
    best = int(np.argmax(singles))
    worlds = None if is_too_large(outcomes) else PossibleWorlds.draw(outcomes, horizon, rng)
    own = q_tables[best].argmax(axis=1)
    candidates = _remove_twins(
        [
            *_candidates(outcomes, worlds, q_tables, horizon, own, support),
            _Candidate(support or "policies", own, np.isfinite(q_tables[best]), is_single=True),
        ]
    )
    assessed = [_assess(each.choice, outcomes, worlds, horizon) for each in candidates]
    chosen = int(np.argmax([r.mean() - CAUTION * r.std() for r, _ in assessed]))
    policy, (returns, values) = candidates[chosen], assessed[chosen]
    of_single = next(r for each, (r, _) in zip(candidates, assessed, strict=True) if each.is_single)
    table = q_values_of(outcomes, policy.choice, horizon)
    return CountPlan(
        q_table=_to_table(table, policy.usable, policy.choice),
        support=policy.support,
        predicted_reward=float(returns.mean()),
        deviation=float(returns.std()),
        loss=None if worlds is None else _loss(worlds, policy, returns, values, q_tables, rng),
        single=best,
        single_reward=float(of_single.mean()),
        is_single=policy.is_single,
    )


def _greedy(q_tables: NDArray[np.floating]) -> NDArray[np.intp]:
    """Give what the first sources do: int (n, S)."""
    return np.asarray(q_tables[:N_SINGLES].argmax(axis=2))


def _candidates(
    outcomes: CountedSteps,
    worlds: PossibleWorlds | None,
    q_tables: NDArray[np.floating],
    horizon: int,
    own: Integers,
    support: str | None,
) -> Iterator[_Candidate]:
    """Make plans; where nothing allowed was recorded they do what the best source does, `own`."""
    recorded = np.zeros(q_tables.shape[1:], dtype=bool)
    recorded.flat[outcomes.pairs] = True
    for name in [support] if support else SUPPORTS:
        usable = SUPPORTS[name](q_tables) & recorded
        choices = [plan_on_counts(outcomes, usable, horizon).argmax(axis=1)]
        choices += worlds.plan(usable[worlds.table.states]) if worlds else []
        for choice in choices:
            yield _Candidate(name, np.where(usable.any(axis=1), choice, own), usable)


def _remove_twins(candidates: list[_Candidate]) -> list[_Candidate]:
    """Keep the last of policies that do the same, which says that a source does."""
    return list({each.choice.tobytes(): each for each in candidates}.values())


def _assess(
    choice: Integers, outcomes: CountedSteps, worlds: PossibleWorlds | None, horizon: int
) -> tuple[Floats, Floats]:
    """Give what a policy earns in each possible world, or by the counts, (M,); and its values."""
    if worlds is None:
        return np.array([evaluate_on_counts(outcomes, choice, horizon)]), np.zeros((0, 1))
    return worlds.value(choice)


def _loss(
    worlds: PossibleWorlds,
    policy: _Candidate,
    returns: Floats,
    values: Floats,
    q_tables: NDArray[np.floating],
    rng: np.random.Generator,
) -> Loss:
    """Compare a policy with the best of each world; arguments as `PossibleWorlds.value` gives."""
    best = worlds.optimum(worth_trying(worlds, policy.choice, values, q_tables, rng))
    lost = np.maximum(best - returns, 0.0)
    return Loss(
        mean=float(lost.mean()),
        deviation=float(lost.std()),
        of_any_table=min(_loss_of_tables(worlds, policy), float(lost.mean())),
        optimum=float(best.mean()),
    )


def _loss_of_tables(worlds: PossibleWorlds, policy: _Candidate) -> float:
    """Tell what a plan earns less than one on the same support that knows the steps left."""
    usable = policy.usable[worlds.table.states] & worlds.table.recorded
    best = worlds.average.optimum(usable[..., np.newaxis])
    return max(0.0, float((best - worlds.average.value(policy.choice)[0])[0]))


def _check(outcomes: CountedSteps, q_tables: NDArray[np.floating]) -> None:
    wanted = (outcomes.n_states, outcomes.n_actions)
    check(q_tables.shape[1:] == wanted, f"the Q-tables are {q_tables.shape[1:]}, must be {wanted}")
    usable = bool((np.isfinite(q_tables) | np.isneginf(q_tables)).all())
    check(usable, "a Q-table has NaN or infinity; record it anew")
    check(
        bool(outcomes.rewards.any()),
        "no recording has a reward other than 0, so what earns one is not known; "
        "record policies that do, or more episodes",
    )


def _to_table(q_values: Floats, usable: Booleans, choice: Integers) -> NDArray[np.float32]:
    """Round Q-values to float32 so that the choice is greedy, and what is not usable lies below."""
    usable = usable & np.isfinite(q_values)
    lowest = q_values[usable].min() if usable.any() else 0.0
    table = np.where(usable, q_values, lowest - 1.0).astype(np.float32)
    each = np.arange(len(table))
    chosen = table[each, choice]
    table = np.minimum(table, np.nextafter(chosen, np.float32(-np.inf))[:, None])
    table[each, choice] = chosen
    return np.asarray(table)
