"""Retrieved policies become one: what it earns, what it costs each objective, what it is made of.

Worked out without the environment, from the world's rules and the Q-tables of the sources.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from composition.grid_model import Booleans, Floats, GridModel
from composition.planning import (
    Plan,
    Walk,
    began_at_zero,
    depends_on_items,
    greedy_actions,
    is_forward,
    plan,
    tried_actions,
    walk,
)
from composition.rewards import combine
from composition.sources import CannotCompose, Sources, best_rows, check, find_sources
from worlds.gridworld.names import EVENT_NAMES

if TYPE_CHECKING:
    from composition.tabular import TabularComposition
    from faiss_utils.policy_database import PolicyDatabase
    from faiss_utils.policy_retrieval import SubQueryResult

SUPPORTS = ("tried", "policies")
N_BEAMS_ALONE = 30  # for the optimum of one objective, which is only told
ROUNDING = 1e-4  # rewards nearer than that are equal
DIGITS = 4


@dataclass(frozen=True)
class Composition:
    """A policy made of others.

    Attributes:
        sources: what it is made of.
        weights: of each target.
        support: `tried` or `policies`, the actions that it may take.
        plan: the policy; on other grids than forward ones it may remember what it took.
        table_plan: the best that one table of cells does; the same plan if nothing is better.
        reward: float64 (n_events,), the joint reward by event.
        deviation: how far `predicted_reward` may be off, one standard deviation.
        alone: by target, what it could earn on the same support if it were all that is wanted.
        single: position in the sources of the policy that earns most of the joint reward.
        single_reward: what that one earns.
    """

    sources: Sources
    weights: dict[str, float]
    support: str
    plan: Plan
    table_plan: Plan
    reward: Floats
    deviation: float
    alone: dict[str, float]
    single: int
    single_reward: float

    @property
    def name(self) -> str:
        """The name of the policy, which is that of no target trained."""
        return f"{self.target}_{self.sources.seed}_100"

    @property
    def target(self) -> str:
        """The name of its target."""
        return "composed-" + "-".join(self.sources.targets)

    @property
    def predicted_reward(self) -> float:
        """What the greedy roll-out of the plan earns of the joint reward."""
        return _earned(self.plan, self.reward)

    @property
    def predicted_by_table(self) -> float:
        """What the greedy roll-out of the one table earns of the joint reward."""
        return _earned(self.table_plan, self.reward)

    @property
    def predicted_by_objective(self) -> dict[str, float]:
        """What the plan earns of each target's own reward."""
        return {
            reward.target: _earned(self.plan, reward.weights) for reward in self.sources.rewards
        }

    @property
    def remembers(self) -> bool:
        """Whether the plan needs a table for every number of items taken."""
        return len(self.plan.q_tables) > 1

    def to_json(self) -> dict[str, Any]:
        """Say in plain values what was composed."""
        return {
            "objectives": list(self.sources.targets),
            "weights": self.weights,
            "support": self.support,
            "predicted_reward": self.predicted_reward,
            "predicted_by_objective": self.predicted_by_objective,
            "best_single": {
                "policy_name": self.sources.names[self.single],
                "predicted_reward": self.single_reward,
            },
            "n_steps": len(self.plan.actions),
            "sources": list(self.sources.names),
        }

    def to_text(self) -> list[str]:
        """Say in lines what was composed."""
        verb = "tried in training" if self.support == "tried" else "take greedily"
        weights = ", ".join(f"{name} (weight {w:g})" for name, w in self.weights.items())
        lines = [
            f"Objectives: {weights}",
            f"Support: {self.support}, the actions that {len(self.sources.names)} policies {verb}",
            f"Predicted reward: {self.predicted_reward:.4f} ± {self.deviation:.4f}",
            *(f"   {line}" for line in self._objective_lines()),
            f"Best single policy: {self.sources.names[self.single]}, {self.single_reward:.4f}",
            f"Steps: {len(self.plan.actions)}",
        ]
        if self.remembers:
            lines.append(
                f"Q-tables: {len(self.plan.q_tables)}, one for every number of gold and levers "
                "taken; a single table, which remembers nothing, earns "
                f"{self.predicted_by_table:.4f}"
            )
        return lines

    def _objective_lines(self) -> list[str]:
        """Say what each objective gets, and what it loses to the others."""
        lines = []
        for target, earned in self.predicted_by_objective.items():
            loss = self.alone[target] - earned
            lost = f", {loss:.4f} less than alone" if loss > ROUNDING else ""
            lines.append(f"{target}: {earned:.4f}{lost}")
        return lines


def compose(
    database: "PolicyDatabase",
    answers: "Sequence[SubQueryResult]",
    weights: Mapping[str, float] | None = None,
    support: str | None = None,
    seed: str | None = None,
) -> "Composition | TabularComposition":
    """Make one policy of the best policies of all sub-queries.

    Args:
        database: that was searched.
        answers: of the sub-queries.
        weights: of targets, not negative; 1 where none is given.
        support: one of `SUPPORTS`; None for `tried` if the sources' tables were 0 before training,
            and in worlds of chance for the one that promises more.
        seed: that the search was for.

    Raises:
        CannotCompose: it is not possible; the text says why.
    """
    firsts = best_rows(database, answers)
    if database.place(firsts[0])[0].transitions is not None:
        from composition.tabular import compose_tabular  # it draws at random, numpy.random is slow

        return compose_tabular(database, firsts, seed, support)
    return compose_sources(find_sources(database, firsts), weights, support)


