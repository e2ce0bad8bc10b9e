"""Deciding which objective of the library a text means, if any."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from library.objective import Objective
from understanding.english import words_of
from understanding.learning import Encode
from understanding.meanings import RULED_OUT, Floats, Meanings


@dataclass(frozen=True)
class Match:
    """What a text most probably means.

    Attributes:
        objective: what it asks for; None when it asks for nothing that the library has.
        preference: measure and direction, if it says how rather than what.
        excluded: it rules something out.
        log_probability: of this meaning.
        vector: float32 (d,), of unit length.
    """

    objective: int | None
    preference: tuple[str, str] | None
    excluded: bool
    log_probability: float
    vector: NDArray[np.float32]


class ObjectiveTexts(Protocol):
    """What a matcher asks of a library."""

    objectives: list[Objective]
    meanings: Meanings
    text_objective: NDArray[np.int32]

    def nearest_texts(
        self, vectors: NDArray[np.float32]
    ) -> tuple[NDArray[np.int64], NDArray[np.float32]]:
        """Find the position of the text nearest to each vector, and its cosine."""


class Matcher:
    """Matches texts with the objectives of a library."""

    def __init__(self, library: ObjectiveTexts, encode: Encode) -> None:
        """Match with the objectives of a library, whose texts `encode` made vectors of."""
        self._library = library
        self._encode = encode
        self._first = np.unique(library.meanings.aims, return_index=True)[1]
        self._exact = {
            normalise(text): number
            for number, objective in reversed(list(enumerate(library.objectives)))
            for text in (objective.target, *objective.phrasings, objective.description)
        }

    def match(self, texts: Sequence[str], can_exclude: Sequence[bool]) -> list[Match]:
        """Match texts, all in one batch. The text of an objective means it, whatever else is near.

        Args:
            texts: n texts.
            can_exclude: whether each may rule something out.
        """
        vectors = self._encode(list(texts))
        likely = self._library.meanings.judge(vectors, np.array(can_exclude))
        return [self._match(*row) for row in zip(texts, vectors, likely, strict=True)]

    def exact(self, text: str) -> int | None:
        """Find the objective that has this very text."""
        return self._exact.get(normalise(text))

    def _match(self, text: str, vector: NDArray[np.float32], likely: Floats) -> Match:
        """Say what a text means, whose classes have these log probabilities."""
        exact = self.exact(text)
        if exact is not None:
            return Match(exact, None, False, 0.0, vector)
        meanings, label, preference = self._library.meanings, int(likely.argmax()), None
        which = label - meanings.n_aims
        if 0 <= which < len(meanings.preferences):
            measure, direction = meanings.preferences[which]
            preference = (measure, direction)
        excluded = label == len(likely) + RULED_OUT
        objective = self._objective(label, vector)
        return Match(objective, preference, excluded, float(likely[label]), vector)

    def _objective(self, label: int, vector: NDArray[np.float32]) -> int | None:
        """Find an objective of a class; None when the class is no aim."""
        n_aims = self._library.meanings.n_aims
        if label >= n_aims:
            return None
        if n_aims > 1:
            return int(self._first[label])
        text = self._library.nearest_texts(vector[np.newaxis])[0][0]
        return int(self._library.text_objective[text])


def normalise(text: str) -> str:
    """Reduce a text to its words, in lower case."""
    return " ".join(words_of(text))
