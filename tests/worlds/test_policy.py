"""Policies in plain arrays: every head and activation by hand, and each rule broken once."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from library.errors import UnusableRecording
from worlds.policy import (
    ACTIVATIONS,
    Head,
    NetworkPolicy,
    Normalisation,
    TablePolicy,
    file_name,
    load_network,
    load_policy,
)

OUTPUTS = np.array([[1.0, -2.0, 3.0, 0.5], [-1.0, 4.0, -3.0, 0.0]], np.float32)
NONE = np.zeros(0, np.float32)


def head(kind, sizes, low=NONE, high=NONE, limit=np.inf):
    return Head(kind, np.array(sizes), np.array(low, "f4"), np.array(high, "f4"), limit)


@pytest.mark.parametrize(
    ("way", "actions"),
    [
        (head("argmax", [4]), [2, 1]),
        (head("argmax", [4], limit=0.5), [0, 1]),  # the first of equals
        (head("quantiles", [2]), [0, 1]),  # means of outputs 0 and 2, 1 and 3
        (head("categories", [1, 3]), [[0, 1], [0, 0]]),
        (head("bits", [2, 2]), [[[1, 0], [1, 1]], [[0, 1], [0, 0]]]),
        (head("clip", [4], [-1] * 4, [2] * 4), [[1, -1, 2, 0.5], [-1, 2, -1, 0]]),
        (head("clip", [4], [-9] * 4, [9] * 4, 3.5), [[1, -2, 3, 0.5], [-1, 3.5, -3, 0]]),
    ],
)
def test_outputs_become_actions(way, actions):
    np.testing.assert_array_equal(way(OUTPUTS), actions)


def test_squashed_actions_lie_within_the_bounds():
    way = head("squash", [2, 2], np.full((2, 2), -1.0), np.full((2, 2), 3.0))
    np.testing.assert_allclose(way(OUTPUTS).reshape(2, 4), 1 + 2 * np.tanh(OUTPUTS), rtol=1e-6)
    assert way(OUTPUTS).shape == (2, 2, 2)
    assert way(np.array([[-99.0, 99, 0, 0]], "f4")).ravel()[:2] == pytest.approx([-1, 3])


@pytest.mark.parametrize("name", ACTIVATIONS)
def test_activations_are_those_of_torch(name):
    x = np.concatenate([np.linspace(-8, 8, 33), [-0.01, 0.01]]).astype(np.float32)
    expected = getattr(torch.nn, name)()(torch.from_numpy(x)).numpy()
    np.testing.assert_allclose(ACTIVATIONS[name](x), expected, rtol=1e-5, atol=1e-6)


def test_observations_are_normalised():
    norm = Normalisation(np.array([1.0, 2]), np.array([4.0, 8]), epsilon=1.0, clip=2.5)
    seen = np.array([[1.0, 5], [9, -99]])
    np.testing.assert_allclose(norm(seen), [[0, 1], [2.5, -2.5]])
    assert norm(seen).dtype == np.float32


WEIGHTS = (np.array([[1.0, 2], [0, -1], [1, 1]], "f4"), np.array([[1.0, 0, 2], [0, 1, 0]], "f4"))
BIASES = (np.array([0.0, 1, -1], "f4"), np.array([0.5, 0], "f4"))


def network(**changes):
    return replace(NetworkPolicy(WEIGHTS, BIASES, "ReLU", head("argmax", [2])), **changes)


def test_two_layers_by_hand():
    # (1, 2) -> (5, -2 + 1, 3 - 1) -> (5, 0, 2) after the activation -> (5 + 4 + 0.5, 0)
    np.testing.assert_array_equal(network().outputs(np.array([[1, 2]])), [[9.5, 0.0]])
    # (0, -4) -> (-8, 5, -5) -> (0, 5, 0) -> (0.5, 5)
    np.testing.assert_array_equal(network().act(np.array([[1, 2], [0, -4]])), [0, 1])
    shifted = network(normalisation=Normalisation(np.array([1.0]), np.array([1.0])))
    np.testing.assert_array_equal(shifted.outputs(np.array([[2, 3]])), [[9.5, 0.0]])


def test_categories_are_encoded_one_by_one():
    table = np.arange(10.0, dtype="f4").reshape(2, 5)
    policy = NetworkPolicy(
        (table,), (np.zeros(2, "f4"),), "Tanh", head("argmax", [2]), categories=np.array([2, 3])
    )
    assert policy.n_inputs == 2
    np.testing.assert_array_equal(policy.outputs(np.array([[1, 2], [0, 0]])), [[5, 15], [2, 12]])


@pytest.mark.parametrize(
    ("changes", "complaint"),
    [
        ({"weights": (), "biases": ()}, "no layers"),
        ({"weights": (WEIGHTS[0][0], WEIGHTS[1])}, "no layers"),
        ({"biases": BIASES[:1]}, "biases don't fit"),
        ({"biases": (BIASES[0], BIASES[0])}, "biases don't fit"),
        ({"weights": (WEIGHTS[0], WEIGHTS[1][:, :2])}, "don't fit one another"),
        ({"activation": "Magic"}, "is unknown"),
        ({"head": head("magic", [2])}, "is unknown"),
        ({"head": head("argmax", [3])}, "2 outputs don't fit actions of 3 numbers"),
        ({"head": head("argmax", [1])}, "2 outputs don't fit actions of 1 numbers"),
        ({"head": head("argmax", [0])}, "don't fit actions of 0 numbers"),
        ({"head": head("quantiles", [3])}, "don't fit actions"),
        ({"categories": np.array([3])}, "don't fit the observations"),
        ({"normalisation": Normalisation(np.zeros(3), np.ones(3))}, "don't fit the normalisation"),
    ],
)
def test_a_network_that_does_not_fit_is_refused(changes, complaint):
    with pytest.raises(UnusableRecording, match=complaint):
        network(**changes)


@pytest.mark.parametrize(
    "changes",
    [
        {"head": head("quantiles", [1])},
        {"head": head("categories", [1, 1])},
        {"head": head("clip", [2], [-1, -2], [1, 2], 3.0)},
        {"normalisation": Normalisation(np.array([1.0, 2]), np.array([2.0, 3]), 0.1, 5.0)},
        {"categories": np.array([1, 1])},
    ],
)
def test_a_saved_network_is_the_same(tmp_path, changes):
    policy, seen = network(**changes), np.array([[0, 0]])
    policy.save(tmp_path / file_name(policy))
    for again in (load_policy(tmp_path), load_network((tmp_path / "policy.npz").read_bytes())):
        np.testing.assert_array_equal(again.act(seen), policy.act(seen))
        assert again.head.limit == policy.head.limit and again.head.kind == policy.head.kind
        assert (again.normalisation is None) == (policy.normalisation is None)
        if policy.normalisation:
            np.testing.assert_equal(vars(again.normalisation), vars(policy.normalisation))


def test_an_archive_that_is_no_network_is_refused(tmp_path):
    np.savez(tmp_path / "policy.npz", weight_0=WEIGHTS[0])
    with pytest.raises(UnusableRecording, match=r"policy\.npz is no policy"):
        load_policy(tmp_path)
    with pytest.raises(UnusableRecording, match=r"policy\.npz is no policy"):
        load_network((tmp_path / "policy.npz").read_bytes())


def test_a_table_takes_the_first_of_its_largest_values(tmp_path):
    policy = TablePolicy(np.array([[0.0, 1, 1], [2, -np.inf, 0]]))
    np.testing.assert_array_equal(policy.act(np.array([0, 1, 0])), [1, 0, 1])
    policy.save(tmp_path / file_name(policy))
    np.testing.assert_array_equal(load_policy(tmp_path).values, policy.values)


@pytest.mark.parametrize(
    "values",
    [np.zeros(3), np.zeros((0, 3)), np.zeros((2, 2), int), np.full((2, 2), np.nan), [[np.inf, 0]]],
)
def test_what_is_no_table_is_refused(values):
    with pytest.raises(UnusableRecording, match="Q-table"):
        TablePolicy(np.array(values))
