"""What the policies of a target are for, in words."""

import hashlib
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from library.errors import UnusableRecording
from library.files import read_bounded

NAME = "objective.json"
FORM = '{"description": "...", "phrasings": ["...", ...]}'
MAX_TEXT = 1_000  # characters of a description or phrasing; a sentence has a hundred
MAX_PHRASINGS = 1_000


@dataclass(frozen=True)
class Objective:
    """What the policies of a target are for.

    Attributes:
        target: the name of its folder in `states_f/`.
        description: one sentence.
        phrasings: further ways to say the same.
    """

    target: str
    description: str
    phrasings: tuple[str, ...] = ()

    @property
    def texts(self) -> tuple[str, ...]:
        """The description and the phrasings."""
        return (self.description, *self.phrasings)

    @property
    def digest(self) -> str:
        """SHA-256 of the texts, in hexadecimal."""
        return hashlib.sha256(json.dumps(self.texts).encode()).hexdigest()


def read_objective(folder: Path) -> Objective:
    """Read `objective.json` of a target's folder.

    Raises:
        UnusableRecording: it is missing or damaged, or has no description.
    """
    path = folder / NAME
    try:
        content = json.loads(read_bounded(path))
    except (UnusableRecording, ValueError, RecursionError) as error:
        raise UnusableRecording(f"{path} can't be used ({error}); write {FORM}") from None
    if not isinstance(content, dict):
        raise UnusableRecording(f"{path} is no object; write {FORM}")
    texts = [content.get("description"), *_as_list(content.get("phrasings", []))]
    if not all(isinstance(text, str) and text.strip() and is_unicode(text) for text in texts):
        raise UnusableRecording(f"{path} has an empty text or none; write {FORM}")
    if len(texts) > MAX_PHRASINGS or max(map(len, texts)) > MAX_TEXT:
        limits = f"at most {MAX_PHRASINGS} phrasings of {MAX_TEXT} characters"
        raise UnusableRecording(f"{path} has too many or too long texts; write {limits}")
    return Objective(folder.name, texts[0], tuple(texts[1:]))


def is_unicode(text: str) -> bool:
    """Tell whether a text can be written: JSON may hold halves of characters."""
    return not any("\ud800" <= character <= "\udfff" for character in text)


def _as_list(value: Any) -> list[Any]:
    return value if isinstance(value, list) else [None]
