"""Policies of one objective in a world of chance, from a library."""

import json
from dataclasses import replace

import numpy as np
import pytest

from composition.compose import compose
from composition.counts import Loss
from composition.export import export_composition
from composition.sources import CannotCompose
from faiss_utils.export import export_policy
from faiss_utils.policy_database import WorldArrays
from faiss_utils.setup_faiss_vdb import best_first, build_database
from faiss_utils.validation import check_database
from library.objective import Objective
from pi2vec.transitions import count_transitions
from tests.composition.chance_worlds import slippery_grid
from tests.composition.small_library import answers
from tests.composition.test_counts import mediocre_tables
from tests.faiss_utils.test_setup_faiss_vdb import make_meanings
from worlds.episodes import Episodes

WORLD, N = slippery_grid(), 6


def as_episodes(recorded, n_states=25):
    """Write episodes of `ChanceWorld.record` as a recording."""
    seen = [[*(s[0] for s in e), 24 if e[-1][2] == n_states else e[-1][2]] for e in recorded]
    ended = np.array([episode[-1][2] == n_states for episode in recorded])
    return Episodes(
        observations=np.concatenate(seen).astype(np.int64),
        actions=np.array([step[1] for episode in recorded for step in episode]),
        rewards=np.array([step[3] for episode in recorded for step in episode]),
        lengths=np.array([len(episode) for episode in recorded]),
        terminated=ended,
        truncated=~ended,
    )


def make_library(n_episodes=60, targets=("lake",) * N, change=None):
    rng = np.random.default_rng(0)
    tables = mediocre_tables(WORLD, rng, N)
    recordings = [
        as_episodes(WORLD.record(table.argmax(axis=1), n_episodes, rng)) for table in tables
    ]
    names = sorted(set(targets))
    columns = {
        "objective": np.array([names.index(target) for target in targets], np.int32),
        "policy_seed": np.array([f"{i % 2:04d}" for i in range(N)]),
        "snapshot_percent": np.array([20, 20, 60, 60, 100, 100], np.int16),
        "regressor_score": np.array([r.returns.mean() for r in recordings]),
        "reward": np.array([r.returns.mean() for r in recordings]),
        **{name: np.zeros(N) for name in ("energy", "regressor_std")},
        **{name: np.zeros(N, int) for name in ("episode", "n_transitions")},
    }
    order = best_first(columns)
    transitions, starts = count_transitions(recordings)
    arrays = {
        "embeddings": np.zeros((N, 3), np.float32),
        "q_tables": tables[order],
        "transitions": transitions,
        "episode_starts": starts,
    }
    arrays = change(arrays) if change else arrays
    objectives = [Objective(name, f"Do {name}.", ()) for name in names]
    vectors = np.eye(len(objectives), 8, dtype=np.float32)
    return build_database(
        "tiny",
        objectives,
        np.zeros(len(objectives), np.int32),
        vectors,
        make_meanings(vectors, len(objectives)),
        {name: column[order] for name, column in columns.items()},
        [WorldArrays("FrozenLake-v1", **arrays)],
    )


def best_name(library):
    return library.describe(0)["policy_name"]


def test_steps_are_counted():
    recording = Episodes(
        observations=np.array([0, 1, 2, 0, 1, 0]),
        actions=np.array([1, 0, 1, 1]),
        rewards=np.array([1.0, 5.0, 2.0, 7.0]),
        lengths=np.array([2, 2]),
        terminated=np.array([True, False]),
        truncated=np.array([False, True]),
    )
    steps, starts = count_transitions([recording, recording])
    assert steps.tolist() == [[0, 1, 1, 1.5, 4], [1, 0, -1, 5, 2], [1, 1, 0, 7, 2]]
    assert starts.tolist() == [[0, 2]] * 4


