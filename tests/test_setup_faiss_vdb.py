"""The vector database equals brute force in numpy."""

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from faiss_utils.setup_faiss_vdb import build_database, load_database, save_database
from library import plain_pickle
from library.errors import UnusableLibrary
from library.objective import Objective
from library.workspace import Workspace
from understanding.meanings import N_OTHER, Meanings

DIMENSION = 8


def unit_vectors(n, rng):
    vectors = rng.normal(size=(n, DIMENSION)).astype(np.float32)
    return vectors / np.linalg.norm(vectors, axis=1, keepdims=True)


def make_meanings(vectors, n_objectives):
    """Make the meanings of a library whose every text means its first objective."""
    n_classes = n_objectives + N_OTHER
    return Meanings(
        references=vectors,
        weights=np.zeros((len(vectors), n_classes), np.float32),
        spread=1.0,
        grams=[" do "],
        rarity=np.ones(2, np.float32),
        gram_starts=np.zeros(len(vectors) + 1, np.int32),
        gram_numbers=np.zeros(0, np.int32),
        gram_values=np.zeros(0, np.float32),
        scale=1.0,
        offsets=np.eye(n_classes, dtype=np.float32)[0],
        preferences=[],
        aims=np.arange(n_objectives, dtype=np.int32),
        words=["do"],
        found=1.0,
        refused=1.0,
    )


def make_database(seed=0, n_objectives=4, n_policies=40, index_factory=None):
    """Build a random library with ties in text vectors and scores."""
    rng = np.random.default_rng(seed)
    objectives = [
        Objective(f"target{i}", f"Do {i}.", tuple(f"do {i} so {j}" for j in range(i)))
        for i in range(n_objectives)
    ]
    vectors = unit_vectors(sum(len(objective.texts) for objective in objectives), rng)
    vectors[-1] = vectors[0]
    columns = {
        "objective": rng.integers(0, n_objectives, n_policies).astype(np.int32),
        "policy_seed": np.array([f"{s:04d}" for s in rng.integers(0, 6, n_policies)]),
        "snapshot_percent": rng.choice([20, 60, 100], n_policies),
        "regressor_score": rng.integers(0, 5, n_policies).astype(float),
        "energy": rng.random(n_policies),
        "regressor_std": rng.random(n_policies),
        "reward": rng.random(n_policies),
        "episode": np.arange(n_policies),
        "n_transitions": np.arange(n_policies),
        "number": np.arange(n_policies),
    }
    embeddings = rng.normal(size=(n_policies, 3)).astype(np.float32)
    q_tables = rng.normal(size=(n_policies, 256, 5)).astype(np.float32)
    meanings = make_meanings(vectors, n_objectives)
    database = build_database(
        "tiny", objectives, vectors, meanings, columns, embeddings, q_tables, index_factory
    )
    return database, objectives, vectors, columns, embeddings, q_tables


@given(
    seed=st.integers(0, 50), query=st.integers(0, 1000), threshold=st.sampled_from([-1.0, 0, 0.3])
)
def test_matches_equal_brute_force(seed, query, threshold):
    database, objectives, vectors, *_ = make_database(seed)
    vector = unit_vectors(1, np.random.default_rng(query))[0]
    owners = np.repeat(np.arange(len(objectives)), [len(o.texts) for o in objectives])
    best = [float((vectors[owners == i] @ vector).max()) for i in range(len(objectives))]
    expected = {i: cosine for i, cosine in enumerate(best) if cosine > threshold}
    found, similarities = database.match(vector, threshold)
    assert set(found.tolist()) == set(expected)
    assert list(similarities) == sorted(similarities, reverse=True)
    for objective, similarity in zip(found, similarities, strict=True):
        assert similarity == pytest.approx(expected[int(objective)], abs=1e-6)
    nearest, similarities = database.nearest(vector, 10**6)
    assert similarities == pytest.approx(sorted(best, reverse=True), abs=1e-6)
    assert sorted(nearest) == list(range(len(objectives)))


@given(seed=st.integers(0, 50))
def test_rows_equal_a_scan_of_all_policies(seed):
    database, _, _, columns, *_ = make_database(seed, n_objectives=6, n_policies=30)
    some = np.random.default_rng(seed).permutation(6)[:4].astype(np.int32)
    for name in [None, *database.seeds]:
        of_seed = name is None or columns["policy_seed"] == name
        wanted = [np.flatnonzero((columns["objective"] == o) & of_seed).tolist() for o in some]
        runs = database.runs(some, name)
        found = [sorted(database.columns["number"][run].tolist()) for run in runs]
        assert found == [numbers for numbers in wanted if numbers]
        for run in runs:
            assert (np.diff(database.columns["regressor_score"][run]) <= 0).all()


