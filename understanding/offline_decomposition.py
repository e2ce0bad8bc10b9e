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
    places = [(parts[i][0], parts[j - 1][1]) for i, j in spans]
    texts = [corrected[start:end] for start, end in places]
    pieces = matcher.match(texts, [negated[i] for i, _ in spans])
    return {
        span: replace(piece, text=as_typed(query, corrected, *place))
        for span, piece, place in zip(spans, pieces, places, strict=True)
    }


def as_typed(query: str, corrected: str, start: int, end: int) -> str:
    """Find the user's own words for a part of the corrected query, which has as many words."""
    words = list(WORD.finditer(query))
    first, last = (len(words_of(corrected[:place])) for place in (start, end))
    return query[words[first].start() : words[last - 1].end()]


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
    n_words = [len(words_of(piece.text)) for piece in pieces]
    likely = sum(
        math.sqrt(n / sum(n_words)) * piece.log_probability
        for n, piece in zip(n_words, pieces, strict=True)
    )
    return likely + OBJECTIVE_GAIN * len(meanings)
