"""Reading `states_f/`: targets, seeds, snapshots and trajectories."""

import hashlib
import io
import itertools
import json
import math
import random
import re
import warnings
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from checksums import checksum, parse_checksums
from errors import LeverError, UnusableTrajectory
from workspace import replaced

CELL_VALUES = (0, 1, -1, 5, 10, 7)  # empty, gold, block, start, exit, agent
AGENT = 7
GRID_SHAPE = (16, 16)
MOVES = ((0, 1), (1, 0), (0, 2), (2, 0), (1, 1))  # (rows, columns) of actions 0 to 4
Q_TABLE_SHAPE = (GRID_SHAPE[0] * GRID_SHAPE[1], len(MOVES))
MAX_STEPS = 33
MAX_SQUARED_MOVE = 4
SNAPSHOT_PERCENTS = (20, 60, 100)
MAX_FILE = 64 * 2**20  # bytes; an episode of 33 steps has 9,000, a table of a million rows 20 M
MAX_TEXT = 1_000  # characters of a description or phrasing; a sentence has a hundred
MAX_PHRASINGS = 1_000
MAX_CSV_HEADER = 10_000  # bytes; a name takes ten, and pandas takes a kilobyte a column
CHECKSUMS = "SHA256SUMS"
REWARDS = "episode_rewards.csv"
STATES, ACTIONS, Q_TABLE = ARRAYS = ("episode_states.npy", "episode_actions.npy", "q_table.npy")
SELECTION_SEED = 7  # fixes which seeds a fraction picks

Grids = NDArray[np.int8]


@dataclass(frozen=True)
class Objective:
    """What the policies of a target are for, in words.

    Attributes:
        target: the name of its folder in `states_f/`.
        description: one sentence.
        phrasings: further ways to say the same.
    """

    target: str
    description: str
    phrasings: tuple[str, ...]

    @property
    def texts(self) -> tuple[str, ...]:
        """The description and the phrasings."""
        return (self.description, *self.phrasings)

    @property
    def digest(self) -> str:
        """SHA-256 of the texts, in hexadecimal."""
        return hashlib.sha256(json.dumps(self.texts).encode()).hexdigest()


@dataclass(frozen=True)
class Target:
    """A usable folder of `states_f/`: an objective and the run folder of each seed."""

    objective: Objective
    runs: dict[str, Path]


