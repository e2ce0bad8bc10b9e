"""Naming the targets of runs: one world each, whatever names are taken."""

import re
from collections.abc import Sequence
from pathlib import Path

from library.errors import UnusableRecording
from library.workspace import Workspace
from pi2vec.snapshots import find_episodes
from recording.run import FoundRun, Skipped
from worlds.reading import read_recording

MAX_NAME = 100  # characters


def name_targets(
    runs: Sequence[FoundRun], workspace: Workspace, name: str | None = None
) -> tuple[dict[str, dict[str, FoundRun]], list[Skipped]]:
    """Give every run a target, by what its folder says.

    A name that another world has already, in the workspace or among the runs, gets the size of
    the world appended, and then the world's own name.

    Args:
        runs: any number.
        workspace: whose targets are there already.
        name: a name for all of them instead.

    Returns:
        The runs by target and seed, and those whose seed another one has.
    """
    world_of: dict[str, str] = {}
    targets: dict[str, dict[str, FoundRun]] = {}
    skipped = []
    for run in runs:
        wanted = name or run.target
        for target in (wanted, f"{wanted}-{run.size}", f"{wanted}-{run.world}"):
            if target not in world_of:
                world_of[target] = find_world(workspace.states / target) or run.world
            if world_of[target] == run.world:
                break
        other = targets.setdefault(target, {}).setdefault(run.seed, run)
        if other is not run:
            reason = f"it is seed {run.seed} of {target} a second time, beside {other.origin}"
            skipped.append(Skipped(run.origin, reason))
    return dict(sorted(targets.items())), skipped


def find_world(target: Path) -> str | None:
    """Tell the world of a target's recordings; None when it has none that can be read."""
    for run in sorted(target.glob("seed_*")):
        for folder in find_episodes(run / "episodes").values():
            try:
                return read_recording(folder)[0].name
            except UnusableRecording:
                continue
    return None


def is_usable_name(name: str) -> bool:
    """Tell whether a folder can have this name on any system, and a policy be called by it."""
    return len(name) <= MAX_NAME and bool(re.fullmatch(r"[\w][\w.+() =,-]*", name))


def words_of_name(name: str) -> str:
    """Write the words of a name: "path-gold" is "path gold", "FrozenLake" "Frozen Lake"."""
    apart = re.sub(r"(?<=[a-z])(?=[A-Z])|[-_.]+", " ", name)
    return " ".join(apart.split())
