"""Recording runs, several at a time, each whole or not at all."""

from collections.abc import Iterator, Sequence
from pathlib import Path

from joblib import Parallel, delayed

from library.errors import UnusableRecording
from library.files import whole_folder
from recording.objectives import Words, write_objective
from recording.run import FoundRun, Skipped
from recording.targets import write_world


def record_runs(
    runs: Sequence[tuple[Path, FoundRun]], n_jobs: int, words: Words
) -> Iterator[Skipped | None]:
    """Record runs, and describe their targets before the first of each is there.

    Args:
        runs: each with the folder that it goes to, which is not there yet.
        n_jobs: how many at a time, each in a process of its own.
        words: what the user says that the policies are for.

    Yields:
        For each, in any order, why it can't be recorded, or None.
    """
    if min(n_jobs, len(runs)) <= 1:
        yield from (_record_run(folder, run, words) for folder, run in runs)
    else:
        tasks = (delayed(_record_run)(folder, run, words) for folder, run in runs)
        yield from Parallel(n_jobs=n_jobs, return_as="generator_unordered")(tasks)


def _record_run(folder: Path, run: FoundRun, words: Words) -> Skipped | None:
    try:
        with whole_folder(folder) as partial:
            run.record(partial)
            write_world(folder.parent, run.environment)
            write_objective(folder.parent, run, words)
    except UnusableRecording as error:
        return Skipped(run.origin, str(error))
    return None
