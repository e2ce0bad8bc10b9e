"""Deciding which objective of the library a short text means, if any."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from understanding.english import has_content
from understanding.meanings import MARGIN, Encode, Meanings

MIN_MEMBERSHIP = -0.1  # between -1 (something else) and 1 (what the library is about)


@dataclass(frozen=True)
class SubQuery:
    """A single-objective piece of a query.

    Attributes:
        text: in the user's words, with the spelling corrected.
        objective: the objective that it means; None when the library has none.
        similarity: cosine to the nearest text of the library.
        is_filler: it only asks, or says how or where.
        vector: float32 (d,), of unit length.
    """

    text: str
    objective: int | None
    similarity: float
    is_filler: bool
    vector: NDArray[np.float32]


class ObjectiveTexts(Protocol):
    """What a matcher asks of a library: the nearest of its objectives' texts."""

    min_similarity: float
    meanings: Meanings
    text_objective: NDArray[np.int32]

    def nearest_texts(
        self, vectors: NDArray[np.float32]
    ) -> tuple[NDArray[np.int64], NDArray[np.float32]]:
        """Find the position of the text nearest to each vector, and its cosine."""

    def is_about_avoiding(self, text: int) -> bool:
        """Tell whether a text, or half of its objective's texts, says "not"."""


class Matcher:
    """Matches texts with objectives, and remembers every text that it has judged.

    A text means the objective that owns the nearest text of the library, if their cosine exceeds
    the encoder's threshold, and the text is about what the library is about at all. A text that
    only asks ("the best agent") means nothing. A negated text ("avoid the lava") only means an
    objective that is negated itself.

    Attributes:
        threshold: the cosine to exceed.
        margin: a clear difference of cosines.
    """

    def __init__(self, library: ObjectiveTexts, encode: Encode) -> None:
        """Match with the objectives of a library, whose texts `encode` made vectors of."""
        self.threshold = library.min_similarity
        self.margin = MARGIN * (1.0 - self.threshold)
        self._library = library
        self._encode = encode
        self._known: dict[tuple[str, bool], SubQuery] = {}

    def match(self, pieces: Sequence[tuple[str, bool]]) -> list[SubQuery]:
        """Match pieces, each a text and whether a negation governs it, all in one batch."""
        new = [piece for piece in dict.fromkeys(pieces) if piece not in self._known]
        if new:
            vectors = self._encode([text for text, _ in new])
            nearest, cosines = self._library.nearest_texts(vectors)
            memberships, are_manners = self._library.meanings.membership(vectors, cosines)
            for i, (text, negated) in enumerate(new):
                says_more = has_content(text)
                is_near = cosines[i] > self.threshold and memberships[i] >= MIN_MEMBERSHIP
                fits = not negated or self._library.is_about_avoiding(int(nearest[i]))
                objective = int(self._library.text_objective[nearest[i]])
                self._known[text, negated] = SubQuery(
                    text=text,
                    objective=objective if says_more and is_near and fits else None,
                    similarity=float(cosines[i]),
                    is_filler=bool(are_manners[i]) or not says_more,
                    vector=vectors[i],
                )
        return [self._known[piece] for piece in pieces]
