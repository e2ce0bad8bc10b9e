"""From a folder of trained policies to `states_f/`: what is written, resumed, and passed over."""

import json
import subprocess
import sys
from argparse import Namespace

import numpy as np
import pytest

from library.errors import UnusableRecording
from library.parallel import HERE
from library.workspace import HOME, Workspace
from recording.environments import find_environment, make_environment
from recording.rollout import DEFAULT_LIMIT, episode_seeds, roll_out
from recording.snapshots import Settings
from recording.sources import find_runs
from recording.targets import name_targets
from tests.conftest import run
from worlds.policy import TablePolicy, load_policy

SCRIPT = "record_policies.py"


@pytest.fixture
def tables(tmp_path):
    """A folder with two tables of FrozenLake and one of some other world."""
    folder = tmp_path / "tables"
    folder.mkdir()
    for i in range(2):
        np.save(folder / f"lake_{i}.npy", np.random.default_rng(i).normal(size=(16, 4)))
    np.save(folder / "other.npy", np.zeros((72, 4)))
    return folder


def workspace(tmp_path):
    (tmp_path / "library").mkdir(exist_ok=True)
    return Workspace(tmp_path / "library")


def record_lake(folder, space):
    """Record in this process, as the script does."""
    import record_policies

    found, _ = find_runs(folder, find_environment("FrozenLake-v1"), Settings(n_episodes=3))
    targets, _ = name_targets(found, space)
    arguments = Namespace(workspace=space, describe=None, phrasing=[])
    return record_policies.record(targets, HERE, arguments)


def test_what_is_written_is_what_the_policy_did(tables, tmp_path):
    space = workspace(tmp_path)
    assert record_lake(tables, space) == []
    target = space.states / "FrozenLake-v1"
    world = json.loads((target / "world.json").read_text())
    assert world == {"environment": "FrozenLake-v1", "kwargs": {}}
    assert "lake" in json.loads((target / "objective.json").read_text())["description"]
    for i in range(2):
        folder = target / f"seed_000{i}"
        episode = folder / "episodes" / "episode_000000"
        episodes = np.load(episode / "episodes.npz", allow_pickle=False)
        policy = load_policy(episode)
        np.testing.assert_array_equal(policy.values, np.load(tables / f"lake_{i}.npy"))
        lengths, observations = episodes["lengths"], episodes["observations"]
        assert len(lengths) == 3
        assert len(observations) == sum(lengths) + 3
        assert len(episodes["actions"]) == len(episodes["rewards"]) == sum(lengths)
        last = np.cumsum(lengths + 1) - 1
        acting = np.delete(observations, last)
        np.testing.assert_array_equal(policy.act(acting), episodes["actions"])
        assert (episodes["terminated"] | episodes["truncated"]).all()
        returns = np.add.reduceat(episodes["rewards"], np.cumsum(lengths) - lengths)
        rows = (folder / "episode_rewards.csv").read_text().split()
        assert rows == ["episode,reward", f"0,{returns.mean()}"]
        source = json.loads((episode / "source.json").read_text())
        assert source["file"] == f"lake_{i}.npy"
        assert len(source["sha256"]) == 64
    assert not list(target.glob(".*"))


def test_recording_again_changes_nothing_and_adds_what_is_new(tables, tmp_path):
    space = workspace(tmp_path)
    record_lake(tables, space)
    before = {p: p.read_bytes() for p in space.states.rglob("*") if p.is_file()}
    np.save(tables / "a_new_one.npy", np.random.default_rng(9).normal(size=(16, 4)))
    record_lake(tables, space)
    runs = sorted(p.name for p in (space.states / "FrozenLake-v1").glob("seed_*"))
    assert runs == ["seed_0000", "seed_0001", "seed_0002"]
    assert {p: p.read_bytes() for p in before} == before


