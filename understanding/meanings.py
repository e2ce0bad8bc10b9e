"""What a library's objectives mean, and what they don't: learned once, when it is prepared.

Cosine similarity alone can't tell "collect gold" from "gold price today". So preparation fits a
membership: +1 at the library's own texts, -1 at a background of what else people say (other
tasks, other subjects, bare manners, and the library's key words in another sense: "the price of
gold"). Key words come from the texts of the objectives, so that any target gets its contrast.

The fit is kernel ridge regression with a Gaussian kernel; both sides weigh the same, and so do
all objectives, whatever the number of their phrasings.
"""

import json
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from library.objective import Objective
from understanding.english import FUNCTION_WORDS, has_content, words_of

BACKGROUND = Path(__file__).with_name("background.json")
WIDTH = 1.8  # of the kernel, in units of the encoder's spread
RIDGE = 1.0
MARGIN = 0.2  # a clear difference of similarity, as a share of the way from the threshold to 1
DETERMINERS = frozenset(("a", "an", "the", "every", "all", "any", "of"))
MIN_TEXTS = 10  # an objective with fewer texts gets no contrast of its words in another sense
MIN_KEY_TEXTS = 2  # a word that so many texts name is a key word
MAX_KEY_WORDS = 12
MIN_WEIGHT = 4.0  # of a library's text; among many objectives the fit would pass it by
MAX_OWN_TEXTS = 4_000  # a library with more is about too much to tell what it is not about

Vectors = NDArray[np.float32]
Encode = Callable[[list[str]], Vectors]


@dataclass(frozen=True)
class Meanings:
    """Membership in what the library is about, and the library's words.

    Attributes:
        references: float32 (m, d), unit vectors of the library's texts and of the background;
            of a library of so many texts that everything counts as a member, only the manners.
        weights: float32 (m,), membership is kernel(vectors, references) @ weights; None for a
            library of so many texts.
        spread: 1 - mean cosine of the references, the encoder's unit of distance.
        n_manners: how many of the references, the last ones, only say how or where.
        words: the words of the library's texts, in lower case, frequent ones first.
    """

    references: Vectors
    weights: NDArray[np.float32] | None
    spread: float
    n_manners: int
    words: list[str]

    def membership(
        self, vectors: Vectors, nearest: NDArray[np.float32]
    ) -> tuple[NDArray[np.float32], NDArray[np.bool_]]:
        """Judge texts.

        Args:
            vectors: float32 (n, d), unit vectors.
            nearest: float32 (n,), their cosines to the nearest text of the library.

        Returns:
            float32 (n,): from about -1 (anything else) to 1 (what the library is about), and
            bool (n,): whether a text only says how or where ("as fast as possible").
        """
        cosines = vectors @ self.references.T
        memberships = np.ones(len(vectors), dtype=np.float32)
        if self.weights is not None:
            memberships = np.exp(WIDTH * (cosines - 1.0) / self.spread) @ self.weights
        is_manner = cosines.argmax(axis=1) >= len(self.references) - self.n_manners
        return memberships, is_manner & (cosines.max(axis=1) > nearest)


def learn_meanings(
    objectives: list[Objective], text_vectors: Vectors, threshold: float, encode: Encode
) -> Meanings:
    """Fit the membership.

    Args:
        objectives: of the library.
        text_vectors: float32 (n_texts, d), unit vectors of all their texts, in order.
        threshold: the encoder's least similarity of a match.
        encode: texts -> unit vectors.
    """
    counts = Counter(word for o in objectives for text in o.texts for word in words_of(text))
    words = sorted(counts, key=lambda word: (-counts[word], word))
    if len(text_vectors) > MAX_OWN_TEXTS:
        manners = json.loads(BACKGROUND.read_text("utf-8"))["manners"]
        return Meanings(encode(manners), None, 1.0, len(manners), words)
    background, n_manners = _background_texts(objectives, text_vectors, threshold, encode)
    references = np.vstack([text_vectors, encode(background)])
    spread = 1.0 - float((references @ references.mean(axis=0)).mean())
    weights = _fit_membership(references, [len(o.texts) for o in objectives], spread)
    return Meanings(references, weights, spread, n_manners, words)


def _fit_membership(references: Vectors, sizes: list[int], spread: float) -> NDArray[np.float32]:
    """Fit +1 at the texts of the objectives, which come first, and -1 at all others."""
    from sklearn.kernel_ridge import KernelRidge  # two seconds that a search does not need

    n_own, n_other = sum(sizes), len(references) - sum(sizes)
    own_weights = np.maximum(MIN_WEIGHT, n_other / np.repeat(sizes, sizes) / len(sizes))
    # On unit vectors exp(WIDTH * (cosine - 1) / spread) is this Gaussian of the distance.
    model = KernelRidge(alpha=RIDGE, kernel="rbf", gamma=WIDTH / (2.0 * spread))
    sides = np.repeat([1.0, -1.0], [n_own, n_other])
    model.fit(references, sides, sample_weight=np.concatenate([own_weights, np.ones(n_other)]))
    weights: NDArray[np.float32] = model.dual_coef_.astype(np.float32)
    return weights


def _background_texts(
    objectives: list[Objective], text_vectors: Vectors, threshold: float, encode: Encode
) -> tuple[list[str], int]:
    """List the texts that no objective means, manners last, and count the manners.

    Another task that is near to a text of the library may be what a target is for: it is left out.
    """
    texts = json.loads(BACKGROUND.read_text("utf-8"))
    nearest = (encode(texts["tasks"]) @ text_vectors.T).max(axis=1)
    limit = threshold + MARGIN * (1.0 - threshold)
    tasks = [task for task, cosine in zip(texts["tasks"], nearest, strict=True) if cosine < limit]
    keys = sorted({key for objective in objectives for key in _key_words(objective)})
    senses = [sense.format(key) for key in keys for sense in texts["senses"]]
    return [*tasks, *texts["everyday"], *senses, *texts["manners"]], len(texts["manners"])


def _key_words(objective: Objective) -> list[str]:
    """Find the words that name an objective: they follow a determiner or stand alone, often."""
    if len(objective.texts) < MIN_TEXTS:
        return []
    counts: Counter[str] = Counter()
    for text in objective.texts:
        words = words_of(text)
        names, named = set(), len(words) == 1
        for word in words:
            if word in FUNCTION_WORDS:
                named = word in DETERMINERS
            elif named and has_content(word):
                names.add(word)
        counts.update(sorted(names))
    return [word for word, n in counts.most_common(MAX_KEY_WORDS) if n >= MIN_KEY_TEXTS]
