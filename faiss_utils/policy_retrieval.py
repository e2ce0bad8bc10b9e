"""Decompose -> search -> filter -> score -> select: the answer to one query."""

import time
from bisect import bisect_left
from collections.abc import Sequence
from dataclasses import dataclass, field
from difflib import get_close_matches
from typing import Any

import numpy as np
from numpy.typing import NDArray
from threadpoolctl import threadpool_limits  # type: ignore[import-untyped]

from faiss_utils.behaviour_index import find_alike
from faiss_utils.policy_database import PolicyDatabase
from faiss_utils.setup_faiss_vdb import load_database
from faiss_utils.text_encoder import TextEncoder
from library.errors import REBUILD, LeverError, UnusableLibrary
from library.workspace import Workspace
from understanding.matching import Matcher, SubQuery
from understanding.preferences import Preference
from understanding.query_decomposition import QueryDecomposer
from understanding.spelling import Spelling
from worlds.measures import MOST

MAX_QUERY_LENGTH = 2_000  # characters; an objective is a sentence, and encoding costs time
TOLERANCE = 0.05  # a preference trades this share of the best predicted reward
N_LISTED = 20  # seeds or targets; more would fill the screen
N_NEAREST_TEXTS = 200  # among which the nearest objectives are looked for

PolicyFields = dict[str, Any]


@dataclass(frozen=True)
class SearchOptions:
    """What a search may be told besides the query.

    Attributes:
        seed: only policies of this seed; None for all.
        prefer: among nearly equal predicted rewards the policies with the least or most of these
            measures are best, the first measure first.
        top: how many policies to return for a sub-query.
        min_similarity: the cosine that a policy must exceed, whatever the sub-query means; None
            for the policies of the objective that it means.
        decomposer: `auto`, `openai` or `offline`.
    """

    seed: str | None = None
    prefer: tuple[Preference, ...] = ()
    top: int = 1
    min_similarity: float | None = None
    decomposer: str = "auto"


@dataclass(frozen=True)
class SubQueryResult:
    """The answer to one sub-query; `message` says why there is none."""

    sub_query: str
    message: str | None
    candidates: int
    best_policy: PolicyFields | None
    top: list[PolicyFields]
    preferences: list[dict[str, str]] = field(default_factory=list)


@dataclass(frozen=True)
class SearchResult:
    """The answer to a query; `notices` tell of failures and of what was left out."""

    query: str
    seed: str | None
    decomposer: str
    sub_queries: list[SubQueryResult]
    timing_ms: dict[str, float]
    notices: tuple[str, ...] = field(default=())

    @property
    def found(self) -> bool:
        """Whether any sub-query has a policy."""
        return any(result.best_policy for result in self.sub_queries)


