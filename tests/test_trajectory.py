"""One recorded episode: its rules, each broken once."""

import dataclasses

import numpy as np
import pytest

from library.errors import UnusableRecording
from pi2vec import trajectory as format_
from pi2vec.trajectory import Trajectory
from worlds.gridworld import environment


@pytest.fixture
def trajectory():
    states = np.zeros((3, 16, 16), dtype=np.int8)
    states[0, 0, 0] = states[1, 0, 1] = states[2, 1, 2] = environment.AGENT
    actions = np.array([0, 4], dtype=np.int8)
    return Trajectory(states, actions, np.zeros((256, 5), np.float32), reward=1.0)


def test_the_format_and_the_environment_agree_on_the_facts():
    assert environment.MOVES.tolist() == [list(move) for move in format_.MOVES]
    assert format_.AGENT == environment.AGENT
    assert format_.MAX_STEPS == environment.MAX_STEPS
    assert format_.GRID_SHAPE == (environment.SIZE, environment.SIZE)


def test_energy_of_a_worked_example(trajectory):
    assert trajectory.energy == (1 + 2) / 132


@pytest.mark.parametrize(
    ("field", "value", "complaint"),
    [
        ("states", np.zeros((3, 16, 16), np.int8), "no agent"),
        ("states", np.full((3, 16, 16), 7, np.int8), "several"),
        ("states", np.full((3, 16, 16), 3, np.int8), "unknown cell value"),
        ("states", np.zeros((3, 16, 16), np.float32), "must be int8"),
        ("states", np.zeros((3, 8, 8), np.int8), "must be \\(T\\+1, 16, 16\\)"),
        ("states", np.zeros((1, 16, 16), np.int8), "no step"),
        ("actions", np.array([0, 5], np.int8), "not 0 to 4"),
        ("actions", np.array([0, 1], np.int64), "must be int8"),
        ("actions", np.array([0, 1], np.int8), "does not move as its actions say"),
        ("actions", np.array([0], np.int8), "must be \\(2,\\)"),
        ("q_table", np.zeros((255, 5), np.float32), "must be \\(256, 5\\)"),
        ("q_table", np.full((256, 5), np.nan, np.float32), "NaN"),
        ("reward", float("nan"), "reward is nan"),
    ],
)
def test_a_trajectory_with_one_broken_field_is_refused(trajectory, field, value, complaint):
    with pytest.raises(UnusableRecording, match=complaint):
        dataclasses.replace(trajectory, **{field: value})
