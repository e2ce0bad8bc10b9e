"""Recordings of Gymnasium environments: names, kinds, measures, and each rule broken once."""

import json
from dataclasses import replace

import numpy as np
import pytest

from library.errors import UnusableRecording
from worlds import gymnasium_world
from worlds.gymnasium_world import (
    TabularWorld,
    VectorWorld,
    action_bounds,
    name_world,
    read_recording,
    read_world_name,
)
from worlds.policy import Head, NetworkPolicy, TablePolicy
from worlds.reading import read_recording as read_any
from worlds.world import MAX_NAME

STEPS = {
    "observations": np.array([0, 1, 2, 0, 1, 1]),
    "actions": np.array([1, 0, 1, 1]),
    "rewards": np.array([1.0, 2, 3, 5]),
    "lengths": np.array([2, 2]),
    "terminated": np.array([True, False]),
    "truncated": np.array([False, True]),
}
VECTORS = {**STEPS, "observations": np.eye(6, 2)}
PUSHES = {**VECTORS, "actions": np.array([[0.5, -1], [0, 0], [2, 1], [-0.5, 0]])}


def squash(low, high):
    """Make a network of two inputs whose actions lie between bounds."""
    head = Head("squash", np.array([2]), np.array(low, np.float32), np.array(high, np.float32))
    return NetworkPolicy((np.eye(2, dtype="f4"),), (np.zeros(2, "f4"),), "Tanh", head)


def read(folder, arrays, policy=None):
    np.savez(folder / "episodes.npz", **arrays)
    if policy is not None:
        name = "q_table.npy" if isinstance(policy, TablePolicy) else "policy.npz"
        policy.save(folder / name)
    return read_recording(folder, "gym:Some-v1(a=1)")


def test_discrete_and_vector_worlds_are_told_apart(tmp_path):
    world, recording = read(tmp_path, STEPS, TablePolicy(np.eye(3, 2)))
    assert type(world) is TabularWorld and recording.network is None
    assert (world.name, world.environment) == ("gym:Some-v1(a=1)", "Some-v1")
    np.testing.assert_array_equal(recording.q_table, np.eye(3, 2))
    assert world.measures(recording) == {
        "episodes": 2,
        "steps": 2,
        "reward_std": pytest.approx(3.5355339),
    }
    (tmp_path / "q_table.npy").unlink()
    world, recording = read(tmp_path, VECTORS)
    assert type(world) is VectorWorld and recording.q_table is recording.network is None
    assert "energy" not in world.measures(recording)


def test_one_episode_has_no_spread(tmp_path):
    one = {name: array[:1] for name, array in STEPS.items()}
    one |= {name: STEPS[name][:2] for name in ("actions", "rewards")}
    world, recording = read(tmp_path, one | {"observations": np.arange(3)})
    assert world.measures(recording) == {"episodes": 1, "steps": 2}


def test_energy_is_a_share_of_what_the_bounds_allow(tmp_path):
    world, recording = read(tmp_path, PUSHES)
    np.testing.assert_array_equal(action_bounds(recording), [[-2, -1], [2, 1]])
    expected = np.mean([0.25**2, 1, 0, 0, 1, 1, 0.25**2, 0])
    assert world.measures(recording)["energy"] == pytest.approx(expected)
    world, recording = read(tmp_path, PUSHES, squash([-4, -1], [2, 1]))
    np.testing.assert_array_equal(action_bounds(recording), [[-4, -1], [2, 1]])
    expected = np.mean([0.125**2, 1, 0, 0, 0.5**2, 1, 0.125**2, 0])
    assert world.measures(recording)["energy"] == pytest.approx(expected)
    other = replace(recording, actions=recording.actions[:, :1])  # the network is of another world
    np.testing.assert_array_equal(action_bounds(other), [[-2], [2]])


def test_who_never_moves_has_no_energy(tmp_path):
    world, recording = read(tmp_path, PUSHES | {"actions": np.zeros((4, 2))})
    assert world.measures(recording)["energy"] == 0.0


