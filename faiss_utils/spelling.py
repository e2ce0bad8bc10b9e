"""Correcting the spelling of words that nobody knows."""

import re
from collections.abc import Callable, Iterable
from difflib import get_close_matches

from faiss_utils.english import ASKING_WORDS, FUNCTION_WORDS, REQUEST_WORDS, WORD

SUFFIXES = ("s", "es", "d", "ed", "er", "est", "ing", "ly")
REPEATED = re.compile(r"\b(\w+)(?:\s+\1\b)+", re.IGNORECASE)
LETTERS = "abcdefghijklmnopqrstuvwxyz"
CLOSE = 0.8  # share of letters in common, for words more than one slip away


class Spelling:
    """Corrects words that neither the library nor the language knows to those of the library."""

    def __init__(self, library_words: Iterable[str], is_word: Callable[[str], bool]) -> None:
        """Learn the words.

        Args:
            library_words: words of the objectives' texts, in lower case.
            is_word: tells whether the language has a word; such words are never corrected.
        """
        self.library_words = frozenset(library_words)
        self._common = self.library_words | FUNCTION_WORDS | REQUEST_WORDS | ASKING_WORDS
        self._is_word = is_word

    def correct(self, text: str) -> str:
        """Replace unknown words by the nearest known ones; of a repeated word keep the first."""
        return REPEATED.sub(r"\1", WORD.sub(lambda match: self._correct_word(match.group()), text))

    def _is_known(self, word: str) -> bool:
        word = word.removeprefix("un")
        stems = [word, *(word.removesuffix(s) for s in SUFFIXES if word.endswith(s))]
        forms = [form for stem in stems for form in (stem, stem + "e")]
        return any(form in self._common or self._is_word(form) for form in forms)

    def _correct_word(self, word: str) -> str:
        lower = word.lower()
        if len(word) < 3 or "'" in word or self._is_known(lower):
            return word
        near = one_slip_away(lower)
        if len(word) == 3:  # too short to replace a letter: "vim" is not "him"
            near = {other for other in near if len(other) == 4 or sorted(other) == sorted(lower)}
        likely = [other for other in near & self._common if not _is_other_word(lower, other)]
        if likely:
            return min(likely, key=lambda other: self._strangeness(lower, other))
        close = get_close_matches(lower, sorted(self.library_words), n=1, cutoff=CLOSE)
        return next(iter(close), word)

    def _strangeness(self, word: str, other: str) -> tuple[bool, bool, bool, str]:
        """Rank what `word` may have been: a slip is rarely in the first letter, or a wrong one."""
        in_library = other in self.library_words
        return word[0] != other[0], not in_library, _is_replaced(word, other), other


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
