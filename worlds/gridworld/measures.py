"""How people ask for little of what only a grid world measures."""

from worlds.measures import LEAST, Wording

WORDINGS = (
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
