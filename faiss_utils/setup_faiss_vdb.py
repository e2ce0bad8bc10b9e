"""The vector database: build, save, load."""

import json
from collections.abc import Mapping
from contextlib import ExitStack
from dataclasses import asdict
from typing import IO, TYPE_CHECKING, Any

import faiss
import numpy as np
from numpy.typing import NDArray

from faiss_utils.policy_database import Columns, PolicyDatabase, WorldArrays
from faiss_utils.text_index import build_index, read_index
from faiss_utils.validation import check_database, map_array
from library import plain_pickle
from library.errors import PREPARE, REBUILD, LeverError, UnusableLibrary
from library.files import atomic_write
from library.manifest import FORMAT
from library.objective import Objective
from library.workspace import Workspace
from understanding.learning import learn_meanings
from understanding.meanings import Meanings
from worlds.measures import Wording

if TYPE_CHECKING:  # a search imports this module, and needs no torch
    from faiss_utils.text_encoder import TextEncoder
    from pi2vec.pi2vec_utils import Policy
    from pi2vec.train_regressor import Prediction
    from pi2vec.world_library import WorldLibrary

BY_SEED = "by_seed"  # lies beside the fields of the policies
ARRAYS = (
    *("embeddings", "behaviours", "q_tables", "start_states", "sources"),
    *("networks", "network_ends", "transitions", "episode_starts"),
)


def build_database(
    encoder: str,
    objectives: list[Objective],
    objective_world: NDArray[np.int32],
    text_vectors: NDArray[np.float32],
    meanings: Meanings,
    policy_columns: Columns,
    worlds: list[WorldArrays],
    index_factory: str | None = None,
) -> PolicyDatabase:
    """Build the database of all policies.

    Args:
        encoder: the name of the text encoder.
        objectives: what the policies are for, those of a world side by side.
        objective_world: int32 (n_objectives,), positions in `worlds`, ascending.
        text_vectors: float32 (n_texts, dimension), unit vectors of all texts of all objectives
            in order.
        meanings: what was learned from them.
        policy_columns: an array (n_policies,) a field, in the order of `best_first`, with
            `objective` (a position in `objectives`), `policy_seed`, `snapshot_percent` and
            `regressor_score` among them.
        worlds: the arrays of the policies, in the same order.
        index_factory: as `text_index.build_index`.

    Raises:
        ValueError: a vector is not of unit length.
        LeverError: no index can be made with `index_factory`.
    """
    n_texts = [len(objective.texts) for objective in objectives]
    columns = dict(policy_columns)
    seeds, columns["seed"] = np.unique(columns.pop("policy_seed"), return_inverse=True)
    columns["seed"] = columns["seed"].astype(np.int32)
    return PolicyDatabase(
        encoder=encoder,
        objectives=objectives,
        objective_world=objective_world,
        text_objective=np.repeat(np.arange(len(objectives), dtype=np.int32), n_texts),
        meanings=meanings,
        seeds=seeds.tolist(),
        columns=columns,
        by_seed=np.argsort(columns["seed"], kind="stable").astype(np.int32),
        worlds=worlds,
        index=build_index(text_vectors, index_factory),
    )


def best_first(columns: Columns) -> NDArray[np.intp]:
    """Order policies by objective, then predicted reward, then name: int (n_policies,)."""
    names = (columns["snapshot_percent"], columns["policy_seed"])  # the last key counts most
    return np.lexsort((*names, -columns["regressor_score"], columns["objective"]))


def index_policies(
    encoder: "TextEncoder",
    objectives: list[Objective],
    worlds: "Mapping[str, WorldLibrary]",
    workspace: Workspace,
    index_factory: str | None = None,
    earlier: Meanings | None = None,
) -> PolicyDatabase:
    """Encode the objectives and bring together what is known about their policies.

    The arrays of each world go to their place in the workspace, policy by policy.

    Args:
        encoder: encodes the objectives now and the queries later.
        objectives: of all targets; one without policies comes last.
        worlds: by name, what is known of their policies.
        workspace: where the arrays go.
        index_factory: as `text_index.build_index`.
        earlier: what the library before with this encoder learned of its texts.
    """
    numbers = {p.target: i for i, world in enumerate(worlds.values()) for p in world.policies}
    objectives = sorted(objectives, key=lambda o: (numbers.get(o.target, len(worlds)), o.target))
    position = {objective.target: i for i, objective in enumerate(objectives)}
    parts, arrays = [], []
    for name, world in worlds.items():
        part = policy_columns(world.policies, world.prediction, position)
        order = best_first(part)
        parts.append({field: column[order] for field, column in part.items()})
        arrays.append(_write_arrays(name, world, order, workspace))
    text_vectors = encoder.encode([text for o in objectives for text in o.texts])
    last = len(worlds) - 1
    return build_database(
        encoder.name,
        objectives,
        np.array([min(numbers.get(o.target, last), last) for o in objectives], dtype=np.int32),
        text_vectors,
        learn_meanings(
            objectives,
            encoder.encode,
            _environments(objectives, worlds),
            _known_wordings(worlds),
            earlier,
        ),
        _concatenate(parts),
        arrays,
        index_factory,
    )