@dataclass(frozen=True)
class Trajectory:
    """One recorded episode and the Q-table after it, checked on construction.

    Attributes:
        states: int8 (T+1, 16, 16), the grids that the agent saw, T >= 1, one agent in each.
        actions: int8 (T,), 0 to 4.
        q_table: float32 (256, 5), finite, row = 16 * row + column.
        reward: the undiscounted sum of rewards, finite.

    Raises:
        UnusableTrajectory: a field breaks these rules.
    """

    states: Grids
    actions: NDArray[np.int8]
    q_table: NDArray[np.float32]
    reward: float

    def __post_init__(self) -> None:
        """Enforce what the class docstring says."""
        _check(self.states.dtype == np.int8, f"states are {self.states.dtype}, must be int8")
        _check(
            self.states.ndim == 3 and self.states.shape[1:] == GRID_SHAPE,
            f"states have shape {self.states.shape}, must be (T+1, 16, 16)",
        )
        _check(len(self.states) >= 2, "the episode has no step")
        _check(bool(np.isin(self.states, CELL_VALUES).all()), "a grid has an unknown cell value")
        n_agents = (self.states == AGENT).sum(axis=(1, 2))
        _check(bool((n_agents == 1).all()), "a grid shows no agent, or several")
        _check(self.actions.dtype == np.int8, f"actions are {self.actions.dtype}, must be int8")
        _check(
            self.actions.shape == (len(self.states) - 1,),
            f"actions have shape {self.actions.shape}, must be ({len(self.states) - 1},)",
        )
        in_range = (self.actions >= 0) & (self.actions < len(MOVES))
        _check(bool(in_range.all()), "an action is not 0 to 4")
        moved = np.diff(np.argwhere(self.states == AGENT)[:, 1:], axis=0)
        asked = np.array(MOVES)[self.actions]
        stayed = (moved == 0).all(axis=1)
        follows = (moved == asked).all(axis=1) | stayed
        _check(bool(follows.all()), "the agent does not move as its actions say")
        _check(
            self.q_table.dtype == np.float32 and self.q_table.shape == Q_TABLE_SHAPE,
            f"the Q-table has shape {self.q_table.shape}, must be {Q_TABLE_SHAPE}",
        )
        _check(bool(np.isfinite(self.q_table).all()), "the Q-table has NaN or infinity")
        _check(bool(np.isfinite(self.reward)), f"the reward is {self.reward}")

    @property
    def n_transitions(self) -> int:
        """T, the number of steps."""
        return len(self.actions)

    @property
    def energy(self) -> float:
        """Motion energy, 0 to 1: squared displacements that the actions ask for, over 33 * 4."""
        squared = np.array([rows**2 + columns**2 for rows, columns in MOVES])
        return float(squared[self.actions].sum() / (MAX_STEPS * MAX_SQUARED_MOVE))


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
            UnusableTrajectory: it was changed since the policy was found.
        """
        return _read_trajectory(self.folder, self.reward)


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
        if not _is_unicode(folder.name):
            complaints.append(f"{folder} has a name that is not UTF-8")
            continue
        try:
            targets.append(Target(_read_objective(folder), _find_runs(folder)))
        except UnusableTrajectory as error:
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
        except UnusableTrajectory as error:
            complaints.append(str(error))
            continue
        for percent, (episode, reward, folder) in snapshots.items():
            try:
                trajectory = _read_trajectory(folder, reward)
            except UnusableTrajectory as error:
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
    with replaced(path) as file:
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


def _read_objective(folder: Path) -> Objective:
    """Read `objective.json` of a target's folder."""
    path = folder / "objective.json"
    form = '{"description": "...", "phrasings": ["...", ...]}'
    try:
        content = json.loads(_read_bytes(path))
    except (UnusableTrajectory, ValueError, RecursionError) as error:
        raise UnusableTrajectory(f"{path} can't be used ({error}); write {form}") from None
    if not isinstance(content, dict):
        raise UnusableTrajectory(f"{path} is no object; write {form}")
    texts = [content.get("description"), *_as_list(content.get("phrasings", []))]
    if not all(isinstance(text, str) and text.strip() and _is_unicode(text) for text in texts):
        raise UnusableTrajectory(f"{path} has an empty text or none; write {form}")
    if len(texts) > MAX_PHRASINGS or max(map(len, texts)) > MAX_TEXT:
        limits = f"at most {MAX_PHRASINGS} phrasings of {MAX_TEXT} characters"
        raise UnusableTrajectory(f"{path} has too many or too long texts; write {limits}")
    return Objective(folder.name, texts[0], tuple(texts[1:]))


def _is_unicode(text: str) -> bool:
    """Tell whether a text can be written: JSON may hold halves of characters."""
    return not any("\ud800" <= character <= "\udfff" for character in text)


def _as_list(value: Any) -> list[Any]:
    return value if isinstance(value, list) else [None]


def _find_runs(folder: Path) -> dict[str, Path]:
    """Map the seeds of a target, four digits, to their folders."""
    runs: dict[str, Path] = {}
    for path in sorted(folder.iterdir()):
        match = re.fullmatch(r"seed_(\d+)", path.name)
        if match and path.is_dir():
            runs.setdefault(match[1].zfill(4), path)
    if not runs:
        raise UnusableTrajectory(f"{folder} has no runs; put them into seed_0000/ and so on")
    return runs


def _choose_snapshots(run: Path) -> dict[int, tuple[int, float, Path]]:
    """Choose the episode of each snapshot: row int(p * (n - 1)) of the n saved episodes.

    Returns:
        (episode number, reward, folder) by percent.
    """
    import pandas as pd  # half a second that reading a library's metadata does not need

    path = run / REWARDS
    content = _read_bytes(path)
    if len(content.split(b"\n", 1)[0]) > MAX_CSV_HEADER:
        raise UnusableTrajectory(f"{path} has a first line of more than {MAX_CSV_HEADER} bytes")
    dtypes = {"episode": np.int64, "reward": np.float64}
    try:
        table = pd.read_csv(io.BytesIO(content), usecols=list(dtypes), dtype=dtypes)
    except (ValueError, OverflowError) as error:  # pandas' parser errors are ValueErrors
        raise UnusableTrajectory(
            f"{path} has no readable columns episode,reward ({error})"
        ) from None
    if table.empty:
        raise UnusableTrajectory(f"{path} has no rows")
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


