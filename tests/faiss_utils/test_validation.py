"""What a search takes for granted: a valid database, and each rule broken once."""

import copy
from dataclasses import replace

import faiss
import numpy as np
import pytest

from faiss_utils.validation import check_database
from tests.faiss_utils.test_setup_faiss_vdb import DIMENSION, make_database


def make_valid():
    """Make a database of two worlds, the first with counted steps, the second with networks."""
    database = make_database()[0]
    first, second = database.worlds
    n = len(second.embeddings)
    database.worlds = [
        replace(
            first,
            behaviours=first.embeddings,
            transitions=np.ones((3, 5)),
            episode_starts=np.array([[0, 1], [1, 2**20 - 1]]),
        ),
        replace(
            second,
            networks=np.zeros(2 * (n - 1), np.uint8),
            network_ends=np.repeat([2 * np.arange(n)], 1, axis=0).ravel(),  # the first is empty
        ),
    ]
    database.columns["energy"][0] = np.nan  # not every world knows it
    known = database.meanings
    database.meanings = replace(
        known,
        preferences=[["energy", "least"]],
        references=np.concatenate([known.references, known.references[:1]]),
        labels=np.append(known.labels, known.labels[-1] + 1),
        weights=np.pad(known.weights, ((0, 1), (0, 1))),
        offsets=np.pad(known.offsets, (0, 1)),
        spread=2.0,
    )
    return database


def changed(array, place, value):
    array = np.array(array)
    array[place] = value
    return array


def swapped(array):
    """Exchange the first entry with the last, which differs."""
    array = np.array(array)
    array[[0, -1]] = array[[-1, 0]]
    return array


def other_bytes(array):
    return array.astype(array.dtype.newbyteorder())


def index_of(n, metric=faiss.METRIC_INNER_PRODUCT):
    index = faiss.IndexFlat(DIMENSION, metric)
    index.add(np.eye(n, DIMENSION, dtype=np.float32))
    return index


FIELDS = [
    ("encoder", lambda _: None),
    ("objectives", lambda _: []),
    ("objectives", lambda objectives: [replace(objectives[0], target=3), *objectives[1:]]),
    ("objectives", lambda objectives: [replace(objectives[0], phrasings=(3,)), *objectives[1:]]),
    ("text_objective", lambda owners: owners.astype(float)),
    ("text_objective", lambda owners: owners[:-1]),
    ("text_objective", swapped),
    ("text_objective", other_bytes),
    ("index", lambda index: index_of(index.ntotal - 1)),
    ("index", lambda index: index_of(index.ntotal, faiss.METRIC_L2)),
    ("seeds", lambda seeds: [*seeds[:-1], seeds[0]]),
    ("seeds", lambda seeds: [*seeds[:-1], 3]),
    ("seeds", lambda seeds: [*seeds[:-1], "../x"]),
    ("seeds", lambda seeds: tuple(seeds)),
    ("by_seed", lambda rows: rows.astype(float)),
    ("by_seed", lambda rows: rows[:-1]),
    ("by_seed", lambda rows: changed(rows, 0, -1)),
    ("by_seed", lambda rows: changed(rows, 0, len(rows))),
    ("by_seed", lambda rows: changed(rows, 0, rows[1])),
    ("by_seed", swapped),
    ("objective_world", lambda worlds: worlds.astype(float)),
    ("objective_world", lambda worlds: worlds[:-1]),
    ("objective_world", lambda worlds: worlds[::-1]),
    ("objective_world", lambda worlds: worlds - 1),
    ("objective_world", lambda worlds: worlds + 1),
    ("worlds", lambda _: []),
]


@pytest.mark.parametrize(("name", "change"), FIELDS)
def test_a_broken_field_is_refused(name, change):
    database = make_valid()
    check_database(database)
    setattr(database, name, change(getattr(database, name)))
    with pytest.raises(ValueError, match="is not as it must be"):
        check_database(database)


COLUMNS = [
    *((name, lambda column: column.astype("U8")) for name in ("steps", "episode", "reward")),
    *((name, lambda column: column[:-1]) for name in ("steps", "episode", "reward", "seed")),
    *((name, lambda column: changed(column, 0, np.inf)) for name in ("steps", "energy", "reward")),
    *((name, lambda column: changed(column, 0, -1)) for name in ("objective", "seed")),
    *((name, lambda column: changed(column, -1, 99)) for name in ("objective", "seed")),
    ("regressor_score", lambda column: changed(column, 0, np.nan)),
    ("reward", lambda column: changed(column, 0, np.nan)),
    ("objective", swapped),
    ("seed", swapped),
    ("episode", lambda column: column.astype(float)),
    ("reward", other_bytes),
    ("steps", lambda column: column.tolist()),
]


@pytest.mark.parametrize(("name", "change"), COLUMNS)
def test_a_broken_column_is_refused(name, change):
    database = make_valid()
    database.columns[name] = change(database.columns[name])
    with pytest.raises(ValueError, match="is not as it must be"):
        check_database(database)


@pytest.mark.parametrize("name", ["reward", "energy", "regressor_std", "n_transitions"])
def test_a_missing_column_is_refused(name):
    database = make_valid()
    del database.columns[name]
    with pytest.raises(ValueError, match="columns"):
        check_database(database)


