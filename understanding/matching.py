"""Deciding which objective of the library a text means, if any."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from library.objective import Objective
from understanding.english import is_negated, words_of
from understanding.learning import Encode
from understanding.meanings import Floats, Meanings, Vectors
from understanding.preferences import Preference


@dataclass(frozen=True)
class SubQuery:
    """A piece of a query and what it most probably means.

    Attributes:
        text: in the user's words.
        vector: float32 (d,), of unit length.
        log_probability: of this meaning.
        objective: what it asks for; None when it asks for nothing that the library has.
        ruled_out: the objective that it does not want.
        preferences: how the policies should behave; without an objective it says nothing else.
    """

    text: str
    vector: NDArray[np.float32]
    log_probability: float = 0.0
    objective: int | None = None
    ruled_out: int | None = None
    preferences: tuple[Preference, ...] = ()

    @property
    def is_unknown(self) -> bool:
        """Whether nothing of the library is meant."""
        return self.objective is None and self.ruled_out is None and not self.preferences


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

    def match(self, texts: Sequence[str], negated: Sequence[bool]) -> list[SubQuery]:
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
    ) -> SubQuery:
        """Say what a text means, from log probabilities of classes and the nearest text."""
        if (exact := self.exact(text)) is not None:
            return SubQuery(text, vector, objective=exact)
        label, found = int(likely.argmax()), SubQuery(text, vector, float(likely.max()))
        if label == len(likely) - 1:  # none
            return found
        if label >= self._meanings.n_aims:
            preference = Preference(*self._meanings.preferences[label - self._meanings.n_aims])
            return replace(found, preferences=(preference,))
        known, owner = self._texts[nearest]
        share_a_class = self._meanings.n_aims == 1
        objective = owner if share_a_class else int(self._first[label])
        is_same = self._meanings.aims[owner] == self._meanings.aims[objective]
        if negated and not (is_same and is_negated(known)):
            return replace(found, ruled_out=objective)
        return replace(found, objective=objective)


def normalise(text: str) -> str:
    """Reduce a text to its words, in lower case."""
    return " ".join(words_of(text))
