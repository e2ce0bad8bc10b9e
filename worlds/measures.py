"""How people ask for little, or much, of what a world measures."""

from dataclasses import dataclass

LEAST, MOST = "least", "most"


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
