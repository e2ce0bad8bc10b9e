"""A library of short trainings, in memory: demonstration layouts, a four-move world, vectors."""

import numpy as np

from faiss_utils.policy_database import WorldArrays
from faiss_utils.policy_retrieval import SubQueryResult
from faiss_utils.setup_faiss_vdb import best_first, build_database
from library.objective import Objective
from tests.faiss_utils.test_setup_faiss_vdb import make_meanings
from tests.worlds.published_rules import draw_grid
from worlds.gridworld.environment import draw_layout
from worlds.gridworld.events import episode_events
from worlds.gridworld.names import EVENT_COLUMNS, EVENT_NAMES, FEATURE_NAMES
from worlds.gridworld.rewards import DEMONSTRATION, PUBLISHED
from worlds.gridworld.route import roll_out
from worlds.gridworld.rules import AGENT, EXIT, GridRules
from worlds.gridworld.sarsa import train

FORWARD, FOUR = GridRules(16, 16, 5), GridRules(6, 7, 4)


def events_of(rules, start, table):
    states, _ = roll_out(rules, start, table)
    agent = np.argwhere(states == AGENT)[:, 1:]
    return episode_events(states, agent, np.argwhere(start == EXIT)[0]).sum(axis=0)


def forward_policies(seeds=(0, 1, 2), n_episodes=6_000):
    """Train gold and path on layouts: rows (target, seed, percent, start, table)."""
    for target in ("gold", "path"):
        for seed in seeds:
            saved = train(draw_layout(seed), target, n_episodes, 6, seed)
            for percent, episode in zip((20, 60, 100), (saved[1], saved[3], saved[5]), strict=True):
                yield target, f"{seed:04d}", percent, episode.states[0], episode.q_table


def four_move_policies(targets, seeds=(0, 1, 2)):
    """Draw tables at random, 0 where nothing is ever learnt."""
    for number, target in enumerate(targets):
        for seed in seeds:
            start = draw_grid(np.random.default_rng(seed))
            for percent in (20, 60, 100):
                rng = np.random.default_rng([seed, percent, number])
                table = rng.normal(size=(FOUR.n_cells, 4)).astype(np.float32)
                table[np.isin(start.ravel(), (EXIT, -2))] = 0
                yield target, f"{seed:04d}", percent, start, table


def documented(rules, target):
    return (DEMONSTRATION if rules.n_moves == 5 else PUBLISHED).reward(target.split("-"))


def make_library(worlds, reward_of=documented, change=None):
    """Build a database.

    Args:
        worlds: pairs of rules and policies; rules None is a world of vectors.
        reward_of: gives a target's weights, by event, from rules and target.
        change: may change the arrays of a world before the database is built.
    """
    objectives, parts, arrays, world_of = [], [], [], []
    for number, (rules, policies) in enumerate(worlds):
        rows = sorted(policies, key=lambda row: row[0])
        targets = sorted({row[0] for row in rows})
        events = [events_of(rules, start, table) for *_, start, table in rows]
        embeddings = np.zeros((len(rows), len(FEATURE_NAMES)), np.float32)
        embeddings[:, EVENT_COLUMNS] = events
        rewards = [e @ reward_of(rules, row[0]) for e, row in zip(events, rows, strict=True)]
        part = {
            "objective": np.array([len(objectives) + targets.index(r[0]) for r in rows], np.int32),
            "policy_seed": np.array([row[1] for row in rows]),
            "snapshot_percent": np.array([row[2] for row in rows], np.int16),
            "regressor_score": np.array(rewards),
            "reward": np.array(rewards),
            **{name: np.zeros(len(rows)) for name in ("energy", "regressor_std")},
            **{name: np.zeros(len(rows), int) for name in ("episode", "n_transitions")},
        }
        order = best_first(part)
        parts.append({name: column[order] for name, column in part.items()})
        made = {
            "embeddings": embeddings[order],
            "q_tables": np.stack([rows[i][4] for i in order]),
            "start_states": np.stack([rows[i][3] for i in order]),
        }
        made = change(made) if change else made
        arrays.append(WorldArrays(rules.name if rules else "CartPole-v1", **made))
        objectives += [Objective(target, f"Do {target}.", ()) for target in targets]
        world_of += [number] * len(targets)
    columns = {name: np.concatenate([part[name] for part in parts]) for name in parts[0]}
    vectors = np.eye(len(objectives), max(8, len(objectives)), dtype=np.float32)
    meanings = make_meanings(vectors, len(objectives))
    of_objective = np.array(world_of, np.int32)
    return build_database("tiny", objectives, of_objective, vectors, meanings, columns, arrays)


def answers(database, *names):
    """Give the answers to sub-queries whose best policies these are; None is none."""
    return [
        SubQueryResult(f"query {name}", None, 1, database.describe(database.find(name)), [], [])
        if name
        else SubQueryResult("fly to the moon", "No policies found", 0, None, [], [])
        for name in names
    ]


assert len(EVENT_NAMES) == EVENT_COLUMNS.stop - EVENT_COLUMNS.start
