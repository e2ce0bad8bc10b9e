"""A composed policy on disk, and in a library of its own."""

import json

import numpy as np
import pytest

from composition.compose import compose
from composition.export import export_composition
from library.checksums import checksum
from library.errors import LeverError
from library.workspace import Workspace
from recording.environments import find_environment
from recording.exported import find_runs
from recording.snapshots import Settings
from tests.composition.small_library import (
    FORWARD,
    FOUR,
    answers,
    events_of,
    forward_policies,
    four_move_policies,
    make_library,
)
from tests.conftest import run
from worlds.gridworld.rewards import DEMONSTRATION
from worlds.gridworld.world import read_recording


@pytest.fixture(scope="module")
def library():
    policies = list(forward_policies(seeds=(1,), n_episodes=3_000))
    return make_library([(FORWARD, policies), (FOUR, four_move_policies(("lever", "hazard")))])


@pytest.fixture
def exported(library, tmp_path):
    composed = compose(library, answers(library, "gold_0001_100", "path_0001_100"))
    export_composition(library, composed, tmp_path / "out")
    return tmp_path / "out" / "composed-gold-path_0001_100"


def find_composed(folder):
    return find_runs(folder, None, Settings(n_episodes=2))


def change(folder, **fields):
    content = json.loads((folder / "policy.json").read_text())
    (folder / "policy.json").write_text(json.dumps(content | fields))


def test_the_folder_holds_what_the_policy_is_and_is_made_of(exported):
    names = {path.name for path in exported.iterdir()}
    assert names == {"q_table.npy", "start_state.npy", "policy.json", "route.png"}
    told = json.loads((exported / "policy.json").read_text())
    start, table = np.load(exported / "start_state.npy"), np.load(exported / "q_table.npy")
    events = events_of(FORWARD, start, table)
    assert told["predicted"]["reward"] == events @ DEMONSTRATION.reward(("gold", "path"))
    assert told["weights"] == {"gold": 1.0, "path": 1.0} and told["support"] == "tried"
    assert len(told["sources"]) == 6
    assert all(len(source["q_table_sha256"]) == 64 for source in told["sources"])
    assert (exported / "route.png").read_bytes()[:4] == b"\x89PNG"


def test_who_remembers_comes_with_a_table_for_every_item_taken(library, tmp_path):
    for seed in ("0000", "0001", "0002"):
        wanted = answers(library, f"lever_{seed}_100", f"hazard_{seed}_100")
        composed = compose(library, wanted)
        written = export_composition(library, composed, tmp_path)
        tables = [path for path in written if path.name == "q_tables.npy"]
        assert bool(tables) == composed.remembers
        (table,) = [path for path in written if path.name == "q_table.npy"]
        assert np.load(table).shape == (FOUR.n_cells, 4)


def test_a_folder_that_is_there_is_not_written_over(library, exported):
    composed = compose(library, answers(library, "gold_0001_100", "path_0001_100"))
    with pytest.raises(LeverError, match="is there already; export to another folder"):
        export_composition(library, composed, exported.parent)


def test_it_is_recorded_as_a_policy_of_its_own(exported, tmp_path):
    workspace = Workspace(tmp_path / "library")
    workspace.root.mkdir()
    done = run("record_policies.py", exported.parent, workspace=workspace)
    assert done.returncode == 0, done.stderr
    assert [path.name for path in workspace.states.iterdir()] == ["composed-gold-path"]
    folder = workspace.states / "composed-gold-path" / "seed_0001"
    world, recording = read_recording(folder / "episodes" / "episode_000000")
    assert world.name == FORWARD.name
    np.testing.assert_array_equal(recording.q_table, np.load(exported / "q_table.npy"))
    reward = float((folder / "episode_rewards.csv").read_text().splitlines()[1].split(",")[1])
    assert reward == json.loads((exported / "policy.json").read_text())["predicted"]["reward"]


@pytest.mark.parametrize(
    ("fields", "reason"),
    [
        ({"policy_target": "gold"}, "does not begin with composed-"),
        ({"policy_target": "composed-/../../x"}, "can't name a folder"),
        ({"policy_seed": "../1"}, "is no digits"),
        ({"policy_seed": None}, "is no digits"),
        ({"predicted_by_q_table": {"reward": float("nan")}}, "not finite"),
        ({"predicted_by_q_table": []}, "does not describe a composed policy"),
        ({"sources": 3}, "does not describe a composed policy"),
        ({"q_table_sha256": "0" * 64}, "is not the one described"),
    ],
)
def test_a_strangers_description_is_skipped_in_a_line(exported, fields, reason):
    change(exported, **fields)
    found, (skipped,) = find_composed(exported.parent)
    assert not found and reason in skipped.reason and "\n" not in skipped.reason


@pytest.mark.parametrize(
    ("name", "array"),
    [
        ("q_table.npy", np.full((256, 5), np.nan)),
        ("q_table.npy", np.zeros((3, 5))),
        ("start_state.npy", np.zeros((16, 16), np.int8)),
        ("start_state.npy", np.full((16, 16), 99, np.int8)),
    ],
)
def test_strange_arrays_are_skipped_in_a_line(exported, name, array):
    np.save(exported / name, array)
    found, (skipped,) = find_composed(exported.parent)
    assert not found and "\n" not in skipped.reason


def test_other_exported_policies_are_left_alone(exported):
    (exported / "start_state.npy").unlink()
    change(exported, policy_target="gold")
    assert find_composed(exported.parent) == ([], [])


@pytest.fixture
def lake(tmp_path):
    """A policy composed on counts, for the map that Gymnasium calls 4x4."""
    folder = tmp_path / "composed-lake_0003_100"
    folder.mkdir()
    np.save(folder / "q_table.npy", np.eye(16, 4, dtype=np.float32))
    fields = {
        "policy_target": "composed-lake",
        "policy_seed": "0003",
        "predicted": {"reward": 0.5},
        "environment": {"environment": "FrozenLake-v1", "kwargs": {"is_slippery": False}},
        "q_table_sha256": checksum(folder / "q_table.npy"),
        "sources": [{"policy_name": "lake_0003_100"}],
        "weights": {"lake": 1.0},
        "support": "policies",
    }
    (folder / "policy.json").write_text(json.dumps(fields))
    return folder


def test_elsewhere_it_is_recorded_in_the_environment_that_it_names(lake, tmp_path):
    (found,), skipped = find_composed(lake.parent)
    assert skipped == [] and (found.target, found.seed) == ("composed-lake", "0003")
    assert found.world == "FrozenLake-v1(is_slippery=False)"
    found.record(tmp_path / "run")
    (source,) = (tmp_path / "run").glob("episodes/*/source.json")
    assert json.loads(source.read_text())["environment"] == found.environment.to_json()
    given = find_environment("FrozenLake-v1", {"is_slippery": True})
    (other,), _ = find_runs(lake.parent, given, Settings())
    assert other.target == "composed-lake" and other.world == given.world


@pytest.mark.parametrize(
    ("environment", "reason"),
    [
        (None, "give it with --env"),
        ({"environment": "os:system-v0"}, "would import a module"),
        ({"environment": "FrozenLake-v1", "kwargs": {"desc": ["../x"]}}, "names a file"),
        ({"environment": "Taxi-v4"}, "Taxi-v4"),
        ([1], "give it with --env"),
    ],
)
def test_a_strange_environment_is_skipped_in_a_line(lake, environment, reason):
    change(lake, environment=environment)
    found, (skipped,) = find_composed(lake.parent)
    assert not found and reason in skipped.reason and "\n" not in skipped.reason
