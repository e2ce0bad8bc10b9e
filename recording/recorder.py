"""Recording many runs at once."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from joblib import Parallel, delayed

from library.errors import UnusableRecording
from recording.environments import quiet
from recording.written_runs import OBJECTIVE, WORLD, Place, Settings, write_run, write_target


@dataclass(frozen=True)
class Outcome:
    """What became of a run.

    Attributes:
        place: the run and its folder.
        rewards: the mean return of each snapshot; empty when it failed or was there already.
        error: why it failed, in a line; empty when it did not.
    """

    place: Place
    rewards: tuple[float, ...] = ()
    error: str = ""


def record(
    places: Sequence[Place],
    settings: Settings,
    n_jobs: int = 1,
    description: str | None = None,
    phrasings: Sequence[str] = (),
) -> Iterator[Outcome]:
    """Record the runs that are not there yet, in any order, and describe their targets.

    Args:
        places: the runs and their folders.
        settings: how they are recorded.
        n_jobs: how many at a time, each in a process of its own.
        description: of the targets; None: as is well known, or by the environment's name.
        phrasings: more ways to say it.

    Yields:
        What became of each, as soon as it is known.
    """
    targets = {place.folder.parent: place.run.environment for place in places}
    for folder, environment in targets.items():
        write_target(folder, environment, description, phrasings)
    missing = [place for place in places if not place.done]
    yield from (Outcome(place) for place in places if place.done)
    if n_jobs == 1:
        yield from (_record_one(place, settings) for place in missing)
    else:
        tasks = (delayed(_record_one)(place, settings) for place in missing)
        yield from Parallel(n_jobs=n_jobs, return_as="generator_unordered")(tasks)
    for folder in targets:
        _remove_if_empty(folder)


def _record_one(place: Place, settings: Settings) -> Outcome:
    try:
        with quiet():
            return Outcome(place, tuple(write_run(place, settings)))
    except UnusableRecording as error:
        return Outcome(place, error=str(error))


def _remove_if_empty(folder: Path) -> None:
    """Remove a target of which no run could be recorded."""
    left = {path.name for path in folder.iterdir()} if folder.exists() else {"nothing"}
    if left <= {WORLD, OBJECTIVE}:
        for name in left:
            (folder / name).unlink()
        folder.rmdir()
