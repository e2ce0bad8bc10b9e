"""Reading `states_f/`: targets, seeds and snapshots."""

import hashlib
import io
import json
import random
import re
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from library.checksums import checksum, parse_checksums
from library.errors import LeverError, UnusableRecording
from library.files import MAX_FILE, atomic_write, read_bounded
from library.objective import Objective, is_unicode, read_objective
from pi2vec.trajectory import ARRAYS, Trajectory, read_trajectory

SNAPSHOT_PERCENTS = (20, 60, 100)
MAX_CSV_HEADER = 10_000  # bytes; a name takes ten, and pandas takes a kilobyte a column
CHECKSUMS = "SHA256SUMS"
REWARDS = "episode_rewards.csv"
SELECTION_SEED = 7  # fixes which seeds a fraction picks


@dataclass(frozen=True)
class Target:
    """A usable folder of `states_f/`: an objective and the run folder of each seed."""

    objective: Objective
    runs: dict[str, Path]


@dataclass(frozen=True)
class Policy:
    """A snapshot of a training run; its arrays stay on disk until they are read.

    Attributes:
        target, seed: where it comes from, for instance `gold` and `0038`.
        percent: how far the training had come: 20, 60 or 100.
        episode: the number of the recorded episode.
        folder: of the recorded episode.
        reward: the undiscounted sum of its rewards.
        energy: its motion energy, 0 to 1.
        n_transitions: its number of steps.
        digest: SHA-256 of its arrays, in hexadecimal.
    """

    target: str
    seed: str
    percent: int
    episode: int
    folder: Path
    reward: float
    energy: float
    n_transitions: int
    digest: str

    @property
    def name(self) -> str:
        """For instance `gold_0038_20`."""
        return f"{self.target}_{self.seed}_{self.percent}"

    def read_trajectory(self) -> Trajectory:
        """Read the recorded episode.

        Raises:
            UnusableRecording: it was changed since the policy was found.
        """
        return read_trajectory(self.folder, self.reward)


def read_targets(states: Path) -> tuple[list[Target], list[str]]:
    """Find the targets of `states_f/`, in alphabetical order.

    Returns:
        The usable targets, and for every unusable folder one line that says why.

    Raises:
        LeverError: there is no such folder, or it can't be read.
    """
    if not states.is_dir():
        raise LeverError(f"{states} does not exist; create it or pass --workspace")
    targets, complaints = [], []
    for folder in sorted(path for path in states.iterdir() if path.is_dir()):
        if folder.name.startswith("."):
            continue
        if not is_unicode(folder.name):
            complaints.append(f"{folder} has a name that is not UTF-8")
            continue
        try:
            targets.append(Target(read_objective(folder), _find_runs(folder)))
        except UnusableRecording as error:
            complaints.append(str(error))
    return targets, complaints


def shared_seeds(targets: list[Target]) -> list[str]:
    """List the seeds that every target has; when no seed is shared, the seeds of any target."""
    seeds = [set(target.runs) for target in targets]
    return sorted(set.intersection(*seeds) or set.union(*seeds)) if seeds else []


def pick_seeds(seeds: list[str], fraction: float) -> list[str]:
    """Pick a share of the seeds, at least one, always the same ones."""
    n_picked = max(1, int(fraction * len(seeds) + 1e-9))
    return sorted(random.Random(SELECTION_SEED).sample(seeds, n_picked))


def read_policies(target: Target, seeds: Iterable[str]) -> tuple[list[Policy], list[str]]:
    """Read the snapshots of a target's runs.

    Returns:
        The usable policies, and for every unusable run or episode one line that says why.
    """
    policies, complaints = [], []
    for seed in seeds:
        if seed not in target.runs:
            continue
        try:
            snapshots = _choose_snapshots(target.runs[seed])
        except UnusableRecording as error:
            complaints.append(str(error))
            continue
        for percent, (episode, reward, folder) in snapshots.items():
            try:
                trajectory = read_trajectory(folder, reward)
            except UnusableRecording as error:
                changed = ", ".join(map(str, _changed_files(target.runs[seed], [folder])))
                complaints.append(f"{error}; changed since: {changed}" if changed else str(error))
                continue
            policies.append(
                Policy(
                    target=target.objective.target,
                    seed=seed,
                    percent=percent,
                    episode=episode,
                    folder=folder,
                    reward=reward,
                    energy=trajectory.energy,
                    n_transitions=trajectory.n_transitions,
                    digest=_digest(trajectory),
                )
            )
    return policies, complaints


