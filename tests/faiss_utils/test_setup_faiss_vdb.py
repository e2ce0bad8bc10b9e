"""The vector database equals brute force in numpy."""

from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from faiss_utils.policy_database import WorldArrays
from faiss_utils.setup_faiss_vdb import (
    _environments,
    best_first,
    build_database,
    load_database,
    save_database,
)
from library import plain_pickle
from library.errors import UnusableLibrary
from library.objective import Objective
from library.workspace import Workspace
from understanding.meanings import Meanings

DIMENSION = 8


def unit_vectors(n, rng):
    vectors = rng.normal(size=(n, DIMENSION)).astype(np.float32)
    return vectors / np.linalg.norm(vectors, axis=1, keepdims=True)


def make_meanings(vectors, n_objectives):
    """Make the meanings of a library where any text means the objective that is nearest."""
    n_classes = 2
    return Meanings(
        references=vectors[np.arange(n_classes) % len(vectors)],
        labels=np.arange(n_classes, dtype=np.int32),
        weights=np.zeros((n_classes, n_classes), np.float32),
        spread=1.0,
        scales=np.ones(2, np.float32),
        offsets=9 * np.eye(n_classes, dtype=np.float32)[0],
        preferences=[],
        aims=np.arange(n_objectives, dtype=np.int32),
        words=["do"],
        found=[9, 10],
        refused=1.0,
        origin="",
    )


def make_database(seed=0, n_objectives=4, n_policies=40, index_factory=None, workspace=None):
    """Build a random library of two worlds with ties in text vectors and scores.

    Where `workspace` is given the arrays of the worlds are written to it.
    """
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
        "steps": rng.integers(0, 5, n_policies).astype(float),
    }
    columns = {name: column[best_first(columns)] for name, column in columns.items()}
    columns["number"] = np.arange(n_policies, dtype=float)  # a measure, as far as anybody knows
    world_of = np.arange(n_objectives, dtype=np.int32) // -(-n_objectives // 2)
    worlds = []
    for number, (name, d, shape) in enumerate((("one", 3, (256, 5)), ("two", 7, (64, 4)))):
        n = int((world_of[columns["objective"]] == number).sum())
        arrays = {
            "embeddings": rng.normal(size=(n, d)).astype(np.float32),
            "q_tables": rng.normal(size=(n, *shape)).astype(np.float32),
            "start_states": rng.integers(0, 9, (n, 4, 4)).astype(np.int8),
        }
        if number:
            arrays |= {"q_tables": None, "sources": np.array([b'{"folder": "x"}'] * n)}
        worlds.append(WorldArrays(name, **arrays))
        for array_name, array in arrays.items():
            if workspace and array is not None:
                path = workspace.world_arrays(name, array_name)
                path.parent.mkdir(parents=True, exist_ok=True)
                np.save(path, array)
    meanings = make_meanings(vectors, n_objectives)
    database = build_database(
        "tiny", objectives, world_of, vectors, meanings, columns, worlds, index_factory
    )
    return database, objectives, vectors, columns


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


def test_a_policy_keeps_what_is_its_own():
    database, objectives, _, columns = make_database()
    rows = {"one": 0, "two": 0}
    for row in range(database.n_policies):
        policy = database.describe(row)
        target = objectives[columns["objective"][row]].target
        seed, percent = columns["policy_seed"][row], columns["snapshot_percent"][row]
        assert policy["policy_name"] == f"{target}_{seed}_{percent}"
        world, place = database.place(row)
        assert world.name == policy["world"] == ("one" if target in "target0 target1" else "two")
        assert place == rows[world.name]
        rows[world.name] += 1
        assert policy["policy_embedding"] == pytest.approx(world.embeddings[place])
        assert policy["q_table_shape"] == ([256, 5] if world.name == "one" else None)
    assert rows == {world.name: len(world.embeddings) for world in database.worlds}


def test_what_is_not_known_is_none():
    database, *_ = make_database()
    database.columns["energy"][3] = np.nan
    assert database.describe(3)["energy"] is None and database.describe(4)["energy"] is not None


def test_policies_are_found_by_name_and_others_are_not():
    database, *_ = make_database()
    for row in range(database.n_policies):
        name = database.describe(row)["policy_name"]
        assert database.describe(database.find(name))["policy_name"] == name
    for name in ("", "_", "target0", "target9_0001_20", "target0_9999_20", "target0_0001_21"):
        assert database.find(name) is None


@pytest.fixture(params=[None, "IVF2,Flat", "HNSW8,Flat"])
def saved(tmp_path, request):
    workspace = Workspace(tmp_path)
    database, *_ = make_database(index_factory=request.param, workspace=workspace)
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
    assert isinstance(loaded.worlds[0].q_tables, np.memmap)
    assert [world.name for world in loaded.worlds] == ["one", "two"]
    assert [loaded.source(row) for row in everything] == [
        database.source(row) for row in everything
    ]


def path_of(workspace, name):
    if name.startswith("column/"):
        return workspace.policy_column(name.removeprefix("column/"))
    return workspace.world_arrays(*name.split("/")) if "/" in name else getattr(workspace, name)


@pytest.mark.parametrize(
    ("missing", "message"),
    [
        ("policy_index", "Database not found"),
        ("metadata", "Database not found"),
        ("reward_regressor", "Regressor model not found"),
        ("column/reward", "reward.npy"),
        ("column/by_seed", "by_seed.npy"),
        ("one/q_tables", "q_tables.npy"),
        ("two/embeddings", "embeddings.npy"),
        ("two/start_states", "start_states.npy"),
    ],
)
def test_what_is_missing_is_named_with_the_command_that_mends_it(saved, missing, message):
    workspace, _ = saved
    path_of(workspace, missing).unlink()
    with pytest.raises(UnusableLibrary, match=rf"{message}.*pi2vec_preparation\.py"):
        load_database(workspace)


