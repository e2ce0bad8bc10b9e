"""How a policy should behave is told from what it is for, in a grid world and another world."""

import json

import pytest

from faiss_utils.text_encoder import TextEncoder
from library.objective import Objective
from search_faiss_policies import readable
from tests.understanding.text_library import TextLibrary
from understanding.query_decomposition import QueryDecomposer
from understanding.spelling import Spelling
from worlds.gridworld.generate_states import OBJECTIVES
from worlds.gridworld.measures import WORDINGS as GRID
from worlds.measures import GENERIC

GYMNASIUM = [
    Objective(
        "lunarlander",
        "Land the spacecraft softly between the flags.",
        ("soft landing", "touch down gently on the pad", "land on the moon"),
    ),
    Objective(
        "cartpole",
        "Keep the pole upright on the cart.",
        ("balance the pole", "do not let the pole tip over"),
    ),
]
ENERGY, STEPS, STABLE = ("energy", "least"), ("steps", "least"), ("reward_std", "least")
BLOCKS = ("blocks", "least")
GRID_SENTENCES = [
    ("collect gold with as little energy as possible", {"gold": [ENERGY]}),
    ("gather treasure using little energy", {"gold": [ENERGY]}),
    ("find the exit with low energy consumption", {"path": [ENERGY]}),
    ("pick up all the coins in the fewest steps", {"gold": [STEPS]}),
    ("get the gold in as few moves as possible", {"gold": [STEPS]}),
    ("collect gold with the fewest actions", {"gold": [STEPS]}),
    ("collect gold reliably", {"gold": [STABLE]}),
    ("reach the exit with little variance", {"path": [STABLE]}),
    ("reach the exit without touching blocks", {"path": [BLOCKS]}),
    ("gather coins, never stepping onto a block", {"gold": [BLOCKS]}),
    ("find the exit while avoiding the blocks", {"path": [BLOCKS]}),
    ("collect treasure without bumping into obstacles", {"gold": [BLOCKS]}),
    ("with as little energy as possible, collect gold", {"gold": [ENERGY]}),
    ("collect gold with little energy and find the exit", {"gold": [ENERGY], "path": []}),
    ("find the exit and collect gold, with little energy", {"gold": [ENERGY], "path": [ENERGY]}),
    ("collect gold in as many steps as possible", {"gold": [("steps", "most")]}),
    ("find the exit with as much energy as possible", {"path": [("energy", "most")]}),
    ("an energy-saving policy that collects gold", {"gold": [ENERGY]}),
    ("collect gold without wasting energy", {"gold": [ENERGY]}),
    ("get out, reliably", {"path": [STABLE]}),
    ("collect gold", {"gold": []}),
]
GYMNASIUM_SENTENCES = [
    ("land softly with as little energy as possible", {"lunarlander": [ENERGY]}),
    ("a gentle touchdown in the fewest steps", {"lunarlander": [STEPS]}),
    ("balance the pole reliably", {"cartpole": [STABLE]}),
    ("balance the pole with little energy", {"cartpole": [ENERGY]}),
    ("land on the moon as consistently as possible", {"lunarlander": [STABLE]}),
    ("keep the pole upright in as many steps as possible", {"cartpole": [("steps", "most")]}),
    ("touch down gently, using little energy", {"lunarlander": [ENERGY]}),
    ("land on the pad with a predictable reward", {"lunarlander": [STABLE]}),
    ("soft landing", {"lunarlander": []}),
]
pytestmark = pytest.mark.slow


def grid_objectives():
    """Read the objectives of the demonstration."""
    entries = json.loads(OBJECTIVES.read_text("utf-8"))
    return [Objective(t, e["description"], tuple(e["phrasings"])) for t, e in entries.items()]


def understand(library, encoder):
    """Make a function query -> {target: [(measure, direction)]}."""
    spelling = Spelling(library.meanings.words, encoder.rank)
    decomposer = QueryDecomposer(library.objectives, library.matcher, spelling)

    def answer(query):
        return {
            library.objectives[part.objective].target: [
                (one.measure, one.direction) for one in part.preferences
            ]
            for part in decomposer.decompose(query, "offline").sub_queries
            if part.objective is not None
        }

    return answer


def test_27_of_30_sentences_are_understood(prepared):
    encoder = TextEncoder(prepared.text_encoder)
    grid = TextLibrary(grid_objectives(), encoder.encode, [*GENERIC, *GRID])
    other = TextLibrary(GYMNASIUM, encoder.encode, list(GENERIC))
    wrong = [
        (query, found)
        for library, sentences in ((grid, GRID_SENTENCES), (other, GYMNASIUM_SENTENCES))
        for answer in [understand(library, encoder)]
        for query, expected in sentences
        if (found := answer(query)) != expected
    ]
    assert len(GRID_SENTENCES) + len(GYMNASIUM_SENTENCES) == 30
    assert len(wrong) <= 3, wrong


@pytest.mark.parametrize(
    ("typed", "query"),
    [("\ufeffgold\n", "gold"), ("gold \udcff", "gold \ufffd"), ("  \n", "")],
)
def test_a_query_is_what_a_line_says(typed, query):
    assert readable(typed) == query
