"""Learning what a match is from a library's own texts, once, when it is prepared.

The texts are labelled data. Each is an example of its aim, and so are the halves of the long ones;
with "ignore" before it, a text is *ruled out*; a background of what else people say, and the
library's key words in another sense ("the price of gold"), are *none*. Kernel ridge regression
tells these classes apart. Left-out predictions, which this regression has in closed form,
calibrate it and say how well it does.
"""

import hashlib
import json
import math
import re
from collections import Counter
from collections.abc import Callable, Sequence
from itertools import cycle, islice
from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from library.objective import Objective
from understanding.english import ENGLISH, is_negated, words_of
from understanding.meanings import (
    N_OTHER,
    RULED_OUT,
    Evidence,
    Meanings,
    Vectors,
    closeness,
    kernel,
    log_probabilities,
)
from worlds.measures import Wording

BACKGROUND = Path(__file__).with_name("background.json")
RIDGE = 2.0
ALIKE = 0.35  # of the encoder's spread: texts so near may mean the same
TRUST = 0.5  # in the evidence: people's sentences are less alike than a library's own texts
KINDS = ("aim", "preference", "none", "ruled out")
SHARES = (0.5, 0.1, 0.2, 0.2)  # of each kind of class, in the weight of the fit
FREQUENCIES = (0.4, 0.1, 0.5, 0.15)  # in the calibration: half of what people say means none
PRIOR_SCALE, PRIOR_WIDTH = 6.0, 1.0  # of the calibration, for few texts
N_SENSES, N_KEY_WORDS = 500, 4  # examples; key words are an aim's
N_RULED_OUT = 2  # examples that a text gives
LONG = 8  # words; the halves of such a text are examples too
MAX_AIMS = 200  # more share one class: the nearest text tells them apart
MAX_TEXTS = 1_500  # of the library that become references
MIN_LEFT, MIN_TESTED = 4, 10  # texts of an aim that explain one left out, and of these
IMPOSSIBLE = -1e3  # a log probability
NAME_PARTS = re.compile(r"(?<=[a-z])(?=[A-Z])|[\W\d_]+")

Encode = Callable[[list[str]], Vectors]


class Example(NamedTuple):
    """A labelled text.

    Attributes:
        label: its class.
        text: what somebody says.
        source: a number for the text that it was made of. What is made of a text is left out
            together with it.
    """

    label: int
    text: str
    source: int


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
    origin = _digest(list(objectives), list(names), list(wordings), background)
    if earlier is not None and earlier.origin == origin:
        return earlier
    encode = _once(encode)
    aims = find_aims(objectives)
    classes = aims if aims.max() < MAX_AIMS else np.zeros_like(aims)
    own = _own_texts(objectives, classes, names)
    near = encode([text for text, _ in own])
    wordings = [w for w in wordings if _are_alike(w.phrasings, near, encode).mean() < 0.5]
    near = np.vstack([near, *(encode(list(wording.phrasings)) for wording in wordings)])
    for kind in ("tasks", "manners"):
        foreign = ~_are_alike(background[kind], near, encode)
        background[kind] = np.array(background[kind])[foreign].tolist()
    kinds = _kinds(int(classes.max()) + 1, len(wordings))
    examples = make_examples(own, int(classes.max()) + 1, background, wordings)
    labels = np.array([example.label for example in examples])
    vectors = encode([example.text for example in examples])
    spread = 1.0 - float((vectors @ vectors.mean(axis=0)).mean())
    sources = np.array([example.source for example in examples])
    weights, left_out = fit(vectors, spread, labels, sources, kinds)
    negated = np.array([is_negated(example.text) for example in examples])
    scales, offsets = calibrate(left_out, labels, kinds, negated)
    guesses = log_probabilities(left_out, scales, offsets, negated).argmax(axis=1)
    known = [*objective_texts(objectives), *(text for w in wordings for text in w.phrasings)]
    words = Counter(word for text in known for word in words_of(text))
    return Meanings(
        references=vectors,
        labels=labels.astype(np.int32),
        weights=weights.astype(np.float32),
        spread=spread,
        scales=(TRUST * scales).astype(np.float32),
        offsets=(TRUST * offsets).astype(np.float32),
        preferences=[[wording.measure, wording.direction] for wording in wordings],
        aims=aims,
        words=sorted(words, key=lambda word: (-words[word], word)),
        found=_bounds_found(guesses == labels, own, known, examples),
        refused=float((guesses >= len(kinds) - N_OTHER)[labels == len(kinds) - N_OTHER].mean()),
        origin=origin,
    )


def _once(encode: Encode) -> Encode:
    """Make an encoder that remembers the vectors of texts."""
    known: dict[str, NDArray[np.float32]] = {}

    def look_up(texts: list[str]) -> Vectors:
        new = [text for text in dict.fromkeys(texts) if text not in known]
        if new:
            known.update(zip(new, encode(new), strict=True))
        return np.stack([known[text] for text in texts])

    return look_up


