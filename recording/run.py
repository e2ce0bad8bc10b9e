"""A training run found on disk, of whatever kind: what every source of runs gives."""

import re
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from library.errors import UnusableRecording
from library.files import is_foreign
from recording.environments import Environment


@dataclass(frozen=True)
class FoundRun:
    """A training run that can be recorded.

    Attributes:
        origin: the folder or file it was found in.
        target: what the folder says that it was trained for.
        seed: digits, four or more; None where nothing says one.
        world: the name of the world that it acts in.
        size: what tells the world from others in a few characters, for instance `8x8`.
        n_snapshots: how many policies were saved of it.
        record: writes the run to an empty folder, in the layout of `states_f/`.
        identity: tells it from all other runs, where it has no seed.
        environment: the Gymnasium environment that it acts in; None for a grid world.
    """

    origin: Path
    target: str
    seed: str | None
    world: str
    size: str
    n_snapshots: int
    record: Callable[[Path], None]
    identity: str = ""
    environment: Environment | None = None


@dataclass(frozen=True)
class Skipped:
    """Something that was found and can't be used, and why, in one line."""

    origin: Path
    reason: str

    @property
    def line(self) -> str:
        """Name what it is once, whether the reason does so or not."""
        reason = " ".join(self.reason.split())
        if re.search(rf"{re.escape(str(self.origin))}(?![\w.~+-])", reason):
            return reason
        own = f"{self.origin.name} "
        apart = " " if reason.startswith(own) else ": "
        return f"{self.origin}{apart}{reason.removeprefix(own)}"


Findings = tuple[list[FoundRun], list[Skipped]]
"""What a source finds: the runs that can be recorded, and what was left out."""


def find_folders(folder: Path, mark: str, read: Callable[[Path], FoundRun | None]) -> Findings:
    """Read every folder below one that holds a file of a certain name, but foreign ones.

    Args:
        folder: where to look.
        mark: the name of the file.
        read: reads such a folder, or raises UnusableRecording; None leaves it to others.
    """
    found, skipped = [], []
    for path in sorted(folder.rglob(mark)):
        own = path.parent
        if any(map(is_foreign, own.relative_to(folder).parts)):
            continue
        try:
            run = read(own)
        except (UnusableRecording, OSError) as error:
            skipped.append(Skipped(own, str(error)))
        else:
            found += [run] if run else []
    return found, skipped