def test_equal_arguments_give_equal_files_but_policies_have_seeds_of_their_own(tables, tmp_path):
    contents = []
    for name in ("a", "b"):
        space = Workspace(tmp_path / name)
        record_lake(tables, space)
        contents.append(
            {p.relative_to(space.root): p.read_bytes() for p in space.root.rglob("*.np?")}
        )
    assert contents[0] == contents[1]
    assert len(contents[0]) == 4
    assert not set(episode_seeds("one", 100)) & set(episode_seeds("other", 100))


def test_a_run_is_there_whole_or_not_at_all(tables, tmp_path, monkeypatch):
    from recording import snapshots

    def fail(env, policy, *arguments):
        raise UnusableRecording("the environment fails")

    space = workspace(tmp_path)
    monkeypatch.setattr(snapshots, "roll_out", fail)
    failed = record_lake(tables, space)
    assert [entry.reason for entry in failed] == ["the environment fails"] * 2
    assert not list(space.states.rglob("*"))
    monkeypatch.undo()
    left = space.states / "FrozenLake-v1" / ".seed_0000.partial" / "episodes"
    left.mkdir(parents=True)
    (left / "half").write_text("x")
    record_lake(tables, space)
    names = sorted(p.name for p in left.parent.parent.iterdir())
    assert names == ["objective.json", "seed_0000", "seed_0001", "world.json"]


def test_a_target_is_of_one_environment(tables, tmp_path):
    space = workspace(tmp_path)
    record_lake(tables, space)
    given = find_environment("FrozenLake-v1", {"is_slippery": False})
    found, _ = find_runs(tables, given, Settings())
    targets, _ = name_targets(found, space, "FrozenLake-v1")
    assert list(targets) == ["FrozenLake-v1-FrozenLake-v1-is_slippery-False"]


def test_the_same_file_twice_is_one_run(tables, tmp_path):
    (tables / "copy.npy").write_bytes((tables / "lake_0.npy").read_bytes())
    found, _ = find_runs(tables, find_environment("FrozenLake-v1"), Settings())
    targets, twice = name_targets(found, workspace(tmp_path))
    assert [len(runs) for runs in targets.values()] == [2]
    assert "a second time, beside" in twice[0].reason


def test_an_environment_without_a_limit_gets_one():
    env = make_environment(find_environment("CliffWalking-v1"))
    standing = TablePolicy(np.tile([0.0, 0.0, 0.0, 1.0], (48, 1)))  # left, at the wall, for ever
    episodes = roll_out(env, standing, [1, 2], max_steps=7)
    assert list(episodes.lengths) == [7, 7]
    assert episodes.truncated.all()
    assert not episodes.terminated.any()
    assert list(roll_out(env, standing, [1]).lengths) == [DEFAULT_LIMIT]
    np.testing.assert_array_equal(episodes.returns, [-7, -7])


@pytest.mark.parametrize("name", ["MiniGrid-Empty-5x5-v0", "Blackjack-v1"])
def test_states_of_several_numbers_are_counted(name):
    env = make_environment(find_environment(name))
    sizes = (5, 5, 4) if "Mini" in name else (32, 11, 2)
    n_actions = int(env.action_space.n)
    table = np.random.default_rng(0).normal(size=(np.prod(sizes), n_actions))
    episodes = roll_out(env, TablePolicy(table), [0, 1, 2], max_steps=20)
    assert episodes.observations.dtype == np.int64
    assert episodes.observations.min() >= 0
    assert len(set(episodes.observations)) > 1


@pytest.mark.slow
def test_the_script_records_lists_and_resumes(tables, tmp_path):
    space = workspace(tmp_path)
    dry = run(SCRIPT, tables, "--env", "FrozenLake-v1", "--dry-run", workspace=space)
    assert dry.returncode == 0, dry.stderr
    assert not space.states.exists()
    arguments = (SCRIPT, tables, "--env", "FrozenLake-v1", "--episodes", "2", "--jobs", "2")
    words = ("--target", "lake", "--describe", "Cross it.", "--phrasing", "walk over", "get across")
    result = run(*arguments, *words, workspace=space)
    assert result.returncode == 0, result.stderr
    lines = result.stdout.splitlines()
    assert lines[0] == "lake (FrozenLake-v1): 2 runs, 2 policies recorded"
    assert lines[1].startswith("skipped: ")
    assert "a table of 72 states is not FrozenLake-v1's 16" in lines[1]
    assert lines[2] == "3 runs found, 2 used, 1 skipped"
    objective = json.loads((space.states / "lake" / "objective.json").read_text())
    assert objective["description"] == "Cross it."
    assert objective["phrasings"][:2] == ["walk over", "get across"]
    again = run(*arguments, "--target", "lake", workspace=space)
    assert again.stdout == result.stdout


