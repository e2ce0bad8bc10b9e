"""Deciding which objective of the library a text means, if any."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from library.objective import Objective
from understanding.english import is_negated, words_of
from understanding.learning import Encode
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


class Matcher:
    """Matches texts with the objectives of a library."""

    def __init__(
        self,
        objectives: Sequence[Objective],
        meanings: Meanings,
        encode: Encode,
        nearest_texts: Callable[[Vectors], tuple[NDArray[np.int64], Vectors]],
    ) -> None:
        """Match with the objectives of a library.

        Args:
            objectives: of the library.
            meanings: what was learned from their texts.
            encode: texts -> unit vectors.
            nearest_texts: vectors -> positions among all texts of the objectives, and cosines.
        """
        self._meanings, self._encode, self._nearest = meanings, encode, nearest_texts
        self._texts = [(text, i) for i, o in enumerate(objectives) for text in o.texts]
        self._first = np.unique(meanings.aims, return_index=True)[1]
        names = [(objective.target, i) for i, objective in enumerate(objectives)]
        self._exact = {normalise(text): i for text, i in reversed([*self._texts, *names])}

    def match(self, texts: Sequence[str], negated: Sequence[bool]) -> list[Match]:
        """Match texts, all in one batch. The text of an objective means it, whatever else is near.

        Args:
            texts: n texts.
            negated: which of them say "not", and so rule out an objective that doesn't.
        """
        vectors = self._encode(list(texts))
        likely, nearest = self._meanings.judge(vectors), self._nearest(vectors)[0]
        rows = zip(texts, negated, vectors, likely, nearest.tolist(), strict=True)
        return [self._match(*row) for row in rows]

    def exact(self, text: str) -> int | None:
        """Find the objective that has this very text."""
        return self._exact.get(normalise(text))

    def _match(
        self, text: str, negated: bool, vector: NDArray[np.float32], likely: Floats, nearest: int
    ) -> Match:
        """Say what a text means, from log probabilities of classes and the nearest text."""
        if (exact := self.exact(text)) is not None:
            return Match(vector, objective=exact)
        label, sure = int(likely.argmax()), float(likely.max())
        if label == len(likely) - 1:  # none
            return Match(vector, sure)
        if label >= self._meanings.n_aims:
            measure, direction = self._meanings.preferences[label - self._meanings.n_aims]
            return Match(vector, sure, preference=(measure, direction))
        known, objective = self._texts[nearest]
        if self._meanings.n_aims > 1:  # else all share a class
            objective = int(self._first[label])
        if negated and not is_negated(known):
            return Match(vector, sure, ruled_out=objective)
        return Match(vector, sure, objective)


def normalise(text: str) -> str:
    """Reduce a text to its words, in lower case."""
    return " ".join(words_of(text))
