"""One successor model and one embedding for every policy of a world."""

import io
from collections.abc import Iterator, Mapping
from functools import partial
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from library.errors import LeverError
from library.files import atomic_write, naming
from library.parallel import HERE, Engine, map_runs
from library.workspace import Workspace
from pi2vec.pi2vec_utils import Policy
from pi2vec.successor_model import MAX_CENTRES, SuccessorModel
from worlds.world import StateWorld

N_CANONICAL_STATES = 64
CANONICAL_SEED = 0
BATCH_NUMBERS = 16 * 2**20  # of the kernel matrices that are solved at once: 128 MB
BATCH_POLICIES = 64

Features = NDArray[np.float32]


def train_successors(
    policies: list[Policy], folder: Path, engine: Engine = HERE
) -> tuple[Features, Features]:
    """Fit a successor model to every policy of a world and embed it; save the models.

    Args:
        policies: of one world.
        folder: where the models go, a file a policy.
        engine: where they are fitted.

    Returns:
        float32 (n_policies, d), the embeddings, and float32 (64, d), the canonical states.
    """
    canonical = choose_canonical_states(policies)
    folder.mkdir(parents=True, exist_ok=True)
    return embed_policies(policies, canonical, folder, engine), canonical


def embed_policies(
    policies: list[Policy],
    canonical: Features,
    folder: Path | None = None,
    engine: Engine = HERE,
) -> Features:
    """Fit and embed policies of one world in batches, each read from disk when its turn comes.

    The embedding is psi averaged over the canonical states, Psi = mean of psi(phi_c) (π2vec,
    arXiv 2306.09800, eq. 4).

    Args:
        policies: any number.
        canonical: float32 (n_states, d).
        folder: where the models go, a file a policy; None to keep none.
        engine: where they are fitted.

    Returns:
        float32 (n_policies, d).
    """
    embeddings = np.empty((len(policies), canonical.shape[1]), np.float32)
    batches = list(_batches(policies))
    fitted = map_runs(
        engine,
        partial(_embed_batch, canonical, folder),
        [[policies[row] for row in rows] for rows in batches],
        _give_up,
        "successor models",
        unit="batch",
    )
    for rows, embedded in zip(batches, fitted, strict=True):
        embeddings[rows] = embedded
    return embeddings


def _embed_batch(canonical: Features, folder: Path | None, policies: list[Policy]) -> Features:
    """Fit, save and embed policies: float32 (n_policies, d)."""
    world = _world_of(policies)
    phi = world.features([policy.read() for policy in policies])
    described = [[torch.from_numpy(f) for f in episodes] for episodes in phi]
    stack = SuccessorModel.fit(described, situation_scale(world))
    if folder:
        for policy, model in zip(policies, stack.unstack(), strict=True):
            save_embedding(model.state_dict(), folder / f"{policy.name}.pth")
    embedded: Features = stack(torch.from_numpy(canonical)).mean(dim=1).numpy()
    return embedded.astype(np.float32)


def _give_up(policies: list[Policy], reason: str) -> Features:
    raise LeverError(
        f"{policies[0].name} and {len(policies) - 1} more can't be embedded: {reason}; "
        "give processes more memory, or start fewer"
    )


def choose_canonical_states(policies: list[Policy]) -> Features:
    """Choose the states at which all policies of a world are compared: phi of start states.

    An equal share comes from each target, on grids drawn at random among those of its policies.
    A start state is where every policy has been, so psi there needs no extrapolation.

    Returns:
        float32 (64, d).
    """
    rng = np.random.default_rng(CANONICAL_SEED)
    targets = sorted({policy.target for policy in policies})
    chosen = []
    for i, target in enumerate(targets[:N_CANONICAL_STATES]):
        share = -(-(N_CANONICAL_STATES - i) // len(targets))
        own = [policy for policy in policies if policy.target == target]
        chosen += [own[pick] for pick in rng.choice(len(own), share, replace=share > len(own))]
    world = _world_of(policies)
    return np.stack([world.features([policy.read()])[0][0][0] for policy in chosen])


def save_canonical_states(canonical: Mapping[str, Features], workspace: Workspace) -> None:
    """Write the canonical states of all worlds, float32 (64, d) each, one below the other.

    The columns that a world lacks are NaN.
    """
    d = max(states.shape[1] for states in canonical.values())
    padded = [
        np.pad(states, ((0, 0), (0, d - states.shape[1])), constant_values=np.nan)
        for _, states in sorted(canonical.items())
    ]
    with atomic_write(workspace.canonical_states) as file:
        np.save(file, np.concatenate(padded))


def situation_scale(world: StateWorld) -> torch.Tensor:
    """Lay a world's `situation` out over its features: float32 (d,)."""
    return torch.tensor([world.situation.get(name, 0.0) for name in world.feature_names])


def _world_of(policies: list[Policy]) -> StateWorld:
    world = policies[0].world
    assert isinstance(world, StateWorld), f"{world.name} has no features of states"
    return world


def _batches(policies: list[Policy]) -> Iterator[list[int]]:
    """Divide policies into batches of like length, so that little of a batch is padding.

    Yields:
        Positions in `policies`.
    """
    order = sorted(range(len(policies)), key=lambda i: policies[i].n_transitions)
    while order:
        rows: list[int] = []
        while order and len(rows) < BATCH_POLICIES:
            n = min(policies[order[0]].n_transitions, MAX_CENTRES)
            if rows and (len(rows) + 1) * n**2 > BATCH_NUMBERS:
                break
            rows.append(order.pop(0))
        yield rows


def save_embedding(state: dict[str, torch.Tensor], path: Path) -> None:
    """Write a state_dict, loadable with weights_only=True."""
    buffer = io.BytesIO()  # on a full disk torch raises no OSError of its own
    torch.save(state, buffer)
    with naming(path):
        path.write_bytes(buffer.getbuffer())
