"""What a loaded database must be before it is searched: its files may be a stranger's.

A manifest only says that files belong together. Whatever a search takes for granted is checked
here, once, in time that grows with the number of policies by nanoseconds.
"""

from typing import Any

import numpy as np

from faiss_utils.policy_database import PolicyDatabase
from faiss_utils.text_encoder import are_unit_vectors
from understanding.meanings import N_OTHER, Meanings
from understanding.preferences import LEAST, MOST, column_of

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


def check_database(database: PolicyDatabase) -> None:
    """Check types, shapes and ranges.

    Raises:
        ValueError: something is not as `PolicyDatabase` says.
    """
    _check(isinstance(database.encoder, str), "encoder")
    _check_texts(database)
    _check_policies(database)
    _check_meanings(database.meanings, database.index.d, len(database.objectives))
    measures = [measure for measure, _ in database.meanings.preferences]
    _check(all(column_of(measure) in database.columns for measure in measures), "preferences")


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
    _check(isinstance(columns, dict) and KINDS.keys() <= columns.keys(), "columns")
    n = len(columns["objective"])
    for name, kind in (dict.fromkeys(columns, "i") | KINDS).items():
        _check_array(columns[name], kind, (n,), name)
        _check(kind != "f" or bool(np.isfinite(columns[name]).all()), name)
    _check(n > 0 and _are_texts(seeds) and len(set(seeds)) == len(seeds), "seeds")
    _check(all(seed.isdecimal() for seed in seeds), "seeds")
    for name, size in (("objective", len(database.objectives)), ("seed", len(seeds))):
        _check(columns[name].min() >= 0 and columns[name].max() < size, name)
    _check(bool((np.diff(columns["objective"]) >= 0).all()), "the order of objective")
    _check_array(by_seed, "i", (n,), "by_seed")
    _check(by_seed.min() >= 0 and by_seed.max() < n, "by_seed")
    _check(bool((np.bincount(by_seed, minlength=n) == 1).all()), "by_seed")
    _check(bool((np.diff(columns["seed"][by_seed]) >= 0).all()), "the order of by_seed")
    _check_array(database.embeddings, "f", (n, *database.embeddings.shape[1:2]), "embeddings")
    _check_array(database.q_tables, "f", (n, *database.q_tables.shape[1:3]), "q_tables")
    _check(database.embeddings.ndim == 2 and database.q_tables.ndim == 3, "q_tables or embeddings")


def _check_meanings(meanings: Meanings, dimension: int, n_objectives: int) -> None:
    n, n_grams = len(meanings.references), len(meanings.grams)
    _check_array(meanings.references, "f", (n, dimension), "references")
    _check(n > 0 and are_unit_vectors(meanings.references), "references")
    _check_array(meanings.weights, "f", (n, *meanings.weights.shape[1:2]), "weights")
    _check(meanings.weights.ndim == 2, "weights")
    _check_numbers(meanings.weights, "weights")
    _check(_are_pairs(meanings.preferences), "preferences")
    _check_array(
        meanings.offsets, "f", (meanings.n_aims + len(meanings.preferences) + N_OTHER,), "offsets"
    )
    _check_numbers(meanings.offsets, "offsets")
    _check(isinstance(meanings.scale, float) and abs(meanings.scale) < MAX_WEIGHT, "scale")
    _check(isinstance(meanings.spread, float) and 1e-6 < meanings.spread <= 2.0, "spread")
    _check(_are_texts(meanings.grams) and _are_texts(meanings.words), "grams or words")
    _check_array(meanings.rarity, "f", (n_grams + 1,), "rarity")
    _check_numbers(meanings.rarity, "rarity")
    _check_grams(meanings, n, n_grams)
    _check(meanings.n_aims > 0, "weights")
    _check_array(meanings.aims, "i", (n_objectives,), "aims")
    numbers = np.unique(meanings.aims)
    _check(np.array_equal(numbers, np.arange(len(numbers))), "aims")
    _check(meanings.n_aims in (1, len(numbers)), "aims")
    _check(isinstance(meanings.found, float) and isinstance(meanings.refused, float), "found")


def _check_grams(meanings: Meanings, n: int, n_grams: int) -> None:
    starts, numbers = meanings.gram_starts, meanings.gram_numbers
    _check_array(starts, "i", (n + 1,), "gram_starts")
    _check(starts[0] == 0 and starts[-1] == len(numbers), "gram_starts")
    _check(bool((np.diff(starts) >= 0).all()), "gram_starts")
    _check_array(numbers, "i", (len(numbers),), "gram_numbers")
    _check(bool(((numbers >= 0) & (numbers < n_grams)).all()), "gram_numbers")
    _check_array(meanings.gram_values, "f", (len(numbers),), "gram_values")
    _check_numbers(meanings.gram_values, "gram_values")


def _check_numbers(values: Any, name: str) -> None:
    _check(bool((np.abs(values) < MAX_WEIGHT).all()), name)  # false for NaN as well


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
