"""A library that is nothing but texts, for tests of what they mean."""

from understanding.learning import learn_meanings
from understanding.matching import Matcher


class TextLibrary:
    """Objectives, what their texts mean, and a matcher."""

    def __init__(self, objectives, encode, wordings=()):
        self.objectives = list(objectives)
        self.meanings = learn_meanings(self.objectives, encode, wordings=wordings)
        self.matcher = Matcher(self.objectives, self.meanings, encode, self._nearest_texts)
        self._vectors = encode([text for objective in objectives for text in objective.texts])

    def _nearest_texts(self, vectors):
        cosines = vectors @ self._vectors.T
        return cosines.argmax(axis=1), cosines.max(axis=1)