@pytest.mark.parametrize(
    ("changes", "table", "complaint"),
    [
        ({"observations": np.array([0, 1, 2, 0, -1, 1])}, None, "whole numbers from 0"),
        ({"actions": np.array([1, 0, -1, 1])}, None, "whole numbers from 0"),
        ({"actions": np.array([1.0, 0, 1, 1])}, None, "whole numbers from 0"),
        ({"actions": np.array([[1], [0], [1], [1]])}, None, "whole numbers from 0"),
        ({}, np.eye(2, 2), "a state is not among the table's 2"),
        ({}, np.eye(3, 1), "an action is not among the 1"),
        ({"observations": np.zeros((6, 2, 2))}, None, r"shape \(6, 2, 2\)"),
        ({"observations": np.zeros(6)}, None, r"shape \(6,\)"),
        ({"observations": np.zeros((6, 2)), "actions": np.zeros(4)}, None, "or vectors"),
        ({"observations": np.zeros((6, 2)), "actions": np.zeros((4, 2, 2))}, None, "or vectors"),
        ({"lengths": np.array([2, 3])}, None, "must have 7"),
    ],
)
def test_what_is_neither_is_refused(tmp_path, changes, table, complaint):
    policy = None if table is None else TablePolicy(table)
    with pytest.raises(UnusableRecording, match=complaint) as error:
        read(tmp_path, STEPS | changes, policy)
    assert str(error.value).count(str(tmp_path)) == 1


def test_what_is_missing_is_named(tmp_path):
    with pytest.raises(UnusableRecording, match="it is missing"):
        read_recording(tmp_path / "nowhere", "Some-v1")
    arrays = {name: array for name, array in STEPS.items() if name not in ("rewards", "lengths")}
    with pytest.raises(UnusableRecording, match="has no lengths, rewards"):
        read(tmp_path, arrays)


def test_a_policy_that_is_damaged_is_refused_and_not_passed_over(tmp_path):
    (tmp_path / "policy.npz").write_bytes(b"no network")
    with pytest.raises(UnusableRecording, match=r"policy\.npz"):
        read(tmp_path, VECTORS)


def test_a_world_is_named_by_its_environment_and_arguments(tmp_path):
    path = tmp_path / "world.json"
    path.write_text('{"environment": "X"}')
    assert read_world_name(path) == "X"
    path.write_text('{"environment": "Lake-v1", "kwargs": {"size": 4, "map": "a b"}}')
    assert read_world_name(path) == name_world("Lake-v1", {"map": "a b", "size": 4})
    assert name_world("Lake-v1", {"map": "a b", "size": 4}) == "Lake-v1(map=a b,size=4)"
    assert name_world("Lake-v1", {}) == "Lake-v1"


def test_long_arguments_are_told_apart_in_a_short_name():
    long, other = ({"layout": letter * 500} for letter in "ab")
    assert len(name_world("X-v1", long)) < 40 and name_world("X-v1", long) == name_world(
        "X-v1", long
    )
    assert name_world("X-v1", long) != name_world("X-v1", other)


@pytest.mark.parametrize("name", ["X" * MAX_NAME, "Ä-v0"])
def test_a_name_may_be_as_long_as_that_of_a_folder(tmp_path, name):
    (tmp_path / "world.json").write_text(json.dumps({"environment": name}))
    assert read_world_name(tmp_path / "world.json") == name


@pytest.mark.parametrize(
    "content",
    [
        "",
        "[]",
        "{}",
        "[" * 100_000,
        '{"environment": ""}',
        '{"environment": 3}',
        '{"environment": "X", "kwargs": []}',
        '{"environment": "X\\u001b[31m"}',
        json.dumps({"environment": "X" * (MAX_NAME + 1)}),
    ],
)
def test_what_names_no_world_is_refused(tmp_path, content):
    (tmp_path / "world.json").write_text(content)
    with pytest.raises(UnusableRecording, match=r"world\.json|the name can't be used"):
        read_world_name(tmp_path / "world.json")


def test_a_world_file_has_a_largest_size(tmp_path, monkeypatch):
    path = tmp_path / "world.json"
    path.write_text('{"environment": "X"}')
    monkeypatch.setattr(gymnasium_world, "MAX_WORLD", path.stat().st_size - 1)
    with pytest.raises(UnusableRecording, match="has more than"):
        read_world_name(path)


def test_the_targets_file_decides_who_reads(tmp_path):
    folder = tmp_path / "seed_0000/episodes/episode_000000"
    folder.mkdir(parents=True)
    (tmp_path / "world.json").write_text('{"environment": "X"}')
    np.savez(folder / "episodes.npz", **STEPS)
    assert read_any(folder)[0].name == "X"
    (tmp_path / "world.json").unlink()
    with pytest.raises(UnusableRecording, match=r"q_table\.npy is missing"):
        read_any(folder)  # a grid world, then
