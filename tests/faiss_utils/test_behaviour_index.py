"""The policies that behave alike equal a brute-force scan of their world."""

from dataclasses import replace

import numpy as np
import pytest

from faiss_utils.behaviour_index import find_alike
from faiss_utils.policy_retrieval import PolicySearch, SearchOptions
from library.errors import LeverError, UnusableLibrary
from tests.faiss_utils.test_policy_retrieval import RandomEncoder
from tests.faiss_utils.test_setup_faiss_vdb import make_database


@pytest.fixture
def database():
    database = make_database(n_policies=60)[0]
    database.worlds = [replace(w, behaviours=w.embeddings[:, :2]) for w in database.worlds]
    return database


def name_of(database, row):
    return database.describe(row)["policy_name"]


def unique_rows(database):
    """List the rows whose names no other policy of this random library has."""
    rows = range(database.n_policies)
    return [row for row in rows if database.find(name_of(database, row)) == row]


@pytest.mark.parametrize("limit", [None, "a seed"])
@pytest.mark.parametrize("top", [1, 5, 1000])
def test_the_nearest_are_found_in_the_world_of_the_policy(database, limit, top):
    for row in unique_rows(database):
        world, place = database.place(row)
        seed = database.seeds[2] if limit else None
        first = row - place
        distances = np.linalg.norm(world.behaviours - world.behaviours[place], axis=1)
        seeds = database.columns["seed"][first : first + len(distances)]
        others = [
            other
            for other in np.argsort(distances, kind="stable")
            if other != place and (seed is None or seeds[other] == 2)
        ][:top]
        found = find_alike(database, name_of(database, row), top, seed)
        assert [other for other, _ in found] == [first + other for other in others]
        np.testing.assert_allclose([d for _, d in found], distances[others], atol=1e-5)


def test_policies_that_all_behave_alike_are_all_near(database):
    world = database.worlds[0]
    database.worlds[0] = replace(world, behaviours=np.zeros((len(world.embeddings), 0), "f4"))
    row = unique_rows(database)[0]
    found = find_alike(database, name_of(database, row), 3)
    assert len(found) == 3 and row not in dict(found) and set(dict(found).values()) == {0.0}


def test_what_is_not_there_is_told(database):
    name = name_of(database, unique_rows(database)[0])
    with pytest.raises(LeverError, match="no policy is called 'gold_0038_101'"):
        find_alike(database, "gold_0038_101", 3)
    world = database.worlds[0]
    database.worlds[0] = replace(world, behaviours=np.full_like(world.behaviours, np.nan))
    with pytest.raises(UnusableLibrary, match="are no numbers"):
        find_alike(database, name, 3)
    database.worlds[0] = replace(world, behaviours=None)
    with pytest.raises(LeverError, match="knows no behaviours of one"):
        find_alike(database, name, 3)


def test_an_answer_says_how_far_away_each_is(database):
    search, row = PolicySearch(database, RandomEncoder()), unique_rows(database)[0]
    name = name_of(database, row)
    result = search.like(name, SearchOptions(top=4))
    (answer,) = result.sub_queries
    assert result.found and answer.candidates == len(answer.top) == 4
    assert answer.best_policy == answer.top[0] and answer.message is None
    expected = find_alike(database, name, 4)
    assert [p["policy_name"] for p in answer.top] == [name_of(database, r) for r, _ in expected]
    distances = [policy["behaviour_distance"] for policy in answer.top]
    assert distances == pytest.approx([d for _, d in expected], abs=1e-6)
    with pytest.raises(LeverError, match="seed 9999 is not in the library"):
        search.like(name, SearchOptions(seed="9999"))