class PolicySearch:
    """A library opened for searching: database and text encoder."""

    def __init__(self, database: PolicyDatabase, encoder: TextEncoder) -> None:
        """Join a database with the encoder that made its vectors."""
        self.database = database
        self.encoder = encoder
        spelling = Spelling(database.meanings.words, encoder.rank)
        matcher = Matcher(
            database.objectives, database.meanings, encoder.encode, database.nearest_texts
        )
        self._decomposer = QueryDecomposer(database.objectives, matcher, spelling)

    def search(self, query: str, options: SearchOptions) -> SearchResult:
        """Answer one query.

        Raises:
            LeverError: the query is empty or too long, or the library has no such seed.
        """
        started = time.perf_counter()
        check_query(query)
        self.check_seed(options.seed)
        decomposition = self._decomposer.decompose(query, options.decomposer)
        decomposed = time.perf_counter()
        results = [self._answer(piece, options) for piece in decomposition.sub_queries]
        ended = time.perf_counter()
        timing = {
            "decomposition": decomposed - started,
            "search": ended - decomposed,
            "total": ended - started,
        }
        return SearchResult(
            query=query,
            seed=options.seed,
            decomposer=decomposition.decomposer,
            sub_queries=results,
            timing_ms={stage: round(1000 * seconds, 3) for stage, seconds in timing.items()},
            notices=decomposition.notices,
        )

    def like(self, name: str, options: SearchOptions) -> SearchResult:
        """Find the policies that behave most like a policy, the nearest first.

        Raises:
            LeverError: the library has no such policy, or no such seed.
        """
        started = time.perf_counter()
        self.check_seed(options.seed)
        found = find_alike(self.database, name, options.top, options.seed)
        top = [
            {"cosine_similarity": None, "behaviour_distance": round(distance, 6)}
            | self.database.describe(row)
            for row, distance in found
        ]
        message = None if top else f"No other policies behave like {name} in its world"
        result = SubQueryResult(f"like {name}", message, len(top), top[0] if top else None, top)
        total = round(1000 * (time.perf_counter() - started), 3)
        timing = {"decomposition": 0.0, "search": total, "total": total}
        return SearchResult(name, options.seed, "behaviour", [result], timing)

    def refuse(self, query: str, options: SearchOptions, reason: str) -> SearchResult:
        """Make the result of a query that can't be answered."""
        result = SubQueryResult(query[:MAX_QUERY_LENGTH], reason, 0, None, [])
        timing = {"decomposition": 0.0, "search": 0.0, "total": 0.0}
        return SearchResult(result.sub_query, options.seed, "offline", [result], timing)

    def check_seed(self, seed: str | None) -> None:
        """Raise a LeverError when the library has no policy of the seed."""
        if seed is not None and seed not in self.database.seed_code:
            raise LeverError(f"seed {describe_missing(seed, self.database.seeds)}")

    def _answer(self, piece: SubQuery, options: SearchOptions) -> SubQueryResult:
        """Filter, score and select for one sub-query."""
        similarity = self._match(piece, options.min_similarity)
        objectives = np.array(list(similarity), dtype=np.int32)
        runs = self.database.runs(objectives, options.seed)
        if not runs:
            return SubQueryResult(piece.text, self._explain(piece, options), 0, None, [])
        columns = self.database.columns
        wanted = [*options.prefer, *piece.preferences]
        keys = [self._key(preference) for preference in wanted]
        strict = [key for key, one in zip(keys, wanted, strict=True) if one.strict]
        lenient = [key for key, one in zip(keys, wanted, strict=True) if not one.strict]
        top = [
            {"cosine_similarity": similarity[int(columns["objective"][row])]}
            | self.database.describe(row)
            for row in select(runs, columns["regressor_score"], lenient, options.top, strict)
        ]
        shown = [
            {"measure": one.measure, "direction": one.direction, "text": one.text} for one in wanted
        ]
        return SubQueryResult(piece.text, None, sum(map(len, runs)), top[0], top, shown)

    def check_preferences(self, preferences: Sequence[Preference]) -> None:
        """Raise a LeverError when the library lacks a measure."""
        measures = {name for name, _ in self.database.meanings.preferences}
        for preference in preferences:
            if preference.measure not in self.database.columns:
                missing = describe_missing(preference.measure, sorted(measures))
                raise LeverError(f"the measure {missing}")

    def _key(self, preference: Preference) -> "Key":
        """Make what is to be least."""
        column = self.database.columns[preference.measure]
        return Key(column, -1.0 if preference.direction == MOST else 1.0)

    def _match(self, piece: SubQuery, min_similarity: float | None) -> dict[int, float]:
        """Find the objectives that a sub-query means, with their similarities."""
        if min_similarity is None and piece.objective is None:
            return {}
        threshold = -1.0 if min_similarity is None else min_similarity
        objectives, similarities = self.database.match(piece.vector, threshold)
        if min_similarity is None:
            aims = self.database.meanings.aims
            meant = aims[objectives] == aims[piece.objective]
            objectives, similarities = objectives[meant], similarities[meant]
        return {
            int(objective): round(float(similarity), 6)
            for objective, similarity in zip(objectives, similarities, strict=True)
        }

    def _explain(self, piece: SubQuery, options: SearchOptions) -> str:
        """Say why there is no policy, and what would have been near."""
        if piece.objective is not None and options.min_similarity is None:
            target = self.database.objectives[piece.objective].target
            place = "the library" if options.seed is None else f"seed {options.seed}"
            return f"No policies found: {place} has none that are for {target}"
        reason = "No policies found that mean this"
        if options.min_similarity is not None:
            reason = f"No policies found with cosine similarity > {options.min_similarity:g}"
        objectives, similarities = self.database.nearest(piece.vector, N_NEAREST_TEXTS)
        near = [
            f"{self.database.objectives[objective].target} {similarity:.2f}"
            for objective, similarity in zip(objectives[:3], similarities[:3], strict=True)
        ]
        return f"{reason}; nearest objectives: {', '.join(near)}"


