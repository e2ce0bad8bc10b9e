"""All that is found below a folder: each kind of source is asked for what it knows."""

import os
from collections.abc import Iterator
from pathlib import Path

from library.files import is_foreign
from recording import exported, published_runs
from recording.environments import Environment
from recording.found_agents import find_agents, is_inside
from recording.found_tables import find_tables
from recording.run import Findings
from recording.snapshots import Settings
from recording.table_files import READERS, is_prose

# Files that stand beside agents and tables, and are no policies; what they tell is read elsewhere.
BESIDE = (
    "vecnormalize.pkl",
    "vec_normalize.pkl",
    "evaluations.npz",
    "results.json",
    "config.json",
    "package.json",
    "train_eval_metrics.zip",
    "progress.csv",
    "monitor.csv",
    "objective.json",
    "world.json",
    "source.json",
    "generation.json",
    "policy.json",
)
ENDINGS = (".monitor.csv", ".meta.json")
PARTS = ("_vecnormalize_", "replay_buffer")


def find_runs(folder: Path, given: Environment | None, settings: Settings) -> Findings:
    """Find all training runs in a folder and below it, and what is skipped with the reason.

    Symbolic links are followed to files inside only.

    Args:
        folder: a folder, or a single file.
        given: the environment that the user named, for all but the runs of grid worlds.
        settings: how they will be recorded.
    """
    root = folder if folder.is_dir() else folder.parent
    published, unusable = published_runs.find_runs(folder)
    composed, broken = exported.find_runs(folder, given, settings)
    published, unusable = published + composed, unusable + broken
    theirs = {run.origin for run in published} | {entry.origin for entry in unusable}
    files = [path for path in _files_below(folder) if theirs.isdisjoint(path.parents)]
    zips = [path for path in files if path.suffix.lower() == ".zip"]
    others = [p for p in files if p.suffix.lower() in READERS and not is_prose(p)]
    agents, refused = find_agents(zips, root, given, settings)
    tables, unknown = find_tables(others, root, given, settings)
    runs = sorted(agents + tables, key=lambda run: run.origin)
    skipped = sorted(refused + unknown, key=lambda entry: entry.origin)
    return [*published, *runs], [*unusable, *skipped]


def _files_below(folder: Path) -> Iterator[Path]:
    if folder.is_file():
        yield folder
    for place, folders, names in os.walk(folder):
        folders[:] = sorted(name for name in folders if not is_foreign(name))
        for name in sorted(names):
            path = Path(place, name)
            if not is_foreign(name) and not _is_beside(name) and is_inside(path, folder):
                yield path


def _is_beside(name: str) -> bool:
    return name in BESIDE or name.endswith(ENDINGS) or any(part in name for part in PARTS)
