"""What can't be recorded is named, by its whole path and once."""

import zipfile

import numpy as np
import pytest

from library.files import is_portable, portable
from library.workspace import Workspace
from recording.environments import find_environment
from recording.run import Skipped
from recording.snapshots import Settings
from recording.sources import find_runs
from recording.targets import is_usable_name, name_targets

BROKEN = {
    "drl_q_table.npy": b"\x93NUMPY no array",
    "empty.npy": b"",
    "table.npz": b"PK no archive",
    "pickle.pkl": b"\x80\x04 no pickle",
    "list.json": b"[1, 2",
    "words.json": b'{"a": "b"}',
    "rows.csv": b"a,b\n1\n",
    "cells.csv": b"1,2\nx,y\n",
    "latin.csv": "ü,é\n1,2\n".encode("latin-1"),
    "agent.zip": b"PK no archive",
}


def write_broken(folder):
    for name, content in BROKEN.items():
        (folder / name).write_bytes(content)
    with zipfile.ZipFile(folder / "inside.zip", "w") as archive:
        archive.writestr("data", "{}")
        archive.writestr("policy.pth", "nothing")
    np.savez(folder / "two.npz", a=np.zeros((2, 2)), b=np.zeros((2, 2)))
    with zipfile.ZipFile(folder / "member.npz", "w") as archive:
        archive.writestr("q_table.npy", "no array")
    run = folder / "gold" / "seed_0001"
    (run / "episodes").mkdir(parents=True)
    (run / "episode_rewards.csv").write_text("episode\n1\n")
    composed = folder / "composed-x"
    composed.mkdir()
    (composed / "start_state.npy").write_bytes(b"no array")
    (composed / "policy.json").write_text("{")


def test_everything_unusable_is_named_once_with_its_path(tmp_path):
    write_broken(tmp_path)
    found, skipped = find_runs(tmp_path, find_environment("FrozenLake-v1"), Settings())
    assert not found
    assert {entry.origin.name for entry in skipped} == {
        *BROKEN,
        "inside.zip",
        "two.npz",
        "member.npz",
        "seed_0001",
        "composed-x",
    }
    for entry in skipped:
        assert entry.line.count(str(entry.origin)) == 1, entry.line
        assert entry.line.count(entry.origin.name) == 1, entry.line
        assert len(entry.line) > len(str(entry.origin)) + 10, "and why"


@pytest.mark.parametrize(
    ("reason", "line"),
    [
        ("it is empty", "{0}/a.npy: it is empty"),
        ("a.npy is no array", "{0}/a.npy is no array"),
        ("{0}/a.npy has no end", "{0}/a.npy has no end"),
        ("it is seed 1 beside {0}/a.npy2", "{0}/a.npy: it is seed 1 beside {0}/a.npy2"),
        ("a.npyz is\nwrong", "{0}/a.npy: a.npyz is wrong"),
    ],
)
def test_a_reason_that_names_the_file_is_not_preceded_by_it(tmp_path, reason, line):
    skipped = Skipped(tmp_path / "a.npy", reason.format(tmp_path))
    assert skipped.line == line.format(tmp_path)


@pytest.mark.parametrize(
    "name",
    [
        "../../x",
        "CON",
        "nul",
        "com1",
        "lpt9.txt",
        "aux.",
        "a:b",
        "a/b",
        "a\\b",
        'a"b',
        "a?",
        "a ",
        "..",
        "",
    ],
)
def test_names_that_some_system_can_not_have_are_changed(name):
    assert not is_portable(name) and not is_usable_name(name)
    assert is_portable(portable(name))


@pytest.mark.parametrize(
    "name", ["gold_0038_100", "path+gold", "grün", "console", "a.b", "FrozenLake-v1"]
)
def test_names_that_every_system_can_have_stay(name):
    assert is_portable(name) and portable(name) == name and is_usable_name(name)


def test_a_target_gets_a_name_that_every_system_can_have(tmp_path):
    np.save(tmp_path / "q.npy", np.random.default_rng(0).random((16, 4)))
    found, _ = find_runs(tmp_path, find_environment("FrozenLake-v1"), Settings())
    targets, _ = name_targets(found, Workspace(tmp_path), "a:b/c")
    assert list(targets) == ["a-b-c"]