def find_changes(policies: Iterable[Policy]) -> list[str]:
    """Hold the files of policies against the `SHA256SUMS` of their runs, where there are such.

    A changed file may be damaged, or changed on purpose: it is used, but not in silence.

    Returns:
        A line for each file that is not what it was when it was recorded.
    """
    folders: dict[Path, list[Path]] = {}
    for policy in policies:
        folders.setdefault(policy.folder.parent.parent, []).append(policy.folder)
    changes = []
    for run, episodes in folders.items():
        changes += [
            f"{path} is not what it was when it was recorded"
            for path in _changed_files(run, episodes)
        ]
    return changes


def write_processed_states(path: Path, policies: Iterable[Policy]) -> None:
    """Write the table of the policies, a row each."""
    import pandas as pd

    rows = [
        {
            "policy_name": policy.name,
            "policy_target": policy.target,
            "policy_seed": policy.seed,
            "snapshot_percent": policy.percent,
            "episode": policy.episode,
            "reward": policy.reward,
            "energy": policy.energy,
            "n_transitions": policy.n_transitions,
        }
        for policy in policies
    ]
    with atomic_write(path) as file:
        pd.DataFrame(rows).to_csv(file, index=False)


def fingerprint(objectives: Iterable[Objective], policies: Iterable[Policy]) -> str:
    """Condense everything that a preparation reads to a SHA-256 in hexadecimal."""
    digest = hashlib.sha256()
    for objective in objectives:
        digest.update(json.dumps([objective.target, *objective.texts]).encode())
    for policy in policies:
        summary = f"{policy.name} {policy.episode} {policy.reward!r} {policy.digest}"
        digest.update(summary.encode())
    return digest.hexdigest()


def _find_runs(folder: Path) -> dict[str, Path]:
    """Map the seeds of a target, four digits, to their folders."""
    runs: dict[str, Path] = {}
    for path in sorted(folder.iterdir()):
        match = re.fullmatch(r"seed_(\d+)", path.name)
        if match and path.is_dir():
            runs.setdefault(match[1].zfill(4), path)
    if not runs:
        raise UnusableRecording(f"{folder} has no runs; put them into seed_0000/ and so on")
    return runs


def _choose_snapshots(run: Path) -> dict[int, tuple[int, float, Path]]:
    """Choose the episode of each snapshot: row int(p * (n - 1)) of the n saved episodes.

    Returns:
        (episode number, reward, folder) by percent.
    """
    import pandas as pd  # half a second that reading a library's metadata does not need

    path = run / REWARDS
    content = read_bounded(path)
    if len(content.split(b"\n", 1)[0]) > MAX_CSV_HEADER:
        raise UnusableRecording(f"{path} has a first line of more than {MAX_CSV_HEADER} bytes")
    dtypes = {"episode": np.int64, "reward": np.float64}
    try:
        table = pd.read_csv(io.BytesIO(content), usecols=list(dtypes), dtype=dtypes)
    except (ValueError, OverflowError) as error:  # pandas' parser errors are ValueErrors
        raise UnusableRecording(
            f"{path} has no readable columns episode,reward ({error})"
        ) from None
    if table.empty:
        raise UnusableRecording(f"{path} has no rows")
    folders = _find_episodes(run / "episodes")
    snapshots = {}
    for percent in SNAPSHOT_PERCENTS:
        row = table.iloc[int(percent / 100 * (len(table) - 1))]
        episode = int(row["episode"])
        missing = run / "episodes" / f"episode_{episode:06d}"
        snapshots[percent] = (episode, float(row["reward"]), folders.get(episode, missing))
    return snapshots


def _find_episodes(folder: Path) -> dict[int, Path]:
    """Map episode numbers to their folders, however the numbers are padded."""
    matches = [
        (re.fullmatch(r"episode_(\d+)", path.name), path)
        for path in (folder.iterdir() if folder.is_dir() else ())
    ]
    return {int(match[1]): path for match, path in matches if match}


def _changed_files(run: Path, episodes: Iterable[Path]) -> list[Path]:
    """List the files of some episodes, and the run's table, that `SHA256SUMS` knows otherwise."""
    expected = _read_checksums(run / CHECKSUMS)
    paths = [run / REWARDS, *(folder / name for folder in episodes for name in ARRAYS)]
    return [
        path
        for path in paths
        if expected
        and path.is_file()
        and expected.get(path.relative_to(run).as_posix()) != _checksum(path)
    ]


def _checksum(path: Path) -> str | None:
    """Compute a file's SHA-256; None when it is larger than any honest one."""
    return checksum(path) if path.stat().st_size <= MAX_FILE else None


def _read_checksums(path: Path) -> dict[str, str]:
    """Map file names to checksums; empty when there are none."""
    if not path.exists():
        return {}
    return parse_checksums(read_bounded(path).decode("utf-8", errors="replace"))


def _digest(trajectory: Trajectory) -> str:
    digest = hashlib.sha256()
    for array in (trajectory.states, trajectory.actions, trajectory.q_table):
        digest.update(f"{array.shape}".encode() + array.tobytes())
    return digest.hexdigest()
