"""What is learned of a world's policies, by the kind of world: one function a kind.

In a grid world rewards are known by the episode, and layouts differ: successor features, and a
regression that carries over to layouts that it never saw. In a Gymnasium environment every step's
reward is on record, and chance decides: an estimate of the expected return from all recordings.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial, singledispatch
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from library.errors import LeverError
from library.files import atomic_write
from library.parallel import HERE, Engine, map_runs
from library.workspace import Workspace
from pi2vec.behaviour import behaviour_vectors
from pi2vec.empirical_model import (
    count_model,
    embed_policies,
    evaluate_policies,
    greedy_choices,
    recorded_choices,
)
from pi2vec.pi2vec_utils import Policy
from pi2vec.return_estimators import Model, estimate_returns
from pi2vec.train_regressor import Prediction, estimated_prediction, predict_rewards
from pi2vec.train_successor import N_CANONICAL_STATES, save_embedding, train_successors
from worlds import continuous, tabular
from worlds.episodes import Episodes
from worlds.gymnasium_world import TabularWorld, VectorWorld, action_bounds
from worlds.policy import load_network
from worlds.world import Recording, StateWorld, World

N_PROBES = 64  # observations at which networks are asked what they do
PROBE_SEED = 0
PROBE_WEIGHT = 3.0  # actions at probes are no matter of luck: they count more than embeddings

Features = NDArray[np.float32]


@dataclass
class WorldLibrary:
    """What is known of the n policies of a world.

    Attributes:
        policies: in any order, which all arrays follow.
        embeddings: float32 (n, d), Psi.
        canonical: float32 (m, d), phi of the states at which they are compared.
        behaviours: float32 (n, <= 10), in which near means alike.
        prediction: of their rewards.
    """

    policies: list[Policy]
    embeddings: Features
    canonical: Features
    behaviours: Features
    prediction: Prediction


@singledispatch
def learn_world(
    world: World, policies: list[Policy], workspace: Workspace, engine: Engine = HERE
) -> WorldLibrary:
    """Embed the policies of a world, predict their rewards and save their successor models.

    Args:
        world: of all policies; its kind decides how.
        policies: n >= 1 policies.
        workspace: where the models go, and what an interrupted preparation of these very policies
            has finished.
        engine: where what needs no other policies is done.
    """
    raise TypeError(f"nothing is known of worlds like {world.name}, a {type(world).__name__}")


@learn_world.register
def _(
    world: StateWorld, policies: list[Policy], workspace: Workspace, engine: Engine = HERE
) -> WorldLibrary:
    path = workspace.finished(world.name)
    if not path.exists():
        made = train_successors(policies, workspace.psi_models, engine)
        with atomic_write(path) as file:
            np.savez(file, *made)
    with np.load(path, allow_pickle=False) as arrays:
        embeddings, canonical = arrays["arr_0"], arrays["arr_1"]
    prediction = predict_rewards(policies, embeddings)
    return WorldLibrary(policies, embeddings, canonical, behaviour_vectors(embeddings), prediction)


@learn_world.register
def _(
    world: TabularWorld, policies: list[Policy], workspace: Workspace, engine: Engine = HERE
) -> WorldLibrary:
    recordings = [policy.read() for policy in policies]
    episodes = [recording.as_episodes() for recording in recordings]
    n_states, n_actions = _count_table(recordings)
    horizon = max(int(each.lengths.max()) for each in episodes)
    model = count_model(episodes, n_actions)
    choices = _choices(recordings, episodes, model)
    embeddings = embed_policies(model, choices, horizon, n_states)

    def evaluate(seen: Sequence[Episodes]) -> Any:
        counted = count_model(seen, n_actions)
        return evaluate_policies(counted, _choices(recordings, seen, counted), horizon)

    behaviours = behaviour_vectors(embeddings)
    firsts = [tabular.episode_features(each, n_states, n_actions)[:1] for each in episodes]
    prediction = _predict(policies, episodes, behaviours, evaluate)
    _save(policies, embeddings, workspace.psi_models)
    return WorldLibrary(policies, embeddings, _canonical(firsts), behaviours, prediction)


@learn_world.register
def _(
    world: VectorWorld, policies: list[Policy], workspace: Workspace, engine: Engine = HERE
) -> WorldLibrary:
    recordings = [policy.read() for policy in policies]
    episodes = [recording.as_episodes() for recording in recordings]
    n_actions, bounds = _count_actions(recordings)
    horizon = max(int(each.lengths.max()) for each in episodes)
    scale = continuous.fit_world(episodes, n_actions, bounds, horizon)
    embed = partial(continuous.embed, world=scale)
    embeddings = np.stack(map_runs(engine, embed, episodes, _give_up, "embeddings", "policy"))
    probed = _ask_networks(recordings, episodes, scale)
    weights = (1.0, PROBE_WEIGHT)[: 1 + len(probed)]
    behaviours = behaviour_vectors(embeddings, *probed, weights=weights)
    alike = behaviour_vectors(*probed) if probed else behaviours
    firsts = [continuous.episode_features(each, scale)[:1] for each in episodes]
    prediction = _predict(policies, episodes, alike, None)
    _save(policies, embeddings, workspace.psi_models)
    return WorldLibrary(policies, embeddings, _canonical(firsts), behaviours, prediction)


def _give_up(episodes: Episodes, reason: str) -> Features:
    n_steps = int(episodes.lengths.sum())
    raise LeverError(
        f"a policy with {n_steps} recorded steps can't be embedded: {reason}; "
        "give processes more memory, or start fewer"
    )


def _predict(
    policies: list[Policy], episodes: list[Episodes], behaviours: Features, model: Model | None
) -> Prediction:
    """Estimate expected returns, and hold an estimate from half of the episodes to the others."""
    estimates = estimate_returns(episodes, behaviours, model)
    half = None
    if estimates.measured and all(each.n_episodes > 1 for each in episodes):
        first = [each.take(np.arange(0, each.n_episodes, 2)) for each in episodes]
        rest = [each.take(np.arange(1, each.n_episodes, 2)) for each in episodes]
        from_half = estimate_returns(first, behaviours, model)
        half = from_half.values, from_half.deviations, np.array([e.returns.mean() for e in rest])
    return estimated_prediction(policies, estimates, half)


def _count_table(recordings: list[Recording]) -> tuple[int, int]:
    """Count the states and actions of a discrete world: those of its tables, or those seen."""
    tables = [r.q_table.shape for r in recordings if r.q_table is not None]
    n_states = max(int(r.observations.max()) + 1 for r in recordings)
    n_actions = max(int(r.actions.max()) + 1 for r in recordings)
    return max([n_states, *(n for n, _ in tables)]), max([n_actions, *(n for _, n in tables)])


def _choices(recordings: list[Recording], episodes: Sequence[Episodes], model: Any) -> NDArray[Any]:
    """Tell what each policy does in the states of a model, from its table or its recording."""
    choices = recorded_choices(episodes, model)
    for row, recording in enumerate(recordings):
        if recording.q_table is not None:
            choices[row] = greedy_choices(recording.q_table[np.newaxis], model.states)[0]
    return choices


def _count_actions(recordings: list[Recording]) -> tuple[int, NDArray[np.float64] | None]:
    """Count discrete actions, or find the widest bounds of vector actions."""
    bounds = [action_bounds(recording) for recording in recordings]
    if bounds[0] is None:
        return max(int(recording.actions.max()) + 1 for recording in recordings), None
    return 0, np.stack([np.min(bounds, axis=0)[0], np.max(bounds, axis=0)[1]])


def _ask_networks(
    recordings: list[Recording], episodes: list[Episodes], scale: continuous.VectorWorld
) -> list[Features]:
    """Tell what each network does at probe states, (n, 64 * a); nothing unless all are networks."""
    if any(recording.network is None for recording in recordings):
        return []
    rng = np.random.default_rng(PROBE_SEED)
    chosen = rng.integers(len(episodes), size=N_PROBES)
    probes = np.stack([rng.choice(episodes[i].observations) for i in chosen])
    answers = [load_network(r.network).act(probes) for r in recordings if r.network is not None]
    encoded = [continuous.encode_actions(answer, scale).ravel() for answer in answers]
    return [np.stack(encoded).astype(np.float32)]


def _canonical(firsts: list[Features]) -> Features:
    """Choose evenly among first steps of policies: float32 (at most 64, d)."""
    step = -(-len(firsts) // N_CANONICAL_STATES)
    return np.concatenate(firsts[::step])


def _save(policies: list[Policy], embeddings: Features, folder: Path) -> None:
    """Save psi at the start states of each policy."""
    folder.mkdir(parents=True, exist_ok=True)
    for policy, embedding in zip(policies, embeddings, strict=True):
        save_embedding({"psi": torch.from_numpy(embedding)[None]}, folder / f"{policy.name}.pth")
