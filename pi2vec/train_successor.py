"""One successor model and one embedding for every policy."""

import io
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from tqdm import tqdm

from library.files import atomic_write
from library.workspace import Workspace
from pi2vec.pi2vec_utils import Policy
from pi2vec.successor_model import SuccessorModel
from worlds.gridworld.features import episode_features

N_CANONICAL_STATES = 64
CANONICAL_SEED = 0
BATCH_SIZE = 256  # policies fitted at once: bounds the memory for their kernel matrices

Features = NDArray[np.float32]


def train_successors(policies: list[Policy], workspace: Workspace) -> Features:
    """Fit a successor model to every policy and embed it; save models and canonical states.

    Returns:
        float32 (n_policies, d), the embeddings.
    """
    canonical = choose_canonical_states(policies)
    with atomic_write(workspace.canonical_states) as file:
        np.save(file, canonical)
    workspace.psi_models.mkdir(parents=True, exist_ok=True)
    return embed_policies(policies, canonical, workspace.psi_models)


def embed_policies(
    policies: list[Policy], canonical: Features, folder: Path | None = None
) -> Features:
    """Fit and embed policies in batches, each read from disk when its turn comes.

    The embedding is psi averaged over the canonical states, Psi = mean of psi(phi_c) (π2vec,
    arXiv 2306.09800, eq. 4).

    Args:
        policies: any number.
        canonical: float32 (n_states, d).
        folder: where the models go, a file a policy; None to keep none.

    Returns:
        float32 (n_policies, d).
    """
    embeddings = np.empty((len(policies), canonical.shape[1]), np.float32)
    with tqdm(total=len(policies), desc="successor models", unit="policy", disable=None) as bar:
        for first in range(0, len(policies), BATCH_SIZE):
            batch = policies[first : first + BATCH_SIZE]
            phi = episode_features([policy.read_trajectory().states for policy in batch])
            stack = SuccessorModel.fit([torch.from_numpy(features) for features in phi])
            psi = stack(torch.from_numpy(canonical))
            embeddings[first : first + len(batch)] = psi.mean(dim=1).numpy()
            if folder:
                _save(stack.unstack([len(features) for features in phi]), batch, folder)
            bar.update(len(batch))
    return embeddings


def choose_canonical_states(policies: list[Policy]) -> Features:
    """Choose the states at which all policies are compared: phi of start states.

    An equal share comes from each target, on grids drawn at random among those of its policies.
    A start state is where every policy has been, so psi there needs no extrapolation.

    Returns:
        float32 (64, d).
    """
    rng = np.random.default_rng(CANONICAL_SEED)
    targets = sorted({policy.target for policy in policies})
    chosen = []
    for i, target in enumerate(targets):
        share = (N_CANONICAL_STATES - i + len(targets) - 1) // len(targets)
        own = [policy for policy in policies if policy.target == target]
        picks = rng.choice(len(own), share, replace=share > len(own))
        chosen += [own[pick].read_trajectory().states[:1] for pick in picks]
    return np.concatenate(episode_features(chosen))


def _save(models: list[SuccessorModel], policies: list[Policy], folder: Path) -> None:
    for policy, model in zip(policies, models, strict=True):
        buffer = io.BytesIO()  # on a full disk torch raises no OSError of its own
        torch.save(model.state_dict(), buffer)
        (folder / f"{policy.name}.pth").write_bytes(buffer.getbuffer())
