"""Learning what a match is from a library's own texts, once, when it is prepared.

The texts are labelled data. Each is an example of its aim, and so are the halves of the long ones;
a background of what else people say, and the library's key words in another sense ("the price of
gold"), are *none*. Kernel ridge regression tells these classes apart. Texts that were left out of
it calibrate it and say how well it does.
"""

import hashlib
import json
import math
import re
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from itertools import chain, cycle, islice
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from library.objective import Objective
from understanding.english import ENGLISH, words_of
from understanding.meanings import WIDTH, Floats, Meanings, Vectors, closeness, log_probabilities
from worlds.measures import Wording

BACKGROUND = Path(__file__).with_name("background.json")
RIDGE = 2.0
FOLDS = 5
SHARES = (0.4, 0.2, 0.4)  # of what people say: an aim, a preference, none
PRIOR_SCALE, PRIOR_WIDTH = 6.0, 3.0  # of the calibration, for few texts
N_SENSES, N_KEY_WORDS = 500, 4  # examples; key words are an aim's
LONG = 6  # words; the halves of such a text are examples too
MAX_AIMS = 200  # more share one class: the nearest text tells them apart
MAX_TEXTS = 1_500  # of the library that become references
MIN_LEFT = 4  # texts of an aim that explain one left out
NAME_PARTS = re.compile(r"(?<=[a-z])(?=[A-Z])|[\W\d_]+")

Encode = Callable[[list[str]], Vectors]
Classes = NDArray[np.int64]


def learn_meanings(
    objectives: Sequence[Objective],
    encode: Encode,
    names: Sequence[str] = (),
    wordings: Sequence[Wording] = (),
    earlier: Meanings | None = None,
) -> Meanings:
    """Learn what the texts of a library mean.

    Args:
        objectives: of the library, at least one.
        encode: texts -> unit vectors.
        names: a further name for each objective, for instance of its environment.
        wordings: how people ask for little or much of the library's measures.
        earlier: what was learned before with the same encoder, returned if it was from just this.
    """
    background = json.loads(BACKGROUND.read_text("utf-8"))
    everything = repr((list(objectives), list(names), list(wordings), background))
    origin = hashlib.sha256(everything.encode("utf-8", "surrogatepass")).hexdigest()
    if earlier is not None and earlier.origin == origin:
        return earlier
    known = [text for objective in objectives for text in objective.texts]
    wordings = [w for w in wordings if not {*w.phrasings}.intersection(known)]
    aims = find_aims(objectives)
    own = own_texts(objectives, aims if aims.max() < MAX_AIMS else np.zeros_like(aims), names)
    phrasings = [wording.phrasings for wording in wordings]
    labels, groups, examples = zip(
        *make_examples([*own, *phrasings, contrast(own, background)]), strict=True
    )
    vectors = encode(list(examples))
    kinds = np.repeat(range(len(SHARES)), [len(own), len(wordings), 1])
    words = Counter(w for text in chain(known, *phrasings) for w in words_of(text))
    return Meanings(
        references=vectors,
        preferences=[[wording.measure, wording.direction] for wording in wordings],
        aims=aims,
        words=[word for word, _ in words.most_common()],
        origin=origin,
        **train(vectors, np.array(labels), np.array(groups), kinds),
    )


def train(vectors: Vectors, labels: Classes, groups: Classes, kinds: Classes) -> dict[str, Any]:
    """Learn to tell classes apart, and how well it does; the rest of the fields of `Meanings`."""
    spread = 1.0 - float((vectors @ vectors.mean(axis=0)).mean())
    weights, left_out = fit(vectors, spread, labels, groups, kinds)
    scales, offsets = calibrate(left_out, labels, kinds)
    right = log_probabilities(left_out, scales, offsets).argmax(axis=1) == labels
    tested = right[(kinds[labels] == 0) & (np.bincount(labels)[labels] > MIN_LEFT)]
    return {
        "labels": labels.astype(np.int32),
        "weights": weights.astype(np.float32),
        "spread": spread,
        "scales": scales.astype(np.float32),
        "offsets": offsets.astype(np.float32),
        "found": [int(tested.sum()), len(tested)],
        "refused": float(right[labels == labels[-1]].mean()),
    }


def find_aims(objectives: Sequence[Objective]) -> NDArray[np.int32]:
    """Number the distinct descriptions: int32 (n_objectives,)."""
    descriptions = [objective.description.casefold() for objective in objectives]
    numbers = {text: number for number, text in enumerate(dict.fromkeys(descriptions))}
    return np.array([numbers[text] for text in descriptions], dtype=np.int32)


def own_texts(
    objectives: Sequence[Objective], aims: NDArray[np.int32], names: Sequence[str]
) -> list[list[str]]:
    """List the distinct texts of each aim, names included; of many an even choice."""
    texts: list[dict[str, str]] = [{} for _ in range(int(aims.max()) + 1)]
    names = names or [""] * len(objectives)
    for objective, aim, name in zip(objectives, aims, names, strict=True):
        for text in (*objective.texts, spell_out(objective.target), spell_out(name)):
            texts[aim].setdefault(text.casefold(), text)
    step = math.ceil(sum(map(len, texts)) / MAX_TEXTS)
    return [list(filter(None, distinct.values()))[::step] for distinct in texts]


