"""Recordings of grid worlds: their rules, each broken once, and what is read from folders."""

import dataclasses

import numpy as np
import pytest

from library.errors import UnusableRecording
from worlds.gridworld.rules import AGENT, BLOCK, EXIT, GOLD, HAZARD, GridRules
from worlds.gridworld.world import GridFamily, read_recording
from worlds.world import Recording

LOST = np.zeros((3, 16, 16), np.int8)
LOST[:2, 0, 0] = AGENT  # not there in the last grid


@pytest.fixture
def recording():
    states = np.zeros((3, 16, 16), dtype=np.int8)
    states[0, 0, 0] = states[1, 0, 1] = states[2, 1, 2] = AGENT
    return Recording(
        states, np.array([0, 4], np.int8), np.array([2]), q_table=np.zeros((256, 5), np.float32)
    )


@pytest.fixture
def folder(tmp_path, recording):
    np.save(tmp_path / "episode_states.npy", recording.observations)
    np.save(tmp_path / "episode_actions.npy", recording.actions)
    np.save(tmp_path / "q_table.npy", recording.q_table)
    return tmp_path


def test_energy_of_a_worked_example(recording):
    assert GridFamily(GridRules(16, 16, 5)).energy(recording) == (1 + 2) / 132


@pytest.mark.parametrize(("n_moves", "shape"), [(5, (16, 16)), (4, (8, 8)), (4, (3, 20))])
@pytest.mark.parametrize("n_steps", [1, 33, 500])
def test_energy_is_a_share_however_long_the_episode(n_moves, shape, n_steps):
    states = np.zeros((n_steps + 1, *shape), np.int8)
    states[:, 0, 0] = AGENT
    world = GridFamily(GridRules(*shape, n_moves))
    for action in range(n_moves):
        actions = np.full(n_steps, action, np.int8)
        energy = world.energy(Recording(states, actions, np.array([n_steps])))
        assert 0.0 < energy <= 1.0


@pytest.mark.parametrize(
    ("field", "value", "complaint"),
    [
        ("lengths", np.array([], np.int64), "no episode"),
        ("lengths", np.array([2, 0]), "no step"),
        ("lengths", np.array([1]), "observations, must be 2"),
        ("actions", np.array([0], np.int8), "actions, must be 2"),
        ("rewards", np.array([1.0]), "rewards, must be 2"),
        ("rewards", np.array([1.0, np.nan]), "not finite"),
        ("terminated", np.array([True, False]), "must be 1"),
        ("q_table", np.zeros(5), "Q-table has shape"),
        ("q_table", np.full((256, 5), np.nan), "NaN"),
        ("q_table", np.full((256, 5), np.inf), "infinity"),
    ],
)
def test_a_recording_with_one_broken_field_is_refused(recording, field, value, complaint):
    with pytest.raises(UnusableRecording, match=complaint):
        dataclasses.replace(recording, **{field: value})


@pytest.mark.parametrize(
    ("name", "value", "complaint"),
    [
        ("episode_states", np.zeros((3, 16, 16), np.int8), "no agent"),
        ("episode_states", np.full((3, 16, 16), 7, np.int8), "several"),
        ("episode_states", LOST, "no agent"),
        ("episode_states", np.full((3, 16, 16), 0.5), "no int8 numbers"),
        ("episode_states", np.full((3, 16, 16), 300), "no int8 numbers"),
        ("episode_states", np.full((3, 16, 16), "x"), "must be numbers"),
        ("episode_states", np.zeros((1, 16, 16), np.int8), "no agent"),
        ("episode_states", np.zeros((0, 16, 16), np.int8), "no state"),
        ("episode_states", np.zeros((16, 16), np.int8), "must be \\(height, width\\)"),
        ("episode_states", np.zeros((3, 8, 8), np.int8), "must be \\(64, 5\\)"),
        ("episode_actions", np.array([0, 5], np.int8), "not 0 to 4"),
        ("episode_actions", np.array([0, 1], np.int64), "does not move as its actions say"),
        ("episode_actions", np.array([1, 4], np.int8), "does not move as its actions say"),
        ("episode_actions", np.array([0], np.int8), "must be 2"),
        ("episode_actions", np.array([-1, 4], np.int8), "not 0 to 4"),
        ("q_table", np.zeros((255, 5), np.float32), "must be \\(256, 5\\)"),
        ("q_table", np.zeros((256, 3), np.float32), "must have 4 or 5 columns"),
        ("q_table", np.zeros((256, 5), np.int64), "must be float"),
    ],
)
def test_a_folder_with_one_broken_array_is_refused(folder, name, value, complaint):
    np.save(folder / f"{name}.npy", value)
    with pytest.raises(UnusableRecording, match=complaint):
        read_recording(folder)


def test_an_unknown_cell_is_refused(folder, recording):
    recording.observations[0, 5, 5] = 3
    np.save(folder / "episode_states.npy", recording.observations)
    with pytest.raises(UnusableRecording, match="unknown cell value"):
        read_recording(folder)


@pytest.mark.parametrize("dtype", [np.int64, np.int16, np.float64, np.uint8])
def test_what_loses_nothing_is_read_whatever_its_type(folder, recording, dtype):
    np.save(folder / "episode_states.npy", recording.observations.astype(dtype))
    np.save(folder / "episode_actions.npy", recording.actions.astype(dtype))
    forbidden = recording.q_table.astype(np.float64)
    forbidden[:, 0] = -np.inf
    np.save(folder / "q_table.npy", forbidden)
    world, read = read_recording(folder)
    assert world.name == "gridworld-16x16-5" and read.q_table.dtype == np.float32
    np.testing.assert_array_equal(read.observations, recording.observations)


