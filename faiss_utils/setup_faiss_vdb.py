"""The vector database: add, save, load, search.

All policies of a target share the texts of their objective, so the Faiss index holds each
distinct text once, and the policies lie in columns beside it, sorted so that the policies of an
objective, and of an objective and a seed, are one slice, best predicted reward first.
"""

import warnings
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import faiss
import numpy as np
from numpy.typing import NDArray

import plain_pickle
from errors import PREPARE, REBUILD, LeverError, UnusableLibrary
from faiss_utils.english import is_negated
from faiss_utils.meanings import Meanings, learn_meanings
from faiss_utils.text_index import build_index, check_unit_vectors, read_index
from faiss_utils.validation import check_database
from pi2vec.pi2vec_utils import Objective, Policy
from pi2vec.trajectory import Q_TABLE_SHAPE
from workspace import Workspace, replaced

if TYPE_CHECKING:
    from faiss_utils.text_encoder import TextEncoder

FORMAT = 2

Columns = dict[str, NDArray[Any]]
Matches = tuple[NDArray[np.int32], NDArray[np.float32]]


@dataclass
class PolicyDatabase:
    """Objectives, policies and the index over the objectives' texts.

    Attributes:
        encoder: the text encoder whose vectors the index holds.
        min_similarity: the cosine above which a text of the index answers a query.
        objectives: what policies can be for.
        text_objective: int32 (n_texts,), the objective of every vector of the index.
        text_negated: bool (n_texts,), whether the text says "not".
        meanings: what the objectives are about, and what not.
        seeds: the seeds in ascending order; `seed_code` has their positions.
        columns: the policies, an array (n_policies,) a field; `objective` and `seed` are
            positions in the lists above. Sorted by objective, then descending `regressor_score`.
        by_seed: int32 (n_policies,), the rows sorted by seed first.
        embeddings: float32 (n_policies, d).
        q_tables: float32 (n_policies, 256, 5).
        index: cosine similarity as inner product of unit vectors.
    """

    encoder: str
    min_similarity: float
    objectives: list[Objective]
    text_objective: NDArray[np.int32]
    text_negated: NDArray[np.bool_]
    meanings: Meanings
    seeds: list[str]
    columns: Columns
    by_seed: NDArray[np.int32]
    embeddings: NDArray[np.float32]
    q_tables: NDArray[np.float32]
    index: faiss.Index
    seed_code: dict[str, int] = field(init=False)

    def __post_init__(self) -> None:
        """Find where the rows of each objective begin, and in `by_seed` those of each seed."""
        self.seed_code = {seed: code for code, seed in enumerate(self.seeds)}
        objectives = np.arange(len(self.objectives) + 1, dtype=np.int32)  # an equal dtype: no copy
        seeds = np.arange(len(self.seeds) + 1, dtype=np.int32)
        self._text_starts = np.searchsorted(self.text_objective, objectives)
        self._all_rows = np.arange(self.n_policies, dtype=np.int32)
        starts = np.searchsorted(self.columns["objective"], objectives)
        self._objective_starts = starts.astype(np.int32)
        self._seed_starts = np.searchsorted(self.columns["seed"], seeds, sorter=self.by_seed)

    @property
    def n_policies(self) -> int:
        """The number of policies."""
        return len(self.by_seed)

    def match(self, vector: NDArray[np.float32], min_similarity: float) -> Matches:
        """Find the objectives that are more similar to a query than a threshold.

        Args:
            vector: float32 (dimension,), of unit length.
            min_similarity: the cosine to exceed.

        Returns:
            (objectives, similarities): int32 and float32 (n_matching,), the most similar first;
            an objective's similarity is the best cosine over its texts.
        """
        self._check_queries(vector[np.newaxis])
        _, found, texts = self.index.range_search(vector[np.newaxis], min_similarity)
        return self._best_by_objective(texts, found)

    def nearest_texts(
        self, vectors: NDArray[np.float32]
    ) -> tuple[NDArray[np.int64], NDArray[np.float32]]:
        """Find the text nearest to each query.

        Args:
            vectors: float32 (n, dimension), of unit length.

        Returns:
            Positions of the texts and their cosines, int64 and float32 (n,).
        """
        self._check_queries(vectors)
        cosines, texts = self.index.search(vectors, 1)
        self._check_found(texts)
        return texts[:, 0], cosines[:, 0]

    def is_about_avoiding(self, text: int) -> bool:
        """Tell whether a text, or half of its objective's texts, says "not"."""
        objective = self.text_objective[text]
        own = self.text_negated[slice(*self._text_starts[objective : objective + 2])]
        return bool(self.text_negated[text] or 2 * own.sum() >= len(own))

    def nearest(self, vector: NDArray[np.float32], n_texts: int) -> Matches:
        """Find the objectives of the texts nearest to a query, whatever their similarity.

        Returns:
            As `match`; fewer than `n_texts`, since texts share objectives.
        """
        self._check_queries(vector[np.newaxis])
        found, texts = self.index.search(vector[np.newaxis], min(n_texts, self.index.ntotal))
        return self._best_by_objective(texts[0][texts[0] >= 0], found[0][texts[0] >= 0])

    def _check_queries(self, vectors: NDArray[np.float32]) -> None:
        check_unit_vectors(vectors)
        if vectors.shape[1] != self.index.d:
            raise UnusableLibrary(
                f"the text encoder {self.encoder} makes vectors of {vectors.shape[1]} dimensions, "
                f"the index has {self.index.d}; {REBUILD}"
            )

    def _check_found(self, texts: NDArray[np.int64]) -> None:
        """Refuse numbers that a stranger's index may give to its vectors; -1 is none found."""
        if texts.size and not -1 <= texts.min() <= texts.max() < len(self.text_objective):
            raise UnusableLibrary(f"the index has texts that are not there; {REBUILD}")

    def _best_by_objective(
        self, texts: NDArray[np.int64], similarities: NDArray[np.float32]
    ) -> Matches:
        self._check_found(texts)
        order = np.lexsort((texts, -similarities))
        objectives = self.text_objective[texts[order]]
        _, firsts = np.unique(objectives, return_index=True)
        firsts.sort()
        return objectives[firsts], similarities[order][firsts]

    def runs(
        self, objectives: NDArray[np.int32], seed: str | None = None
    ) -> list[NDArray[np.int32]]:
        """List the policies of some objectives, without a loop over policies.

        Args:
            objectives: int32 (n,).
            seed: only policies of this seed.

        Returns:
            At most n arrays of rows, one for each objective that has any, in the order of
            `objectives`; each int32 (n_rows,), highest predicted reward first.

        Raises:
            KeyError: the seed is not in the library.
        """
        rows = self._all_rows
        if seed is not None:
            code = self.seed_code[seed]
            rows = self.by_seed[slice(*self._seed_starts[code : code + 2])]
        # Both lists of rows ascend, and the rows of an objective are consecutive numbers.
        firsts = np.searchsorted(rows, self._objective_starts[objectives])
        lasts = np.searchsorted(rows, self._objective_starts[objectives + 1])
        filled = np.flatnonzero(firsts < lasts)
        bounds = zip(firsts[filled].tolist(), lasts[filled].tolist(), strict=True)
        return [rows[first:last] for first, last in bounds]

    def describe(self, row: int) -> dict[str, Any]:
        """Collect everything known about a policy, in plain Python values."""
        fields = {name: column[row].item() for name, column in self.columns.items()}
        objective = self.objectives[fields.pop("objective")]
        seed = self.seeds[fields.pop("seed")]
        percent = fields.pop("snapshot_percent")
        return {
            "policy_name": f"{objective.target}_{seed}_{percent}",
            "policy_target": objective.target,
            "policy_seed": seed,
            "snapshot_percent": percent,
            "description": objective.description,
            "phrasings": list(objective.phrasings),
            **fields,
            "q_table_shape": list(self.q_tables.shape[1:]),
            "policy_embedding": self.embeddings[row].tolist(),
        }

    def save(self, workspace: Workspace) -> None:
        """Write the index, the metadata, the embeddings and the Q-tables."""
        for path, array in (
            (workspace.q_tables, self.q_tables),
            (workspace.policy_embeddings, self.embeddings),
        ):
            with replaced(path) as file:
                np.save(file, array)
        metadata = {
            "format": FORMAT,
            "encoder": self.encoder,
            "min_similarity": self.min_similarity,
            "objectives": [asdict(objective) for objective in self.objectives],
            "text_objective": self.text_objective,
            "text_negated": self.text_negated,
            "meanings": asdict(self.meanings),
            "seeds": self.seeds,
            "columns": self.columns,
            "by_seed": self.by_seed,
        }
        plain_pickle.save(workspace.metadata, metadata)
        with replaced(workspace.policy_index) as file:
            file.write(faiss.serialize_index(self.index).tobytes())


def build_database(
    encoder: str,
    min_similarity: float,
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
        min_similarity: the threshold that belongs to it.
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
        min_similarity=min_similarity,
        objectives=objectives,
        text_objective=np.repeat(np.arange(len(objectives), dtype=np.int32), n_texts),
        text_negated=np.array([is_negated(t) for o in objectives for t in o.texts], dtype=bool),
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
        encoder.min_similarity,
        objectives,
        text_vectors,
        learn_meanings(objectives, text_vectors, encoder.min_similarity, encoder.encode),
        columns,
        embeddings[order],
        q_tables,
        index_factory,
    )


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
