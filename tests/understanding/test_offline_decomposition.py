"""Sentences as people type them: what they ask for is found, and nothing else.

The sentences are the tests' own; the wordings that a user's library would not know are on purpose.
"""

import numpy as np
import pytest

from benchmarks.evaluate_queries import library_of_texts
from faiss_utils.policy_retrieval import SearchOptions, open_search
from library.objective import Objective
from understanding import offline_decomposition
from understanding.english import clauses, is_negated
from understanding.matching import SubQuery
from understanding.offline_decomposition import decompose_offline
from understanding.spelling import Spelling

pytestmark = pytest.mark.slow
OFFLINE = SearchOptions(decomposer="offline")
HAZARD = Objective("hazard", "Avoid hazards.", ("stay clear of lava", "do not get burnt"))
LEVER = Objective("lever", "Pull the red lever.", ("operate the lever", "lever"))
BOTH = ["gold", "path"]
SENTENCES = [
    ("head straight for the exit", ["path"]),
    ("Would you kindly recommend a policy that hoards coins?", ["gold"]),
    ("make for the way out and sweep up the coins", BOTH),
    ("snatch the treasure", ["gold"]),
    ("leave by the exit with all the treasure", BOTH),
    ("swiftly and surely reach the exit", ["path"]),
    ("forget about the coins, just reach the exit", ["path"]),
    ("gather treasure; the exit does not matter", ["gold"]),
    ("reech the exitt", ["path"]),
    ("collect all the goold", ["gold"]),
    ("For my course I need an agent that grabs gold, plus one that goes to the exit.", BOTH),
    ("a knight who picks up every coin", ["gold"]),
    ("do not leave by the exit until you have all the gold", BOTH),
    ("never walk to the exit without the treasure", BOTH),
    ("Reach the exit. Gold is of no interest.", ["path"]),
    ("hunt for coins instead of wasting time on the exit", ["gold"]),
    ("the fastest agent to leave a 12x12 maze", ["path"]),
    ("treasure treasure treasure", ["gold"]),
    ("wich agent escapes from the maze", ["path"]),
    ("the best agent", []),
    ("paint the fence", []),
    ("the price of gold is falling", []),
    ("what is the capital of Peru?", []),
    ("the quickest way to learn French", []),
    ("reach the exit and paint the fence", ["path"]),
]


@pytest.fixture(scope="module")
def search(prepared):
    return open_search(prepared)


@pytest.fixture(scope="module")
def wider_search(search):
    """A library with two more targets, each with a user's handful of phrasings."""
    return library_of_texts([*search.database.objectives, HAZARD, LEVER], search.encoder)


def contents(text):
    return [text[start:end] for start, end in clauses(text)]


def targets(search, query):
    answers = search.search(query, OFFLINE).sub_queries
    return sorted({a.best_policy["policy_target"] for a in answers if a.best_policy})


@pytest.mark.parametrize(("query", "expected"), SENTENCES)
def test_a_sentence_finds_what_it_asks_for(search, query, expected):
    assert targets(search, query) == expected


@pytest.mark.parametrize(("query", "expected"), SENTENCES)
def test_more_targets_take_nothing_away(wider_search, query, expected):
    assert targets(wider_search, query) == expected


@pytest.mark.parametrize(
    ("query", "expected"),
    [
        ("pull the lever", ["lever"]),
        ("keep away from the lava", ["hazard"]),
        ("pull the lever and reach the exit", ["lever", "path"]),
        ("collect gold while avoiding hazards", ["gold", "hazard"]),
    ],
)
def test_a_users_own_targets_are_found(wider_search, query, expected):
    assert targets(wider_search, query) == expected


class Recorder:
    """A matcher that finds the same objective in every text and remembers the texts."""

    def __init__(self):
        self.negated = {}

    def exact(self, text):
        return None

    def match(self, texts, negated):
        self.negated |= dict(zip(texts, negated, strict=True))
        return [SubQuery(text, np.zeros(2, np.float32), objective=0) for text in texts]


def test_a_clause_that_begins_with_not_is_read_apart_from_what_stands_before_it():
    matcher = Recorder()
    decompose_offline(["run, hide, not jump, climb"], matcher, Spelling([], lambda word: 0))
    expected = {"run, hide": False, "not jump": True, "not jump, climb": True, "climb": False}
    assert expected.items() <= matcher.negated.items()
    assert not [text for text in matcher.negated if "hide, not" in text]


def test_pieces_count_by_the_root_of_their_share_of_the_words_and_each_meaning_once():
    def value(*pieces):
        vector = np.zeros(2, np.float32)
        return offline_decomposition._value(
            [SubQuery(text, vector, *rest) for text, *rest in pieces]
        )

    gain = offline_decomposition.OBJECTIVE_GAIN
    likely = -0.5 - 2.0 * 0.75**0.5
    assert value(("a b c d", -1.0, 0)) == pytest.approx(gain - 1.0)
    assert value(("a", -1.0, 0), ("b c d", -2.0, 1)) == pytest.approx(likely + 2 * gain)
    assert value(("a", -1.0, 0), ("b c d", -2.0, 0)) == pytest.approx(likely + gain)
    assert value(("a", -1.0), ("b c d", -2.0)) == pytest.approx(likely)


def test_nothing_found_names_what_was_near(search):
    (answer,) = search.search("the price of gold is falling", OFFLINE).sub_queries
    assert answer.message.startswith("No policies found that mean this; nearest objectives: ")
    assert "gold 0." in answer.message and "path 0." in answer.message


def test_a_long_and_winding_query_is_answered(search):
    query = "and then the exit or not, without gold but with a fence; " * 35
    assert search.search(query[:2000], OFFLINE).sub_queries


@pytest.mark.parametrize(
    ("text", "negated"),
    [
        ("ignore the gold", True),
        ("do not miss any gold", False),
        ("not only the gold", False),
        ("in no time", False),
        ("without gold", True),
        ("collect gold without a scratch", False),
    ],
)
def test_negations(text, negated):
    assert is_negated(text) == negated


def test_what_only_asks_is_taken_off_the_clauses():
    text = "please show me a policy for the maze, and collects gold, thanks"
    assert contents(text) == ["for the maze", "collects gold"]
    assert contents("find me the best agent") == []
    assert contents("get out") == ["get out"]
    assert contents("the goal") == ["the goal"]
    assert contents("the PPO agent for LunarLander") == ["for LunarLander"]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("go home on your way to work", ["go home", "work"]),
        ("carry water, besides 0.5 kg of flour", ["carry water", "0.5 kg of flour"]),
        ("go home without a coat", ["go home", "without a coat"]),
        ("go home, not with a coat", ["go home", "not with a coat"]),
        ("not only water but bread", ["not only water", "bread"]),
    ],
)
def test_clauses_end_where_grammar_cuts(text, expected):
    assert contents(text) == expected


def test_words_of_any_script_are_content():
    text = "收集金币，然后找到出口"
    assert contents(text) == ["收集金币", "然后找到出口"]
