"""What a loaded database must be before it is searched: its files may be a stranger's.

A manifest only says that files belong together. Whatever a search takes for granted is checked
here, once, in time that grows with the number of policies by nanoseconds.
"""

import warnings
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from faiss_utils.policy_database import Columns, PolicyDatabase, WorldArrays
from faiss_utils.text_encoder import are_unit_vectors
from library.errors import REBUILD, UnusableLibrary
from understanding.meanings import Meanings
from worlds.measures import LEAST, MOST

CHUNK = 2**18  # policies that are looked at together
MAX_WEIGHT = 1e6  # those of a fit are around 1; sums of larger ones overflow
KINDS = {
    "objective": "i",
    "seed": "i",
    "snapshot_percent": "i",
    "regressor_score": "f",
    "regressor_std": "f",
    "energy": "f",
    "reward": "f",
    "episode": "i",
    "n_transitions": "i",
}
KNOWN = KINDS.keys() - {"energy", "regressor_std"}  # what is known of every policy


def check_database(database: PolicyDatabase) -> None:
    """Check types, shapes and ranges.

    Raises:
        ValueError: something is not as `PolicyDatabase` says.
    """
    _check(isinstance(database.encoder, str), "encoder")
    _check_texts(database)
    _check_policies(database)
    _check_worlds(database)
    _check_meanings(database.meanings, database.index.d, len(database.objectives))
    measures = [measure for measure, _ in database.meanings.preferences]
    _check(all(measure in database.columns for measure in measures), "preferences")


def _check_texts(database: PolicyDatabase) -> None:
    texts = [text for o in database.objectives for text in (o.target, *o.texts)]
    _check(len(texts) > 0 and _are_texts(texts), "objectives")
    n_texts = [len(objective.texts) for objective in database.objectives]
    owners = np.repeat(np.arange(len(n_texts)), n_texts)
    _check_array(database.text_objective, "i", (len(owners),), "text_objective")
    _check(np.array_equal(database.text_objective, owners), "text_objective")
    _check(database.index.ntotal == len(owners), "the number of vectors in policy.index")
    _check(database.index.metric_type == 0, "the metric of policy.index")  # inner product


def _check_policies(database: PolicyDatabase) -> None:
    columns, seeds, by_seed = database.columns, database.seeds, database.by_seed
    _check(KINDS.keys() <= columns.keys(), "columns")
    n = len(columns["objective"])
    for name, column in columns.items():
        _check_array(column, KINDS.get(name, "f"), (n,), name)  # others are measures
    _check(n > 0 and _are_texts(seeds) and len(set(seeds)) == len(seeds), "seeds")
    _check(all(seed.isdecimal() for seed in seeds), "seeds")
    _check_array(by_seed, "i", (n,), "by_seed")
    for start in range(0, n, CHUNK):
        rows = slice(start, start + CHUNK + 1)  # one more, whose order is looked at
        _check_values({name: column[rows] for name, column in columns.items()}, database)
        order = by_seed[rows]
        _check(order.min() >= 0 and order.max() < n, "by_seed")
        steps = np.diff(columns["seed"][order])  # then by row: so no row is there twice
        ascends = (steps > 0) | ((steps == 0) & (np.diff(order) > 0))
        _check(bool(ascends.all()), "the order of by_seed")


def _check_values(columns: Columns, database: PolicyDatabase) -> None:
    """Check consecutive rows of the policies; NaN is only a measure that a world may lack."""
    for name, column in columns.items():
        if column.dtype.kind == "f":
            fine = np.isfinite(column) if name in KNOWN else ~np.isinf(column)
            _check(bool(fine.all()), name)
    for name, size in (("objective", len(database.objectives)), ("seed", len(database.seeds))):
        _check(columns[name].min() >= 0 and columns[name].max() < size, name)
    _check(bool((np.diff(columns["objective"]) >= 0).all()), "the order of objective")


def _check_worlds(database: PolicyDatabase) -> None:
    """Check that each world has policies, and its arrays a row for each of them."""
    of_world = database.objective_world
    _check_array(of_world, "i", (len(database.objectives),), "objective_world")
    _check(len(database.worlds) > 0 and bool((np.diff(of_world) >= 0).all()), "objective_world")
    _check(of_world.min() >= 0 and of_world.max() < len(database.worlds), "objective_world")
    numbers = np.arange(len(of_world) + 1, dtype=np.int32)
    sizes = np.diff(np.searchsorted(database.columns["objective"], numbers))
    counts = np.bincount(of_world, weights=sizes, minlength=len(database.worlds)).astype(int)
    _check(bool((counts > 0).all()), "worlds")
    for world, n in zip(database.worlds, counts.tolist(), strict=True):
        _check_rows(world.embeddings, "f", n, 2, "embeddings")
        if world.q_tables is not None:
            _check_rows(world.q_tables, "f", n, 3, "q_tables")
        if world.start_states is not None:
            _check_rows(world.start_states, "biuf", n, world.start_states.ndim, "start_states")
        if world.behaviours is not None:
            _check_rows(world.behaviours, "f", n, 2, "behaviours")
        if world.networks is not None or world.network_ends is not None:
            _check_networks(world, n)
        if world.sources is not None:
            _check_rows(world.sources, "S", n, 1, "sources")
        if world.transitions is not None or world.episode_starts is not None:
            _check_transitions(world)