def _digest(*sources: object) -> str:
    """Make a checksum of what is learned from, whose `repr` says all of it."""
    return hashlib.sha256(repr(sources).encode("utf-8", "surrogatepass")).hexdigest()


def _bounds_found(
    right: NDArray[np.bool_], own: list[tuple[str, int]], known: list[str], examples: list[Example]
) -> list[float]:
    """Bound the share of left-out texts that were understood: see `found` of `Meanings`.

    Only sentences count, those `known`, no names. One that leaves less than `MIN_LEFT` other texts
    of its aim tells nothing about an aim that has them all.
    """
    from scipy.stats import binomtest

    n_texts = Counter(aim for _, aim in own)
    testable = {pair for pair in own if n_texts[pair[1]] > MIN_LEFT and pair[0] in known}
    tested = right[[(example.text, example.label) in testable for example in examples]]
    if len(tested) < MIN_TESTED:
        return []
    interval = binomtest(int(tested.sum()), len(tested)).proportion_ci(0.9, method="wilson")
    return [float(interval.low), float(interval.high)]


def objective_texts(objectives: Sequence[Objective]) -> list[str]:
    """List the texts of all objectives, in order."""
    return [text for objective in objectives for text in objective.texts]


def find_aims(objectives: Sequence[Objective]) -> NDArray[np.int32]:
    """Number the distinct descriptions: int32 (n_objectives,)."""
    numbers: dict[str, int] = {}
    for objective in objectives:
        numbers.setdefault(objective.description.casefold(), len(numbers))
    return np.array([numbers[o.description.casefold()] for o in objectives], dtype=np.int32)


def _own_texts(
    objectives: Sequence[Objective], aims: NDArray[np.int32], names: Sequence[str]
) -> list[tuple[str, int]]:
    """List the distinct texts of the aims, names included; of many an even choice."""
    texts: dict[tuple[str, int], str] = {}
    for i, objective in enumerate(objectives):
        for name in (objective.target, *names[i : i + 1]):
            texts.setdefault((spell_out(name).casefold(), int(aims[i])), spell_out(name))
        for text in objective.texts:
            texts.setdefault((text.casefold(), int(aims[i])), text)
    own = [(text, aim) for (_, aim), text in texts.items() if text]
    step = math.ceil(len(own) / MAX_TEXTS)
    first = {aim: i for i, (_, aim) in reversed(list(enumerate(own)))}
    return [pair for i, pair in enumerate(own) if i % step == 0 or i == first[pair[1]]]


def _are_alike(texts: Sequence[str], own: Vectors, encode: Encode) -> NDArray[np.bool_]:
    """Tell which texts may mean what a text of the library (m, d) means: bool (n,).

    Another task that is near to the library may be what a target is for, and so may be little of
    a measure ("save energy"); "in the fewest steps" may be what a measure is: they are no contrast.
    """
    vectors = encode(list(texts))
    everything = np.vstack([vectors, own])
    spread = 1.0 - (everything @ everything.mean(axis=0)).mean()
    alike: NDArray[np.bool_] = (vectors @ own.T).max(axis=1) > 1.0 - ALIKE * spread
    return alike


def spell_out(name: str) -> str:
    """Split a name into words: "FrozenLake-v1" is "Frozen Lake v"."""
    return NAME_PARTS.sub(" ", name).strip()


def make_examples(
    own: list[tuple[str, int]],
    n_aims: int,
    background: dict[str, list[str]],
    wordings: Sequence[Wording],
) -> list[Example]:
    """Make labelled examples of a library's texts (text, aim), in the order of their classes."""
    first = n_aims + len(wordings)
    none, ruled_out = range(first, first + N_OTHER)
    exclusions = cycle(background["exclusions"])
    examples = []
    for i, (text, aim) in enumerate(own):
        examples += [Example(aim, part, i) for part in (text, *halves(text))]
        for pattern in islice(exclusions, N_RULED_OUT):
            examples.append(Example(ruled_out, pattern.format(as_clause(text)), i))
    senses = _in_other_senses(own, background["senses"])
    others = [*background["tasks"], *background["everyday"], *senses, *background["manners"]]
    labelled = [(none, text) for text in others]
    labelled += [(n, t) for n, w in enumerate(wordings, start=n_aims) for t in w.phrasings]
    examples += [Example(*pair, source) for source, pair in enumerate(labelled, start=len(own))]
    return sorted(examples, key=lambda example: example.label)


def halves(text: str) -> list[str]:
    """Cut a long text in two; people say half of what a description says."""
    words = text.split()
    half = len(words) // 2
    return [" ".join(words[:half]), " ".join(words[half:])] if len(words) >= LONG else []