def open_search(workspace: Workspace) -> PolicySearch:
    """Open a prepared library for searching; from here on the process does algebra in one thread.

    Raises:
        UnusableLibrary: it is missing, incomplete or damaged.
    """
    # The threads of faiss, numpy and onnxruntime wait for work by spinning, and take the processor
    # from one another: with two cores all but the encoding took 7 to 30 ms, in one thread 2 ms.
    threadpool_limits(1)
    database = load_database(workspace)
    encoder = TextEncoder(workspace.text_encoder)
    if encoder.name != database.encoder:
        raise UnusableLibrary(
            f"the index was made with the text encoder {database.encoder!r}, but "
            f"{workspace.text_encoder} holds {encoder.name!r}",
            REBUILD,
        )
    return PolicySearch(database, encoder)


@dataclass(frozen=True)
class Key:
    """What is to be least of policies: a measure, or one with its sign turned.

    Attributes:
        column: (n,), of all policies; NaN, a measure that is unknown, comes last.
        sign: 1 or -1.
    """

    column: NDArray[Any]
    sign: float = 1.0

    def of(self, rows: NDArray[np.int32]) -> NDArray[np.float64]:
        """Give the values of some policies, whose rows ascend: float64 (n_rows,)."""
        whole = len(rows) and int(rows[-1]) - int(rows[0]) + 1 == len(rows)  # then without a copy
        values = self.column[rows[0] : rows[-1] + 1] if whole else self.column[rows]
        values = np.asarray(values, np.float64)
        return -values if self.sign < 0 else values


def select(
    runs: list[NDArray[np.int32]],
    scores: NDArray[np.float64],
    keys: Sequence[Key],
    top: int,
    strict: Sequence[Key] = (),
) -> NDArray[np.int32]:
    """Pick the best of all candidates, touching no more of them than it must.

    Rewards of different objectives can't be compared, so those of a nearer objective come first.

    Args:
        runs: rows of the candidates, a run an objective, the nearest first; at least one run and
            none empty, each in the order of descending predicted reward.
        scores: (n,) predicted rewards of all policies.
        keys: what is to be least, the most important first: of the candidates within 5% (of its
            absolute value) of the best predicted reward, those with the least are best. None of
            them to go by predicted reward alone.
        top: how many to pick.
        strict: keys that come before the reward: only candidates with the least of them are left.

    Returns:
        int32 (n_picked,), the best row first; fewer than `top` when there are no more.
    """
    picked = [_pick(run, scores, keys, top, strict) for run in runs]
    return np.concatenate(picked)[:top]


def _pick(
    rows: NDArray[np.int32],
    scores: NDArray[np.float64],
    keys: Sequence[Key],
    top: int,
    strict: Sequence[Key],
) -> NDArray[np.int32]:
    """Pick the best policies of one objective, as `select` does."""
    for key in strict:
        values = key.of(rows)
        least = _least(values)
        if not np.isnan(least):  # of what is not measured nothing is the least
            rows = rows[values <= least]
    if not keys:
        return rows[:top]
    worst = scores[rows[0]] - TOLERANCE * abs(scores[rows[0]])
    rows = rows[: bisect_left(rows, True, key=lambda row: scores[row] < worst)]
    if len(rows) > top:  # sorting is for the few, whatever the number of candidates
        first = keys[0].of(rows)
        enough = _least(first) if top == 1 else np.partition(first, top - 1)[top - 1]
        rows = rows[~(first > enough)]
    return rows[np.lexsort([-scores[rows], *(key.of(rows) for key in reversed(keys))])[:top]]


def _least(values: NDArray[np.float64]) -> float:
    """Find the least of at least one value; NaN only when there is no other."""
    least = values.min()  # five times as fast as the one that leaves NaN out
    return float(np.fmin.reduce(values) if np.isnan(least) else least)


def describe_missing(value: str, known: list[str]) -> str:
    """Say that the library lacks a seed or target, what was perhaps meant, and what there is."""
    near = get_close_matches(value, known, n=1)
    guess = f"did you mean {near[0]}? It" if near else "it"
    listed = ", ".join(known[:N_LISTED]) + (", ..." if len(known) > N_LISTED else "")
    return f"{value} is not in the library; {guess} has {listed}"


def check_query(query: str) -> None:
    """Raise a LeverError when a query is empty or too long."""
    if not query.strip():
        raise LeverError('the query is empty; describe a policy, for instance "find the exit"')
    if len(query) > MAX_QUERY_LENGTH:
        raise LeverError(f"the query has {len(query)} characters; use at most {MAX_QUERY_LENGTH}")
