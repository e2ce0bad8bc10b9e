"""Correcting the spelling of words that nobody knows."""

import re
from collections.abc import Callable, Sequence
from difflib import get_close_matches

from understanding.english import ENGLISH

ENDINGS = ("(?<!s)s", "es", "ed", "er", "est", "ing", "ly")
WHOLE_WORD = re.compile(r"\b[A-Za-z][A-Za-z']*\b")  # no part of "trésor"
REPEATED = re.compile(r"\b(\w+)(?:\s+\1\b)+", re.IGNORECASE)
LETTERS = "abcdefghijklmnopqrstuvwxyz"
MIN_LENGTH = 4  # of a word that is corrected to one that is not about the library
CLOSE = 0.8  # share of letters in common, for words more than one slip away


class Spelling:
    """Corrects words that neither the library nor the language knows: to the library's first."""

    def __init__(self, library_words: Sequence[str], rank: Callable[[str], int | None]) -> None:
        """Learn the words.

        Args:
            library_words: words of the objectives' texts, in lower case, frequent ones first.
            rank: where a word of the language stands, frequent ones first; None when it is no
                word. Words of the language are never corrected.
        """
        self._library = {word: place for place, word in enumerate(library_words)}
        self._common = self._library.keys() | ENGLISH
        self._rank = rank

    def correct(self, text: str) -> str:
        """Replace unknown words by the nearest known ones; of a repeated word keep the first."""
        return WHOLE_WORD.sub(lambda match: self._correct_word(match.group()), text)

    def _correct_word(self, word: str) -> str:
        lower = word.lower()
        if len(word) < 3 or "'" in word or self._is_known(lower):
            return word
        likely = self._likely_words(lower)
        if likely:
            return min(likely, key=lambda other: self._strangeness(lower, other))
        alike = [other for other in self._library if other[0] == lower[0]]
        return next(iter(get_close_matches(lower, alike, n=1, cutoff=CLOSE)), word)

    def _likely_words(self, word: str) -> set[str]:
        """List what `word` may have been: words for the library, or else any of the language."""
        near = {other for other in one_slip_away(word) if not _is_other_word(word, other)}
        if len(word) == 3:  # too short to replace a letter: "vim" is not "him"
            near = {other for other in near if len(other) == 4 or sorted(other) == sorted(word)}
        if near & self._common:
            return near & self._common
        words = {other for other in near if self._rank(other) is not None}
        forms = {other for other in words if any(s in self._library for s in _stems(other))}
        return forms or (words if len(word) >= MIN_LENGTH else set())

    def _is_known(self, word: str) -> bool:
        forms = _stems(word.removeprefix("un"))
        return any(form in self._common or self._rank(form) is not None for form in forms)

    def _strangeness(self, word: str, other: str) -> tuple[bool, bool, bool, int, int]:
        """Rank what `word` may have been: a slip is rarely in the first letter, or a wrong one."""
        place = min(self._library.get(form, len(self._library)) for form in _stems(other))
        rank = self._rank(other) or 0
        is_foreign = place == len(self._library)
        return word[0] != other[0], is_foreign, _is_replaced(word, other), place, rank


def _stems(word: str) -> list[str]:
    """List what a word may be a form of, itself among it: "moved" of "move", not "god" of "go"."""
    endings = [ending for ending in ENDINGS if re.search(f"...{ending}$", word)]
    stems = [re.sub(f"{ending}$", "", word) for ending in endings]
    return [word, *stems, *(f"{stem}e" for stem in stems)]


def _is_replaced(word: str, other: str) -> bool:
    """Tell whether words one slip apart differ in a letter, rather than in order or number."""
    return len(word) == len(other) and sorted(word) != sorted(other)


def _is_other_word(word: str, other: str) -> bool:
    """Tell whether words differ in their first letter only: nobody types "bake" for "make"."""
    return word[1:] == other[1:] and _is_replaced(word, other)


def one_slip_away(word: str) -> set[str]:
    """List every string one deletion, swap of neighbours, replacement or insertion away."""
    parts = [(word[:i], word[i:]) for i in range(len(word) + 1)]
    deleted = {a + b[1:] for a, b in parts if b}
    swapped = {a + b[1] + b[0] + b[2:] for a, b in parts if len(b) > 1}
    replaced = {a + c + b[1:] for a, b in parts if b for c in LETTERS}
    inserted = {a + c + b for a, b in parts for c in LETTERS}
    return deleted | swapped | replaced | inserted