def test_one_objective_is_improved_and_what_is_said_holds(tmp_path):
    library = make_library()
    check_database(library)
    composed = compose(library, answers(library, best_name(library)))
    said = composed.to_json()
    best = max(WORLD.value(table.argmax(axis=1)) for table in library.worlds[0].q_tables)
    earned = WORLD.value(composed.plan.q_table.argmax(axis=1))
    assert earned > 1.02 * best
    assert said["predicted_reward"] == pytest.approx(earned, rel=0.1)
    assert said["support"] in ("tried", "policies") and len(said["sources"]) == N
    assert said["expected_loss"]["mean"] == pytest.approx(composed.plan.loss.mean, abs=1e-4)
    assert f"Expected loss: {said['expected_loss']['mean']:.4f}" in "\n".join(composed.to_text())
    assert said["best_single"]["policy_name"] in said["sources"]
    assert any(f"{said['predicted_reward']:.4f}" in line for line in composed.to_text())
    written = export_composition(library, composed, tmp_path)
    assert {path.name for path in written} == {"q_table.npy", "policy.json"}
    np.testing.assert_array_equal(np.load(written[1]), composed.plan.q_table)


def test_what_is_exported_names_the_environment_where_the_recordings_do(tmp_path):
    environment = {"environment": "FrozenLake-v1", "kwargs": {"map_name": "8x8"}}
    source = json.dumps({"file": "a.npy", "environment": environment}).encode()
    for name, given in (("said", {"sources": np.array([source] * N)}), ("unsaid", {})):
        library = make_library(n_episodes=4, change=lambda arrays, given=given: arrays | given)
        composed = compose(library, answers(library, best_name(library)))
        export_composition(library, composed, tmp_path / name)
        export_policy(library, library.describe(0), tmp_path / name)
        for path in (tmp_path / name).glob("*/policy.json"):
            expected, told = environment if given else None, json.loads(path.read_text())
            assert told.get("environment") == expected
            assert "composition" not in told or told["weights"] == {"lake": 1.0}


def test_the_loss_is_told_with_its_remedy_where_it_matters():
    library = make_library(n_episodes=2)
    plan = compose(library, answers(library, best_name(library))).plan
    composed = compose(library, answers(library, best_name(library)))
    for loss, remedy, any_table in (
        (Loss(0.5, 0.2, 0.0, 40.0), True, False),
        (Loss(0.1, 0.1, 0.05, 40.0), False, True),
        (Loss(0.6, 0.1, 0.5, 40.0), False, True),
    ):
        told = replace(composed, plan=replace(plan, loss=loss))
        (line,) = [line for line in told.to_text() if line.startswith("Expected loss")]
        assert f"{loss.mean:.4f} ± {loss.deviation:.4f} ({loss.mean / 40:.1%})" in line
        assert ("record more episodes" in line) == remedy
        assert ("no" in line and "steps are left" in line) == any_table
        assert told.to_json()["expected_loss"]["mean"] == loss.mean
    unknown = replace(composed, plan=replace(plan, loss=None))
    assert unknown.to_json()["expected_loss"] is None
    assert any("not known" in line for line in unknown.to_text())


def test_a_seed_limits_the_sources():
    library = make_library()
    composed = compose(library, answers(library, best_name(library)), seed="0001")
    assert len(composed.names) == 3 and all("_0001_" in name for name in composed.names)


def test_several_objectives_are_refused():
    library = make_library(targets=("lake", "lake", "lake", "pond", "pond", "pond"))
    names = [library.describe(row)["policy_name"] for row in (0, 5)]
    with pytest.raises(CannotCompose, match="what each of several objectives pays"):
        compose(library, answers(library, *names))


@pytest.mark.parametrize(("column", "value"), [(0, 25), (1, 4), (2, 26), (0, -1), (2, -2)])
def test_steps_that_do_not_fit_the_tables_are_refused(column, value):
    def change(arrays):
        arrays["transitions"][0, column] = value
        return arrays

    library = make_library(n_episodes=4, change=change)
    with pytest.raises(CannotCompose, match="do not fit the Q-tables; prepare anew"):
        compose(library, answers(library, best_name(library)))


@pytest.mark.parametrize(
    "change",
    [
        {"transitions": np.full((3, 5), np.nan)},
        {"transitions": np.full((3, 5), -1.0)},
        {"transitions": np.zeros((3, 6))},
        {"transitions": None},
        {"episode_starts": np.zeros((0, 2), np.int64)},
        {"episode_starts": np.full((2, 2), 2**40)},
    ],
)
def test_hostile_counts_are_no_library(change):
    library = make_library(n_episodes=4, change=lambda arrays: arrays | change)
    with pytest.raises(ValueError, match=r"transitions|episode_starts"):
        check_database(library)
