"""Reading states_f/: what can be used is used, and what can't is named."""

import json
import os
import shutil
import sys
from argparse import ArgumentTypeError
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

from library import command_line
from library.errors import LeverError
from library.workspace import Workspace
from pi2vec.pi2vec_utils import Catalogue, fingerprint, pick_seeds, read_catalogue, read_targets
from worlds.gridworld.generate_states import generate
from worlds.gridworld.rules import AGENT


@pytest.fixture
def workspace(tmp_path):
    generate(Workspace(tmp_path), seeds=(7, 38), n_episodes=200)
    return Workspace(tmp_path)


def episode(workspace, target="gold", seed="0038", number=199):
    return workspace.states / target / f"seed_{seed}" / "episodes" / f"episode_{number:06d}"


def read_all(workspace, **choice):
    catalogue = read_catalogue(workspace.states, **choice)
    return catalogue.policies, catalogue.skipped


def test_snapshots_are_the_rows_that_the_contract_says(workspace):
    policies, complaints = read_all(workspace)
    assert not complaints
    found = {policy.name: policy.snapshot.episode for policy in policies}
    assert found["gold_0038_20"] == 40 and found["gold_0038_60"] == 119
    assert found["path_0007_100"] == 199 and len(found) == 12


def test_all_seeds_that_no_target_has_are_named_in_order(workspace):
    unknown = ["0999", "0111", "0555", "0333", "0777", "0222"]
    with pytest.raises(LeverError, match="seeds " + ", ".join(sorted(unknown)) + "; look"):
        read_all(workspace, seeds=[*unknown, "0038"])


def test_worlds_are_in_alphabetical_order(workspace):
    (policy, *_), _ = read_all(workspace)
    names = ["b", "F", "a", "d", "c", "e", "b"]
    policies = [replace(policy, world=SimpleNamespace(name=name)) for name in names]
    worlds = Catalogue(policies=policies).worlds
    assert list(worlds) == ["F", "a", "b", "c", "d", "e"]
    assert worlds["b"] == [policies[0], policies[-1]]


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
    assert not read_catalogue(workspace.states).notices
    path = episode(workspace) / "q_table.npy"
    table = np.load(path)
    table[0, 0] += 1
    np.save(path, table)
    (change,) = read_catalogue(workspace.states).notices
    assert str(path) in change
    (path.parents[2] / "SHA256SUMS").unlink()
    assert not read_catalogue(workspace.states).notices


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
        places = np.argwhere(inferred.read().observations == AGENT)[:, 1:]
        moved = (places[1:] != places[:-1]).any(axis=1).all()  # of a stay the energy is bounded
        energy, known = inferred.measures["energy"], recorded.measures["energy"]
        assert energy == known if moved else energy <= known


def test_published_tables_can_be_dropped_in(workspace):
    run = workspace.states / "gold" / "seed_0038"
    lines = (run / "episode_rewards.csv").read_text().splitlines()
    indexed = [f"{i - 1 if i else ''},{line}" for i, line in enumerate(lines)]
    (run / "episode_rewards.csv").write_text("\n".join(indexed))
    for path in (run / "episodes").iterdir():
        path.rename(path.with_name(f"episode_{int(path.name[8:])}"))
    assert len(read_all(workspace)[0]) == 12


def runs(workspace, target, seeds):
    """Give a target runs of more seeds, copies of one."""
    folder = workspace.states / target
    folder.mkdir(exist_ok=True)
    if not (folder / "objective.json").exists():
        (folder / "objective.json").write_text('{"description": "Something else."}')
    for seed in seeds:
        if not (folder / f"seed_{seed}").exists():
            shutil.copytree(workspace.states / "gold" / "seed_0007", folder / f"seed_{seed}")


def test_a_target_with_few_seeds_takes_none_from_another(workspace):
    runs(workspace, "gold", [f"{n:04d}" for n in range(30)])
    runs(workspace, "path", [f"{n:04d}" for n in range(30)])
    runs(workspace, "few", ["0003", "0077", "12345", "20240131123456"])
    policies, _ = read_all(workspace)
    seeds = {t: {p.seed for p in policies if p.target == t} for t in ("gold", "path", "few")}
    assert len(seeds["gold"]) == 20 and seeds["gold"] <= seeds["path"]
    assert seeds["few"] == {"0003", "0077", "12345", "20240131123456"}


