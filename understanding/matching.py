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
        likely = self._meanings.judge(vectors)
        return [self._match(*row) for row in zip(texts, negated, vectors, likely, strict=True)]

    def exact(self, text: str) -> int | None:
        """Find the objective that has this very text."""
        return self._exact.get(normalise(text))

    def _match(
        self, text: str, negated: bool, vector: NDArray[np.float32], likely: Floats
    ) -> Match:
        """Say what a text means, whose classes have these log probabilities."""
        if (exact := self.exact(text)) is not None:
            return Match(vector, objective=exact)
        label, sure = int(likely.argmax()), float(likely.max())
        which = label - self._meanings.n_aims
        if which < 0:
            return self._objective(label, negated, vector, sure)
        if which < len(self._meanings.preferences):
            measure, direction = self._meanings.preferences[which]
            return Match(vector, sure, preference=(measure, direction))
        return Match(vector, sure)

    def _objective(
        self, aim: int, negated: bool, vector: NDArray[np.float32], sure: float
    ) -> Match:
        """Say which objective of an aim is meant, and whether it is asked for or ruled out."""
        share_a_class = self._meanings.n_aims == 1
        objective = int(self._first[aim])
        if negated or share_a_class:
            text, its_objective = self._texts[int(self._nearest(vector[np.newaxis])[0][0])]
            objective = its_objective if share_a_class else objective
            if negated and not is_negated(text):
                return Match(vector, sure, ruled_out=objective)
        return Match(vector, sure, objective)


def normalise(text: str) -> str:
    """Reduce a text to its words, in lower case."""
    return " ".join(words_of(text))
