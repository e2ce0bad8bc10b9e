"""Writing recorded runs into `states_f/`: a run is there whole or not at all."""

import csv
import io
import json
import re
import shutil
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from library.checksums import list_checksums
from library.errors import LeverError
from library.files import atomic_write, read_bounded
from recording.environments import Environment, known, make_environment
from recording.policy import file_name
from recording.rollout import episode_seeds, roll_out
from recording.runs import Run

WORLD, OBJECTIVE, SOURCE = "world.json", "objective.json", "source.json"
EPISODES, REWARDS, CHECKSUMS = "episodes.npz", "episode_rewards.csv", "SHA256SUMS"
MAX_NAME = 80  # characters of a target


@dataclass(frozen=True)
class Settings:
    """How runs are recorded.

    Attributes:
        n_episodes: of each snapshot.
        max_steps: of each episode; None: the environment's own limit.
    """

    n_episodes: int = 10
    max_steps: int | None = None


@dataclass(frozen=True)
class Place:
    """Where a run goes.

    Attributes:
        run: what is recorded.
        folder: its folder in `states_f/`.
        done: it is there already.
    """

    run: Run
    folder: Path
    done: bool = False


def target_name(text: str) -> str:
    """Make a name of a target from a text: letters, digits, dot, dash and underscore.

    Raises:
        LeverError: nothing is left.
    """
    name = re.sub(r"[^\w.-]+", "-", text, flags=re.ASCII).strip("-.")[:MAX_NAME]
    if not name:
        raise LeverError(f"{text!r} is no name of a target; use letters and digits")
    return name


def place_runs(runs: Sequence[Run], states: Path, target: str | None) -> list[Place]:
    """Choose a folder for each run; those that were recorded before keep theirs.

    A run's seed is the first number that is free in its target.

    Raises:
        LeverError: a target is there, of another environment.
    """
    places, taken = [], dict[Path, dict[str, str]]()
    for run in runs:
        folder = states / target_name(target or run.environment.name)
        if folder not in taken:
            taken[folder] = _recorded(folder)
        _refuse_another_world(folder, run.environment)
        seeds = taken[folder]
        done = run.identity in seeds
        seed = seeds.setdefault(run.identity, _free_seed(seeds.values()))
        places.append(Place(run, folder / f"seed_{seed}", done))
    return places


def write_run(place: Place, settings: Settings) -> list[float]:
    """Record a run: under a hidden name until it is whole.

    Returns:
        The mean return of each snapshot.

    Raises:
        UnusableRecording: the environment fails.
    """
    partial = place.folder.with_name(f".{place.folder.name}.partial")
    shutil.rmtree(partial, ignore_errors=True)
    try:
        rewards = _write_snapshots(place.run, partial, settings)
        files = sorted(path for path in partial.rglob("*") if path.is_file())
        _write(partial / CHECKSUMS, list_checksums(files, partial))
        partial.rename(place.folder)
    finally:
        shutil.rmtree(partial, ignore_errors=True)
    return rewards


def _write_snapshots(run: Run, folder: Path, settings: Settings) -> list[float]:
    env, rows = make_environment(run.environment), []
    try:
        for i, snapshot in enumerate(run.snapshots):
            seeds = episode_seeds(f"{run.identity} {i}", settings.n_episodes)
            episodes = roll_out(env, snapshot.policy, seeds, settings.max_steps)
            episode_folder = folder / "episodes" / f"episode_{snapshot.training:06d}"
            episode_folder.mkdir(parents=True)
            (episode_folder / EPISODES).write_bytes(episodes.to_npz())
            snapshot.policy.save(episode_folder / file_name(snapshot.policy))
            source = {**snapshot.source, "run": run.identity}
            _write(episode_folder / SOURCE, json.dumps(source, indent=1) + "\n")
            rows.append((snapshot.training, float(episodes.returns.mean())))
    finally:
        env.close()
    table = io.StringIO()
    csv.writer(table, lineterminator="\n").writerows([("episode", "reward"), *rows])
    _write(folder / REWARDS, table.getvalue())
    return [reward for _, reward in rows]


def write_target(
    folder: Path, environment: Environment, description: str | None, phrasings: Sequence[str]
) -> None:
    """Write a target's world and objective, where they are not there yet or the user gives one."""
    world = {"environment": environment.id, "kwargs": dict(environment.kwargs)}
    if not (folder / WORLD).exists():
        _write(folder / WORLD, json.dumps(world) + "\n")
    if description or phrasings or not (folder / OBJECTIVE).exists():
        objective = describe(environment, description, phrasings)
        _write(folder / OBJECTIVE, json.dumps(objective, indent=2, ensure_ascii=False) + "\n")


def describe(
    environment: Environment, description: str | None, phrasings: Sequence[str]
) -> Mapping[str, Any]:
    """Say what the policies of an environment are for: as the user does, or as is well known."""
    entry = known(environment.id)
    name = environment.id.rsplit(":", 1)[-1].rsplit("/", 1)[-1]
    words = _words(re.sub(r"-v\d+$", "", name))
    names = [name, words] if words != name else [name]
    ours = (entry.phrasings if entry else ()) if description is None else ()
    sentence = description or (entry.description if entry else f"Act well in {words}.")
    return {"description": sentence, "phrasings": [*phrasings, *ours, *names]}


def _words(name: str) -> str:
    """Write "LunarLander" as "Lunar Lander"."""
    return " ".join(re.sub(r"(?<=[a-z])(?=[A-Z])|[-_]", " ", name).split())


def _recorded(folder: Path) -> dict[str, str]:
    """Map the identities of the runs that a target has to their seeds; those of others' to ''."""
    seeds = {}
    for path in sorted(folder.glob("seed_*")):
        identity = next((_identity(s) for s in path.glob(f"episodes/*/{SOURCE}")), None)
        seeds[identity or f"of {path.name}"] = path.name.removeprefix("seed_")
    return seeds


def _identity(path: Path) -> str | None:
    try:
        return str(json.loads(read_bounded(path, 2**20))["run"])
    except (LeverError, ValueError, KeyError, TypeError, RecursionError):
        return None


def _free_seed(taken: Any) -> str:
    used = {int(seed) for seed in taken if seed.isdecimal()}
    return f"{next(i for i in range(len(used) + 1) if i not in used):04d}"


def _refuse_another_world(folder: Path, environment: Environment) -> None:
    """Refuse to mix environments in a target."""
    path = folder / WORLD
    if not path.exists():
        if folder.exists() and any(folder.glob("seed_*")):
            raise LeverError(f"{folder} holds runs of a grid world; choose another --target")
        return
    try:
        world = json.loads(read_bounded(path, 2**20))
    except (ValueError, RecursionError):
        world = None
    if world != {"environment": environment.id, "kwargs": dict(environment.kwargs)}:
        raise LeverError(
            f"{folder} holds runs of {world}, not of {environment.name}; choose another --target"
        )


def _write(path: Path, text: str) -> None:
    with atomic_write(path) as file:
        file.write(text.encode("utf-8"))