def test_no_objectives_have_no_rows():
    assert make_database()[0].runs(np.empty(0, np.int32)) == []


def test_an_unknown_seed_is_no_empty_answer():
    with pytest.raises(KeyError):
        make_database()[0].runs(np.array([0], np.int32), "9999")


@pytest.mark.parametrize("bad", [0.0, np.nan, 2.0])
def test_vectors_that_are_no_unit_vectors_are_refused(bad):
    database, *_ = make_database()
    vector = np.zeros(DIMENSION, dtype=np.float32)
    vector[0] = bad
    with pytest.raises(ValueError, match="length 1"):
        database.match(vector, 0.0)


def test_a_policy_keeps_its_own_embedding_and_q_table():
    database, objectives, _, columns, embeddings, q_tables = make_database()
    for row in range(database.n_policies):
        policy = database.describe(row)
        number = policy["number"]
        target = objectives[columns["objective"][number]].target
        seed, percent = columns["policy_seed"][number], columns["snapshot_percent"][number]
        assert policy["policy_name"] == f"{target}_{seed}_{percent}"
        assert policy["policy_embedding"] == pytest.approx(embeddings[number])
        np.testing.assert_array_equal(database.q_tables[row], q_tables[number])


@pytest.fixture(params=[None, "IVF2,Flat", "HNSW8,Flat"])
def saved(tmp_path, request):
    workspace = Workspace(tmp_path)
    database, *_ = make_database(index_factory=request.param)
    save_database(database, workspace)
    plain_pickle.save(workspace.reward_regressor, {})
    return workspace, database


def test_save_and_load_round_trip(saved):
    workspace, database = saved
    loaded = load_database(workspace)
    vector = unit_vectors(1, np.random.default_rng(1))[0]
    for before, after in zip(database.match(vector, -1.0), loaded.match(vector, -1.0), strict=True):
        np.testing.assert_array_equal(before, after)
    everything = range(database.n_policies)
    assert [loaded.describe(i) for i in everything] == [database.describe(i) for i in everything]
    assert isinstance(loaded.q_tables, np.memmap)


@pytest.mark.parametrize(
    ("missing", "message"),
    [
        ("policy_index", "Database not found"),
        ("metadata", "Database not found"),
        ("reward_regressor", "Regressor model not found"),
        ("q_tables", "q_tables.npy"),
        ("policy_embeddings", "policy_embeddings.npy"),
    ],
)
def test_what_is_missing_is_named_with_the_command_that_mends_it(saved, missing, message):
    workspace, _ = saved
    getattr(workspace, missing).unlink()
    with pytest.raises(UnusableLibrary, match=rf"{message}.*pi2vec_preparation\.py"):
        load_database(workspace)


@pytest.mark.parametrize("name", ["policy_index", "metadata", "q_tables", "policy_embeddings"])
def test_a_truncated_file_is_an_error(saved, name):
    workspace, _ = saved
    path = getattr(workspace, name)
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    with pytest.raises(UnusableLibrary, match=path.name):
        load_database(workspace)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("weights", np.full((10, 7), np.nan, np.float32)),
        ("weights", np.zeros((10, 3), np.float32)),
        ("offsets", np.zeros(3, np.float32)),
        ("scale", float("nan")),
        ("spread", 0.0),
        ("aims", np.array([0, 1, 2, 2**31 - 1], np.int32)),
        ("gram_starts", np.full(11, 1, np.int32)),
        ("gram_numbers", np.array([5], np.int32)),
        ("rarity", np.zeros(1, np.float32)),
        ("preferences", [["fuel", "least"]]),
        ("found", "all"),
    ],
)
def test_meanings_that_a_stranger_changed_are_refused(tmp_path, name, value):
    workspace = Workspace(tmp_path)
    database, *_ = make_database()
    changed = replace(database.meanings, **{name: value})
    database.meanings = changed
    save_database(database, workspace)
    plain_pickle.save(workspace.reward_regressor, {})
    with pytest.raises(UnusableLibrary, match=r"metadata\.pkl"):
        load_database(workspace)