def _read_trajectory(folder: Path, reward: float) -> Trajectory:
    """Read one episode's folder."""
    if not folder.is_dir():
        raise UnusableTrajectory(f"{folder} is missing")
    states = _read_npy(folder / STATES)
    q_table = _read_npy(folder / Q_TABLE)
    actions_path = folder / ACTIONS
    try:
        _check(q_table.dtype.kind == "f", f"the Q-table is {q_table.dtype}, must be float")
        actions = _read_npy(actions_path) if actions_path.exists() else _infer_actions(states)
        return Trajectory(states, actions, q_table.astype(np.float32), reward)
    except UnusableTrajectory as error:
        raise UnusableTrajectory(f"{folder}: {error}") from None


def _read_npy(path: Path) -> NDArray[Any]:
    """Read an array; what its header claims is held against what the file holds first."""
    content = _read_bytes(path)
    try:
        file = io.BytesIO(content)
        version = np.lib.format.read_magic(file)
        read_header = {
            (1, 0): np.lib.format.read_array_header_1_0,
            (2, 0): np.lib.format.read_array_header_2_0,
        }[version]
        with warnings.catch_warnings():
            warnings.simplefilter("error")  # a header that needs mending is no header
            shape, fortran_order, dtype = read_header(file)
        n_bytes = math.prod(shape) * dtype.itemsize
        if dtype.hasobject or n_bytes != len(content) - file.tell():
            raise ValueError(f"{shape} of {dtype} is not what the file holds")
        array = np.frombuffer(content, dtype, offset=file.tell())
        return array.reshape(shape, order="F" if fortran_order else "C")
    except Exception as error:  # numpy parses a header as Python: damage can raise nearly anything
        raise UnusableTrajectory(f"{path} is no array ({error})") from None


def _read_bytes(path: Path) -> bytes:
    """Read a file that is not larger than any honest one."""
    try:
        if path.exists() and not path.is_file():  # a pipe or device may have no end
            raise UnusableTrajectory(f"{path} is no file")
        if path.stat().st_size > MAX_FILE:
            raise UnusableTrajectory(f"{path} has more than {MAX_FILE} bytes")
        return path.read_bytes()
    except OSError as error:
        reason = (
            "is missing" if isinstance(error, FileNotFoundError) else f"can't be read ({error})"
        )
        raise UnusableTrajectory(f"{path} {reason}") from None


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
    return parse_checksums(_read_bytes(path).decode("utf-8", errors="replace"))


def _digest(trajectory: Trajectory) -> str:
    digest = hashlib.sha256()
    for array in (trajectory.states, trajectory.actions, trajectory.q_table):
        digest.update(f"{array.shape}".encode() + array.tobytes())
    return digest.hexdigest()


def _infer_actions(states: Grids) -> NDArray[np.int8]:
    """Recover the actions from the agent's positions.

    An agent that stays where it is asked for a move off the grid: the cheapest one possible.
    """
    places = np.argwhere(states == AGENT)
    _check(len(places) == len(states), "a grid shows no agent, or several")
    positions = places[:, 1:]
    actions = []
    for before, after in itertools.pairwise(positions):
        moved = tuple(int(n) for n in after - before)
        if moved == (0, 0):
            actions.append(_cheapest_move_off_the_grid(before, states.shape[1:]))
            continue
        _check(moved in MOVES, f"the agent moves by {moved}, which no action does")
        actions.append(MOVES.index(moved))
    return np.array(actions, dtype=np.int8)


def _cheapest_move_off_the_grid(cell: NDArray[np.int64], shape: tuple[int, ...]) -> int:
    moves = [
        (rows**2 + columns**2, action)
        for action, (rows, columns) in enumerate(MOVES)
        if cell[0] + rows >= shape[0] or cell[1] + columns >= shape[1]
    ]
    _check(bool(moves), "the agent stays where it could move")
    return min(moves)[1]


def _check(rule: bool, complaint: str) -> None:
    if not rule:
        raise UnusableTrajectory(complaint)
