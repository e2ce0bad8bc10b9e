"""Splitting a sentence into single objectives without a language model.

1. Words that nobody knows are corrected to the nearest known word.
2. The sentence is cut into atoms at punctuation, conjunctions, relative clauses and negations, and
   what only asks ("please show me an agent that") or introduces is taken off. A negated
   atom that would match an objective rules it out and is dropped.
3. An atom that holds two objectives ("escape with the loot") is cut where each half matches one.
4. Of all ways to join neighbouring atoms, the one wins that covers the most objectives, each as
   similar as can be, with the fewest pieces: "quickly and efficiently reach the exit" is one.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import pairwise

from understanding.english import (
    AND_JOINT,
    CONDITION,
    CUT_BEFORE,
    FUNCTION_WORDS,
    GRID_SIZE,
    INTRODUCTION,
    NEGATION,
    NOUN_PHRASE,
    OR_JOINT,
    PREFERENCE,
    SEPARATOR,
    TRAILER,
    WORD,
    frame_length,
    has_content,
    is_negated,
)
from understanding.matching import Matcher, SubQuery
from understanding.spelling import Spelling

LONGEST_JOIN = 5  # atoms
MAX_ATOMS = 40  # what a sentence can hold; more would cost time and mean nothing
BEAM = 64  # sets of objectives that are followed at a time; a sentence has two or three


@dataclass(frozen=True)
class Atom:
    """A part of the query that grammar does not cut.

    Attributes:
        start, end: its place.
        negated: it says "not".
        introduces: it leads to what is asked for, and is nothing unless it matches.
    """

    start: int
    end: int
    negated: bool = False
    introduces: bool = False


def decompose_offline(query: str, matcher: Matcher, spelling: Spelling) -> list[SubQuery]:
    """Split a query into single-objective sub-queries.

    Returns:
        At least one, in the order of the sentence; when nothing is left, all of it, unmatched.
    """
    query = GRID_SIZE.sub("", query.replace("’", "'"))  # no objective is about it
    query = spelling.correct(query)
    query = CONDITION.sub(lambda match: f"{match[1]} and", query)
    query = PREFERENCE.sub(lambda match: f"{match[1] or match[2]} rather than", query)
    atoms = [atom for atom in cut(query)[:MAX_ATOMS] if not is_ruled_out(query, atom, matcher)]
    atoms = [half for atom in atoms for half in halve(query, atom, matcher)]
    (whole,) = matcher.match([(query.strip(), False)])
    return distinct(join(query, atoms, matcher)) or [replace(whole, objective=None)]


def cut(query: str) -> list[Atom]:
    """Cut a query into atoms at punctuation, conjunctions, relative clauses and negations."""
    atoms: list[Atom] = []
    position = 0
    for separator in [*SEPARATOR.finditer(query), None]:
        end = separator.start() if separator else len(query)
        leads = {position + m.end() for m in INTRODUCTION.finditer(query[position:end])}
        clauses = {position + m.end() for m in CUT_BEFORE.finditer(query[position:end])}
        places = sorted(clauses | leads)
        cuts = [place for place in places if not NEGATION.search(query[position:place])]
        for start, stop in pairwise([position, *cuts, end]):
            atom = _trim(query, start, stop)
            if atom:
                negated = is_negated(query[start:stop]) or _continues_negation(query, atoms, start)
                introduces = stop in leads
                atoms.append(replace(atom, negated=negated, introduces=introduces))
        position = separator.end() if separator else end
    return atoms


def is_ruled_out(query: str, atom: Atom, matcher: Matcher) -> bool:
    """Tell whether an atom names an objective only to exclude it, or only leads to one."""
    text = query[atom.start : atom.end]
    said, affirmed = matcher.match([(text, atom.negated), (text, False)])
    return said.objective is None and (affirmed.objective is not None or atom.introduces)


def halve(query: str, atom: Atom, matcher: Matcher) -> list[Atom]:
    """Cut an atom in two where each half matches an objective of its own, if there is a place."""
    words = [(m.start(), m.group().lower()) for m in WORD.finditer(query, atom.start, atom.end)]
    places = [start for (_, before), (start, _) in pairwise(words) if before not in FUNCTION_WORDS]
    if atom.negated or not places or NEGATION.search(query, atom.start, atom.end):
        return [atom]
    halves = [
        (query[start:end].strip(), False)
        for place in places
        for start, end in ((atom.start, place), (place, atom.end))
    ]
    whole, *matches = matcher.match([(query[atom.start : atom.end], False), *halves])
    pairs = [
        (min(left.similarity, right.similarity), place)
        for place, left, right in zip(places, matches[::2], matches[1::2], strict=True)
        if None not in (left.objective, right.objective) and left.objective != right.objective
    ]
    weakest, place = max(pairs, default=(-1.0, 0))
    if weakest < max(matcher.threshold + matcher.margin, whole.similarity - 2 * matcher.margin):
        return [atom]
    first_end = atom.start + len(query[atom.start : place].rstrip())
    return [Atom(atom.start, first_end), Atom(place, atom.end)]


def join(query: str, atoms: list[Atom], matcher: Matcher) -> list[SubQuery]:
    """Join neighbouring atoms by dynamic programming over the set of objectives found so far."""
    n = len(atoms)
    spans = [
        (i, j)
        for j in range(1, n + 1)
        for i in range(max(0, j - LONGEST_JOIN), j)
        if i == j - 1 or not any(atom.negated for atom in atoms[i:j])
    ]
    texts = [(query[atoms[i].start : atoms[j - 1].end], atoms[i].negated) for i, j in spans]
    # best[j]: of the first j atoms, the highest value and its pieces for each set of objectives
    best: list[dict[frozenset[int], tuple[float, list[SubQuery]]]] = [{} for _ in range(n + 1)]
    best[0] = {frozenset(): (0.0, [])}
    for (i, j), piece in zip(spans, matcher.match(texts), strict=True):
        followed = sorted(best[i].items(), key=lambda item: -item[1][0])[:BEAM]
        for found, (value, pieces) in followed:
            objectives = found if piece.objective is None else found | {piece.objective}
            gain = (piece.similarity if objectives != found else 0.0) - matcher.margin
            if objectives not in best[j] or value + gain > best[j][objectives][0]:
                best[j][objectives] = (value + gain, [*pieces, piece])
    return max(best[n].values(), key=lambda item: item[0])[1]


def distinct(pieces: Sequence[SubQuery]) -> list[SubQuery]:
    """Keep the most similar piece of each objective, and unmatched pieces that name a task."""
    kept: dict[int | str, SubQuery] = {}
    for piece in pieces:
        key = piece.text.lower() if piece.objective is None else piece.objective
        if piece.objective is None and piece.is_filler:
            continue
        if key not in kept or piece.similarity > kept[key].similarity:
            kept[key] = piece
    return list(kept.values())


def _trim(query: str, start: int, stop: int) -> Atom | None:
    """Take white space and what only asks off both ends; None when nothing is left."""
    start += frame_length(query[start:stop])
    text = TRAILER.sub("", query[start:stop])
    if not has_content(text):
        return None
    start += len(text) - len(text.lstrip())
    return Atom(start, start + len(text.strip()))


def _continues_negation(query: str, atoms: list[Atom], start: int) -> bool:
    """Tell whether a noun phrase goes on with a negated list: "ignore the gold and the coins"."""
    if not atoms or not atoms[-1].negated:
        return False
    joint = query[atoms[-1].end : start]
    is_list = AND_JOINT.fullmatch(joint) and NOUN_PHRASE.match(query, start)
    return bool(OR_JOINT.fullmatch(joint) or is_list)