def _environments(objectives: list[Objective], worlds: "Mapping[str, WorldLibrary]") -> list[str]:
    """Name the environment of each objective that has one to itself, else its target."""
    names = {}
    for library in worlds.values():
        targets = {policy.target for policy in library.policies}
        environment = library.policies[0].world.environment
        if len(targets) == 1 and environment is not None:
            names[targets.pop()] = environment
    return [names.get(objective.target, objective.target) for objective in objectives]


def _known_wordings(worlds: "Mapping[str, WorldLibrary]") -> list[Wording]:
    """List how people ask for the measures that the policies have."""
    wordings = {
        wording: None
        for world in worlds.values()
        for wording in world.policies[0].world.wordings
        if any(wording.measure in policy.measures for policy in world.policies)
    }
    return list(wordings)


def policy_columns(
    policies: "list[Policy]", prediction: "Prediction", position: Mapping[str, int]
) -> Columns:
    """Lay the fields of the policies of a world out in columns.

    Args:
        policies: n policies.
        prediction: of their rewards.
        position: of each target's objective.
    """
    measures = sorted({name for policy in policies for name in policy.measures})
    return {
        "objective": np.array([position[p.target] for p in policies], dtype=np.int32),
        "policy_seed": np.array([p.seed for p in policies]),
        "snapshot_percent": np.array([p.snapshot.percent for p in policies], dtype=np.int16),
        "regressor_score": prediction.rewards,
        "regressor_std": prediction.deviations,
        "energy": np.array([p.measures.get("energy", np.nan) for p in policies]),
        "reward": np.array([p.reward for p in policies]),
        "episode": np.array([p.snapshot.episode for p in policies]),
        "n_transitions": np.array([p.n_transitions for p in policies]),
        **{name: np.array([p.measures.get(name, np.nan) for p in policies]) for name in measures},
    }


def _concatenate(parts: list[Columns]) -> Columns:
    """Join the columns of worlds; a measure that a world does not have is NaN."""
    names = dict.fromkeys(name for part in parts for name in part)
    lacking = [np.full(len(part["objective"]), np.nan) for part in parts]
    return {
        name: np.concatenate(
            [part.get(name, nan) for part, nan in zip(parts, lacking, strict=True)]
        )
        for name in names
    }


def _write_arrays(
    name: str, world: "WorldLibrary", order: NDArray[np.intp], workspace: Workspace
) -> WorldArrays:
    """Write what the policies of a world are made of, reading one policy at a time."""
    policies = [world.policies[i] for i in order]
    vectors: dict[str, NDArray[Any]] = {
        "embeddings": world.embeddings[order],
        "behaviours": world.behaviours[order],
    }
    _save_arrays(name, vectors, workspace)
    arrays = _write_parts(name, policies, workspace)
    from worlds.gymnasium_world import TabularWorld

    others = _write_networks(name, policies, workspace)
    if "q_tables" in arrays and isinstance(policies[0].world, TabularWorld):
        others |= _write_transitions(name, policies, workspace)
    return WorldArrays(name, **vectors, **arrays, **others)


def _write_parts(
    world: str, policies: "list[Policy]", workspace: Workspace
) -> dict[str, NDArray[Any]]:
    """Write the parts that all policies have in one shape, a row each, and map them.

    Rows are written one by one: in a map that is written to, a full disk would kill the process.
    """
    kinds: dict[str, set[Any]] = {part: set() for part in _parts_of(policies[0])}
    for policy in policies:
        for part, value in _parts_of(policy).items():
            kinds[part].add(None if value is None else (value.shape, value.dtype))
    dtypes = {
        part: np.result_type(*{dtype for _, dtype in kind})
        for part, kind in kinds.items()
        if None not in kind and len({shape for shape, _ in kind}) == 1
    }
    paths = {part: workspace.world_arrays(world, part) for part in dtypes}
    with ExitStack() as stack:
        files = {part: stack.enter_context(atomic_write(path)) for part, path in paths.items()}
        for part, file in files.items():
            _write_header(file, dtypes[part], (len(policies), *next(iter(kinds[part]))[0]))
        for policy in policies:
            values = _parts_of(policy)
            for part, file in files.items():
                file.write(np.asarray(values[part], dtypes[part], order="C").tobytes())
    return {part: map_array(path) for part, path in paths.items()}


def _write_header(file: IO[bytes], dtype: np.dtype[Any], shape: tuple[int, ...]) -> None:
    """Write what an array's file begins with, as `numpy.save` does."""
    header = {"descr": np.lib.format.dtype_to_descr(dtype), "fortran_order": False, "shape": shape}
    np.lib.format.write_array_header_1_0(file, header)


