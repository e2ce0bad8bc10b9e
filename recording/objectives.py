"""What the policies of a target are for, in words: the user's, well-known ones, or the name's."""

import json
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from library.files import atomic_write
from library.objective import NAME
from recording.environments import known
from recording.run import FoundRun
from recording.targets import words_of_name


def write_objective(
    folder: Path, run: FoundRun, description: str | None, phrasings: Sequence[str]
) -> bool:
    """Write `objective.json` of a target, unless it has one and the user says nothing.

    Returns:
        Whether it was written with nothing but a name's words.
    """
    path = folder / NAME
    if path.exists() and not (description or phrasings):
        return False
    content = describe(run, description, phrasings)
    with atomic_write(path) as file:
        file.write((json.dumps(content, indent=2, ensure_ascii=False) + "\n").encode())
    entry = known(run.environment.id) if run.environment else None
    return description is None and entry is None


def describe(
    run: FoundRun, description: str | None = None, phrasings: Sequence[str] = ()
) -> dict[str, Any]:
    """Say what a run's policies are for.

    An environment's names are among the phrasings, so that they find its policies as well.
    """
    if run.environment is None:
        return {"description": description or words_of_name(run.target), "phrasings": [*phrasings]}
    entry = known(run.environment.id)
    name = run.environment.id.rsplit(":", 1)[-1].rsplit("/", 1)[-1]
    words = words_of_name(re.sub(r"-v\d+$", "", name))
    ours = entry.phrasings if entry and not description else ()
    sentence = description or (entry.description if entry else f"Act well in {words}.")
    names = [text for text in (name, words) if text != sentence]
    return {"description": sentence, "phrasings": [*phrasings, *ours, *dict.fromkeys(names)]}
