"""How a policy should behave besides what it is for: a measure, and whether little or much of it.

A world measures its episodes, and brings the words by which people ask for little or much of a
measure. A piece of a sentence that means them is a preference of the objective beside it.
"""

import re
from dataclasses import dataclass

STRICT = re.compile(r"\s*(?:without|never|no|not|avoid\w*)\b", re.IGNORECASE)


@dataclass(frozen=True)
class Preference:
    """Little or much of a measure.

    Attributes:
        measure: its name.
        direction: `least` or `most`.
        text: the user's words; empty for an option.
    """

    measure: str
    direction: str
    text: str = ""

    @property
    def strict(self) -> bool:
        """Whether the measure comes first and the reward second: "without X", "never X"."""
        return STRICT.match(self.text) is not None
