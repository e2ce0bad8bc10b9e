"""Naming the targets of runs, one world each, and their seeds, whatever names are taken."""

import json
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from library.errors import LeverError, UnusableRecording
from library.files import atomic_write, is_portable, portable, read_bounded
from library.workspace import Workspace
from pi2vec.snapshots import find_episodes
from recording.environments import Environment
from recording.run import FoundRun, Skipped
from recording.snapshots import SOURCE
from worlds.reading import read_recording

MAX_NAME = 100  # characters
MAX_JSON = 2**20  # bytes of a world's or a source's
WORLD = "world.json"


def name_targets(
    runs: Sequence[FoundRun], workspace: Workspace, name: str | None = None
) -> tuple[dict[str, dict[str, FoundRun]], list[Skipped]]:
    """Give every run a target, by what its folder says, and a seed.

    A name that another world has already, in the workspace or among the runs, gets the size of
    the world appended, and then the world's own name. A run without a seed gets the one that it
    was recorded under before, or the first that is free.

    Args:
        runs: any number.
        workspace: whose targets are there already.
        name: a name for all of them instead.

    Returns:
        The runs by target and seed, and those that are there a second time.
    """
    targets: dict[str, _Target] = {}
    skipped = []
    for run in runs:
        target = _choose(run, name or run.target, targets, workspace.states)
        seed = run.seed or target.seed_of(run)
        other = target.runs.setdefault(seed, run)
        if other is not run:
            reason = f"it is seed {seed} of {target.name} a second time, beside {other.origin}"
            skipped.append(Skipped(run.origin, reason))
    named = {target.name: target.runs for target in targets.values() if target.runs}
    return dict(sorted(named.items())), skipped


def _choose(run: FoundRun, wanted: str, targets: dict[str, "_Target"], states: Path) -> "_Target":
    """Find the target for a run: of the names that it can have the first that is of its world."""
    for wish in (wanted, f"{wanted}-{run.size}", f"{wanted}-{run.world}"):
        name = portable(wish)
        if name not in targets:
            targets[name] = _Target.read(states / name, run.world)
        if targets[name].world == run.world:
            return targets[name]
    return targets[name]


@dataclass
class _Target:
    """A target while its runs are named.

    Attributes:
        name: of its folder.
        world: of its runs.
        recorded: the seeds of the runs that are there already, by what tells them apart.
        runs: by seed, those that were found.
    """

    name: str
    world: str
    recorded: dict[str, str]
    runs: dict[str, FoundRun] = field(default_factory=dict)

    @classmethod
    def read(cls, folder: Path, world: str) -> "_Target":
        """Read what is there of a target; one that is not there is of the given world."""
        return cls(folder.name, find_world(folder) or world, _recorded_runs(folder))

    def seed_of(self, run: FoundRun) -> str:
        """Find the seed of a run that has none of its own."""
        if run.identity not in self.recorded:
            used = {int(seed) for seed in (*self.recorded.values(), *self.runs)}
            free = next(i for i in range(len(used) + 1) if i not in used)
            self.recorded[run.identity] = f"{free:04d}"
        return self.recorded[run.identity]


def find_world(target: Path) -> str | None:
    """Tell the world of a target's recordings; None when it has none that can be read."""
    if (target / WORLD).exists():
        return _read_environment(target / WORLD).world
    for run in sorted(target.glob("seed_*")):
        for folder in find_episodes(run / "episodes").values():
            try:
                return read_recording(folder)[0].name
            except UnusableRecording:
                continue
    return None


def write_world(target: Path, environment: Environment | None) -> None:
    """Write which environment a target's policies act in; a grid world needs no word."""
    if environment is not None and not (target / WORLD).exists():
        with atomic_write(target / WORLD) as file:
            file.write((json.dumps(environment.to_json()) + "\n").encode())


def _read_environment(path: Path) -> Environment:
    content = _read_json(path)
    name, kwargs = content.get("environment"), content.get("kwargs", {})
    if not isinstance(name, str) or not isinstance(kwargs, dict):
        raise LeverError(f'{path} is no world; write {{"environment": "Taxi-v4", "kwargs": {{}}}}')
    return Environment(name, kwargs)


def _recorded_runs(target: Path) -> dict[str, str]:
    """Map what tells the runs of a target apart to their seeds."""
    seeds = {}
    for run in sorted(target.glob("seed_*")):
        seed = run.name.removeprefix("seed_")
        if seed.isascii() and seed.isdecimal():
            seeds[_identity(run.glob(f"episodes/*/{SOURCE}")) or run.name] = seed
    return seeds


def _identity(sources: Iterable[Path]) -> str | None:
    found = (_read_json(path).get("run") for path in sources)
    return next((identity for identity in found if isinstance(identity, str)), None)


def _read_json(path: Path) -> dict[str, Any]:
    """Read an object; an empty one for anything else."""
    try:
        content = json.loads(read_bounded(path, MAX_JSON))
    except (UnusableRecording, ValueError, RecursionError):
        return {}
    return content if isinstance(content, dict) else {}


def is_usable_name(name: str) -> bool:
    """Tell whether a folder can have this name on any system, and a policy be called by it."""
    plain = re.fullmatch(r"[\w][\w.+() =,-]*", name)
    return len(name) <= MAX_NAME and plain is not None and is_portable(name)


def words_of_name(name: str) -> str:
    """Write the words of a name: "path-gold" is "path gold", "FrozenLake" "Frozen Lake"."""
    apart = re.sub(r"(?<=[a-z])(?=[A-Z])|[-_.]+", " ", name)
    return " ".join(apart.split())