def as_clause(text: str) -> str:
    """Make a sentence part of another: without its full stop, and beginning in lower case."""
    text = text.strip().rstrip(".!?")
    return text[:1].lower() + text[1:] if text[1:2].islower() else text


def _in_other_senses(own: list[tuple[str, int]], senses: list[str]) -> list[str]:
    """Use the key words of the aims in other senses, about `N_SENSES` times."""
    keys = sorted({word for aim in {aim for _, aim in own} for word in _key_words(own, aim)})
    each = min(len(senses), max(1, N_SENSES // max(1, len(keys))))
    patterns = cycle(senses)
    return [pattern.format(key) for key in keys for pattern in islice(patterns, each)]


def _key_words(own: list[tuple[str, int]], aim: int) -> list[str]:
    """Find the words that most texts of an aim have, except those that every English text has."""
    texts = [text for text, its_aim in own if its_aim == aim]
    counts = Counter(w for text in texts for w in set(words_of(text)) - ENGLISH if len(w) > 2)
    common = [word for word in counts if counts[word] > 1 or len(texts) < N_KEY_WORDS]
    return sorted(common, key=lambda word: (-counts[word], word))[:N_KEY_WORDS]


def fit(
    vectors: Vectors,
    spread: float,
    labels: NDArray[np.int64],
    sources: NDArray[np.int64],
    kinds: NDArray[np.int64],
) -> tuple[NDArray[np.float64], Evidence]:
    """Fit 1 at a class's examples and 0 at all others, and judge each example by the others.

    With H = (K + ridge / w)^-1 the weights are A = H Y, and what is fitted without the examples
    g of a source predicts Y_g - H_gg^-1 A_g for it (Rifkin & Lippert 2007, "Notes on regularized
    least squares", section 4, for groups instead of single examples).

    Returns:
        weights, float64 (m, n_classes), and the evidence left out.
    """
    from scipy.linalg import inv  # a tenth of a second that a search does not need

    targets = np.eye(len(kinds))[labels]
    cosines = vectors @ vectors.T
    matrix = np.array(kernel(cosines, spread), np.float64, order="F")
    matrix[np.diag_indices(len(matrix))] += RIDGE / _weights(labels, kinds, SHARES)
    inverse = inv(matrix, overwrite_a=True, check_finite=False)  # in place: it may be large
    weights = inverse @ targets
    left_out = targets.copy()
    for source in np.unique(sources):
        members = np.flatnonzero(sources == source)
        together = np.ix_(members, members)
        left_out[members] -= np.linalg.solve(inverse[together], weights[members])
        cosines[together] = 0.0
    starts = np.searchsorted(labels, np.arange(len(kinds)))
    return weights, Evidence(left_out, closeness(cosines, starts, spread))


def _kinds(n_aims: int, n_preferences: int) -> NDArray[np.int64]:
    """Tell the kind of each class, a position in `KINDS`: int (n_classes,)."""
    return np.repeat(np.arange(len(KINDS)), [n_aims, n_preferences, 1, 1])


def _weights(
    labels: NDArray[np.int64], kinds: NDArray[np.int64], shares: Sequence[float]
) -> NDArray[np.float64]:
    """Weigh examples so that each kind has its share and its classes weigh the same: mean 1."""
    of_class = np.array(shares)[kinds] / np.bincount(kinds, minlength=len(KINDS))[kinds]
    counts = np.bincount(labels, minlength=len(kinds))
    weights = (of_class / np.maximum(1, counts))[labels]
    return np.asarray(weights / weights.mean())


def calibrate(
    left_out: Evidence,
    labels: NDArray[np.int64],
    kinds: NDArray[np.int64],
    negated: NDArray[np.bool_],
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Find the scales and offsets that make the labels most likely: see `log_probabilities`.

    Args:
        left_out: evidence for m examples.
        labels: int (m,), the true classes.
        kinds: int (n_classes,), positions in `KINDS`.
        negated: bool (m,), which examples say "not".

    Returns:
        float64 (2,) and float64 (n_classes,), zero for the aims.
    """
    from scipy.optimize import minimize

    possible = negated | (labels != len(kinds) + RULED_OUT)
    weights = _weights(labels, kinds, FREQUENCIES) * possible
    prior = np.array([PRIOR_SCALE] * 2 + [0.0] * (len(KINDS) - 1))
    rows = np.arange(len(labels))

    def loss(parameters: NDArray[np.float64]) -> float:
        offsets = np.append(0.0, parameters[2:])[kinds]
        likely = log_probabilities(left_out, parameters[:2], offsets, negated)
        penalty = (((parameters - prior) / PRIOR_WIDTH) ** 2).sum()
        of_labels = np.maximum(likely[rows, labels], IMPOSSIBLE)
        return float((penalty - (weights * of_labels).sum()) / len(labels))

    found = minimize(loss, prior).x
    return found[:2], np.append(0.0, found[2:])[kinds]