def compose_sources(
    sources: Sources, weights: Mapping[str, float] | None = None, support: str | None = None
) -> Composition:
    """Make one policy of sources; arguments and errors as `compose`."""
    full = _complete_weights(sources, weights or {})
    model = GridModel.from_start(sources.rules, sources.start)
    support, allowed = _find_support(model, sources, support)
    values = np.array(list(full.values()))
    reward = combine(sources.rewards, values, sources.joint)
    known = np.all([r.known for r in sources.rewards if full[r.target] > 0], axis=0)
    table_plan = plan(model, reward, allowed, known)
    best = table_plan
    if not is_forward(model) and not (table_plan and table_plan.is_exact):
        best = plan(model, reward, allowed, known, remembers=True) or table_plan
    if best is None or table_plan is None:
        raise CannotCompose(_explain(model, sources, support, known))
    single, single_reward, walked = _best_single(model, sources, reward)
    table_plan = max(table_plan, walked, key=lambda p: _earned(p, reward))
    best = max(table_plan, best, key=lambda p: _earned(p, reward))
    deviations = [
        full[r.target] * r.deviation(best.events) for r in sources.rewards if full[r.target] > 0
    ]
    return Composition(
        sources=sources,
        weights=full,
        support=support,
        plan=best,
        table_plan=table_plan,
        reward=reward,
        deviation=float(np.linalg.norm(deviations)),
        alone=_optima_alone(model, sources, allowed, best),
        single=single,
        single_reward=single_reward,
    )


def _earned(plan: Plan | Walk, reward: Floats) -> float:
    """Tell what a policy earns of a reward by event, rounded."""
    return round(float(plan.events @ reward), DIGITS)


def _complete_weights(sources: Sources, weights: Mapping[str, float]) -> dict[str, float]:
    """Give every target its weight."""
    for name in weights:
        wanted = ", ".join(sources.targets)
        check(name in sources.targets, f"--weights has {name}, but what is wanted is {wanted}")
    full = {target: float(weights.get(target, 1.0)) for target in sources.targets}
    check(any(full.values()), "all weights are 0; give one objective a weight")
    return full


def _find_support(model: GridModel, sources: Sources, support: str | None) -> tuple[str, Booleans]:
    """Tell which actions a plan may take: bool (n_cells, n_moves)."""
    at_zero = began_at_zero(model, sources.q_tables)
    chosen = support or ("tried" if at_zero else "policies")
    if chosen == "policies":
        return chosen, greedy_actions(sources.q_tables)
    check(
        at_zero,
        "their Q-tables were not 0 before training, so what they tried can't be told; "
        "use --support policies",
    )
    return chosen, tried_actions(sources.q_tables)


def _explain(model: GridModel, sources: Sources, support: str, known: Booleans) -> str:
    """Say why there is no plan."""
    met = (model.plain_events != 0).any(axis=(0, 1)) & ~known
    unseen = [name for name, is_met in zip(EVENT_NAMES, met, strict=True) if is_met]
    if unseen:
        return (
            f"no way to the end is known: no recording shows what {', '.join(unseen)} is worth to "
            f"{', '.join(sources.targets)}; record policies that do"
        )
    remedy = "; try --support tried" if support == "policies" else "; add policies that get there"
    return f"what the policies do leads to no end of the episode{remedy}"


def _best_single(model: GridModel, sources: Sources, reward: Floats) -> tuple[int, float, Plan]:
    """Find the source that earns most of a joint reward: position, what it earns, as a plan."""
    walks = [walk(model, table[np.newaxis]) for table in sources.q_tables]
    earned = [_earned(each, reward) for each in walks]
    best = int(np.argmax(earned))
    table = sources.q_tables[best : best + 1]
    return best, earned[best], Plan(table, walks[best].events, walks[best].actions, False)


def _optima_alone(
    model: GridModel, sources: Sources, allowed: Booleans, joint: Plan
) -> dict[str, float]:
    """Tell what each target could earn alone on the same support, at least what it earns now."""
    optima = {}
    for reward in sources.rewards:
        alone = plan(
            _simplify(model, reward.weights),
            reward.weights,
            allowed,
            reward.known,
            remembers=len(joint.q_tables) > 1,
            n_beams=N_BEAMS_ALONE,
        )
        reached = [_earned(each, reward.weights) for each in (alone, joint) if each is not None]
        optima[reward.target] = max(reached)
    return optima


def _simplify(model: GridModel, weights: Floats) -> GridModel:
    """Leave out items that nothing is paid for, where they would make a plan slower."""
    return model.without_items_of_no_worth(weights) if depends_on_items(model, weights) else model
