"""Deciding which objective of the library a text means, if any."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from library.objective import Objective
from understanding.english import is_negated, words_of
from understanding.learning import Encode, objective_texts
from understanding.meanings import Floats, Meanings, Vectors


@dataclass(frozen=True)
class Match:
    """What a text most probably means.

    Attributes:
        vector: float32 (d,), of unit length.
        log_probability: of this meaning.
        objective: what it asks for; None when it asks for nothing that the library has.
        ruled_out: the objective that it does not want.
        preference: measure and direction, if it says how rather than what.
    """

    vector: NDArray[np.float32]
    log_probability: float = 0.0
    objective: int | None = None
    ruled_out: int | None = None
    preference: tuple[str, str] | None = None

    @property
    def is_unknown(self) -> bool:
        """Whether nothing of the library is meant."""
        return self.objective is None and self.ruled_out is None and self.preference is None


class ObjectiveTexts(Protocol):
    """What a matcher asks of a library."""

    objectives: list[Objective]
    meanings: Meanings
    text_objective: NDArray[np.int32]

    def nearest_texts(self, vectors: Vectors) -> tuple[NDArray[np.int64], Vectors]:
        """Find the position of the text nearest to each vector, and its cosine."""


class Matcher:
    """Matches texts with the objectives of a library."""

    def __init__(self, library: ObjectiveTexts, encode: Encode) -> None:
        """Match with the objectives of a library, whose texts `encode` made vectors of."""
        self._library = library
        self._encode = encode
        self._first = np.unique(library.meanings.aims, return_index=True)[1]
        self._texts = objective_texts(library.objectives)
        self._exact = {
            normalise(text): number
            for number, objective in reversed(list(enumerate(library.objectives)))
            for text in (objective.target, *objective.phrasings, objective.description)
        }

    def match(self, texts: Sequence[str], negated: Sequence[bool]) -> list[Match]:
        """Match texts, all in one batch. The text of an objective means it, whatever else is near.

        Args:
            texts: n texts.
            negated: which of them say "not", and so rule out an objective that doesn't.
        """
        vectors = self._encode(list(texts))
        likely = self._library.meanings.judge(vectors)
        return [self._match(*row) for row in zip(texts, negated, vectors, likely, strict=True)]

    def exact(self, text: str) -> int | None:
        """Find the objective that has this very text."""
        return self._exact.get(normalise(text))

    def _match(
        self, text: str, negated: bool, vector: NDArray[np.float32], likely: Floats
    ) -> Match:
        """Say what a text means, whose classes have these log probabilities."""
        exact = self.exact(text)
        if exact is not None:
            return Match(vector, objective=exact)
        meanings, label = self._library.meanings, int(likely.argmax())
        sure = float(likely[label])
        if label < meanings.n_aims:
            return self._objective(label, negated, vector, sure)
        which = meanings.preferences[label - meanings.n_aims : label - meanings.n_aims + 1]
        return Match(vector, sure, preference=(which[0][0], which[0][1]) if which else None)

    def _objective(
        self, aim: int, negated: bool, vector: NDArray[np.float32], sure: float
    ) -> Match:
        """Say which objective of an aim is meant, and whether it is asked for or ruled out."""
        share_a_class = self._library.meanings.n_aims == 1
        if not negated and not share_a_class:
            return Match(vector, sure, int(self._first[aim]))
        nearest = int(self._library.nearest_texts(vector[np.newaxis])[0][0])
        which = self._library.text_objective[nearest] if share_a_class else self._first[aim]
        if negated and not is_negated(self._texts[nearest]):
            return Match(vector, sure, ruled_out=int(which))
        return Match(vector, sure, int(which))


def normalise(text: str) -> str:
    """Reduce a text to its words, in lower case."""
    return " ".join(words_of(text))