def spell_out(name: str) -> str:
    """Split a name into words: "FrozenLake-v1" is "Frozen Lake v"."""
    return NAME_PARTS.sub(" ", name).strip()


def contrast(own: list[list[str]], background: dict[str, list[str]]) -> list[str]:
    """List what means none of the aims; with their key words in other senses."""
    keys = sorted({word for texts in own for word in _key_words(texts)})
    each = min(len(background["senses"]), max(1, N_SENSES // max(1, len(keys))))
    patterns = cycle(background["senses"])
    senses = [pattern.format(key) for key in keys for pattern in islice(patterns, each)]
    return [*background["tasks"], *background["everyday"], *background["manners"], *senses]


def _key_words(texts: list[str]) -> list[str]:
    """Find the words that most texts of an aim have, except those that every English text has."""
    counts = Counter(w for text in texts for w in set(words_of(text)) - ENGLISH if len(w) > 2)
    common = [word for word in counts if counts[word] > 1 or len(texts) < N_KEY_WORDS]
    return sorted(common, key=lambda word: (-counts[word], word))[:N_KEY_WORDS]


def make_examples(texts: list[Sequence[str]]) -> Iterator[tuple[int, int, str]]:
    """Make examples of the texts of all classes: class, number of the text, text or a half."""
    labelled = [(label, text) for label, of_class in enumerate(texts) for text in of_class]
    for group, (label, text) in enumerate(labelled):
        for part in (text, *halves(text)):
            yield label, group, part


def halves(text: str) -> list[str]:
    """Cut a long text in two; people say half of what a description says."""
    words = text.split()
    half = len(words) // 2
    return [" ".join(words[:half]), " ".join(words[half:])] if len(words) >= LONG else []


def fit(
    vectors: Vectors, spread: float, labels: Classes, groups: Classes, kinds: Classes
) -> tuple[Floats, Floats]:
    """Fit 1 at a class's examples and 0 at all others, and judge each example by the others.

    Args:
        vectors: float32 (m, d), unit vectors.
        spread: the encoder's unit of distance.
        labels: int (m,), classes.
        groups: int (m,), examples of one group are left out together.
        kinds: int (n_classes,), positions in `SHARES`.

    Returns:
        weights (m, n_classes), and the evidence (2, m, n_classes) of left-out examples.
    """
    from sklearn.kernel_ridge import KernelRidge
    from sklearn.model_selection import GroupKFold, cross_val_predict

    targets = np.eye(len(kinds))[labels]
    # of unit vectors |x - y|^2 = 2 (1 - cosine): this radial basis function is `kernel`
    model = KernelRidge(alpha=RIDGE, kernel="rbf", gamma=WIDTH / (2.0 * spread))
    importance = {"sample_weight": shares(labels, kinds)}
    folds = GroupKFold(FOLDS)
    fitted = cross_val_predict(model, vectors, targets, groups=groups, cv=folds, params=importance)
    cosines = np.where(groups[:, np.newaxis] == groups, 0.0, vectors @ vectors.T)
    near = closeness(cosines, np.searchsorted(labels, np.arange(len(kinds))), spread)
    return model.fit(vectors, targets, **importance).dual_coef_, np.stack([fitted, near])


def shares(labels: Classes, kinds: Classes) -> Floats:
    """Weigh examples so that each kind has its share and its classes weigh the same: mean 1."""
    of_class = np.array(SHARES)[kinds] / np.bincount(kinds)[kinds]
    weights = (of_class / np.bincount(labels))[labels]
    return np.asarray(weights / weights.mean())


def calibrate(left_out: Floats, labels: Classes, kinds: Classes) -> tuple[Floats, Floats]:
    """Find the scales and offsets that make the labels most likely: see `log_probabilities`.

    Args:
        left_out: evidence for m examples.
        labels: int (m,), the true classes.
        kinds: int (n_classes,), positions in `SHARES`.

    Returns:
        float64 (2,) and float64 (n_classes,), zero for the aims.
    """
    from scipy.optimize import minimize

    weights = shares(labels, kinds)
    prior = np.array([PRIOR_SCALE, PRIOR_SCALE, 0.0, 0.0])

    def loss(parameters: NDArray[np.float64]) -> float:
        offsets = np.append(0.0, parameters[2:])[kinds]
        likely = log_probabilities(left_out, parameters[:2], offsets)
        penalty = (((parameters - prior) / PRIOR_WIDTH) ** 2).sum()
        return float(penalty - (weights * likely[np.arange(len(labels)), labels]).sum())

    found = minimize(loss, prior).x
    return found[:2], np.append(0.0, found[2:])[kinds]
