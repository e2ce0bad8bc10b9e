"""What the texts of a library mean, and what does not mean any of them: as a search needs it.

A text is compared with *references*, labelled examples that preparation made of the library's own
texts (`learning.py`), by its vector and by the groups of letters that it shares with them. Weighted
sums of these similarities are the evidence for each class, and calibrated they are probabilities.
"""

import math
import re
from collections import Counter
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

WIDTH = 2.0  # of the kernel, in units of the encoder's spread
LETTERS = 0.25  # weight of shared letters, beside 1 for vectors
GRAM = 4  # letters; a word's edges count as letters
N_OTHER = 3  # classes that are no aim, the last ones:
NONE, SEVERAL, RULED_OUT = -3, -2, -1

Vectors = NDArray[np.float32]


@dataclass(frozen=True)
class Meanings:
    """The references of a library, and what they say about a text.

    The classes are the aims (objectives, those with equal descriptions being one), preferences
    ("with little energy") and, at the end, *none* of them, *several* of them, and an aim *ruled
    out* ("ignore the gold").

    Attributes:
        references: float32 (m, d), unit vectors.
        weights: float32 (m, n_classes): evidence = kernel(text, references) @ weights.
        spread: 1 - mean cosine of the references, the encoder's unit of distance.
        grams: the groups of letters that are known.
        rarity: float32 (n_grams,), the weight of each; the last one of any other is the greatest.
        gram_starts: int32 (m + 1,), where each reference begins in the next two.
        gram_numbers: int32 (n,), the positions of its groups of letters.
        gram_values: float32 (n,), a vector of unit length for each reference.
        scale: of evidence; softmax(scale * evidence + offsets) are probabilities.
        offsets: float32 (n_classes,).
        preferences: (measure, direction) of the classes that follow the aims.
        aims: int32 (n_objectives,), numbers of the distinct descriptions: the objectives' classes.
            Many of them share the only class that is an aim, and the nearest text decides.
        words: the words of the library's texts, in lower case, frequent ones first.
        found: share of the library's texts that would be understood had they been left out.
        refused: share of the texts about other things that would be refused.
    """

    references: Vectors
    weights: NDArray[np.float32]
    spread: float
    grams: list[str]
    rarity: NDArray[np.float32]
    gram_starts: NDArray[np.int32]
    gram_numbers: NDArray[np.int32]
    gram_values: NDArray[np.float32]
    scale: float
    offsets: NDArray[np.float32]
    preferences: list[list[str]]
    aims: NDArray[np.int32]
    words: list[str]
    found: float
    refused: float

    @property
    def n_aims(self) -> int:
        """The number of classes that are aims, which come first."""
        return int(self.weights.shape[1]) - N_OTHER - len(self.preferences)

    def log_probabilities(
        self, texts: list[str], vectors: Vectors, can_exclude: NDArray[np.bool_]
    ) -> NDArray[np.float32]:
        """Judge texts.

        Args:
            texts: n texts.
            vectors: float32 (n, d), their unit vectors.
            can_exclude: bool (n,), whether a text may rule something out at all.

        Returns:
            float32 (n, n_classes).
        """
        cosines = vectors @ self.references.T
        similarity = np.exp(WIDTH * (cosines - 1.0) / self.spread)
        similarity += LETTERS * self._shared_letters(texts)
        logits = self.scale * (similarity @ self.weights) + self.offsets
        logits[~can_exclude, RULED_OUT] = -np.inf
        return log_softmax(logits)

    @cached_property
    def _positions(self) -> dict[str, int]:
        return {gram: i for i, gram in enumerate(self.grams)}

    def _shared_letters(self, texts: list[str]) -> NDArray[np.float32]:
        """Compare texts with the references by their letters: cosines, float32 (n, m)."""
        rows = np.stack([weigh(grams_of(text), self._positions, self.rarity) for text in texts])
        products = np.zeros((len(texts), len(self.gram_numbers) + 1), dtype=np.float32)
        products[:, :-1] = rows[:, self.gram_numbers] * self.gram_values
        sums = np.add.reduceat(products, self.gram_starts[:-1], axis=1)
        sums[:, self.gram_starts[:-1] == self.gram_starts[1:]] = 0.0  # reduceat gives an element
        return sums


def log_softmax(logits: NDArray[np.float32]) -> NDArray[np.float32]:
    """Normalise the logits of each row to log probabilities, float32 (n, n_classes)."""
    logits = logits - logits.max(axis=1, keepdims=True)
    normalised: NDArray[np.float32] = logits - np.log(np.exp(logits).sum(axis=1, keepdims=True))
    return normalised


def grams_of(text: str) -> Counter[str]:
    """Count the groups of letters of a text's words: " gold " has " gol", "gold", "old "."""
    words = [f" {word} " for word in re.findall(r"\w+", text.lower())]
    return Counter(w[i : i + GRAM] for w in words for i in range(max(1, len(w) - GRAM + 1)))


def weigh(
    grams: Counter[str], position: dict[str, int], rarity: NDArray[np.float32]
) -> NDArray[np.float32]:
    """Weigh groups of letters by rarity: float32 (n_grams,), of unit length with the unknown."""
    row = np.zeros(len(rarity) - 1, dtype=np.float32)
    length = 0.0
    for gram, count in grams.items():
        place = position.get(gram, -1)
        value = (1.0 + math.log(count)) * float(rarity[place])
        length += value * value
        if place >= 0:
            row[place] = value
    return row / np.float32(math.sqrt(length) or 1.0)
