"""A model's sentences go the offline way too; whatever goes wrong ends in the offline answer."""

import numpy as np
import pytest

from faiss_utils.setup_faiss_vdb import load_database
from faiss_utils.text_encoder import TextEncoder
from library.errors import LeverError
from tests.understanding.model_server import completion, model_server, sub_queries
from understanding.matching import Matcher, SubQuery
from understanding.preferences import Preference
from understanding.query_decomposition import QueryDecomposer, assign_preferences
from understanding.spelling import Spelling

pytestmark = pytest.mark.slow
KEY = "sk-secret"
QUERY = "find the exit and collect gold"


@pytest.fixture(scope="module")
def decomposer(prepared):
    database, encoder = load_database(prepared), TextEncoder(prepared.text_encoder)
    spelling = Spelling(database.meanings.words, encoder.rank)
    matcher = Matcher(
        database.objectives, database.meanings, encoder.encode, database.nearest_texts
    )
    return QueryDecomposer(database.objectives, matcher, spelling)


@pytest.fixture
def ask(monkeypatch, decomposer):
    """Decompose a query with a server that answers as told."""

    def ask(body, query=QUERY, **options):
        with model_server(body, **options) as (url, _):
            monkeypatch.setenv("OPENAI_API_KEY", KEY)
            monkeypatch.setenv("OPENAI_BASE_URL", url)
            return decomposer.decompose(query)

    return ask


def texts(decomposition):
    return [piece.text for piece in decomposition.sub_queries]


def test_a_sound_answer_is_used(ask):
    answer = ask(sub_queries("find the exit", "collect gold"))
    assert answer.decomposer == "openai" and not answer.notices
    assert texts(answer) == ["find the exit", "collect gold"]
    assert [piece.objective for piece in answer.sub_queries] == [1, 0]


def test_two_objectives_in_one_sentence_of_the_model_are_still_split(ask):
    assert texts(ask(sub_queries(QUERY))) == ["find the exit", "collect gold"]


def test_a_negation_that_the_model_leaves_in_rules_out(ask):
    answer = ask(sub_queries("find the exit", "ignore the gold"), "find the exit, ignore the gold")
    assert [piece.objective for piece in answer.sub_queries if piece.objective is not None] == [1]


def test_what_the_model_leaves_out_is_named(ask):
    answer = ask(sub_queries("find the exit"))
    assert answer.notices == ("the language model left out 'collect gold'",)


@pytest.mark.parametrize(
    ("body", "options"),
    [
        (sub_queries(), {}),
        (completion("find the exit"), {}),
        (sub_queries("the price of gold is falling"), {}),
        (b'{"error": {"message": "no key sk-secret"}}', {"status": 401}),
        (None, {}),
    ],
)
def test_any_other_answer_ends_in_the_offline_answer(ask, decomposer, body, options):
    answer = ask(body, **options)
    assert answer.decomposer == "offline"
    assert texts(answer) == texts(decomposer.decompose(QUERY, "offline"))
    assert "decomposing offline" in answer.notices[0]
    assert KEY not in answer.notices[0] and "\n" not in answer.notices[0]


def test_openai_without_a_key_is_an_error(decomposer):
    with pytest.raises(LeverError, match="OPENAI_API_KEY"):
        decomposer.decompose(QUERY, "openai")


def test_offline_never_asks(monkeypatch, decomposer):
    with model_server(sub_queries("x")) as (url, requests):
        monkeypatch.setenv("OPENAI_API_KEY", KEY)
        monkeypatch.setenv("OPENAI_BASE_URL", url)
        assert decomposer.decompose(QUERY, "offline").decomposer == "offline"
        assert not requests


def test_what_is_not_understood_is_left_out_with_a_notice(decomposer):
    answer = decomposer.decompose("find the exit and paint the fence", "offline")
    assert texts(answer) == ["find the exit"]
    assert answer.notices == ("not understood, and left out: 'paint the fence'",)


def test_the_users_words_are_kept(decomposer):
    answer = decomposer.decompose("reech the exitt, ignore the gold", "offline")
    assert texts(answer) == ["reech the exitt"] and not answer.notices


def piece(text, objective=None, sure=0.0, preferences=()):
    return SubQuery(text, np.zeros(2, np.float32), sure, objective, preferences=preferences)


RELIABLY = piece("reliably", preferences=(Preference("reward_std", "least"),))


@pytest.mark.parametrize(
    ("query", "pieces", "expected"),
    [
        ("gold reliably, path", [piece("gold", 0), RELIABLY, piece("path", 1)], {0: 1, 1: 0}),
        ("gold, reliably, path", [piece("gold", 0), RELIABLY, piece("path", 1)], {0: 1, 1: 0}),
        ("gold, path reliably", [piece("gold", 0), piece("path", 1), RELIABLY], {0: 0, 1: 1}),
        ("gold, path, reliably", [piece("gold", 0), piece("path", 1), RELIABLY], {0: 1, 1: 1}),
        ("reliably gold, path", [RELIABLY, piece("gold", 0), piece("path", 1)], {0: 1, 1: 0}),
        ("reliably", [RELIABLY], {}),
    ],
)
def test_a_preference_belongs_to_the_objective_beside_it_or_to_all(query, pieces, expected):
    found = assign_preferences(query, pieces)
    assert {objective: len(wanted) for objective, wanted in found.items()} == expected
    assert all(one.text == "reliably" for wanted in found.values() for one in wanted)


def test_only_what_is_surely_meant_is_said_to_be_left_out(monkeypatch):
    decomposer = QueryDecomposer([], None, None)
    monkeypatch.setattr(
        decomposer, "_read", lambda query: [piece("a", 0), piece("b", 1), piece("c", 2, -1.0)]
    )
    assert decomposer._left_out("", [piece("a", 0)]) == ["the language model left out 'b'"]


def test_of_pieces_with_one_objective_the_surest_is_shown():
    pieces = [piece("a", 0, -0.5), piece("b", 0, -0.1), piece("c", 0, -0.9)]
    (shown,) = (
        QueryDecomposer([], None, None)._collect("offline", "a, b, c", pieces, []).sub_queries
    )
    assert shown.text == "b"
