"""How a policy should behave besides what it is for: a measure, and whether little or much of it.

A world measures its episodes, and brings the words by which people ask for little or much of a
measure. A piece of a sentence that means them is a preference of the objective beside it.
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass

LEAST, MOST = "least", "most"
STRICT = re.compile(r"\s*(?:without|never|no|not|avoid\w*)\b", re.IGNORECASE)


@dataclass(frozen=True)
class Wording:
    """How people ask for little, or much, of a measure."""

    measure: str
    direction: str
    phrasings: tuple[str, ...]


# What every world has, if it can be measured there.
GENERIC = (
    Wording(
        "energy",
        LEAST,
        (
            "with as little energy as possible",
            "saving energy",
            "with low energy consumption",
            "using little energy",
            "in an energy-efficient way",
            "moving as little as possible",
        ),
    ),
    Wording("energy", MOST, ("with as much energy as possible", "using a lot of energy")),
    Wording(
        "steps",
        LEAST,
        (
            "in the fewest steps",
            "in as few steps as possible",
            "with few moves",
            "with a minimal number of actions",
            "in short episodes",
        ),
    ),
    Wording(
        "steps",
        MOST,
        ("in as many steps as possible", "with the most moves", "in the longest episodes"),
    ),
    Wording(
        "reward_std",
        LEAST,
        (
            "reliably",
            "as consistently as possible",
            "with little variance",
            "with a predictable reward",
            "every time the same result",
        ),
    ),
    Wording("reward_std", MOST, ("unpredictably", "with a lot of variance")),
)
GRID = (
    Wording(
        "blocks",
        LEAST,
        (
            "without touching blocks",
            "never stepping onto a block",
            "avoiding the blocks",
            "hitting as few blocks as possible",
            "without bumping into obstacles",
        ),
    ),
    Wording("hazards", LEAST, ("avoiding hazards", "without stepping into a hazard")),
)
COLUMNS = {"steps": "n_transitions", "reward_std": "regressor_std"}


def column_of(measure: str) -> str:
    """Name the column of a database that holds a measure."""
    return COLUMNS.get(measure, measure)


def known_wordings(columns: Sequence[str]) -> list[Wording]:
    """List the wordings of the measures that a database with these columns has."""
    return [wording for wording in (*GENERIC, *GRID) if column_of(wording.measure) in columns]


@dataclass(frozen=True)
class Preference:
    """Little or much of a measure.

    Attributes:
        measure: its name.
        direction: `least` or `most`.
        text: the user's words; empty for an option.
        strict: the measure comes first and the reward second ("without X", "never X").
    """

    measure: str
    direction: str
    text: str = ""
    strict: bool = False


def preference(measure: str, direction: str, text: str) -> Preference:
    """Make the preference that a piece of a sentence means."""
    return Preference(measure, direction, text, STRICT.match(text) is not None)
