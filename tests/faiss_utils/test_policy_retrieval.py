"""The answer to a query equals a brute-force scan of all policies."""

import time

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from faiss_utils.policy_retrieval import (
    MAX_QUERY_LENGTH,
    Key,
    PolicySearch,
    SearchOptions,
    describe_missing,
    select,
)
from library.errors import LeverError
from tests.faiss_utils.test_setup_faiss_vdb import make_database, unit_vectors
from understanding.preferences import Preference

PREFERENCES = st.builds(
    Preference,
    measure=st.sampled_from(["energy", "steps"]),
    direction=st.sampled_from(["least", "most"]),
    text=st.sampled_from(["", "never"]),
)
REWARDS = (-105, -102, -100, -50, 0, 95, 98, 100)  # several within 5% of each other


class RandomEncoder:
    """A tiny deterministic text encoder: equal texts, equal vectors."""

    name = "tiny"

    def rank(self, word):
        return 0

    def encode(self, texts):
        return np.stack([unit_vectors(1, np.random.default_rng(len(text)))[0] for text in texts])


def brute_force(query, options, objectives, vectors, columns):
    """Scan all policies: the numbers of the candidates and of the best ones, in order."""
    vector = RandomEncoder().encode([query])[0]
    owners = np.repeat(np.arange(len(objectives)), [len(o.texts) for o in objectives])
    best = np.array([(vectors[owners == i] @ vector).max() for i in range(len(objectives))])
    candidates = [
        i
        for i, objective in enumerate(columns["objective"])
        if best[objective] > options.min_similarity
        and options.seed in (None, columns["policy_seed"][i])
    ]
    score, objective = columns["regressor_score"], columns["objective"]
    lenient = [preference for preference in options.prefer if not preference.strict]
    ranked = []
    for own in sorted(set(objective[candidates]), key=lambda o: (-best[o].round(5), o)):
        kept = [i for i in candidates if objective[i] == own]
        for preference in options.prefer:
            if preference.strict:
                least = min(signed(columns, preference, i) for i in kept)
                kept = [i for i in kept if signed(columns, preference, i) == least]
        top = max(score[i] for i in kept)
        if lenient:
            kept = [i for i in kept if score[i] >= top - 0.05 * abs(top)]
        ranked += sorted(kept, key=lambda i: (*(signed(columns, p, i) for p in lenient), -score[i]))
    return candidates, ranked


def signed(columns, preference, i):
    """Give what is to be least."""
    value = columns[preference.measure][i]
    return -value if preference.direction == "most" else value


@given(
    library=st.integers(0, 40),
    query=st.text("bcd", min_size=1, max_size=40),
    options=st.builds(
        SearchOptions,
        seed=st.sampled_from([None, "0000", "0003"]),
        prefer=st.lists(PREFERENCES, max_size=3).map(tuple),
        top=st.integers(1, 50),
        min_similarity=st.sampled_from([-1.0, 0.0, 0.3, 0.6]),
        decomposer=st.just("offline"),
    ),
)
def test_answers_equal_brute_force(library, query, options):
    database, objectives, vectors, columns, *_ = make_database(library)
    search = PolicySearch(database, RandomEncoder())
    if options.seed not in (None, *database.seeds):
        with pytest.raises(LeverError):
            search.search(query, options)
        return
    (result,) = search.search(query, options).sub_queries
    candidates, ranked = brute_force(query, options, objectives, vectors, columns)
    assert result.candidates == len(candidates)
    assert (result.best_policy is None) == (not candidates)
    keys = ["regressor_score", *(p.measure for p in options.prefer)]
    shown = [(p["measure"], p["direction"]) for p in result.preferences]
    assert not candidates or shown == [(p.measure, p.direction) for p in options.prefer]
    found = [[policy[key] for key in keys] for policy in result.top]  # ties may change places
    assert found == [[columns[key][i] for key in keys] for i in ranked[: options.top]]
    assert {policy["number"] for policy in result.top} <= set(candidates)


@pytest.mark.parametrize("sign", [1, -1])
def test_the_energy_filter_trades_5_percent_of_the_absolute_value(sign):
    scores = np.array([100.0, 95.0, 94.9]) if sign > 0 else np.array([-100.0, -105.0, -105.1])
    energies = np.array([0.5, 0.3, 0.1])
    assert select([np.arange(3)], scores, [Key(energies)], top=3).tolist() == [1, 0]
    assert select([np.arange(3)], scores, [], top=3).tolist() == [0, 1, 2]