def test_a_table_that_float32_would_change_keeps_its_greedy_actions(folder, recording):
    table = np.ones((256, 5))
    table[:, 3] += 1e-12
    np.save(folder / "q_table.npy", table)
    assert (read_recording(folder)[1].q_table.argmax(axis=1) == 3).all()


def test_several_episodes_of_a_policy_are_one_recording(folder, recording):
    single = read_recording(folder)
    np.savez(
        folder / "episodes.npz",
        observations=np.concatenate([recording.observations] * 2),
        actions=np.concatenate([recording.actions] * 2),
        rewards=np.array([1.0, 2.0, 3.0, 4.0]),
        lengths=np.array([2, 2]),
        terminated=np.array([False, True]),
    )
    world, read = read_recording(folder)
    assert world.name == single[0].name and len(read.episodes) == 2
    np.testing.assert_array_equal(read.returns, [3.0, 7.0])
    measures, once = world.measures(read), single[0].measures(single[1])
    assert measures.pop("reward_std") == pytest.approx(np.std([3, 7], ddof=1))
    assert measures == once
    one, other = (episodes[0] for episodes in world.features([read, single[1]]))
    np.testing.assert_array_equal(one, other)


def test_the_reward_of_one_episode_has_no_deviation(folder, recording):
    arrays = {"observations": recording.observations, "actions": recording.actions}
    ended, rewards = np.array([True]), np.array([1.0, 2.0])
    np.savez(folder / "episodes.npz", **arrays, rewards=rewards, lengths=[2], terminated=ended)
    world, read = read_recording(folder)
    np.testing.assert_array_equal(read.returns, [3.0])
    assert np.isfinite(list(world.measures(read).values())).all()


def test_measures_count_what_the_agent_came_onto():
    states = np.zeros((4, 3, 3), np.int8)
    states[:, 0, 1], states[:, 0, 2], states[:, 1, 2], states[:, 2, 2] = GOLD, BLOCK, HAZARD, EXIT
    for t, cell in enumerate([(0, 0), (0, 1), (0, 2), (1, 2)]):
        states[t:, cell[0], cell[1]] = 0
        states[t, cell[0], cell[1]] = AGENT
    states[1:, 0, 2] = BLOCK
    states[2, 0, 2] = AGENT
    world = GridFamily(GridRules(3, 3, 5))
    measures = world.measures(Recording(states, np.array([0, 0, 1], np.int8), np.array([3])))
    expected = {"steps": 3, "gold": 1, "blocks": 1, "hazards": 1, "energy": 3 / (7 * 4)}
    assert measures == pytest.approx(expected)


def test_a_start_state_is_one_that_all_episodes_have(recording):
    world, twice = GridFamily(GridRules(16, 16, 5)), np.concatenate([recording.observations] * 2)
    both = Recording(twice, np.tile(recording.actions, 2), np.array([2, 2]))
    np.testing.assert_array_equal(world.start_state(both), twice[0])
    twice[3, 9, 9] = GOLD  # the second episode begins on another grid
    assert world.start_state(both) is None


def test_an_array_that_is_missing_is_named(folder):
    np.savez(folder / "episodes.npz", observations=np.zeros((2, 16, 16)), lengths=np.array([1]))
    with pytest.raises(UnusableRecording, match=r"episodes\.npz has no actions"):
        read_recording(folder)
    with pytest.raises(UnusableRecording, match="nowhere is missing"):
        read_recording(folder / "nowhere")


@pytest.mark.parametrize(
    ("cells", "actions"),
    [
        ([(2, 2), (2, 2)], [0]),  # off the grid, by the shortest move
        ([(2, 0), (2, 0)], [1]),
        ([(1, 1), (1, 1)], [2]),  # by two is the only one that leads off
        ([(0, 0), (1, 1), (1, 2)], [4, 0]),
    ],
)
def test_actions_that_are_not_recorded_follow_from_the_cells(folder, cells, actions):
    states = np.zeros((len(cells), 3, 3), np.int8)
    for state, cell in zip(states, cells, strict=True):
        state[cell] = AGENT
    (folder / "episode_actions.npy").unlink()
    np.save(folder / "episode_states.npy", states)
    np.save(folder / "q_table.npy", np.zeros((9, 5), np.float32))
    assert read_recording(folder)[1].actions.tolist() == actions


@pytest.mark.parametrize("cells", [[(0, 0), (0, 0)], [(0, 0), (2, 2)]])
def test_what_no_action_does_is_refused(folder, cells):
    states = np.zeros((2, 8, 8), np.int8)
    for state, cell in zip(states, cells, strict=True):
        state[cell] = AGENT
    (folder / "episode_actions.npy").unlink()
    np.save(folder / "episode_states.npy", states)
    np.save(folder / "q_table.npy", np.zeros((64, 5), np.float32))
    with pytest.raises(UnusableRecording, match=r"stays where it could move|no action does"):
        read_recording(folder)


def test_of_equally_short_moves_that_are_not_possible_the_first_is_meant(folder):
    states = np.zeros((2, 3, 3), np.int8)
    states[:, 0, 2] = AGENT  # neither right nor up is possible
    (folder / "episode_actions.npy").unlink()
    np.save(folder / "episode_states.npy", states)
    np.save(folder / "q_table.npy", np.zeros((9, 4), np.float32))
    assert read_recording(folder)[1].actions.tolist() == [0]
