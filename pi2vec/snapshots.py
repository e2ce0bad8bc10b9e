"""A training run on disk: which of its saved rows become policies, and what changed since."""

import io
import re
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from library.checksums import SUMS, checksum, parse_checksums
from library.errors import UnusableRecording
from library.files import MAX_FILE, read_bounded

if TYPE_CHECKING:
    import pandas as pd

SNAPSHOT_PERCENTS = (100, 60, 20)  # a row is used once, under the highest that it has
MAX_CSV_HEADER = 10_000  # bytes; a name takes ten, and pandas takes a kilobyte a column
REWARDS = "episode_rewards.csv"


@dataclass(frozen=True)
class Snapshot:
    """A saved row of a training run.

    Attributes:
        percent: how far the training had come: 20, 60 or 100.
        episode: the number in the row, of episodes or steps of training so far.
        reward: the policy's mean undiscounted return.
        folder: of its recording.
    """

    percent: int
    episode: int
    reward: float
    folder: Path


def choose_snapshots(run: Path) -> tuple[list[Snapshot], list[str]]:
    """Choose the snapshots of a run: row int(p * (n - 1)) of the n rows that have a recording.

    Returns:
        The snapshots, the earliest first, and a line for each row that had to be mended or left.

    Raises:
        UnusableRecording: the table is missing or damaged, or no row has a recording.
    """
    table, notes = read_rewards(run / REWARDS)
    # A recording that the run's checksums know counts, even when it is lost: it is named then.
    known = {Path(name).parts[1] for name in _read_checksums(run) if name.startswith("episodes/")}
    folders = _by_number(run / "episodes" / name for name in sorted(known))
    folders |= find_episodes(run / "episodes")
    recorded = table[table["episode"].isin(list(folders))]
    if recorded.empty:
        raise UnusableRecording(f"{run} has no recording of a row of {REWARDS}")
    snapshots: dict[int, Snapshot] = {}
    for percent in SNAPSHOT_PERCENTS:
        row = recorded.iloc[int(percent / 100 * (len(recorded) - 1))]
        episode = int(row["episode"])
        snapshot = Snapshot(percent, episode, float(row["reward"]), folders[episode])
        snapshots.setdefault(episode, snapshot)
    return sorted(snapshots.values(), key=lambda snapshot: snapshot.percent), notes


def find_episodes(folder: Path) -> dict[int, Path]:
    """Map episode numbers to their folders, however the numbers are padded."""
    return _by_number(sorted(folder.iterdir()) if folder.is_dir() else ())


def changed_files(run: Path, folders: Iterable[Path]) -> list[Path]:
    """List a run's table, and files of recordings, that its `SHA256SUMS` knows otherwise."""
    expected = _read_checksums(run)
    names = [run / REWARDS, *(path for folder in folders for path in sorted(folder.glob("*")))]
    return [
        path
        for path in names
        if path.is_file()
        and expected.get(path.relative_to(run).as_posix()) not in (None, _checksum(path))
    ]


def _by_number(paths: Iterable[Path]) -> dict[int, Path]:
    matches = [(re.fullmatch(r"episode_([0-9]{1,18})", path.name), path) for path in paths]
    return {int(match[1]): path for match, path in matches if match}


def read_rewards(path: Path) -> tuple["pd.DataFrame", list[str]]:
    """Read the columns episode and reward, in the order of training, each episode once."""
    import pandas as pd  # half a second that reading a library's metadata does not need

    content = read_bounded(path)
    if len(content.split(b"\n", 1)[0]) > MAX_CSV_HEADER:
        raise UnusableRecording(f"{path} has a first line of more than {MAX_CSV_HEADER} bytes")
    wanted = {"episode": np.int64, "reward": np.float64}
    try:
        header = pd.read_csv(io.BytesIO(content), nrows=0).columns
        names = {name: name.strip().lower() for name in header if name.strip().lower() in wanted}
        table = pd.read_csv(io.BytesIO(content), usecols=list(names))  # by name: quick if damaged
        table = table.rename(columns=names)[list(wanted)].astype(wanted)
    except (KeyError, ValueError, OverflowError) as error:  # pandas' parser errors: ValueErrors
        reason = " ".join(str(error).split())
        raise UnusableRecording(
            f"{path} has no readable columns episode,reward ({reason})"
        ) from None
    if table.empty:
        raise UnusableRecording(f"{path} has no rows")
    notes = []
    once = table.drop_duplicates()
    if once["episode"].duplicated().any():
        raise UnusableRecording(f"{path} gives an episode two rewards")
    if len(once) < len(table):
        notes.append(f"{path} has rows twice; each was used once")
    if not once["episode"].is_monotonic_increasing:
        notes.append(f"{path} has rows out of order; they were sorted by episode")
    return once.sort_values("episode"), notes


def _checksum(path: Path) -> str | None:
    """Compute a file's SHA-256; None when it is larger than any honest one."""
    return checksum(path) if path.stat().st_size <= MAX_FILE else None


def _read_checksums(run: Path) -> dict[str, str]:
    """Map file names of a run to checksums; empty when there are none."""
    path = run / SUMS
    if not path.exists():
        return {}
    return parse_checksums(read_bounded(path).decode("utf-8", errors="replace"))
