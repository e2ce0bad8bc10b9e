"""The published π2vec recipe, written honestly, to compare with.

One network a policy, d -> 128 -> 128 -> 128 -> d with ReLU, is trained by temporal differences on
the transitions of its episode: psi(s_t) towards phi(s_t) + gamma psi(s_{t+1}) without gradient,
Adam 3e-4, batches of 8, 50 epochs. Psi is the mean over 64 states drawn at random from the
episodes, an equal share from each target. Rewards: linear regression on Psi.

Where it could be slow by accident it is not: features are computed for all episodes at once,
batches are slices of one tensor, each model is saved once and embedded in one pass.
"""

from collections.abc import Sequence
from itertools import pairwise
from pathlib import Path

import numpy as np
import torch
from numpy.typing import ArrayLike, NDArray
from torch import Tensor, nn
from tqdm import tqdm

from pi2vec.pi2vec_utils import Policy
from pi2vec.train_regressor import HeldOut, seed_folds
from worlds.gridworld.features import (
    N_STATE_FEATURES,
    Features,
    States,
    episode_features,
)
from worlds.gridworld.names import FEATURE_NAMES, N_GOLD_DISTANCES
from worlds.gridworld.rules import GOLD

GAMMA, LEARNING_RATE, BATCH_SIZE, N_EPOCHS, N_HIDDEN = 0.99, 3e-4, 8, 50, 128
N_PUBLISHED = N_STATE_FEATURES
N_CANONICAL_STATES = 64
SEED = 0


def published_features(episodes: Sequence[States]) -> list[Features]:
    """Describe the states of each episode by the published features, float32 (T+1, 63).

    They count the gold instead of giving its share, and pad the distances with 0. They have no
    answer for a grid without gold; here it gets ours.
    """
    described = []
    for states, features in zip(episodes, episode_features(episodes), strict=True):
        phi = features[:, :N_PUBLISHED].copy()
        n_gold = (states == GOLD).sum(axis=(1, 2))
        phi[:, FEATURE_NAMES.index("gold_left")] = n_gold
        phi[:, -N_GOLD_DISTANCES:] *= np.arange(N_GOLD_DISTANCES) < n_gold[:, np.newaxis]
        described.append(phi)
    return described


def train_published(policies: list[Policy], folder: Path) -> tuple[Features, Features]:
    """Train, save and embed every policy: what `train_successors` does.

    Returns:
        float32 (n_policies, 63), the embeddings, and float32 (64, 63), the canonical states.
    """
    torch.manual_seed(SEED)
    described = published_features([policy.read().observations for policy in policies])
    canonical = torch.from_numpy(draw_canonical_states(policies, described))
    folder.mkdir(parents=True, exist_ok=True)
    embeddings = []
    bar = tqdm(policies, desc="published recipe", unit="policy", disable=None)
    for policy, phi in zip(bar, described, strict=True):
        network = train_network(torch.from_numpy(phi))
        torch.save(network.state_dict(), folder / f"{policy.name}.pth")
        with torch.no_grad():
            embeddings.append(network(canonical).mean(dim=0).numpy())
    return np.stack(embeddings), canonical.numpy()


def draw_canonical_states(policies: list[Policy], described: list[Features]) -> Features:
    """Draw one state from each of 64 random episodes, a like share from each target: (64, 63)."""
    rng = np.random.default_rng(SEED)
    targets = np.array([policy.target for policy in policies])
    names = np.unique(targets)
    chosen = []
    for i, target in enumerate(names):
        share = (N_CANONICAL_STATES - i + len(names) - 1) // len(names)
        own = np.flatnonzero(targets == target)
        picks = rng.choice(own, share, replace=share > len(own))
        chosen += [rng.choice(described[pick]) for pick in picks]
    return np.stack(chosen)


def create_network() -> nn.Sequential:
    """Create the untrained network of a policy."""
    pairs = pairwise((N_PUBLISHED, N_HIDDEN, N_HIDDEN, N_HIDDEN))
    hidden = [layer for pair in pairs for layer in (nn.Linear(*pair), nn.ReLU())]
    return nn.Sequential(*hidden, nn.Linear(N_HIDDEN, N_PUBLISHED))


def train_network(phi: Tensor) -> nn.Sequential:
    """Train one policy's network on the transitions of its episode, phi float32 (T+1, 63)."""
    network = create_network()
    optimizer = torch.optim.Adam(network.parameters(), LEARNING_RATE)
    for _ in range(N_EPOCHS):
        order = torch.randperm(len(phi) - 1)
        for first in range(0, len(order), BATCH_SIZE):
            batch = order[first : first + BATCH_SIZE]
            with torch.no_grad():
                target = phi[batch] + GAMMA * network(phi[batch + 1])
            optimizer.zero_grad()
            loss = nn.functional.mse_loss(network(phi[batch]), target)
            loss.backward()
            optimizer.step()
    return network


def load_network(path: Path) -> nn.Sequential:
    """Load a policy's network."""
    network = create_network()
    network.load_state_dict(torch.load(path, weights_only=True))
    return network


def cross_validate_linear(
    embeddings: ArrayLike, rewards: NDArray[np.float64], seeds: Sequence[str]
) -> HeldOut:
    """Predict every policy by a linear regression that never saw its seed.

    The folds are those of `cross_validate`; the deviation is the residual standard error,
    sqrt(sum of squared residuals / degrees of freedom), of the regression.
    """
    from sklearn.linear_model import LinearRegression

    x = np.asarray(embeddings, dtype=np.float64)
    predicted, deviation = np.empty((2, len(rewards)))
    for seen, unseen in seed_folds(seeds):
        model = LinearRegression().fit(x[seen], rewards[seen])
        residuals = rewards[seen] - model.predict(x[seen])
        freedom = max(1, len(seen) - model.rank_ - 1)
        predicted[unseen] = model.predict(x[unseen])
        deviation[unseen] = np.sqrt(residuals @ residuals / freedom)
    return HeldOut(predicted, deviation, 1.0)
