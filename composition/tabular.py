"""Policies of one objective become one in a world of chance, on the counts of all recordings."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from composition.counts import CountPlan, compose_on_counts
from composition.outcomes import CountedSteps, count_weighted
from composition.sources import check

if TYPE_CHECKING:
    from faiss_utils.policy_database import PolicyDatabase, WorldArrays

MAX_SOURCES = 100
DIGITS = 4


@dataclass(frozen=True)
class TabularComposition:
    """A policy made of others for one objective.

    Attributes:
        target: of the sources.
        seed: of the sources; that of the best one where they have several.
        n_steps: the most steps of an episode.
        world: the name of the world.
        rows: of the sources in the database.
        names: of the sources.
        plan: the policy.
    """

    target: str
    seed: str
    n_steps: int
    world: str
    rows: tuple[int, ...]
    names: tuple[str, ...]
    plan: CountPlan

    @property
    def name(self) -> str:
        """The name of the policy."""
        return f"composed-{self.target}_{self.seed}_100"

    def to_json(self) -> dict[str, Any]:
        """Say in plain values what was composed."""
        predicted = round(self.plan.predicted_reward, DIGITS)
        return {
            "objectives": [self.target],
            "weights": {self.target: 1.0},
            "support": self.plan.support,
            "predicted_reward": predicted,
            "predicted_by_objective": {self.target: predicted},
            "deviation": round(self.plan.deviation, DIGITS),
            "expected_loss": self._loss_json(),
            "best_single": {
                "policy_name": self.names[self.plan.single],
                "predicted_reward": round(self.plan.single_reward, DIGITS),
            },
            "n_steps": self.n_steps,
            "sources": list(self.names),
        }

    def to_text(self) -> list[str]:
        """Say in lines what was composed."""
        plan, single = self.plan, self.names[self.plan.single]
        which = ", which no mixture promises to exceed: it is taken" if plan.is_single else ""
        return [
            f"Objective: {self.target}",
            f"Support: {plan.support}, of {len(self.names)} policies",
            f"Predicted reward: {plan.predicted_reward:.4f} ± {plan.deviation:.4f}, "
            "by the counts of all recordings",
            self._loss_line(),
            f"Best single policy: {single}, {plan.single_reward:.4f}{which}",
            f"Steps: at most {self.n_steps}",
        ]

    def _loss_json(self) -> dict[str, float] | None:
        loss = self.plan.loss
        if loss is None:
            return None
        return {
            "mean": round(loss.mean, DIGITS),
            "deviation": round(loss.deviation, DIGITS),
            "of_any_table": round(loss.of_any_table, DIGITS),
            "optimum": round(loss.optimum, DIGITS),
        }

    def _loss_line(self) -> str:
        loss = self.plan.loss
        if loss is None:
            return "Expected loss: not known, the world has too many states to tell"
        line = (
            f"Expected loss: {loss.mean:.4f} ± {loss.deviation:.4f} ({loss.share:.1%}) "
            "to the best policy of this world"
        )
        if round(loss.of_any_table, DIGITS):
            line += f", {loss.of_any_table:.4f} to any table: none knows how many steps are left"
        remedy = "; record more episodes, or policies that do other things"
        return line + (remedy if loss.matters else "")


def compose_tabular(
    database: "PolicyDatabase", firsts: Sequence[int], seed: str | None, support: str | None
) -> TabularComposition:
    """Improve policies of one objective.

    Args:
        database: that was searched.
        firsts: the rows of the best policies of all sub-queries, all of one world.
        seed: only policies of this seed; None for all.
        support: `tried` or `policies`; None for the better one.

    Raises:
        CannotCompose: it is not possible; the text says why.
    """
    world, _ = database.place(firsts[0])
    check(
        len(firsts) == 1,
        f"all recordings of {world.name} were counted together, so what each of several objectives "
        "pays there can't be told apart; ask for one",
    )
    check(world.q_tables is not None, "the policies have no Q-tables")
    assert world.q_tables is not None
    codes = database.columns["objective"][list(firsts)].astype(np.int32)
    rows = [int(row) for run in database.runs(codes, seed) for row in run][:MAX_SOURCES]
    tables = np.stack([world.q_tables[database.place(row)[1]] for row in rows])
    outcomes, horizon = _read_counts(world, tables)
    plan = compose_on_counts(outcomes, tables, horizon, support)
    described = [database.describe(row) for row in rows]
    return TabularComposition(
        target=described[0]["policy_target"],
        seed=described[plan.single]["policy_seed"],
        n_steps=horizon,
        world=world.name,
        rows=tuple(rows),
        names=tuple(policy["policy_name"] for policy in described),
        plan=plan,
    )


def _read_counts(world: "WorldArrays", tables: NDArray[np.floating]) -> tuple[CountedSteps, int]:
    """Read the counts of a world, and its longest episode."""
    assert world.transitions is not None and world.episode_starts is not None
    rows, starts, (_, n_states, n_actions) = world.transitions, world.episode_starts, tables.shape
    numbers = np.asarray(rows[:, :3]).astype(np.int64)
    in_range = (numbers >= (0, 0, -1)).all() and (numbers < (n_states, n_actions, n_states)).all()
    check(
        bool(in_range) and starts[:, 0].min() >= 0 and starts[:, 0].max() < n_states,
        "the recorded steps do not fit the Q-tables; prepare anew",
    )
    rewards, counts = np.asarray(rows[:, 3]), np.asarray(rows[:, 4])
    firsts = np.asarray(starts[:, 0])
    outcomes = count_weighted(numbers, rewards, counts, firsts, (n_states, n_actions))
    return outcomes, int(starts[:, 1].max())
