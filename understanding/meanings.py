"""What the texts of a library mean, and what does not mean any of them: as a search needs it.

A text is compared with *references*, labelled examples that preparation made of the library's own
texts (`learning.py`). What a fit to them says, and how near the nearest ones are, is the evidence
for each class; calibrated it is a probability.
"""

from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

WIDTH = 2.0  # of the kernel, in units of the encoder's spread

Vectors = NDArray[np.float32]
Floats = NDArray[np.floating[Any]]


@dataclass(frozen=True)
class Meanings:
    """The references of a library, and what they say about a text.

    The classes are the aims (objectives, those with equal descriptions being one), preferences
    ("with little energy") and, at the end, *none* of them.

    Attributes:
        references: float32 (m, d), unit vectors, in the order of their classes.
        labels: int32 (m,), the class of each; every class has one.
        weights: float32 (m, n_classes): fitted = kernel(text, references) @ weights.
        spread: 1 - mean cosine of the references, the encoder's unit of distance.
        scales: float32 (2,), of the evidence: see `log_probabilities`.
        offsets: float32 (n_classes,).
        preferences: (measure, direction) of the classes that follow the aims.
        aims: int32 (n_objectives,), numbers of the distinct descriptions: the objectives' classes.
            Many of them share the only class that is an aim, and the nearest text decides.
        words: the words of the library's texts, in lower case, frequent ones first.
        found: how many of the library's texts the others explained, and how many were tried.
        refused: share of the texts about other things that would be refused.
        origin: a checksum of all that this was learned from, but the encoder.
    """

    references: Vectors
    labels: NDArray[np.int32]
    weights: NDArray[np.float32]
    spread: float
    scales: NDArray[np.float32]
    offsets: NDArray[np.float32]
    preferences: list[list[str]]
    aims: NDArray[np.int32]
    words: list[str]
    found: list[int]
    refused: float
    origin: str

    @property
    def n_aims(self) -> int:
        """The number of classes that are aims, which come first."""
        return int(self.weights.shape[1]) - 1 - len(self.preferences)

    def expectation(self) -> str:
        """Say in a line how well the library is expected to be understood."""
        found = "{} of {}".format(*self.found) if self.found[1] else "too few to tell"
        return f"Left-out phrasings found: {found}, off-topic texts refused: {self.refused:.0%}"

    @cached_property
    def _starts(self) -> NDArray[np.int64]:
        return np.searchsorted(self.labels, np.arange(len(self.offsets)))

    def judge(self, vectors: Vectors) -> Floats:
        """Give the log probabilities of the classes, float32 (n, n_classes), of unit vectors."""
        cosines = vectors @ self.references.T
        fitted = kernel(cosines, self.spread) @ self.weights
        near = closeness(cosines, self._starts, self.spread)
        return log_probabilities(np.stack([fitted, near]), self.scales, self.offsets)


def kernel(cosines: Vectors, spread: float) -> Vectors:
    """Make similarities of cosines: 1 for equal texts."""
    similarities: Vectors = np.exp(WIDTH * (cosines - 1.0) / spread)
    return similarities


def closeness(cosines: Vectors, starts: NDArray[np.int64], spread: float) -> Floats:
    """Tell how close texts are to each class, float (n, n_classes): 0 for the same text.

    That is the mean of the cosines to the nearest reference and, on average, to all.

    Args:
        cosines: float32 (n, m), to references in the order of their classes; 0 = left out.
        starts: int (n_classes,), where each class begins.
        spread: the encoder's unit of distance.
    """
    nearest = np.maximum.reduceat(cosines, starts, axis=1)
    counts = np.add.reduceat(cosines != 0.0, starts, axis=1, dtype=np.float32)
    mean = np.add.reduceat(cosines, starts, axis=1) / np.maximum(counts, 1.0)
    close: Floats = ((nearest + mean) / 2.0 - 1.0) / spread
    return close


def log_probabilities(evidence: Floats, scales: Floats, offsets: Floats) -> Floats:
    """Weigh evidence, float (2, n, n_classes): the log of softmax(scales @ evidence + offsets)."""
    logits = np.tensordot(scales, evidence, axes=1) + offsets
    normalised: Floats = logits - np.logaddexp.reduce(logits, axis=1, keepdims=True)
    return normalised