@pytest.mark.parametrize(
    "name",
    ["policy_index", "metadata", "column/seed", "one/q_tables", "two/embeddings", "two/sources"],
)
def test_a_truncated_file_is_an_error(saved, name):
    workspace, _ = saved
    path = path_of(workspace, name)
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    with pytest.raises(UnusableLibrary, match=path.name):
        load_database(workspace)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("weights", np.full((2, 2), np.nan, np.float32)),
        ("weights", np.zeros((2, 3), np.float32)),
        ("offsets", np.zeros(3, np.float32)),
        ("scales", np.full(2, np.nan, np.float32)),
        ("labels", np.array([1, 0], np.int32)),
        ("labels", np.array([0, 0], np.int32)),
        ("spread", 0.0),
        ("aims", np.array([0, 1, 2, 2**31 - 1], np.int32)),
        ("preferences", [["fuel", "least"]]),
        ("found", "all"),
        ("found", [1.0, 2.0]),
    ],
)
def test_meanings_that_a_stranger_changed_are_refused(tmp_path, name, value):
    workspace = Workspace(tmp_path)
    database, *_ = make_database(workspace=workspace)
    changed = replace(database.meanings, **{name: value})
    database.meanings = changed
    save_database(database, workspace)
    plain_pickle.save(workspace.reward_regressor, {})
    with pytest.raises(UnusableLibrary, match=r"metadata\.pkl"):
        load_database(workspace)


def test_an_index_that_names_texts_which_are_not_there_is_refused():
    database, _, vectors, *_ = make_database()
    database.index.add(vectors[:1])
    for ask in (
        lambda: database.match(vectors[0], 0.9),
        lambda: database.nearest(vectors[0], 99),
        lambda: [database.nearest_texts(vectors[i : i + 1]) for i in range(len(vectors))],
    ):
        database.text_objective = database.text_objective[:3]
        with pytest.raises(UnusableLibrary, match="texts that are not there"):
            ask()


def test_a_text_encoder_of_another_width_is_refused():
    database = make_database()[0]
    with pytest.raises(UnusableLibrary, match="makes vectors of 3 dimensions, the index has 8"):
        database.nearest_texts(np.eye(1, 3, dtype=np.float32))


@pytest.mark.parametrize(
    "forge",
    [
        lambda column: column[:-1],
        lambda column: column[np.newaxis],
        lambda column: np.array(3, column.dtype),
        lambda column: np.full(column.shape, np.inf),
        lambda column: column.astype(complex),
        lambda column: column.astype(column.dtype.newbyteorder()),
        lambda column: np.array([{}] * len(column), dtype=object),
        lambda column: np.array(["x"] * len(column)),
    ],
)
@pytest.mark.parametrize("name", ["objective", "seed", "by_seed", "reward"])
def test_a_field_of_policies_that_a_stranger_changed_is_refused(saved, name, forge):
    workspace, _ = saved
    path = workspace.policy_column(name)
    np.save(path, forge(np.load(path)))
    with pytest.raises(UnusableLibrary):
        load_database(workspace)


@pytest.mark.parametrize(("name", "number"), [("by_seed", 0), ("by_seed", -1), ("seed", -1)])
def test_a_row_that_is_there_twice_or_nowhere_is_refused(saved, name, number):
    workspace, _ = saved
    column = np.load(workspace.policy_column(name))
    column[1] = column[0] if number == 0 else number
    np.save(workspace.policy_column(name), column)
    with pytest.raises(UnusableLibrary, match=name):
        load_database(workspace)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("format", 10**6),
        ("objectives", [{"target": "gold"}]),
        ("meanings", {"more": 3}),
        ("worlds", {"one": ["../../x"], "two": ["embeddings"]}),
        ("worlds", {"one": ["name"], "two": ["embeddings"]}),
        ("worlds", {3: ["embeddings"], "two": ["embeddings"]}),
        ("worlds", [["one", []]]),
        ("more", 3),
        ("columns", {}),
        ("columns", [3]),
        ("columns", ["../x"]),
    ],
)
def test_metadata_that_a_stranger_changed_are_refused(tmp_path, name, value):
    workspace = Workspace(tmp_path)
    save_database(make_database(workspace=workspace)[0], workspace)
    plain_pickle.save(workspace.reward_regressor, {})
    metadata = plain_pickle.load(workspace.metadata)
    plain_pickle.save(workspace.metadata, metadata | {name: value})
    with pytest.raises(UnusableLibrary, match=r"metadata\.pkl can't be used|x\.npy can't be read"):
        load_database(workspace)


def test_an_environment_stands_for_the_only_target_in_it():
    def library(environment, *targets):
        world = SimpleNamespace(environment=environment)
        return SimpleNamespace(policies=[SimpleNamespace(target=t, world=world) for t in targets])

    worlds = {
        "moon": library("LunarLander-v3", "land"),
        "lake": library("FrozenLake-v1", "left", "right"),
        "grid": library(None, "gold"),
    }
    targets = ("left", "gold", "land", "right")
    objectives = [Objective(target, f"Do {target}.", ()) for target in targets]
    assert _environments(objectives, worlds) == ["left", "gold", "LunarLander-v3", "right"]