def _check_transitions(world: WorldArrays) -> None:
    """Check that the counted steps of a world are numbers of the right kind."""
    steps, starts = world.transitions, world.episode_starts
    _check(steps is not None and starts is not None and world.q_tables is not None, "transitions")
    assert steps is not None and starts is not None
    _check_array(steps, "f", (len(steps), 5), "transitions")
    _check_array(starts, "i", (len(starts), 2), "episode_starts")
    _check(len(steps) > 0 and bool(np.isfinite(steps).all()), "transitions")
    _check(bool((steps[:, 4] >= 0).all()), "transitions")
    _check(
        len(starts) > 0 and 0 < starts[:, 1].min() <= starts[:, 1].max() < 2**20, "episode_starts"
    )


def _check_networks(world: WorldArrays, n: int) -> None:
    """Check that the networks of a world lie one behind the other."""
    ends, networks = world.network_ends, world.networks
    if networks is None or ends is None:
        raise ValueError("networks is not as it must be")
    _check_rows(ends, "i", n, 1, "network_ends")
    _check(networks.ndim == 1 and networks.dtype == np.uint8, "networks")
    _check(bool((np.diff(ends, prepend=0) >= 0).all()), "network_ends")
    _check(int(ends[-1]) == len(networks), "network_ends")


def _check_meanings(meanings: Meanings, dimension: int, n_objectives: int) -> None:
    n, weights = len(meanings.references), meanings.weights
    _check_array(meanings.references, "f", (n, dimension), "references")
    _check(n > 0 and are_unit_vectors(meanings.references), "references")
    _check_array(weights, "f", (n, *weights.shape[1:2]), "weights")
    _check(weights.ndim == 2, "weights")
    _check_numbers(weights, "weights")
    _check(_are_pairs(meanings.preferences), "preferences")
    _check(meanings.n_aims > 0, "weights")
    n_classes = meanings.n_aims + len(meanings.preferences) + 1
    _check_array(meanings.offsets, "f", (n_classes,), "offsets")
    _check_numbers(meanings.offsets, "offsets")
    _check_array(meanings.scales, "f", (2,), "scales")
    _check_numbers(meanings.scales, "scales")
    _check_array(meanings.labels, "i", (n,), "labels")
    _check(bool((np.diff(meanings.labels) >= 0).all()), "the order of labels")
    # np.unique would import masked arrays, which take longer than all of these checks.
    _check(set(meanings.labels.tolist()) == set(range(n_classes)), "labels")
    _check(isinstance(meanings.spread, float) and 1e-6 < meanings.spread <= 2.0, "spread")
    _check(_are_texts(meanings.words), "words")
    _check(isinstance(meanings.origin, str), "origin")
    _check_array(meanings.aims, "i", (n_objectives,), "aims")
    numbers = set(meanings.aims.tolist())
    _check(numbers == set(range(len(numbers))), "aims")
    _check(meanings.n_aims in (1, len(numbers)), "aims")
    found = meanings.found
    _check(isinstance(found, list) and [type(count) for count in found] == [int, int], "found")
    _check(0 <= found[0] <= found[1], "found")
    _check(isinstance(meanings.refused, float), "refused")


def _check_numbers(values: Any, name: str) -> None:
    _check(bool((np.abs(values) < MAX_WEIGHT).all()), name)  # false for NaN as well


def _check_rows(array: Any, kinds: str, n: int, n_dimensions: int, name: str) -> None:
    _check(isinstance(array, np.ndarray) and array.dtype.kind in kinds, name)
    _check(array.ndim == n_dimensions and len(array) == n and array.dtype.isnative, name)


def _check_array(array: Any, kind: str, shape: tuple[int, ...], name: str) -> None:
    _check(isinstance(array, np.ndarray), name)
    _check(array.dtype.kind == kind and array.dtype.isnative, name)
    _check(array.shape == shape, name)


def _are_pairs(values: Any) -> bool:
    """Tell whether values are measures with directions."""
    return isinstance(values, list) and all(
        _are_texts(pair) and len(pair) == 2 and pair[1] in (LEAST, MOST) for pair in values
    )


def _are_texts(values: Any) -> bool:
    return isinstance(values, list) and all(isinstance(value, str) for value in values)


def _check(rule: bool, name: str) -> None:
    if not rule:
        raise ValueError(f"{name} is not as it must be")


def map_array(path: Path) -> NDArray[Any]:
    """Open an array that stays on disk until it is needed.

    Raises:
        UnusableLibrary: it is missing or damaged, or holds objects.
    """
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("error")  # a header that needs mending is no header
            array: NDArray[Any] = np.load(path, mmap_mode="r", allow_pickle=False)
    except Exception as error:  # numpy parses a header as Python: damage can raise nearly anything
        raise UnusableLibrary(f"{path} can't be read ({error})", REBUILD) from None
    return array
