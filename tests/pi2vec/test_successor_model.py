"""psi three ways: in closed form, by its identities, and worked by hand; then on real episodes."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from library.workspace import Workspace
from pi2vec.pi2vec_utils import read_catalogue
from pi2vec.successor_model import (
    GAMMA,
    MAX_CENTRES,
    SuccessorModel,
    discounted_sums,
)
from pi2vec.train_successor import (
    BATCH_NUMBERS,
    BATCH_POLICIES,
    _batches,
    choose_canonical_states,
    situation_scale,
    train_successors,
)
from worlds.gridworld.environment import GridWorld
from worlds.gridworld.features import state_features
from worlds.gridworld.generate_states import generate

N_STEPS, D = 7, 4  # different, so that a swapped axis fails


@pytest.fixture
def phi():
    return torch.from_numpy(np.random.default_rng(0).normal(size=(N_STEPS, D)))


@pytest.fixture(scope="module")
def policies(tmp_path_factory):
    workspace = Workspace(tmp_path_factory.mktemp("policies"))
    generate(workspace, seeds=range(4), n_episodes=2_000)
    return read_catalogue(workspace.states).policies


def fit(phi, gamma=0.9):
    return SuccessorModel.fit([[phi]], torch.ones(D), gamma).unstack()[0]


def relative_error(model, phi, gamma):
    exact = discounted_sums(phi.double(), gamma)
    return float((model(phi) - exact).norm() / exact.norm())


def test_sums_by_hand():
    phi = torch.tensor([[1.0, 0.0], [2.0, 1.0], [4.0, 0.0]])
    expected = torch.tensor([[3.0, 0.5], [4.0, 1.0], [4.0, 0.0]])
    torch.testing.assert_close(discounted_sums(phi, 0.5), expected)


def test_a_terminated_chain_is_the_closed_form(phi):
    moves = torch.diag(torch.ones(N_STEPS - 1), 1).double()  # the last state leads nowhere
    expected = torch.linalg.solve(torch.eye(N_STEPS).double() - 0.9 * moves, phi)
    torch.testing.assert_close(discounted_sums(phi, 0.9), expected)


def test_a_truncated_chain_needs_what_comes_after(phi):
    """A walk around a ring, cut: with its rest added it is (I - gamma P)^-1 phi."""
    moves = torch.eye(N_STEPS).double().roll(1, dims=1)  # from the last state to the first
    psi = torch.linalg.solve(torch.eye(N_STEPS).double() - 0.9 * moves, phi)
    torch.testing.assert_close(discounted_sums(phi, 0.9, after=0.9 * psi[0]), psi)
    rest = 0.9 ** torch.arange(N_STEPS, 0, -1).double()[:, None] * psi[0]
    torch.testing.assert_close(discounted_sums(phi, 0.9), psi - rest)


def test_identities(phi):
    torch.testing.assert_close(discounted_sums(phi, 0.0), phi)
    torch.testing.assert_close(discounted_sums(phi, 1.0)[0], phi.sum(0))
    left = torch.arange(N_STEPS, 0, -1).double()[:, None]
    constant = discounted_sums(torch.ones(N_STEPS, D).double(), 0.9)
    torch.testing.assert_close(constant, ((1 - 0.9**left) / (1 - 0.9)).expand(N_STEPS, D))


def test_the_model_reproduces_a_chain(phi):
    model = fit(phi)
    torch.testing.assert_close(model(phi), discounted_sums(phi, 0.9), atol=1e-4, rtol=1e-3)
    torch.testing.assert_close(model(phi[2:3]), model(phi)[2:3])
    with pytest.raises(ValueError, match=r"\(n_states, 4\), not \(2, 5\)"):
        model(torch.zeros(2, 5))


def test_a_saved_model_predicts_the_same(phi, tmp_path):
    model = fit(phi)
    torch.save(model.state_dict(), tmp_path / "policy.pth")
    again = SuccessorModel(**torch.load(tmp_path / "policy.pth", weights_only=True))
    assert torch.equal(again(phi), model(phi))


def test_psi_is_exact_on_visited_states(policies, tmp_path):
    train_successors(policies, tmp_path)
    phi = policies[0].world.features([policy.read() for policy in policies])
    for policy, episodes in zip(policies, phi, strict=True):
        state = torch.load(tmp_path / f"{policy.name}.pth", weights_only=True)
        model, features = SuccessorModel(**state), torch.from_numpy(episodes[0])
        assert relative_error(model, features, GAMMA) < 1e-2


def test_neither_order_nor_company_matter(policies, tmp_path):
    everyone, _ = train_successors(policies, tmp_path)
    order = np.random.default_rng(0).permutation(len(policies))
    shuffled, _ = train_successors([policies[i] for i in order], tmp_path)
    np.testing.assert_allclose(shuffled, everyone[order], rtol=1e-5, atol=1e-4)


def test_episodes_that_begin_alike_are_averaged(phi):
    twice = SuccessorModel.fit([[phi, phi]], torch.ones(D), 0.9)
    assert twice.lengths == [N_STEPS]
    torch.testing.assert_close(twice(phi)[0], discounted_sums(phi, 0.9), atol=1e-4, rtol=1e-3)
    other = phi.clone()
    other[1:] += 1.0
    both = SuccessorModel.fit([[phi, other]], torch.ones(D), 0.9)(phi[:1])[0, 0]
    mean = (discounted_sums(phi, 0.9)[0] + discounted_sums(other, 0.9)[0]) / 2
    torch.testing.assert_close(both, mean, atol=1e-3, rtol=1e-3)


def test_a_long_episode_has_bounded_centres_and_an_exact_start():
    phi = torch.from_numpy(np.random.default_rng(0).normal(size=(3_001, D)))
    phi[:, 0] = torch.arange(3_001)
    scale = torch.tensor([1.0, 0.0, 0.0, 0.0])
    (model,) = SuccessorModel.fit([[phi]], scale, 1.0).unstack()
    assert len(model.visited) <= MAX_CENTRES
    torch.testing.assert_close(model(phi[:1]), phi.sum(dim=0)[None], rtol=1e-3, atol=1e-1)


def test_canonical_states_are_shared_equally(policies):
    canonical = choose_canonical_states(policies)
    assert canonical.shape[0] == 64 and canonical.dtype == np.float32
    gold = [policy for policy in policies if policy.target == "gold"]
    third = [replace(gold[0], target="lever")]
    assert len(choose_canonical_states(policies + third)) == 64


def test_psi_is_what_the_environment_does_next(policies):
    """Monte Carlo: from every state of a greedy rollout, sum the features of going on."""
    environment = GridWorld("path", layout_seed=3)
    state, info = environment.reset()
    states, ended = [state], False
    while not ended:
        row, column = info["position"]
        action = policies[-1].read().q_table[16 * row + column].argmax()
        state, _, terminated, truncated, info = environment.step(action)
        states.append(state)
        ended = terminated or truncated
    phi = torch.from_numpy(state_features(np.stack(states))).double()
    scale = situation_scale(policies[-1].world)
    model = SuccessorModel.fit([[phi]], scale).unstack()[0]
    for first in range(len(phi)):
        total = sum(GAMMA**k * features for k, features in enumerate(phi[first:]))
        torch.testing.assert_close(model(phi[first : first + 1])[0], total, rtol=1e-3, atol=1e-2)


def test_one_long_episode_among_many_costs_what_it_is_long(policies):
    """All batches together hold no more than one of full size, whatever the longest episode."""
    lengths = [33] * 300 + [3_001] * 40
    many = [replace(policies[0], n_transitions=length) for length in lengths]
    found, batches = [], list(_batches(many))
    assert len(batches[0]) == BATCH_POLICIES and len(batches) < 60  # few, as there is room
    for rows in batches:
        longest = min(MAX_CENTRES, max(many[row].n_transitions for row in rows))
        assert len(rows) * longest**2 <= BATCH_NUMBERS
        found += rows
    assert sorted(found) == list(range(340))
