"""The vector database: objectives, policies and the index over the objectives' texts.

All policies of a target share the texts of their objective, so the Faiss index holds each
distinct text once, and the policies lie in columns beside it, sorted so that the policies of an
objective, and of an objective and a seed, are one slice, best predicted reward first.
"""

import json
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import faiss
import numpy as np
from numpy.typing import NDArray

from faiss_utils.text_index import check_unit_vectors
from library.errors import REBUILD, UnusableLibrary
from library.objective import Objective
from understanding.meanings import Meanings

Columns = dict[str, NDArray[Any]]
Matches = tuple[NDArray[np.int32], NDArray[np.float32]]


@dataclass(frozen=True)
class WorldArrays:
    """What the policies of one world are made of; a row each, in the order of the database.

    Attributes:
        name: of the world.
        embeddings: float32 (n, d).
        behaviours: float32 (n, c), in which near means alike.
        q_tables: float (n, n_states, n_actions); None in a world without tables.
        start_states: (n, ...), where each policy's episodes begin; None where that is anywhere.
        sources: (n,), JSON: where each policy came from.
        networks: uint8 (sum of sizes,), the `policy.npz` of each, one behind the other.
        network_ends: int64 (n,), where each ends in `networks`; empty ones are none.
        transitions: float64 (m, 5), the recorded steps of a discrete world, counted; together
            with `episode_starts`, int64 (k, 2), as `pi2vec.transitions` has it.
    """

    name: str
    embeddings: NDArray[np.float32]
    behaviours: NDArray[np.float32] | None = None
    q_tables: NDArray[Any] | None = None
    start_states: NDArray[Any] | None = None
    sources: NDArray[np.bytes_] | None = None
    networks: NDArray[np.uint8] | None = None
    network_ends: NDArray[np.int64] | None = None
    transitions: NDArray[np.float64] | None = None
    episode_starts: NDArray[np.int64] | None = None

    def network(self, place: int) -> bytes:
        """Give the `policy.npz` of a policy; empty when it is no network."""
        if self.networks is None or self.network_ends is None:
            return b""
        start = int(self.network_ends[place - 1]) if place else 0
        return self.networks[start : int(self.network_ends[place])].tobytes()


@dataclass
class PolicyDatabase:
    """Objectives, policies and the index over the objectives' texts.

    Attributes:
        encoder: the text encoder whose vectors the index holds.
        objectives: what policies can be for, those of a world side by side.
        objective_world: int32 (n_objectives,), positions in `worlds`, ascending.
        text_objective: int32 (n_texts,), the objective of every vector of the index.
        meanings: what the objectives' texts mean, and what does not mean any.
        seeds: the seeds in ascending order; `seed_code` has their positions.
        columns: the policies, an array (n_policies,) a field; `objective` and `seed` are
            positions in the lists above. Sorted by objective, then descending `regressor_score`.
            A measure that a world does not have is NaN.
        by_seed: int32 (n_policies,), the rows sorted by seed first.
        worlds: the arrays of each world; together they have n_policies rows.
        index: cosine similarity as inner product of unit vectors.
    """

    encoder: str
    objectives: list[Objective]
    objective_world: NDArray[np.int32]
    text_objective: NDArray[np.int32]
    meanings: Meanings
    seeds: list[str]
    columns: Columns
    by_seed: NDArray[np.int32]
    worlds: list[WorldArrays]
    index: faiss.Index
    seed_code: dict[str, int] = field(init=False)

    def __post_init__(self) -> None:
        """Find where the rows of each objective begin, and in `by_seed` those of each seed."""
        self.seed_code = {seed: code for code, seed in enumerate(self.seeds)}
        objectives = np.arange(len(self.objectives) + 1, dtype=np.int32)  # an equal dtype: no copy
        starts = np.searchsorted(self.columns["objective"], objectives)
        self._objective_starts = starts.astype(np.int32)
        world_starts = np.searchsorted(self.objective_world, np.arange(len(self.worlds)))
        self._world_starts = self._objective_starts[world_starts]
        self._seed_starts = _find_starts(self.columns["seed"], self.by_seed, len(self.seeds))

    @property
    def n_policies(self) -> int:
        """The number of policies."""
        return len(self.by_seed)

    @cached_property
    def _all_rows(self) -> NDArray[np.int32]:
        return np.arange(self.n_policies, dtype=np.int32)

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
                f"the index has {self.index.d}",
                REBUILD,
            )

    def _check_found(self, texts: NDArray[np.int64]) -> None:
        """Refuse numbers that a stranger's index may give to its vectors; -1 is none found."""
        if texts.size and not -1 <= texts.min() <= texts.max() < len(self.text_objective):
            raise UnusableLibrary("policy.index has texts that are not there", REBUILD)

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

    def place(self, row: int) -> tuple[WorldArrays, int]:
        """Tell the world of a policy, and its row in the world's arrays."""
        world = int(self.objective_world[self.columns["objective"][row]])
        return self.worlds[world], row - int(self._world_starts[world])

    def find(self, name: str) -> int | None:
        """Find the row of a policy by its name; None when the library has no such policy."""
        target, seed, percent = ["", "", *name.rsplit("_", 2)][-3:]
        numbers = [i for i, objective in enumerate(self.objectives) if objective.target == target]
        if not numbers or seed not in self.seed_code:
            return None
        rows = np.concatenate([[], *self.runs(np.array(numbers, dtype=np.int32), seed)]).astype(int)
        found = rows[self.columns["snapshot_percent"][rows].astype(str) == percent]
        return int(found[0]) if len(found) else None

    def source(self, row: int) -> dict[str, Any] | None:
        """Tell where a policy came from, as it was when the library was prepared."""
        world, place = self.place(row)
        if world.sources is None:
            return None
        try:
            source = json.loads(world.sources[place])
        except (ValueError, RecursionError):
            return None
        return source if isinstance(source, dict) else None

    def describe(self, row: int) -> dict[str, Any]:
        """Collect everything known about a policy, in plain Python values; None is not known."""
        fields = {name: column[row].item() for name, column in self.columns.items()}
        fields = {name: None if value != value else value for name, value in fields.items()}
        objective = self.objectives[fields.pop("objective")]
        seed = self.seeds[fields.pop("seed")]
        percent = fields.pop("snapshot_percent")
        world, place = self.place(row)
        return {
            "policy_name": f"{objective.target}_{seed}_{percent}",
            "policy_target": objective.target,
            "policy_seed": seed,
            "snapshot_percent": percent,
            "world": world.name,
            "description": objective.description,
            "phrasings": list(objective.phrasings),
            **fields,
            "q_table_shape": None if world.q_tables is None else list(world.q_tables.shape[1:]),
            "source": self.source(row),
            "policy_embedding": world.embeddings[place].tolist(),
        }


def _find_starts(
    column: NDArray[np.int32], order: NDArray[np.int32], n_values: int
) -> NDArray[np.int64]:
    """Find where each of the values 0 to n_values begins in a column that is ordered by rows.

    numpy's `searchsorted` would copy the order, with its sorter, to larger numbers.

    Args:
        column: int32 (n,).
        order: int32 (n,), the rows in the order of ascending values.
        n_values: one past the largest value.

    Returns:
        int64 (n_values + 1,).
    """
    values = np.arange(n_values + 1)
    low, high = np.zeros_like(values), np.full_like(values, len(order))
    while (low < high).any():
        middle = (low + high) // 2
        less = column[order[np.minimum(middle, len(order) - 1)]] < values
        low, high = np.where(less & (low < high), middle + 1, low), np.where(less, high, middle)
    return low
