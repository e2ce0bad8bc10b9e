"""Slips are corrected, to the library's words first; words stay as they are."""

import pytest

from understanding.spelling import Spelling

LIBRARY = ["gold", "treasure", "goal", "exit", "escape", "make", "go"]
LANGUAGE = ["the", "god", "instead", "escaping", "tread", "resume", "xylophone", "grid", "maze"]


@pytest.fixture
def spelling():
    places = {word: place for place, word in enumerate([*LANGUAGE, *LIBRARY])}
    return Spelling(LIBRARY, places.get)


@pytest.mark.parametrize(
    ("slip", "word"),
    [
        ("tresure", "treasure"),
        ("Teh", "the"),
        ("exti", "exit"),
        ("treasur", "treasure"),  # no form of a word, though "treasures" is
        ("gokd", "gold"),  # "god" is no form of "go"
        ("gol", "gold"),  # the library says "gold" more often than "goal"
        ("esscaping", "escaping"),  # a form of a word of the library
        ("insteadd", "instead"),  # a word of the language
        ("tresure, and then teh exti", "treasure, and then the exit"),
    ],
)
def test_a_slip_is_corrected(spelling, slip, word):
    assert spelling.correct(slip) == word


@pytest.mark.parametrize(
    "word",
    [
        "treasures",
        "escaped",
        "xylophones",
        "god",
        "bake",  # nobody types it for "make"
        "brexit",  # a slip is rarely in the first letters
        "Quux",
        "xxxgodé",  # not in its parts
        "vim",
        "don't",
        "tresurre",  # two slips may make any word of any other
        "x" * 2000,
    ],
)
def test_a_word_stays(spelling, word):
    assert spelling.correct(word) == word


def test_words_of_the_library_come_before_frequent_words_of_the_language():
    spelling = Spelling(["some", "rare", "coin"], lambda word: {"corn": 0}.get(word))
    assert spelling.correct("collect the coen") == "collect the coin"
