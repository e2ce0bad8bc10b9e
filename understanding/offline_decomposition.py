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
from dataclasses import dataclass, replace

from understanding.english import (
    CONDITION,
    WORD,
    clauses,
    is_negated,
    words_of,
)
from understanding.matching import Match, Matcher
from understanding.spelling import Spelling

Span = tuple[int, int]

MAX_CLAUSES = 12  # what a sentence can hold; more would cost time and mean nothing
OBJECTIVE_GAIN = 0.5  # of log probability: people rather ask for more objectives than for fewer


@dataclass(frozen=True)
class Piece:
    """Neighbouring clauses of a query, in the user's words, and what they mean together.

    Attributes:
        text: in the user's words.
        match: what it means.
        share: of the query's words.
    """

    text: str
    match: Match
    share: float = 1.0


def decompose_offline(
    sentences: Sequence[str], matcher: Matcher, spelling: Spelling
) -> list[Piece]:
    """Split the sentences of a query into pieces, at least one each, in their order.

    Who rules something out and asks for nothing else asks for that: "nobody should freeze".
    """
    pieces = [p for text in sentences for p in _decompose(text.strip(), matcher, spelling)]
    if any(piece.match.objective is not None for piece in pieces):
        return pieces
    return [
        replace(piece, match=replace(piece.match, objective=piece.match.ruled_out, ruled_out=None))
        for piece in pieces
    ]


def _decompose(query: str, matcher: Matcher, spelling: Spelling) -> Sequence[Piece]:
    """Split one sentence into the most probable pieces."""
    query = CONDITION.sub(r"\1 and", query)
    text = spelling.correct(query)
    parts = clauses(text)[:MAX_CLAUSES]
    if not parts or matcher.exact(query) is not None:  # without parts it only asks
        (match,) = matcher.match([query], [False])
        return [Piece(query, match if parts else replace(match, objective=None))]
    return max(_readings(len(parts), _join(query, text, parts, matcher)), key=_value)


def _join(query: str, corrected: str, parts: list[Span], matcher: Matcher) -> dict[Span, Piece]:
    """Join the clauses i to j - 1 of the corrected query to a piece, for all (i, j) that may be."""
    clauses = [corrected[start:end] for start, end in parts]
    negated = [is_negated(clause) for clause in clauses]
    ends = range(1, len(parts) + 1)
    spans = [(i, j) for j in ends for i in range(j) if not any(negated[i + 1 : j])]
    places = [(parts[i][0], parts[j - 1][1]) for i, j in spans]
    texts = [corrected[start:end] for start, end in places]
    matches = matcher.match(texts, [negated[i] for i, _ in spans])
    n_words = sum(len(words_of(clause)) for clause in clauses)
    shares = [len(words_of(text)) / n_words for text in texts]
    shown = [as_typed(query, corrected, *place) for place in places]
    return dict(zip(spans, map(Piece, shown, matches, shares), strict=True))


def as_typed(query: str, corrected: str, start: int, end: int) -> str:
    """Find the user's own words for a part of the corrected query, which has as many words."""
    words = list(WORD.finditer(query))
    first, last = (len(words_of(corrected[:place])) for place in (start, end))
    return query[words[first].start() : words[last - 1].end()]


def _readings(end: int, pieces: dict[Span, Piece]) -> Iterator[tuple[Piece, ...]]:
    """List the ways to put the first clauses together of pieces."""
    if end == 0:
        yield ()
    for start in range(end):
        if (start, end) in pieces:
            for before in _readings(start, pieces):
                yield (*before, pieces[start, end])


def _value(pieces: Sequence[Piece]) -> float:
    """Tell how probable a reading is."""
    meanings = {piece.match.preference or piece.match.objective for piece in pieces} - {None}
    likely = sum(math.sqrt(piece.share) * piece.match.log_probability for piece in pieces)
    return likely + OBJECTIVE_GAIN * len(meanings)