def _write_transitions(
    world: str, policies: "list[Policy]", workspace: Workspace
) -> dict[str, NDArray[Any]]:
    """Write the recorded steps of a discrete world, counted, and where its episodes begin."""
    from pi2vec.transitions import count_transitions

    counted = count_transitions(policy.read().as_episodes() for policy in policies)
    arrays: dict[str, NDArray[Any]] = dict(
        zip(("transitions", "episode_starts"), counted, strict=True)
    )
    _save_arrays(world, arrays, workspace)
    return arrays


def _write_networks(
    world: str, policies: "list[Policy]", workspace: Workspace
) -> dict[str, NDArray[Any]]:
    """Write the networks of a world's policies, one behind the other, and where each ends."""
    networks = [policy.read().network or b"" for policy in policies]
    if not any(networks):
        return {}
    arrays: dict[str, NDArray[Any]] = {
        "networks": np.frombuffer(b"".join(networks), np.uint8),
        "network_ends": np.cumsum([len(network) for network in networks]).astype(np.int64),
    }
    _save_arrays(world, arrays, workspace)
    return arrays


def _save_arrays(world: str, arrays: Mapping[str, NDArray[Any]], workspace: Workspace) -> None:
    """Write arrays of a world, a file each."""
    for name, array in arrays.items():
        with atomic_write(workspace.world_arrays(world, name)) as file:
            np.save(file, array)


def _parts_of(policy: "Policy") -> dict[str, NDArray[Any] | None]:
    recording = policy.read()
    return {
        "q_tables": recording.q_table,
        "start_states": policy.world.start_state(recording),
        "sources": np.array(json.dumps(policy.read_source()).encode()),
    }


def save_database(database: PolicyDatabase, workspace: Workspace) -> None:
    """Write index, columns and metadata; the arrays of the worlds are there already."""
    for name, column in {**database.columns, BY_SEED: database.by_seed}.items():
        with atomic_write(workspace.policy_column(name)) as file:
            np.save(file, column)
    metadata = {
        "format": FORMAT,
        "encoder": database.encoder,
        "objectives": [asdict(objective) for objective in database.objectives],
        "objective_world": database.objective_world,
        "text_objective": database.text_objective,
        "meanings": asdict(database.meanings),
        "seeds": database.seeds,
        "columns": list(database.columns),
        "worlds": {
            world.name: [name for name in ARRAYS if getattr(world, name) is not None]
            for world in database.worlds
        },
    }
    plain_pickle.save(workspace.metadata, metadata)
    with atomic_write(workspace.policy_index) as file:
        file.write(faiss.serialize_index(database.index).tobytes())


def load_database(workspace: Workspace) -> PolicyDatabase:
    """Open a prepared library; whatever grows with the policies stays on disk until it is needed.

    Raises:
        UnusableLibrary: a file is missing or damaged, or from another version.
    """
    for path in (workspace.policy_index, workspace.metadata):
        if not path.is_file():
            raise UnusableLibrary(f"Database not found ({path} is missing)", PREPARE)
    if not workspace.reward_regressor.is_file():
        path = workspace.reward_regressor
        raise UnusableLibrary(f"Regressor model not found ({path} is missing)", REBUILD)
    metadata = plain_pickle.load(workspace.metadata)
    try:
        if metadata.pop("format") != FORMAT:
            raise ValueError("it is from another version")
        objectives = [
            Objective(entry["target"], entry["description"], tuple(entry["phrasings"]))
            for entry in metadata.pop("objectives")
        ]
        database = PolicyDatabase(
            objectives=objectives,
            meanings=Meanings(**metadata.pop("meanings")),
            columns=_map_columns(metadata.pop("columns"), workspace),
            by_seed=_map_column(BY_SEED, workspace),
            worlds=[
                _map_arrays(name, arrays, workspace)
                for name, arrays in metadata.pop("worlds").items()
            ],
            index=read_index(workspace.policy_index),
            **metadata,
        )
        check_database(database)
    except LeverError:
        raise
    except Exception as error:  # what a stranger wrote can raise nearly anything
        raise UnusableLibrary(f"{workspace.metadata} can't be used ({error})", REBUILD) from None
    return database


def _map_columns(names: list[str], workspace: Workspace) -> Columns:
    """Open the fields of the policies."""
    if not isinstance(names, list) or not all(isinstance(name, str) for name in names):
        raise ValueError("columns is not as it must be")
    return {name: _map_column(name, workspace) for name in names}


def _map_column(name: str, workspace: Workspace) -> NDArray[Any]:
    """Open a field of the policies; numpy takes more time to slice a memmap than an array."""
    return map_array(workspace.policy_column(name)).view(np.ndarray)


def _map_arrays(world: str, names: list[str], workspace: Workspace) -> WorldArrays:
    """Open the arrays of a world; they stay on disk until they are needed."""
    if not isinstance(world, str) or not set(names) <= set(ARRAYS):
        raise ValueError("worlds is not as it must be")
    return WorldArrays(
        world, **{name: map_array(workspace.world_arrays(world, name)) for name in names}
    )
