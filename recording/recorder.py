"""Recording runs, several at a time, each whole or not at all."""

from collections.abc import Sequence
from functools import partial
from pathlib import Path

from library.errors import UnusableRecording
from library.files import remove_partial, whole_folder
from library.parallel import Engine, map_runs
from recording.objectives import Words, write_objective
from recording.run import FoundRun, Skipped
from recording.targets import write_world

Task = tuple[Path, FoundRun]


def record_runs(runs: Sequence[Task], engine: Engine, words: Words) -> list[Skipped]:
    """Record runs, and describe their targets before the first of each is there.

    Args:
        runs: each with the folder that it goes to, which is not there yet.
        engine: where they are rolled out.
        words: what the user says that the policies are for.

    Returns:
        Those that can't be recorded, and why.
    """
    outcomes = map_runs(engine, partial(_record_run, words), runs, _give_up, "recording")
    return [outcome for outcome in outcomes if outcome is not None]


def _record_run(words: Words, task: Task) -> Skipped | None:
    folder, run = task
    if folder.exists():  # by a worker that died before it could say so
        return None
    try:
        with whole_folder(folder) as empty:
            run.record(empty)
            write_world(folder.parent, run.environment)
            write_objective(folder.parent, run, words)
    except UnusableRecording as error:
        return Skipped(run.origin, str(error))
    return None


def _give_up(task: Task, reason: str) -> Skipped:
    folder, run = task
    remove_partial(folder)
    return Skipped(run.origin, reason)