def test_the_default_is_a_tenth_but_not_less_than_twenty():
    seeds = [f"{n:04d}" for n in range(1_000)]
    for n, expected in ((1, 1), (5, 5), (20, 20), (150, 20), (200, 20), (201, 20), (1_000, 100)):
        assert len(pick_seeds(seeds[:n])) == expected
    assert "0038" in pick_seeds(seeds[:200])
    assert set(pick_seeds(seeds[:200])) <= set(pick_seeds(seeds[:200], 0.5))


def test_a_fraction_picks_the_same_seeds_each_time_and_at_least_one():
    seeds = [f"{n:04d}" for n in range(200)]
    assert pick_seeds(seeds, 0.1) == pick_seeds(seeds[::-1], 0.1)
    assert len(pick_seeds(seeds, 0.1)) == 20 and "0038" in pick_seeds(seeds, 0.1)
    assert len(pick_seeds(seeds[:3], 0.1)) == 1
    assert pick_seeds(seeds, 1.0) == seeds


@pytest.mark.parametrize("n", [3, 7, 10, 29, 100])
def test_a_share_is_counted_exactly_and_rounded_down(n):
    seeds = [f"{i:04d}" for i in range(n)]
    for k in range(1, n + 1):
        assert len(pick_seeds(seeds, k / n)) == k
        assert len(pick_seeds(seeds, min(1.0, (k + 0.9) / n))) == k


@pytest.mark.skipif(sys.platform != "linux", reason="names are Unicode there")
def test_a_target_whose_name_is_no_text_is_named(workspace):
    (workspace.states / "path").rename(workspace.states / os.fsdecode(b"p\xff"))
    targets, complaints = read_targets(workspace.states)
    assert [target.objective.target for target in targets] == ["gold"]
    assert len(complaints) == 1 and "not UTF-8" in complaints[0]


def test_a_target_or_a_run_without_anything_is_named(workspace):
    shutil.rmtree(workspace.states / "path" / "seed_0038" / "episodes")
    (workspace.states / "path" / "seed_0038" / "SHA256SUMS").unlink()
    for run in (workspace.states / "gold").glob("seed_*"):
        shutil.rmtree(run)
    policies, skipped = read_all(workspace)
    assert {(policy.target, policy.seed) for policy in policies} == {("path", "0007")}
    assert "has no recording of a row" in "".join(skipped)
    assert "gold has no runs" in "".join(skipped)


def rewrite(workspace, change):
    path = workspace.states / "gold" / "seed_0038" / "episode_rewards.csv"
    lines = path.read_text().splitlines()
    path.write_text("\n".join(change(lines)) + "\n")
    (path.parent / "SHA256SUMS").unlink()
    catalogue = read_catalogue(workspace.states)
    found = {p.name: p.snapshot.episode for p in catalogue.policies if "gold_0038" in p.name}
    return found, catalogue


def test_a_row_is_used_once_under_its_highest_percent(workspace):
    path = workspace.states / "gold" / "seed_0038" / "episode_rewards.csv"
    (path.parent / "SHA256SUMS").unlink()
    for n_rows, expected in ((1, {100: 0}), (2, {60: 0, 100: 40}), (3, {20: 0, 60: 40, 100: 80})):
        rows = "".join(f"{40 * row},1.0\n" for row in range(n_rows))
        path.write_text(f"episode,reward\n{rows}")
        policies, _ = read_all(workspace)
        snapshots = [p.snapshot for p in policies if (p.target, p.seed) == ("gold", "0038")]
        assert {snapshot.percent: snapshot.episode for snapshot in snapshots} == expected


def test_rows_without_a_recording_do_not_count(workspace):
    def thin(lines):
        return [lines[0], *(line for row in lines[1:] for line in (row, f"1{row}"))]

    before, _ = read_all(workspace)
    found, catalogue = rewrite(workspace, thin)
    assert found == {p.name: p.snapshot.episode for p in before if "gold_0038" in p.name}
    assert not catalogue.skipped


