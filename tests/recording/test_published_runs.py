"""Runs of the published system, as its own code writes them, brought in."""

import json

import numpy as np
import pytest

from library.workspace import Workspace
from recording.published_runs import find_runs
from recording.targets import is_usable_name, name_targets, words_of_name
from tests.conftest import run as run_script
from tests.worlds.published_rules import PublishedGrid, draw_grid
from worlds.gridworld.world import read_recording
from worlds.reading import read_recording as read_any

SAVED, LAST = (0, 2_000, 4_000), 5_000


def greedy_return(start, table, target):
    world, total = PublishedGrid(start), 0.0
    for _ in range(start.size):
        row, column = world.cell
        reward, ended = world.step(int(table[row * start.shape[1] + column].argmax()), target)
        total += reward
        if ended:
            break
    return total


def write_run(folder, target, seed, shape=(6, 7)):
    """Write a run: an exploring episode beside each table, and no folder for the last row."""
    rng = np.random.default_rng(seed)
    start = draw_grid(rng, *shape)
    run = folder / target / f"seed_{seed:04d}"
    rows = []
    for number in range(0, LAST + 1, 1_000):
        table = rng.normal(size=(start.size, 4))
        rows.append((number, greedy_return(start, table, target)))
        if number == LAST:
            np.save(run / "q_table_final.npy", table)
        if number in SAVED:
            episode = run / "episodes" / f"episode_{number:05d}"
            episode.mkdir(parents=True)
            np.save(episode / "q_table.npy", table)
            np.save(episode / "episode_states.npy", np.stack([start, start]).astype(np.int64))
            np.save(episode / "episode_actions.npy", np.zeros(1, np.int8))
    lines = [",episode,reward,time"]
    lines += [f"{i},{number},{reward},0.1" for i, (number, reward) in enumerate(rows)]
    (run / "episode_rewards.csv").write_text("\n".join(lines))
    return run


@pytest.fixture
def published(tmp_path):
    folder = tmp_path / "states"
    for seed in (0, 1, 12):
        for target in ("path", "gold-lever"):
            write_run(folder / "X1", target, seed)
    return folder


def record(folder, root, *arguments):
    root.mkdir(exist_ok=True)
    result = run_script("record_policies.py", folder, *arguments, workspace=Workspace(root))
    assert "Traceback" not in result.stderr
    return result


def test_every_saved_table_is_rolled_out_and_earns_its_reward(published, tmp_path):
    result = record(published, tmp_path / "library")
    assert result.returncode == 0 and "6 runs found, 6 used, 0 skipped" in result.stdout
    for target in ("path", "gold-lever"):
        for seed in (0, 1, 12):
            run = tmp_path / "library" / "states_f" / target / f"seed_{seed:04d}"
            lines = (run / "episode_rewards.csv").read_text().splitlines()
            rewards = dict(line.split(",") for line in lines[1:])
            assert list(rewards) == [str(number) for number in (*SAVED, LAST)]
            for number, reward in rewards.items():
                folder = run / "episodes" / f"episode_{int(number):06d}"
                world, recording = read_recording(folder)
                assert world.name == "gridworld-6x7-4"
                replayed, total = PublishedGrid(recording.observations[0]), 0.0
                for action in recording.actions:
                    total += replayed.step(int(action), target)[0]
                assert total == pytest.approx(float(reward))
                source = json.loads((folder / "source.json").read_text())
                assert source["file"].startswith(f"{target}/seed_{seed:04d}/")


def test_targets_of_several_worlds_live_beside_each_other(published, tmp_path):
    library = tmp_path / "library"
    record(published, library)
    for shape in ((8, 8), (9, 8)):
        write_run(tmp_path / "more", "path", shape[0], shape)
    result = record(tmp_path / "more", library)
    assert "path-8x8 (gridworld-8x8-4): 1 runs" in result.stdout
    assert "path-9x8 (gridworld-9x8-4): 1 runs" in result.stdout
    again = record(tmp_path / "more", library)
    assert again.stdout == result.stdout


