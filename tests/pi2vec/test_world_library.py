"""What is learned of a Gymnasium world's policies, on worlds whose truth is known."""

import csv
import json

import numpy as np
import pytest
import torch

from faiss_utils.setup_faiss_vdb import _write_arrays
from library.workspace import Workspace
from pi2vec.pi2vec_utils import read_catalogue
from pi2vec.world_library import _canonical, learn_world
from worlds.policy import Head, NetworkPolicy, TablePolicy, file_name

N_EPISODES, N_POLICIES = 6, 12


def write_run(workspace, seed, arrays, policy=None):
    """Write a run of one snapshot, as a recording of a Gymnasium environment."""
    folder = workspace.states / "win"
    episode = folder / f"seed_{seed:04d}/episodes/episode_000100"
    episode.mkdir(parents=True)
    (folder / "objective.json").write_text('{"description": "Win."}')
    (folder / "world.json").write_text(json.dumps({"environment": "Some-v1"}))
    k = len(arrays["lengths"])
    ends = {"terminated": np.ones(k, bool), "truncated": np.zeros(k, bool)}
    np.savez(episode / "episodes.npz", **arrays, **ends)
    if policy:
        policy.save(episode / file_name(policy))
    returns = np.add.reduceat(arrays["rewards"], np.cumsum(arrays["lengths"]) - arrays["lengths"])
    with open(episode.parent.parent / "episode_rewards.csv", "w") as file:
        csv.writer(file).writerows([("episode", "reward"), (100, returns.mean())])


def learn(workspace):
    policies = read_catalogue(workspace.states, fraction=1.0).policies
    return learn_world(policies[0].world, policies, workspace)


def chain(action, rng):
    """Two steps from state 0: action 1 earns 1 on average, action 0 nothing."""
    steps = 2 * N_EPISODES
    return {
        "observations": np.tile([0, 1 + action, 3], N_EPISODES),
        "actions": np.full(steps, action),
        "rewards": action / 2 + 0.1 * rng.normal(size=steps),
        "lengths": np.full(N_EPISODES, 2),
    }


def write_chains(workspace):
    rng = np.random.default_rng(0)
    for seed in range(N_POLICIES):
        table = np.zeros((5, 3))
        table[:, seed % 2] = 1.0
        write_run(workspace, seed, chain(seed % 2, rng), TablePolicy(table))


def test_what_was_recorded_is_stored_beside_the_tables(tmp_path):
    write_chains(Workspace(tmp_path))
    made = learn(Workspace(tmp_path))
    stored = _write_arrays("win", made, np.arange(N_POLICIES), Workspace(tmp_path))
    assert stored.q_tables.shape == (N_POLICIES, 5, 3)
    steps = {tuple(step) for step in stored.transitions[:, :3].astype(int)}
    assert steps == {(0, 0, 1), (0, 1, 2), (1, 0, -1), (2, 1, -1)}


def test_a_discrete_world(tmp_path):
    workspace = Workspace(tmp_path)
    write_chains(workspace)
    made = learn(workspace)
    actions = np.array([int(policy.seed) % 2 for policy in made.policies])
    n = len(actions)
    assert n == N_POLICIES
    d = 5 + 3 + 1  # states and actions are those of the tables, also where nobody ever was
    assert made.embeddings.shape == (n, d) and made.embeddings.dtype == np.float32
    psi = {a: np.zeros(d) for a in (0, 1)}
    for a in psi:
        psi[a][[0, 1 + a, 5 + a]] = 1, 0.99, 1.99
        psi[a][-1] = 0.99  # of the step that ends it
    np.testing.assert_allclose(made.embeddings, [psi[a] for a in actions], atol=1e-5)
    np.testing.assert_allclose(made.prediction.rewards, actions, atol=0.15)
    assert made.canonical.shape == (n, d)
    assert (made.canonical[:, 0] == 1).all()
    alike = np.linalg.norm(made.behaviours[:, None] - made.behaviours, axis=2) < 1e-4
    np.testing.assert_array_equal(alike, actions[:, None] == actions)
    for policy, embedding in zip(made.policies, made.embeddings, strict=True):
        saved = torch.load(workspace.psi_models / f"{policy.name}.pth", weights_only=True)
        np.testing.assert_array_equal(saved["psi"].numpy(), embedding[None])


def push(weight, rng):
    """Steps of one number to another; the reward is the weight."""
    seen = rng.normal(size=(3 * N_EPISODES, 1))
    before = np.delete(seen, np.arange(2, len(seen), 3), axis=0)
    return {
        "observations": seen,
        "actions": np.tanh(weight * before),
        "rewards": weight + 0.1 * rng.normal(size=len(before)),
        "lengths": np.full(N_EPISODES, 2),
    }


def network(weight):
    bounds = (np.array([-1.0], "f4"), np.array([1.0], "f4"))
    head = Head("squash", np.array([1]), *bounds)
    return NetworkPolicy((np.array([[weight]], "f4"),), (np.zeros(1, "f4"),), "Tanh", head)


@pytest.mark.parametrize("all_networks", [True, False])
def test_a_vector_world(tmp_path, all_networks):
    workspace, rng = Workspace(tmp_path), np.random.default_rng(0)
    weights = np.repeat([-2.0, 0.0, 2.0], 4)
    for seed, weight in enumerate(weights):
        known = all_networks or seed > 0
        write_run(workspace, seed, push(weight, rng), network(weight) if known else None)
    made = learn(workspace)
    assert len(made.policies) == 12 and len(made.canonical) == 12
    np.testing.assert_allclose(made.prediction.rewards, 2 * weights, atol=0.4)
    near = np.linalg.norm(made.behaviours[:, None] - made.behaviours, axis=2)
    same = weights[:, None] == weights
    if all_networks:
        assert near[same].max() < near[~same].min(), "what networks do counts more than chance"
    assert made.embeddings.shape[1] == made.canonical.shape[1]
    np.testing.assert_allclose(made.embeddings[:, 0], 1.99, rtol=1e-5)  # two steps, discounted


@pytest.mark.parametrize(("n", "chosen"), [(1, 1), (64, 64), (65, 33), (128, 64), (1000, 63)])
def test_canonical_states_are_spread_over_the_policies(n, chosen):
    states = _canonical([np.full((1, 2), i) for i in range(n)])
    assert len(states) == chosen and len(np.unique(np.diff(states[:, 0]))) <= 1
