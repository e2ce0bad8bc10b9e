"""The vector database: add, save, load, search.

All policies of a target share the texts of their objective, so the Faiss index holds each
distinct text once, and the policies lie in columns beside it, sorted so that the policies of an
objective, and of an objective and a seed, are one slice, best predicted reward first.
"""

import warnings
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING

import faiss
import numpy as np
from numpy.typing import NDArray

from faiss_utils.policy_database import Columns, PolicyDatabase
from faiss_utils.text_index import build_index, read_index
from faiss_utils.validation import check_database
from library import plain_pickle
from library.errors import PREPARE, REBUILD, LeverError, UnusableLibrary
from library.files import atomic_write
from library.objective import Objective
from library.workspace import Workspace
from pi2vec.pi2vec_utils import Policy
from pi2vec.trajectory import Q_TABLE_SHAPE
from understanding.learning import learn_meanings
from understanding.meanings import Meanings
from understanding.preferences import known_wordings

if TYPE_CHECKING:
    from faiss_utils.text_encoder import TextEncoder

FORMAT = 3


def build_database(
    encoder: str,
    objectives: list[Objective],
    text_vectors: NDArray[np.float32],
    meanings: Meanings,
    policy_columns: Columns,
    embeddings: NDArray[np.float32],
    q_tables: NDArray[np.float32],
    index_factory: str | None = None,
) -> PolicyDatabase:
    """Build the database of all policies.

    Args:
        encoder: the name of the text encoder.
        objectives: what the policies are for.
        text_vectors: float32 (n_texts, dimension), unit vectors of all texts of all objectives
            in order.
        meanings: what was learned from them.
        policy_columns: an array (n_policies,) a field, with `objective` (a position in
            `objectives`), `policy_seed`, `snapshot_percent` and `regressor_score` among them.
        embeddings: float32 (n_policies, d).
        q_tables: float32 (n_policies, 256, 5).
        index_factory: as `text_index.build_index`.

    Raises:
        ValueError: a vector is not of unit length.
        LeverError: no index can be made with `index_factory`.
    """
    index = build_index(text_vectors, index_factory)
    n_texts = [len(objective.texts) for objective in objectives]
    columns = dict(policy_columns)
    seeds, columns["seed"] = np.unique(columns.pop("policy_seed"), return_inverse=True)
    columns["seed"] = columns["seed"].astype(np.int32)
    order = _best_first(columns)
    if not np.array_equal(order, np.arange(len(order))):  # what is in order may be on disk: no copy
        columns = {name: column[order] for name, column in columns.items()}
        embeddings, q_tables = embeddings[order], q_tables[order]
    return PolicyDatabase(
        encoder=encoder,
        objectives=objectives,
        text_objective=np.repeat(np.arange(len(objectives), dtype=np.int32), n_texts),
        meanings=meanings,
        seeds=seeds.tolist(),
        columns=columns,
        by_seed=np.argsort(columns["seed"], kind="stable").astype(np.int32),
        embeddings=embeddings,
        q_tables=q_tables,
        index=index,
    )


def _best_first(columns: Columns) -> NDArray[np.intp]:
    """Order policies by objective, then predicted reward, then name: int (n_policies,)."""
    names = (columns["snapshot_percent"], columns["seed"])  # the most significant key is the last
    return np.lexsort((*names, -columns["regressor_score"], columns["objective"]))


def index_policies(
    encoder: "TextEncoder",
    objectives: list[Objective],
    policies: list[Policy],
    embeddings: NDArray[np.float32],
    scores: NDArray[np.float64],
    deviations: NDArray[np.float64],
    scratch: Path,
    index_factory: str | None = None,
) -> PolicyDatabase:
    """Encode the objectives and bring together what is known about their policies.

    The Q-tables of all policies, 5 KB each, go to disk one by one.

    Args:
        encoder: encodes the objectives now and the queries later.
        objectives: of all targets.
        policies: n policies.
        embeddings: float32 (n, d).
        scores: (n,), predicted rewards.
        deviations: (n,), their standard deviations.
        scratch: a file for the Q-tables, to be deleted after `save`.
        index_factory: as `text_index.build_index`.
    """
    position = {objective.target: i for i, objective in enumerate(objectives)}
    columns = {
        "objective": np.array([position[p.target] for p in policies], dtype=np.int32),
        "policy_seed": np.array([p.seed for p in policies]),
        "snapshot_percent": np.array([p.percent for p in policies], dtype=np.int16),
        "regressor_score": scores,
        "regressor_std": deviations,
        "energy": np.array([p.energy for p in policies]),
        "reward": np.array([p.reward for p in policies]),
        "episode": np.array([p.episode for p in policies]),
        "n_transitions": np.array([p.n_transitions for p in policies]),
    }
    order = _best_first({**columns, "seed": columns["policy_seed"]})
    columns = {name: column[order] for name, column in columns.items()}
    q_tables = np.lib.format.open_memmap(
        scratch, mode="w+", dtype=np.float32, shape=(len(policies), *Q_TABLE_SHAPE)
    )
    for row, i in enumerate(order):
        q_tables[row] = policies[i].read_trajectory().q_table
    text_vectors = encoder.encode([text for o in objectives for text in o.texts])
    return build_database(
        encoder.name,
        objectives,
        text_vectors,
        learn_meanings(objectives, encoder.encode, wordings=known_wordings(list(columns))),
        columns,
        embeddings[order],
        q_tables,
        index_factory,
    )


def save_database(database: PolicyDatabase, workspace: Workspace) -> None:
    """Write the index, the metadata, the embeddings and the Q-tables."""
    for path, array in (
        (workspace.q_tables, database.q_tables),
        (workspace.policy_embeddings, database.embeddings),
    ):
        with atomic_write(path) as file:
            np.save(file, array)
    metadata = {
        "format": FORMAT,
        "encoder": database.encoder,
        "objectives": [asdict(objective) for objective in database.objectives],
        "text_objective": database.text_objective,
        "meanings": asdict(database.meanings),
        "seeds": database.seeds,
        "columns": database.columns,
        "by_seed": database.by_seed,
    }
    plain_pickle.save(workspace.metadata, metadata)
    with atomic_write(workspace.policy_index) as file:
        file.write(faiss.serialize_index(database.index).tobytes())


def load_database(workspace: Workspace) -> PolicyDatabase:
    """Open a prepared library; embeddings and Q-tables stay on disk until they are needed.

    Raises:
        UnusableLibrary: a file is missing or damaged, or from another version.
    """
    for path in (workspace.policy_index, workspace.metadata):
        if not path.is_file():
            raise UnusableLibrary(f"Database not found ({path} is missing); {PREPARE}")
    if not workspace.reward_regressor.is_file():
        path = workspace.reward_regressor
        raise UnusableLibrary(f"Regressor model not found ({path} is missing); {REBUILD}")
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
            embeddings=_map(workspace.policy_embeddings),
            q_tables=_map(workspace.q_tables),
            index=read_index(workspace.policy_index),
            **metadata,
        )
        check_database(database)
    except LeverError:
        raise
    except Exception as error:  # what a stranger wrote can raise nearly anything
        raise UnusableLibrary(f"{workspace.metadata} can't be used ({error}); {REBUILD}") from None
    return database


def _map(path: Path) -> NDArray[np.float32]:
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("error")  # a header that needs mending is no header
            array: NDArray[np.float32] = np.load(path, mmap_mode="r", allow_pickle=False)
    except Exception as error:  # numpy parses a header as Python: damage can raise nearly anything
        raise UnusableLibrary(f"{path} can't be read ({error}); {REBUILD}") from None
    return array
