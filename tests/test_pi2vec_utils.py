"""Reading states_f/: what can be used is used, and what can't is named."""

import json
import shutil

import numpy as np
import pytest

from library.errors import LeverError
from library.workspace import Workspace
from pi2vec.pi2vec_utils import (
    find_changes,
    fingerprint,
    pick_seeds,
    read_policies,
    read_targets,
    shared_seeds,
)
from worlds.gridworld import environment
from worlds.gridworld.generate_states import generate


@pytest.fixture
def workspace(tmp_path):
    generate(Workspace(tmp_path), seeds=(7, 38), n_episodes=200)
    return Workspace(tmp_path)


def episode(workspace, target="gold", seed="0038", number=199):
    return workspace.states / target / f"seed_{seed}" / "episodes" / f"episode_{number:06d}"


def read_all(workspace):
    targets, complaints = read_targets(workspace.states)
    policies = []
    for target in targets:
        usable, unusable = read_policies(target, shared_seeds(targets))
        policies += usable
        complaints += unusable
    return policies, complaints


def test_snapshots_are_the_rows_that_the_contract_says(workspace):
    policies, complaints = read_all(workspace)
    assert not complaints
    found = {policy.name: policy.episode for policy in policies}
    assert found["gold_0038_20"] == 40 and found["gold_0038_60"] == 119
    assert found["path_0007_100"] == 199 and len(found) == 12


def truncate(path):
    path.write_bytes(path.read_bytes()[:-100])


def break_states(path):
    truncate(path / "episode_states.npy")


def break_q_table(path):
    np.save(path / "q_table.npy", np.zeros((256, 5), dtype=np.int64))


def claim_a_terabyte(path):
    header = {"descr": "|i1", "fortran_order": False, "shape": (10**12, 16, 16)}
    with open(path / "episode_states.npy", "wb") as file:
        np.lib.format.write_array_header_1_0(file, header)


def store_objects(path):
    np.save(path / "episode_states.npy", np.array([{}], dtype=object), allow_pickle=True)


def break_table(path):
    table = path.parent.parent / "episode_rewards.csv"
    table.write_text(table.read_text().replace("reward", "return"))


@pytest.mark.parametrize(
    ("damage", "named", "n_lost"),
    [
        (break_states, "episode_states.npy", 1),
        (break_q_table, "Q-table is int64", 1),
        (claim_a_terabyte, "episode_states.npy", 1),
        (store_objects, "episode_states.npy", 1),
        (shutil.rmtree, "episode_000199 is missing", 1),
        (break_table, "episode_rewards.csv", 3),
    ],
)
def test_what_is_damaged_is_named_and_the_rest_is_used(workspace, damage, named, n_lost):
    damage(episode(workspace))
    policies, complaints = read_all(workspace)
    assert len(policies) == 12 - n_lost
    assert len(complaints) == 1 and named in complaints[0]


def test_a_change_since_the_recording_is_not_silent(workspace):
    policies, _ = read_all(workspace)
    assert not find_changes(policies)
    path = episode(workspace) / "q_table.npy"
    table = np.load(path)
    table[0, 0] += 1
    np.save(path, table)
    (change,) = find_changes(read_all(workspace)[0])
    assert str(path) in change
    (path.parents[2] / "SHA256SUMS").unlink()
    assert not find_changes(policies)


@pytest.mark.parametrize("size", [10**8, 10**12])
def test_a_file_larger_than_any_honest_one_is_not_read(workspace, size):
    with open(episode(workspace) / "episode_states.npy", "r+b") as file:
        file.truncate(size)  # sparse: it takes no room
    policies, complaints = read_all(workspace)
    assert len(policies) == 11 and "bytes" in complaints[0]


def test_actions_follow_from_positions(workspace):
    before, _ = read_all(workspace)
    for path in workspace.states.rglob("episode_actions.npy"):
        path.unlink()
    after, complaints = read_all(workspace)
    assert not complaints
    for recorded, inferred in zip(before, after, strict=True):
        places = np.argwhere(inferred.read_trajectory().states == environment.AGENT)[:, 1:]
        moved = (places[1:] != places[:-1]).any(axis=1).all()  # of a stay the energy is bounded
        assert inferred.energy == recorded.energy if moved else inferred.energy <= recorded.energy


def test_published_tables_can_be_dropped_in(workspace):
    run = workspace.states / "gold" / "seed_0038"
    lines = (run / "episode_rewards.csv").read_text().splitlines()
    indexed = [f"{i - 1 if i else ''},{line}" for i, line in enumerate(lines)]
    (run / "episode_rewards.csv").write_text("\n".join(indexed))
    for path in (run / "episodes").iterdir():
        path.rename(path.with_name(f"episode_{int(path.name[8:])}"))
    assert len(read_all(workspace)[0]) == 12


def test_seeds_are_those_that_every_target_has(workspace):
    shutil.rmtree(workspace.states / "gold" / "seed_0007")
    targets, _ = read_targets(workspace.states)
    assert shared_seeds(targets) == ["0038"]
    shutil.rmtree(workspace.states / "path" / "seed_0038")
    targets, _ = read_targets(workspace.states)
    assert shared_seeds(targets) == ["0007", "0038"]  # none is shared: any


def test_a_fraction_picks_the_same_seeds_each_time_and_at_least_one():
    seeds = [f"{n:04d}" for n in range(200)]
    assert pick_seeds(seeds, 0.1) == pick_seeds(seeds, 0.1)
    assert len(pick_seeds(seeds, 0.1)) == 20 and "0038" in pick_seeds(seeds, 0.1)
    assert len(pick_seeds(seeds[:3], 0.1)) == 1
    assert pick_seeds(seeds, 1.0) == seeds


@pytest.mark.parametrize(
    "content",
    ["", "{", "[]", "{}", '{"description": ""}', '{"description": "x", "phrasings": "y"}'],
)
def test_a_target_without_objective_is_named(workspace, content):
    path = workspace.states / "gold" / "objective.json"
    path.write_text(content)
    targets, complaints = read_targets(workspace.states)
    assert [target.objective.target for target in targets] == ["path"]
    assert len(complaints) == 1 and str(path) in complaints[0]


def test_a_missing_folder_is_an_error(tmp_path):
    with pytest.raises(LeverError, match="does not exist"):
        read_targets(tmp_path / "states_f")


def test_the_fingerprint_sees_every_change(workspace):
    def current():
        targets, _ = read_targets(workspace.states)
        return fingerprint([target.objective for target in targets], read_all(workspace)[0])

    seen = {current()}
    assert current() in seen
    path = episode(workspace) / "q_table.npy"
    np.save(path, np.load(path) + 1)
    assert current() not in seen
    seen.add(current())
    objective = workspace.states / "gold" / "objective.json"
    objective.write_text(json.dumps({"description": "Gold!", "phrasings": []}))
    assert current() not in seen
