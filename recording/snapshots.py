"""Policies saved in the course of a training, and how a run of them is recorded."""

import csv
import hashlib
import io
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from library.checksums import write_checksums
from library.errors import UnusableRecording
from library.files import MAX_FILE
from pi2vec.snapshots import REWARDS
from recording.environments import Environment, make_environment
from recording.rollout import episode_seeds, roll_out
from recording.run import FoundRun
from worlds.episodes import Episodes
from worlds.policy import Policy, file_name

EPISODES, SOURCE = "episodes.npz", "source.json"


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
class SavedPolicy:
    """A policy at some point of its training.

    Attributes:
        policy: what it does.
        training: the steps, or episodes, of training so far; 0 where nothing says.
        source: where it came from, for `source.json`: file, sha256, algorithm, training_steps.
    """

    policy: Policy
    training: int
    source: Mapping[str, Any]


def run_of(
    origin: Path, environment: Environment, saved: Sequence[SavedPolicy], settings: Settings
) -> FoundRun:
    """Bring the policies of a training run together, in the order of training."""
    parts = [environment.world, *(str(policy.source["sha256"]) for policy in saved)]
    identity = hashlib.sha256("\n".join(parts).encode()).hexdigest()
    return FoundRun(
        origin=origin,
        target=environment.name,
        seed=None,
        world=environment.world,
        size=environment.name,
        n_snapshots=len(saved),
        record=partial(_record, identity, environment, tuple(saved), settings),
        identity=identity,
        environment=environment,
    )


def _record(
    identity: str,
    environment: Environment,
    saved: tuple[SavedPolicy, ...],
    settings: Settings,
    folder: Path,
) -> None:
    """Roll out the policies of a run and write them to a folder."""
    env, rows = make_environment(environment), []
    try:
        for i, snapshot in enumerate(saved):
            seeds = episode_seeds(f"{identity} {i}", settings.n_episodes)
            episodes = roll_out(env, snapshot.policy, seeds, settings.max_steps)
            episode = folder / "episodes" / f"episode_{snapshot.training:06d}"
            episode.mkdir(parents=True)
            _write_episodes(episode / EPISODES, episodes)
            snapshot.policy.save(episode / file_name(snapshot.policy))
            source = {**snapshot.source, "run": identity, "environment": environment.to_json()}
            (episode / SOURCE).write_bytes(f"{json.dumps(source, indent=1)}\n".encode())
            rows.append((snapshot.training, float(episodes.returns.mean())))
    finally:
        env.close()
    table = io.StringIO()
    csv.writer(table, lineterminator="\n").writerows([("episode", "reward"), *rows])
    (folder / REWARDS).write_bytes(table.getvalue().encode())
    write_checksums(folder)


def _write_episodes(path: Path, episodes: Episodes) -> None:
    """Write episodes as plain arrays, unless a preparation would not read so many."""
    arrays: dict[str, Any] = vars(episodes)
    n_bytes = sum(array.nbytes for array in arrays.values())
    if n_bytes > MAX_FILE:
        raise UnusableRecording(
            f"its episodes have {n_bytes} bytes, more than {MAX_FILE}: record fewer --episodes"
        )
    np.savez_compressed(path, **arrays)