@pytest.mark.parametrize("name", ["energy", "regressor_std", "steps"])
def test_a_measure_may_be_unknown(name):
    database = make_valid()
    database.columns[name] = np.full_like(database.columns[name], np.nan)
    check_database(database)


WORLDS = [
    (0, "embeddings", lambda array: array[:-1]),
    (0, "embeddings", lambda array: array[:, :, None]),
    (0, "embeddings", lambda array: array.astype(int)),
    (0, "embeddings", other_bytes),
    (0, "q_tables", lambda array: array[:-1]),
    (0, "q_tables", lambda array: array[0]),
    (0, "q_tables", lambda array: array.astype(complex)),
    (0, "q_tables", lambda array: None),  # counted steps go with tables
    (0, "start_states", lambda array: array[:-1]),
    (0, "start_states", lambda array: array.astype("S1")),
    (0, "behaviours", lambda array: array[:-1]),
    (0, "behaviours", lambda array: array[:, 0]),
    (0, "behaviours", lambda array: array.astype(int)),
    (0, "transitions", lambda array: None),
    (0, "transitions", lambda array: array[:0]),
    (0, "transitions", lambda array: array[:, :4]),
    (0, "transitions", lambda array: array.astype(int)),
    (0, "transitions", lambda array: changed(array, (0, 2), np.inf)),
    (0, "transitions", lambda array: changed(array, (0, 4), -1)),
    (0, "episode_starts", lambda array: None),
    (0, "episode_starts", lambda array: array[:0]),
    (0, "episode_starts", lambda array: array[:, :1]),
    (0, "episode_starts", lambda array: array.astype(float)),
    (0, "episode_starts", lambda array: changed(array, (0, 1), 0)),
    (0, "episode_starts", lambda array: changed(array, (0, 1), 2**20)),
    (1, "sources", lambda array: array[:-1]),
    (1, "sources", lambda array: array[:, None]),
    (1, "sources", lambda array: array.astype("U")),
    (1, "networks", lambda array: None),
    (1, "networks", lambda array: array[:-1]),
    (1, "networks", lambda array: array.astype(np.int8)),
    (1, "networks", lambda array: array[:, None]),
    (1, "network_ends", lambda array: None),
    (1, "network_ends", lambda array: array[:-1]),
    (1, "network_ends", lambda array: array.astype(float)),
    (1, "network_ends", lambda array: changed(array, 1, array[2] + 1)),
    (1, "network_ends", lambda array: changed(array, 0, -1)),
]


def test_a_world_without_policies_is_refused():
    database = make_valid()
    whole = database.worlds[0]
    database.worlds.append(replace(whole, name="empty", embeddings=whole.embeddings[:0]))
    with pytest.raises(ValueError, match="worlds"):
        check_database(database)


@pytest.mark.parametrize(("world", "name", "change"), WORLDS)
def test_a_broken_array_of_a_world_is_refused(world, name, change):
    database = make_valid()
    whole = database.worlds[world]
    database.worlds[world] = replace(whole, **{name: change(getattr(whole, name))})
    with pytest.raises(ValueError, match="is not as it must be"):
        check_database(database)


MEANINGS = [
    ("references", lambda array: array[:, :-1]),
    ("references", lambda array: 2 * array),
    ("references", lambda array: array.astype(int)),
    ("weights", lambda array: array[:-1]),
    ("weights", lambda array: array[:, 0]),
    ("weights", lambda array: array[:, :-1]),  # no class is left that is an aim
    ("weights", lambda array: np.pad(array, ((0, 0), (0, 1)))),
    *(
        (name, lambda array, wild=wild: changed(array, 0, wild))
        for name in ("weights", "offsets", "scales")
        for wild in (np.nan, 1e6, -1e6)
    ),
    ("offsets", lambda array: array[:-1]),
    ("preferences", lambda _: [["energy", "some"]]),
    ("preferences", lambda _: [["energy", "least", "most"]]),
    ("preferences", lambda _: [["beauty", "least"]]),
    ("preferences", lambda _: (["energy", "least"],)),
    ("spread", lambda _: 1),
    ("spread", lambda _: 1e-6),
    ("spread", lambda _: 2.001),
    ("spread", lambda _: np.nan),
    ("words", lambda _: [3]),
    ("aims", lambda array: array[:-1]),
    ("aims", lambda array: array + 1),
    ("aims", lambda array: changed(array, -1, 99)),
    ("found", lambda _: None),
    ("found", lambda _: [1]),
    ("found", lambda _: [2, 1]),
    ("found", lambda _: [0.5, 1.0]),
    ("scales", lambda array: array[:-1]),
    ("refused", lambda _: None),
    ("origin", lambda _: None),
]


@pytest.mark.parametrize(("name", "change"), MEANINGS)
def test_broken_meanings_are_refused(name, change):
    database = make_valid()
    whole = database.meanings
    database.meanings = copy.copy(whole)
    object.__setattr__(database.meanings, name, change(getattr(whole, name)))
    with pytest.raises(ValueError, match="is not as it must be"):
        check_database(database)


def test_the_smallest_spread_of_any_encoder_is_accepted():
    database = make_valid()
    database.meanings = replace(database.meanings, spread=0.01)
    check_database(database)