@pytest.mark.slow
@pytest.mark.parametrize(
    ("arguments", "code", "said"),
    [
        (("--env", "NoSuchWorld-v1"), 2, "Gymnasium has no environment 'NoSuchWorld-v1'; give it"),
        (("--env", "no_such_module:World-v1"), 2, "No module named 'no_such_module'"),
        (("--env", "house"), 2, "is no Gymnasium environment; give it with --env"),
        ((), 1, ""),
        (("--target", "///"), 2, "can't name a folder"),
        (("--episodes", "0"), 2, "no whole number from 1"),
    ],
)
def test_wrong_arguments_end_in_a_line(arguments, code, said, tables, tmp_path):
    result = run(SCRIPT, tables, *arguments, workspace=workspace(tmp_path))
    assert result.returncode == code, result.stderr
    assert said in result.stderr
    assert "Traceback" not in result.stderr
    if code == 2:
        assert len(result.stderr.splitlines()) == 1


@pytest.mark.slow
def test_an_environment_of_the_users_own(tables, tmp_path):
    (tmp_path / "my_lakes.py").write_text(
        "import gymnasium\n"
        "gymnasium.register('Mine-v0', 'gymnasium.envs.toy_text.frozen_lake:FrozenLakeEnv', "
        "max_episode_steps=9)\n"
    )
    space = workspace(tmp_path)
    result = subprocess.run(
        [
            *(sys.executable, HOME / SCRIPT, tables, "--workspace", space.root),
            *("--env", "my_lakes:Mine-v0", "--jobs", "2"),
        ],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=False,
    )
    assert result.returncode == 0, result.stderr
    world = json.loads((space.states / "Mine-v0" / "world.json").read_text())
    assert world["environment"] == "my_lakes:Mine-v0"


@pytest.mark.slow
def test_modules_beside_the_policies_are_not_imported(tables, tmp_path):
    """A stranger's folder may hold modules by the names of packages that are asked for."""
    for name in ("ale_py", "minigrid", "jax", "shimmy", "mujoco", "pygame"):
        (tables / f"{name}.py").write_text(f"open({str(tmp_path / 'marker')!r}, 'w')\n")
    np.save(tables / "Pong-v5.npy", np.zeros((16, 4)))
    np.save(tables / "MiniGrid-Empty-5x5-v0.npy", np.zeros((100, 7)))
    space = workspace(tmp_path)
    subprocess.run(
        [sys.executable, HOME / SCRIPT, ".", "--workspace", space.root],
        cwd=tables,
        capture_output=True,
        check=False,
    )
    assert (space.states / "MiniGrid-Empty-5x5-v0").exists()
    assert not (tmp_path / "marker").exists()


def test_links_lead_nowhere_outside(tables, tmp_path):
    (tmp_path / "found").mkdir()
    (tmp_path / "found" / "link.npy").symlink_to(tables / "lake_0.npy")
    (tmp_path / "found" / "folder").symlink_to(tables)
    given = find_environment("FrozenLake-v1")
    assert find_runs(tmp_path / "found", given, Settings()) == ([], [])
    (tmp_path / "found" / "blobs").mkdir()
    (tables / "lake_1.npy").rename(tmp_path / "found" / "blobs" / "0af3")
    (tmp_path / "found" / "inside.npy").symlink_to("blobs/0af3")  # as in the hub's cache
    (run,), _ = find_runs(tmp_path / "found", given, Settings())
    assert run.origin.name == "inside.npy"
