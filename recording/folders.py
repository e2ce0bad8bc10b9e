"""What a folder of a stranger holds, sorted by the kind of reader that each file needs."""

import os
from collections.abc import Iterator
from pathlib import Path

from recording.environments import Environment
from recording.found_agents import find_agents
from recording.found_tables import find_tables
from recording.runs import Findings
from recording.table_files import READERS

# Files that stand beside agents and tables, and are no policies; what they tell is read elsewhere.
BESIDE = (
    "vecnormalize.pkl",
    "vec_normalize.pkl",
    "evaluations.npz",
    "results.json",
    "config.json",
    "package.json",
    "env_kwargs.json",
    "train_eval_metrics.zip",
    "progress.csv",
    "episode_rewards.csv",
    "monitor.csv",
)
ENDINGS = (".monitor.csv", ".meta.json")
PARTS = ("_vecnormalize_", "replay_buffer")


def find_runs(folder: Path, given: Environment | None = None) -> Findings:
    """Find all training runs below a folder, and what is skipped with the reason.

    Symbolic links are not followed: what is found lies inside.

    Args:
        folder: a folder, or a single file.
        given: the environment that the user named, for all that is found.
    """
    root = folder if folder.is_dir() else folder.parent
    files = list(_files_below(folder))
    agents = find_agents([path for path in files if path.suffix == ".zip"], root, given)
    tables = find_tables([path for path in files if path.suffix.lower() in READERS], root, given)
    runs = sorted(agents.runs + tables.runs, key=lambda run: run.path)
    skipped = sorted(agents.skipped + tables.skipped, key=lambda item: item.path)
    return Findings(runs, skipped)


def _files_below(folder: Path) -> Iterator[Path]:
    if folder.is_file():
        yield folder
    for place, folders, names in os.walk(folder):
        folders[:] = sorted(name for name in folders if not name.startswith("."))
        for name in sorted(names):
            path = Path(place, name)
            if not name.startswith(".") and not path.is_symlink() and not _is_beside(name):
                yield path


def _is_beside(name: str) -> bool:
    return name in BESIDE or name.endswith(ENDINGS) or any(part in name for part in PARTS)
