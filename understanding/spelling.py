"""Correcting the spelling of words that nobody knows."""

import re
from collections.abc import Callable, Sequence
from string import ascii_lowercase

from understanding.english import ENGLISH, WORD

ENDING = re.compile(r"(?<=...)(?:e?s|ed|er|ing|ly)$")
LENGTHS = range(3, 21)  # of words that are corrected


class Spelling:
    """Corrects words that neither the library nor the language knows: to the library's first."""

    def __init__(self, library_words: Sequence[str], rank: Callable[[str], int | None]) -> None:
        """Learn the words.

        Args:
            library_words: words of the objectives' texts, in lower case, frequent ones first.
            rank: where a word of the language stands, frequent ones first; None: it is no word.
        """
        first = dict.fromkeys((*library_words, *sorted(ENGLISH)))
        self._places = {word: place for place, word in enumerate(first)}
        self._rank = rank

    def correct(self, text: str) -> str:
        """Replace unknown words by the likeliest word one slip away."""
        return WORD.sub(lambda match: self._correct_word(match.group()), text)

    def _correct_word(self, word: str) -> str:
        lower = word.lower()
        forms = (lower, ENDING.sub("", lower), ENDING.sub("e", lower))  # "moving" of "move"
        is_word = word.isascii() and word.isalpha() and len(word) in LENGTHS
        if not is_word or any(self._place(form) is not None for form in forms):
            return word
        places = {other: self._place(other) for other in one_slip_away(lower)}
        known = {other: place for other, place in places.items() if place is not None}
        return min(known, key=lambda other: known[other], default=word)

    def _place(self, word: str) -> int | None:
        """Tell where a word stands, the library's before the language's; None: it is no word."""
        rank = self._rank(word)
        return self._places.get(word, None if rank is None else len(self._places) + rank)


def one_slip_away(word: str) -> set[str]:
    """List what a slip may have made a word of: letters swapped, left out, typed twice or wrong.

    The first letter is right, as nearly always, and so is each of only three: "vim" is not "him".
    """
    parts = [(word[:i], word[i:]) for i in range(1, len(word) + 1)]
    swapped = {a + b[1] + b[0] + b[2:] for a, b in parts if len(b) > 1}
    left_out = {a + letter + b for a, b in parts for letter in ascii_lowercase}
    if len(word) == 3:
        return swapped | left_out
    wrong = {a + letter + b[1:] for a, b in parts if b for letter in ("", *ascii_lowercase)}
    return swapped | left_out | wrong
