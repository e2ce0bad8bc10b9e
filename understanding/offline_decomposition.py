"""Splitting a sentence into single objectives without a language model.

1. Words that nobody knows are corrected to the nearest known word.
2. The sentence is cut into clauses at punctuation, conjunctions and negations, and what only asks
   ("please show me an agent that") is taken off.
3. Of all ways to join neighbouring clauses to pieces, the most probable one wins; a clause that
   begins with "not" begins a piece. Each piece has the probability of what it most likely means -
   an objective, nothing that the library has, or an objective ruled out - and counts by the root
   of its share of the words.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace

from understanding.english import (
    CONDITION,
    WORD,
    Clause,
    begins_negated,
    clauses,
    is_negated,
    words_of,
)
from understanding.matching import Match, Matcher
from understanding.spelling import Spelling

Meaning = int | tuple[str, str]

LONGEST_JOIN = 4  # clauses
MAX_CLAUSES = 12  # what a sentence can hold; more would cost time and mean nothing
OBJECTIVE_GAIN = 0.3  # of log probability: people rather ask for more objectives than for fewer


@dataclass(frozen=True)
class Piece:
    """Neighbouring clauses of a query, in the user's words, and what they mean together."""

    text: str
    match: Match


@dataclass(frozen=True)
class Reading:
    """A way to read the first clauses of a query."""

    value: float = 0.0
    meanings: frozenset[Meaning] = frozenset()  # objectives and preferences
    pieces: tuple[Piece, ...] = ()

    def extended(self, piece: Piece, share: float) -> "Reading":
        """Read on; `share` is the piece's share of the query's words."""
        meaning = piece.match.preference or piece.match.objective
        found = self.meanings if meaning is None else self.meanings | {meaning}
        gain = OBJECTIVE_GAIN * (len(found) - len(self.meanings))
        value = self.value + math.sqrt(share) * piece.match.log_probability + gain
        return Reading(value, found, (*self.pieces, piece))


def decompose_offline(
    sentences: Sequence[str], matcher: Matcher, spelling: Spelling
) -> list[Piece]:
    """Split sentences into pieces that mean one objective, none, or one that is ruled out.

    Who rules something out and asks for nothing else asks for that: "nobody should freeze".

    Args:
        sentences: of one query.
        matcher: of the library.
        spelling: of the library.

    Returns:
        At least one piece a sentence, in their order.
    """
    for can_exclude in (True, False):
        pieces = [
            piece
            for sentence in sentences
            for piece in _decompose(sentence.strip(), matcher, spelling, can_exclude)
        ]
        asked = any(piece.match.objective is not None for piece in pieces)
        if asked or not any(piece.match.excluded for piece in pieces):
            break
    return pieces


def _decompose(
    query: str, matcher: Matcher, spelling: Spelling, can_exclude: bool
) -> Sequence[Piece]:
    """Split one sentence, where nothing can be ruled out or where it can."""
    if matcher.exact(query) is not None:
        return [Piece(query, matcher.match([query], [False])[0])]
    corrected = CONDITION.sub(r"\1 and", spelling.correct(query))
    parts = clauses(corrected)[:MAX_CLAUSES]
    if not parts:  # it only asks
        (match,) = matcher.match([query], [False])
        return [Piece(query, replace(match, objective=None))]
    return read(query, corrected, parts, matcher, can_exclude)


def read(
    query: str, corrected: str, parts: list[Clause], matcher: Matcher, can_exclude: bool
) -> tuple[Piece, ...]:
    """Join clauses by dynamic programming over the set of objectives found so far.

    Args:
        query: as typed.
        corrected: the same words, spelled right.
        parts: the clauses of `corrected`.
        matcher: of the library.
        can_exclude: whether a piece that begins with a negated clause may rule something out.
    """
    n = len(parts)
    clause_texts = [corrected[part.start : part.end] for part in parts]
    apart = [begins_negated(text) for text in clause_texts]
    spans = [
        (i, j)
        for j in range(1, n + 1)
        for i in range(j)
        if j - i in (n, *range(LONGEST_JOIN + 1)) and not any(apart[i + 1 : j])
    ]
    texts = [corrected[parts[i].content : parts[j - 1].end] for i, j in spans]
    shown = as_typed(query, corrected, [(parts[i].start, parts[j - 1].end) for i, j in spans])
    negated = [is_negated(text) for text in clause_texts]
    exclusions = [can_exclude and negated[i] for i, _ in spans]
    pieces = map(Piece, shown, matcher.match(texts, exclusions))
    n_words = sum(len(words_of(corrected[part.content : part.end])) for part in parts)
    # best[j]: of the first j clauses, the most probable reading for each set of objectives
    best: list[dict[frozenset[Meaning], Reading]] = [{} for _ in range(n + 1)]
    best[0] = {frozenset(): Reading()}
    for (i, j), text, piece in zip(spans, texts, pieces, strict=True):
        for reading in best[i].values():
            longer = reading.extended(piece, len(words_of(text)) / n_words)
            known = best[j].get(longer.meanings)
            if known is None or longer.value > known.value:
                best[j][longer.meanings] = longer
    return max(best[n].values(), key=lambda reading: reading.value).pieces


def as_typed(query: str, corrected: str, bounds: list[tuple[int, int]]) -> list[str]:
    """Find the user's own words for parts of the corrected query."""
    typed, right = list(WORD.finditer(query)), list(WORD.finditer(corrected))
    if len(typed) != len(right):  # an apostrophe that a correction lost
        return [corrected[start:end] for start, end in bounds]
    starts = {word.start(): place.start() for word, place in zip(right, typed, strict=True)}
    ends = {word.end(): place.end() for word, place in zip(right, typed, strict=True)}
    return [
        query[starts[start] : ends[end]]
        if start in starts and end in ends
        else corrected[start:end]
        for start, end in bounds
    ]
