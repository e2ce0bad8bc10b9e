"""Deciding which objective of the library a short text means, if any."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from faiss_utils.english import has_content
from faiss_utils.meanings import MARGIN
from faiss_utils.setup_faiss_vdb import PolicyDatabase
from faiss_utils.text_encoder import TextEncoder

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

    def __init__(self, database: PolicyDatabase, encoder: TextEncoder) -> None:
        """Match with the objectives of `database`."""
        self.threshold = database.min_similarity
        self.margin = MARGIN * (1.0 - self.threshold)
        self._database = database
        self._encoder = encoder
        self._known: dict[tuple[str, bool], SubQuery] = {}

    def match(self, pieces: Sequence[tuple[str, bool]]) -> list[SubQuery]:
        """Match pieces, each a text and whether a negation governs it, all in one batch."""
        new = [piece for piece in dict.fromkeys(pieces) if piece not in self._known]
        if new:
            vectors = self._encoder.encode([text for text, _ in new])
            nearest, cosines = self._database.nearest_texts(vectors)
            memberships, are_manners = self._database.meanings.membership(vectors, cosines)
            for i, (text, negated) in enumerate(new):
                says_more = has_content(text)
                is_near = cosines[i] > self.threshold and memberships[i] >= MIN_MEMBERSHIP
                fits = not negated or self._database.is_about_avoiding(int(nearest[i]))
                objective = int(self._database.text_objective[nearest[i]])
                self._known[text, negated] = SubQuery(
                    text=text,
                    objective=objective if says_more and is_near and fits else None,
                    similarity=float(cosines[i]),
                    is_filler=bool(are_manners[i]) or not says_more,
                    vector=vectors[i],
                )
        return [self._known[piece] for piece in pieces]