def test_an_objective_is_written_from_words_or_from_the_name(published, tmp_path):
    library = tmp_path / "library"
    assert "only has the target's name" in record(published, library).stderr
    path = library / "states_f" / "gold-lever" / "objective.json"
    assert json.loads(path.read_text()) == {"description": "gold lever", "phrasings": []}
    words = ["--describe", "Collect gold.", "--phrasing", "get rich", "--phrasing", "coins"]
    result = record(published / "X1" / "gold-lever", library, *words)
    assert result.returncode == 0 and not result.stderr.count("notice")
    expected = {"description": "Collect gold.", "phrasings": ["get rich", "coins"]}
    assert json.loads(path.read_text()) == expected
    record(published, library)
    assert json.loads(path.read_text()) == expected
    refused = record(published, library, *words)
    assert refused.returncode == 2 and "one by one" in refused.stderr


def test_a_dry_run_writes_nothing(published, tmp_path):
    result = record(published, tmp_path / "library", "--dry-run")
    assert "would be recorded" in result.stdout and not list((tmp_path / "library").iterdir())


def test_a_name_may_be_given(published, tmp_path):
    result = record(published / "X1" / "path", tmp_path / "library", "--target", "way-out")
    assert result.returncode == 0
    assert (tmp_path / "library" / "states_f" / "way-out" / "seed_0012").is_dir()


def spoil_table(run):
    np.save(run / "episodes" / "episode_02000" / "q_table.npy", np.zeros((3, 3)))


def spoil_grid(run):
    np.save(run / "episodes" / "episode_00000" / "episode_states.npy", np.zeros((2, 6, 7)))


def spoil_rewards(run):
    (run / "episode_rewards.csv").write_text("nothing")


def remove_final(run):
    (run / "q_table_final.npy").unlink()


@pytest.mark.parametrize(
    ("spoil", "named"),
    [
        (spoil_table, "must be"),
        (spoil_grid, "no agent"),
        (spoil_rewards, "no readable columns"),
        (remove_final, "copy it into states_f/"),
    ],
)
def test_what_can_not_be_used_is_named_and_the_rest_recorded(published, tmp_path, spoil, named):
    spoil(published / "X1" / "path" / "seed_0012")
    result = record(published, tmp_path / "library")
    assert result.returncode == 0 and "6 runs found, 5 used, 1 skipped" in result.stdout
    (line,) = [line for line in result.stdout.splitlines() if line.startswith("skipped: ")]
    assert named in line and "seed_0012" in line
    states = tmp_path / "library" / "states_f"
    assert not list(states.rglob("seed_0012.*")) and len(list(states.rglob("seed_*"))) == 5


def test_a_seed_twice_is_named(published, tmp_path):
    write_run(published / "X2", "path", 1)
    found, skipped = find_runs(published)
    targets, twice = name_targets(found, Workspace(tmp_path))
    assert not skipped and len(targets["path"]) == 3 and "a second time" in twice[0].reason


def test_a_folder_without_policies_is_told(tmp_path):
    result = record(tmp_path, tmp_path / "library")
    assert result.returncode == 1 and "0 runs found" in result.stdout
    missing = record(tmp_path / "nowhere", tmp_path / "library")
    assert missing.returncode == 2 and "does not exist" in missing.stderr


def test_words_of_names():
    assert words_of_name("path-gold_hazard") == "path gold hazard"
    assert words_of_name("FrozenLake8x8") == "Frozen Lake8x8"
    assert is_usable_name("gold-8x8") and not is_usable_name("../gold") and not is_usable_name("")


def test_recordings_are_read_by_their_world(published, tmp_path):
    record(published, tmp_path / "library")
    folder = next((tmp_path / "library").rglob("episode_000000"))
    assert read_any(folder)[0].name == "gridworld-6x7-4"