def test_rows_twice_or_out_of_order_are_told_and_change_nothing(workspace):
    before, _ = read_all(workspace)
    expected = {p.name: p.snapshot.episode for p in before if "gold_0038" in p.name}

    def shuffle(lines):
        return [lines[0], *lines[:0:-1], lines[2]]

    found, catalogue = rewrite(workspace, shuffle)
    assert found == expected
    assert {"twice" in n or "out of order" in n for n in catalogue.notices} == {True}
    assert len(catalogue.notices) == 2


def test_two_rewards_for_one_episode_are_refused(workspace):
    found, catalogue = rewrite(workspace, lambda lines: [*lines, "40,-5.0"])
    assert not found and "two rewards" in catalogue.skipped[0]


def test_the_names_of_columns_may_be_written_otherwise(workspace):
    found, _ = rewrite(workspace, lambda lines: ["Episode, Reward", *lines[1:]])
    assert len(found) == 3


def test_folders_that_are_no_run_are_named_and_counted(workspace):
    gold = workspace.states / "gold"
    for name in ("seed_0009 (copy)", "seed-12", "Seed_14", "seed_38", "@eaDir", ".hidden"):
        shutil.copytree(gold / "seed_0007", gold / name)
    catalogue = read_catalogue(workspace.states)
    assert len(catalogue.policies) == 12 and len(catalogue.skipped) == 4
    for name in ("seed_0009 (copy)", "seed-12", "Seed_14", "seed_38"):
        assert any(str(gold / name) in line for line in catalogue.skipped)


@pytest.mark.parametrize("reward", ["nan", "inf", "-inf", "1e160"])
def test_rewards_that_are_no_numbers_are_named(workspace, reward):
    found, catalogue = rewrite(workspace, lambda lines: [*lines[:-1], f"199,{reward}"])
    assert len(found) == 2 and "the reward is" in catalogue.skipped[0]


def test_a_policy_of_another_world_is_named(workspace):
    path = episode(workspace)
    states = np.zeros((2, 8, 8), np.int8)
    states[0, 0, 0] = states[1, 0, 1] = AGENT
    np.save(path / "episode_states.npy", states)
    np.save(path / "episode_actions.npy", np.zeros(1, np.int8))
    np.save(path / "q_table.npy", np.zeros((64, 4), np.float32))
    catalogue = read_catalogue(workspace.states)
    assert len(catalogue.policies) == 11 and list(catalogue.worlds) == ["gridworld-16x16-5"]
    assert "gridworld-8x8-4" in catalogue.skipped[0]


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
        catalogue = read_catalogue(workspace.states)
        objectives = [target.objective for target in catalogue.targets]
        return fingerprint(objectives, catalogue.policies)

    seen = {current()}
    assert current() in seen
    path = episode(workspace) / "q_table.npy"
    np.save(path, np.load(path) + 1)
    assert current() not in seen
    seen.add(current())
    objective = workspace.states / "gold" / "objective.json"
    objective.write_text(json.dumps({"description": "Gold!", "phrasings": []}))
    assert current() not in seen


@pytest.mark.parametrize("name", ["gold", "seed_0038", "episodes"])
def test_a_folder_that_may_not_be_read_is_named_and_ends_nothing(workspace, monkeypatch, name):
    listing = Path.iterdir

    def refusing(path):
        if path.name == name and "gold" in path.parts:
            raise PermissionError(13, "Permission denied", str(path))
        return listing(path)

    monkeypatch.setattr(Path, "iterdir", refusing)
    catalogue = read_catalogue(workspace.states)
    lost = {"gold": 6, "seed_0038": 0, "episodes": 6}[name]
    assert len(catalogue.policies) == 12 - lost
    assert len(catalogue.skipped) == (lost > 0) * (1 if name == "gold" else 2)
    assert all("Permission denied" in line for line in catalogue.skipped)


def test_a_seed_of_many_digits_can_be_asked_for():
    assert command_line.seed("20240131123456") == "20240131123456"
    assert command_line.seed("38") == "0038"
    with pytest.raises(ArgumentTypeError):
        command_line.seed("../38")
