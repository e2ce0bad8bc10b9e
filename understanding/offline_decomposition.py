"""Splitting a sentence into single objectives without a language model.

1. Words that nobody knows are corrected to the nearest known word.
2. The sentence is cut into clauses at punctuation, conjunctions and negations, and what only asks
   ("please show me an agent that") is taken off.
3. Of all ways to join neighbouring clauses to pieces, the most probable one wins; a clause that
   says "not" begins a piece. Each piece has the probability of what it most likely means,
   and counts by the root of its share of the words.
"""

import math
from collections.abc import Iterator, Sequence
from dataclasses import replace
from functools import lru_cache

from understanding.english import CONDITION, WORD, clauses, is_negated, words_of
from understanding.matching import Matcher, SubQuery
from understanding.spelling import Spelling

Span = tuple[int, int]

MAX_CLAUSES = 12  # what a sentence can hold; more would cost time and mean nothing
OBJECTIVE_GAIN = 0.5  # of log probability: people rather ask for more objectives than for fewer


def decompose_offline(
    sentences: Sequence[str], matcher: Matcher, spelling: Spelling
) -> list[SubQuery]:
    """Split the sentences of a query into pieces, at least one each, in their order.

    Who rules something out and asks for nothing else asks for that: "nobody should freeze".
    """
    pieces = [p for text in sentences for p in _decompose(text.strip(), matcher, spelling)]
    if any(piece.objective is not None for piece in pieces):
        return pieces
    return [replace(piece, objective=piece.ruled_out, ruled_out=None) for piece in pieces]


def _decompose(query: str, matcher: Matcher, spelling: Spelling) -> Sequence[SubQuery]:
    """Split one sentence into the most probable pieces."""
    query = CONDITION.sub(r"\1 and", query)
    text = spelling.correct(query)
    parts = clauses(text)[:MAX_CLAUSES]
    is_exact = matcher.exact(query) is not None
    if is_exact or not parts:  # without parts it only asks
        (whole,) = matcher.match([query], [False])
        return [whole if is_exact else replace(whole, objective=None)]
    return max(_readings(len(parts), _join(query, text, parts, matcher)), key=_value)


def _join(query: str, corrected: str, parts: list[Span], matcher: Matcher) -> dict[Span, SubQuery]:
    """Join the clauses i to j - 1 of the corrected query to a piece, for all (i, j) that may be."""
    negated = [is_negated(corrected[start:end]) for start, end in parts]
    ends = range(1, len(parts) + 1)
    spans = [(i, j) for j in ends for i in range(j) if not any(negated[i + 1 : j])]
    texts = [corrected[parts[i][0] : parts[j - 1][1]] for i, j in spans]
    pieces = matcher.match(texts, [negated[i] for i, _ in spans])
    typed = _as_typed(query, corrected, parts)
    return {
        (i, j): replace(piece, text=query[typed[i][0] : typed[j - 1][1]])
        for (i, j), piece in zip(spans, pieces, strict=True)
    }


def _as_typed(query: str, corrected: str, parts: list[Span]) -> list[Span]:
    """Find where parts of the corrected query stand in the user's own, which has as many words."""
    words = list(WORD.finditer(query))
    numbers = [[len(words_of(corrected[:place])) for place in part] for part in parts]
    return [(words[first].start(), words[last - 1].end()) for first, last in numbers]


@lru_cache(maxsize=1_000)  # the same pieces are in many readings
def _n_words(text: str) -> int:
    return len(words_of(text))


def _readings(end: int, pieces: dict[Span, SubQuery]) -> Iterator[tuple[SubQuery, ...]]:
    """List the ways to put the first clauses together of pieces."""
    if end == 0:
        yield ()
    for start in range(end):
        if (start, end) in pieces:
            for before in _readings(start, pieces):
                yield (*before, pieces[start, end])


def _value(pieces: Sequence[SubQuery]) -> float:
    """Tell how probable a reading is."""
    meanings = {piece.preferences or piece.objective for piece in pieces} - {None}
    total = sum(_n_words(piece.text) for piece in pieces)
    likely = sum(
        math.sqrt(_n_words(piece.text) / total) * piece.log_probability for piece in pieces
    )
    return likely + OBJECTIVE_GAIN * len(meanings)