@given(
    groups=st.lists(
        st.lists(st.tuples(st.sampled_from(REWARDS), st.integers(0, 3)), min_size=1, max_size=30),
        min_size=1,
        max_size=5,
    ),
    top=st.integers(1, 20),
    by_energy=st.booleans(),
)
def test_selecting_equals_sorting_the_candidates_of_each_objective(groups, top, by_energy):
    groups = [sorted(group, key=lambda policy: -policy[0]) for group in groups]
    everyone = [policy for group in groups for policy in group]
    ends = np.cumsum([len(group) for group in groups])
    runs = [np.arange(end - len(group), end) for group, end in zip(groups, ends, strict=True)]
    scores, energies = (np.array(column, dtype=float) for column in zip(*everyone, strict=True))
    ranked = []
    for group in groups:  # the nearest objective's policies come first, whatever their rewards
        best = group[0][0]
        kept = [p for p in group if not by_energy or p[0] >= best - 0.05 * abs(best)]
        ranked += sorted(kept, key=lambda p: (p[1], -p[0]) if by_energy else -p[0])
    ranked = ranked[:top]
    rows = select(runs, scores, [Key(energies)] if by_energy else [], top)
    found = [(scores[row], energies[row]) for row in rows]
    shown = slice(None) if by_energy else slice(1)  # equal rewards may come in any order
    assert [p[shown] for p in found] == [p[shown] for p in ranked]
    assert len(set(rows.tolist())) == len(rows)


@given(library=st.integers(0, 40), query=st.text("bcd", min_size=1, max_size=40))
def test_by_default_the_objectives_with_the_description_that_is_meant_answer(library, query):
    database, _, _, columns, *_ = make_database(library, n_objectives=12)
    database.meanings.aims[:] = np.arange(12) // 3  # objectives 0 to 2 share a description, ...
    encoder = RandomEncoder()
    result = PolicySearch(database, encoder).search(
        query, SearchOptions(top=100, decomposer="offline")
    )
    (answer,) = result.sub_queries
    nearest, _ = database.nearest_texts(encoder.encode([answer.sub_query]))
    meant = database.text_objective[nearest[0]] // 3
    expected = np.flatnonzero(columns["objective"] // 3 == meant)
    assert {policy["number"] for policy in answer.top} == set(expected.tolist())


def test_a_seed_without_the_target_is_named():
    database, *_ = make_database(n_policies=8)
    search = PolicySearch(database, RandomEncoder())
    (answer,) = search.search("b", SearchOptions()).sub_queries
    target = answer.best_policy["policy_target"]
    number = [objective.target for objective in database.objectives].index(target)
    for seed in database.seeds:
        if not database.runs(np.array([number], np.int32), seed):
            (answer,) = search.search("b", SearchOptions(seed=seed)).sub_queries
            assert (
                answer.message == f"No policies found: seed {seed} has none that are for {target}"
            )
            return
    pytest.fail("every seed has the target")


def test_a_measure_that_the_library_lacks_is_an_error():
    search = PolicySearch(make_database()[0], RandomEncoder())
    with pytest.raises(LeverError, match="the measure fuel is not in the library"):
        search.check_preferences([Preference("fuel", "least")])
    search.check_preferences([Preference("steps", "most")])


@pytest.mark.parametrize(
    ("query", "message"), [("", "empty"), (" \n", "empty"), ("x" * (MAX_QUERY_LENGTH + 1), "2001")]
)
def test_unusable_queries_are_refused(query, message):
    search = PolicySearch(make_database()[0], RandomEncoder())
    with pytest.raises(LeverError, match=message):
        search.search(query, SearchOptions())


def test_the_stages_of_a_search_add_up_to_no_more_than_it_took():
    search = PolicySearch(make_database()[0], RandomEncoder())
    started = time.perf_counter()
    timing = search.search("b", SearchOptions()).timing_ms
    took = 1000 * (time.perf_counter() - started)
    assert 0 < timing["total"] <= took + 0.001 and min(timing.values()) >= 0
    stages = timing["decomposition"] + timing["search"]
    assert timing["total"] == pytest.approx(stages, abs=0.002)


def test_what_is_missing_is_named_with_what_there_is():
    said = describe_missing("0083", ["0038", "1111"])
    assert said == "0083 is not in the library; did you mean 0038? It has 0038, 1111"
    seeds = [f"{n:04d}" for n in range(100, 140)]
    for n, rest in ((20, ""), (21, ", ...")):  # more would fill the screen
        said = describe_missing("x", seeds[:n])
        assert said == f"x is not in the library; it has {', '.join(seeds[:20])}{rest}"


def test_what_would_have_been_near_is_told():
    database, objectives, vectors, *_ = make_database()
    search = PolicySearch(database, RandomEncoder())
    options = SearchOptions(min_similarity=0.999, decomposer="offline")
    result = search.search("bcdb", options)
    (answer,) = result.sub_queries
    owners = np.repeat(np.arange(len(objectives)), [len(o.texts) for o in objectives])
    cosines = vectors @ RandomEncoder().encode(["bcdb"])[0]
    best = sorted(((cosines[owners == i].max(), o.target) for i, o in enumerate(objectives)))[::-1]
    near = ", ".join(f"{target} {similarity:.2f}" for similarity, target in best[:3])
    assert not result.found and answer.best_policy is None and answer.candidates == 0
    assert answer.message == (
        f"No policies found with cosine similarity > 0.999; nearest objectives: {near}"
    )


def test_a_query_of_a_batch_that_can_not_be_used_is_answered_with_the_reason():
    search = PolicySearch(make_database()[0], RandomEncoder())
    result = search.refuse("x" * 5000, SearchOptions(seed="0003"), "too long")
    (answer,) = result.sub_queries
    assert (answer.message, answer.top, result.found) == ("too long", [], False)
    assert result.query == "x" * MAX_QUERY_LENGTH and result.seed == "0003"
