"""A library that is nothing but texts, for tests of what they mean."""

import numpy as np

from understanding.learning import learn_meanings, objective_texts


class TextLibrary:
    """What a matcher asks of a library, made of its objectives."""

    def __init__(self, objectives, encode, wordings=()):
        self.objectives = list(objectives)
        self.meanings = learn_meanings(self.objectives, encode, wordings=wordings)
        owners = [i for i, objective in enumerate(objectives) for _ in objective.texts]
        self.text_objective = np.array(owners, dtype=np.int32)
        self._vectors = encode(objective_texts(objectives))

    def nearest_texts(self, vectors):
        """Find the position of the text nearest to each vector, and its cosine."""
        cosines = vectors @ self._vectors.T
        return cosines.argmax(axis=1), cosines.max(axis=1)
