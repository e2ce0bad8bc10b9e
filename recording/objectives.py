"""What the policies of a target are for, in words: the user's, well-known ones, or the name's."""

import json
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from library.files import atomic_write
from library.objective import NAME
from recording.environments import known
from recording.run import FoundRun
from recording.targets import words_of_name


@dataclass(frozen=True)
class Words:
    """What the user says that policies are for.

    Attributes:
        description: a sentence; None: nothing is said.
        phrasings: more ways to say it.
    """

    description: str | None = None
    phrasings: tuple[str, ...] = ()

    def __bool__(self) -> bool:
        """Tell whether anything is said."""
        return bool(self.description or self.phrasings)


def write_objective(folder: Path, run: FoundRun, words: Words) -> None:
    """Write `objective.json` of a target, unless it has one and the user says nothing."""
    path = folder / NAME
    if words or not path.exists():
        with atomic_write(path) as file:
            content = json.dumps(describe(run, words), indent=2, ensure_ascii=False)
            file.write((content + "\n").encode())


def is_described(folder: Path, run: FoundRun, words: Words) -> bool:
    """Tell whether more than a name says, or will say, what a target is for."""
    well_known = run.environment is not None and known(run.environment.id) is not None
    return bool(words.description) or well_known or (folder / NAME).exists()


def describe(run: FoundRun, words: Words) -> dict[str, Any]:
    """Say what a run's policies are for.

    An environment's names are among the phrasings, so that they find its policies as well.
    """
    said = words.description
    if run.environment is None:
        return {"description": said or words_of_name(run.target), "phrasings": [*words.phrasings]}
    entry = known(run.environment.id)
    name = run.environment.id.rsplit(":", 1)[-1].rsplit("/", 1)[-1]
    apart = words_of_name(re.sub(r"-v\d+$", "", name))
    sentence = said or (entry.description if entry else f"Act well in {apart}.")
    if run.environment.kwargs and not said:
        sentence = f"{sentence.rstrip('.')} ({run.environment.given})."
    ours = entry.phrasings if entry and not said else ()
    return {"description": sentence, "phrasings": [*words.phrasings, *ours, name, apart]}
