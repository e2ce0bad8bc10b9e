"""The catalogue of `states_f/`: targets, seeds and policies."""

import hashlib
import json
import re
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field
from itertools import groupby
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from library.errors import LeverError, UnusableRecording
from library.files import atomic_write, is_foreign, read_bounded
from library.objective import Objective, is_unicode, read_objective
from library.parallel import HERE, Engine, map_runs
from pi2vec.snapshots import Snapshot, changed_files, choose_snapshots
from worlds.reading import read_recording
from worlds.world import Recording, World

SELECTION_SALT = "5"  # fixes the order in which seeds are taken
DEFAULT_FRACTION, FEW_SEEDS = 0.1, 20  # a tenth of the seeds, but not fewer than these
MAX_REWARD = 1e150  # its square is still a number
SOURCE, MAX_SOURCE = "source.json", 100_000  # bytes


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
        snapshot: which row of the run.
        world: the world that it acts in.
        measures: numbers that say how it behaves, `energy` and `steps` among them.
        n_transitions: the steps of all its recorded episodes.
        digest: SHA-256 of its arrays, in hexadecimal.
    """

    target: str
    seed: str
    snapshot: Snapshot
    world: World
    measures: dict[str, float] = field(hash=False)
    n_transitions: int
    digest: str

    @property
    def name(self) -> str:
        """For instance `gold_0038_20`."""
        return f"{self.target}_{self.seed}_{self.snapshot.percent}"

    @property
    def reward(self) -> float:
        """The mean undiscounted return of its episodes."""
        return self.snapshot.reward

    def read(self) -> Recording:
        """Read its recording.

        Raises:
            UnusableRecording: it was changed since the policy was found.
        """
        world, recording = read_recording(self.snapshot.folder)
        if world.name != self.world.name:
            raise UnusableRecording(f"{self.snapshot.folder} was changed while it was read")
        return recording

    def read_source(self) -> dict[str, Any]:
        """Tell where it came from: its folder, and what `source.json` there says."""
        folder = self.snapshot.folder
        source: dict[str, Any] = {"folder": "/".join(folder.parts[-4:])}
        path = folder / SOURCE
        if path.exists():
            try:
                content = json.loads(read_bounded(path, MAX_SOURCE))
            except (ValueError, RecursionError):
                content = None
            source |= content if isinstance(content, dict) else {}
        return source


@dataclass
class Catalogue:
    """What there is in `states_f/`, and a line for each thing that can't be used.

    Attributes:
        targets: the usable ones, in alphabetical order.
        policies: of the chosen seeds, target by target.
        skipped: what was left out, and why.
        notices: what was used though it is not as it should be.
    """

    targets: list[Target] = field(default_factory=list)
    policies: list[Policy] = field(default_factory=list)
    skipped: list[str] = field(default_factory=list)
    notices: list[str] = field(default_factory=list)

    @property
    def worlds(self) -> dict[str, list[Policy]]:
        """The policies by the name of their world, in alphabetical order."""
        names = sorted({policy.world.name for policy in self.policies})
        return {name: [p for p in self.policies if p.world.name == name] for name in names}


class Run(NamedTuple):
    """A training run: of which target, with which seed, in which folder."""

    target: str
    seed: str
    folder: Path


@dataclass
class RunContent:
    """What there is in a run: its policies, and lines on what can't be used and what is odd.

    Attributes:
        changes: files that are not what they were when they were recorded.
    """

    policies: list[Policy] = field(default_factory=list)
    skipped: list[str] = field(default_factory=list)
    notices: list[str] = field(default_factory=list)
    changes: list[str] = field(default_factory=list)


def read_catalogue(
    states: Path,
    fraction: float | None = None,
    seeds: Iterable[str] | None = None,
    engine: Engine = HERE,
) -> Catalogue:
    """Read the targets of `states_f/`, choose seeds, and read their policies.

    Args:
        states: the folder.
        fraction: the share of each target's seeds to take; by default a tenth, but at least
            `FEW_SEEDS` where there are so many.
        seeds: just these instead.
        engine: where the runs are read.

    Raises:
        LeverError: there is no such folder, it can't be read, or no target has one of `seeds`.
    """
    targets, skipped = read_targets(states)
    catalogue = Catalogue(targets, skipped=skipped)
    wanted = None if seeds is None else sorted(set(seeds))
    known = {seed for target in targets for seed in target.runs}
    unknown = sorted(set(wanted or ()) - known)
    if unknown and targets:
        raise LeverError(f"no target has the seeds {', '.join(unknown)}; look into {states}")
    chosen = [
        Run(target.objective.target, seed, target.runs[seed])
        for target in targets
        for seed in (pick_seeds(target.runs, fraction) if wanted is None else wanted)
        if seed in target.runs
    ]
    contents = map_runs(engine, _read_run, chosen, _give_up, "reading")
    both = zip(chosen, contents, strict=True)
    for _, group in groupby(both, key=lambda pair: pair[0].target):
        _add_target(catalogue, [content for _, content in group])
    return catalogue


def read_targets(states: Path) -> tuple[list[Target], list[str]]:
    """Find the targets of `states_f/`, in alphabetical order.

    Returns:
        The usable targets, and a line for each folder that can't be used.

    Raises:
        LeverError: there is no such folder, or it can't be read.
    """
    if not states.is_dir():
        raise LeverError(f"{states} does not exist; create it or pass --workspace")
    targets, complaints = [], []
    for folder in sorted(path for path in states.iterdir() if path.is_dir()):
        if is_foreign(folder.name):
            continue
        if not is_unicode(folder.name):
            complaints.append(f"{folder} has a name that is not UTF-8")
            continue
        try:
            runs, foreign = _find_runs(folder)
            targets.append(Target(read_objective(folder), runs))
            complaints += foreign
        except UnusableRecording as error:
            complaints.append(str(error))
        except OSError as error:
            complaints.append(f"{folder} can't be read ({error.strerror})")
    return targets, complaints


def pick_seeds(seeds: Iterable[str], fraction: float | None = None) -> list[str]:
    """Pick a share of a target's seeds, at least one.

    Which come first is fixed by the seeds alone: targets that have the same seeds get the same,
    whatever others have.

    Args:
        seeds: all that the target has.
        fraction: as `read_catalogue`.
    """
    order = sorted(seeds, key=_place_in_order)
    share = DEFAULT_FRACTION if fraction is None else fraction
    n_picked = max(1, int(share * len(order) + 1e-9))
    if fraction is None:
        n_picked = max(n_picked, min(FEW_SEEDS, len(order)))
    return sorted(order[:n_picked])


def write_processed_states(path: Path, policies: Iterable[Policy]) -> None:
    """Write the table of the policies, a row each."""
    import pandas as pd

    rows = [
        {
            "policy_name": policy.name,
            "policy_target": policy.target,
            "policy_seed": policy.seed,
            "snapshot_percent": policy.snapshot.percent,
            "episode": policy.snapshot.episode,
            "reward": policy.reward,
            "energy": policy.measures.get("energy"),
            "n_transitions": policy.n_transitions,
            "world": policy.world.name,
            **{name: value for name, value in sorted(policy.measures.items()) if name != "energy"},
        }
        for policy in policies
    ]
    with atomic_write(path) as file:
        pd.DataFrame(rows).to_csv(file, index=False, lineterminator="\n")


def fingerprint(objectives: Iterable[Objective], policies: Iterable[Policy]) -> str:
    """Condense everything that a preparation reads to a SHA-256 in hexadecimal."""
    digest = hashlib.sha256()
    for objective in objectives:
        digest.update(json.dumps([objective.target, *objective.texts]).encode())
    for policy in policies:
        row = policy.snapshot
        summary = f"{policy.name} {policy.world.name} {row.episode} {row.reward!r} {policy.digest}"
        digest.update(summary.encode())
    return digest.hexdigest()


def _place_in_order(seed: str) -> bytes:
    return hashlib.sha256((SELECTION_SALT + seed).encode()).digest()


def _find_runs(folder: Path) -> tuple[dict[str, Path], list[str]]:
    """Map the seeds of a target to their folders; name the folders that are no run."""
    runs: dict[str, Path] = {}
    complaints = []
    for path in sorted(folder.iterdir()):
        if not path.is_dir() or is_foreign(path.name):
            continue
        match = re.fullmatch(r"seed_([0-9]{1,100})", path.name)
        seed = match[1].zfill(4) if match else ""
        if not match:
            complaints.append(f"{path} is no run; name it seed_ and digits, for instance seed_0012")
        elif seed in runs:
            complaints.append(f"{path} is seed {seed} a second time, beside {runs[seed].name}")
        else:
            runs[seed] = path
    if not runs:
        raise UnusableRecording(f"{folder} has no runs; put them into seed_0000/ and so on")
    return runs, complaints


def _read_run(run: Run) -> RunContent:
    """Read the snapshots of a run, and what is wrong with them."""
    content = RunContent()
    try:
        snapshots, content.notices = choose_snapshots(run.folder)
    except UnusableRecording as error:
        return RunContent(skipped=[str(error)])
    except OSError as error:
        return RunContent(skipped=[f"{run.folder} can't be read ({error.strerror})"])
    for snapshot in snapshots:
        try:
            content.policies.append(_read_policy(run.target, run.seed, snapshot))
        except UnusableRecording as error:
            changed = ", ".join(map(str, changed_files(run.folder, [snapshot.folder])))
            suffix = f"; changed since: {changed}" if changed else ""
            content.skipped.append(f"{error}{suffix}")
    content.changes = _find_changes(run.folder, content.policies)
    return content


def _give_up(run: Run, reason: str) -> RunContent:
    return RunContent(skipped=[f"{run.folder}: {reason}"])


def _add_target(catalogue: Catalogue, runs: list[RunContent]) -> None:
    """Add what there is in the runs of a target."""
    catalogue.skipped += [line for run in runs for line in run.skipped]
    catalogue.notices += [line for run in runs for line in run.notices]
    usable, foreign = _of_one_world([policy for run in runs for policy in run.policies])
    catalogue.policies += usable
    catalogue.skipped += foreign
    used = {policy.seed for policy in usable}
    catalogue.notices += [
        line for run in runs for line in run.changes if used & {p.seed for p in run.policies}
    ]


def _read_policy(target: str, seed: str, snapshot: Snapshot) -> Policy:
    if not abs(snapshot.reward) <= MAX_REWARD:
        raise UnusableRecording(f"{snapshot.folder}: the reward is {snapshot.reward}")
    world, recording = read_recording(snapshot.folder)
    return Policy(
        target=target,
        seed=seed,
        snapshot=snapshot,
        world=world,
        measures=world.measures(recording),
        n_transitions=recording.n_transitions,
        digest=_digest(recording),
    )


def _of_one_world(policies: list[Policy]) -> tuple[list[Policy], list[str]]:
    """Keep the policies of the world that most of a target's belong to, and name the others."""
    counts = Counter(policy.world.name for policy in policies)
    own = max(counts, key=lambda name: (counts[name], name), default="")
    foreign = [
        f"{policy.snapshot.folder} is of {policy.world.name}, but {policy.target} is of {own}; "
        "give it a target of its own"
        for policy in policies
        if policy.world.name != own
    ]
    return [policy for policy in policies if policy.world.name == own], foreign


def _find_changes(run: Path, policies: Iterable[Policy]) -> list[str]:
    """Hold the files of a run's policies against its `SHA256SUMS`, where there are such.

    A changed file may be damaged, or changed on purpose: it is used, but not in silence.
    """
    changed = changed_files(run, [policy.snapshot.folder for policy in policies])
    return [f"{path} is not what it was when it was recorded" for path in changed]


def _digest(recording: Recording) -> str:
    digest = hashlib.sha256()
    arrays: list[Any] = [recording.observations, recording.actions, recording.lengths]
    arrays += [recording.rewards, recording.terminated, recording.q_table]
    for array in arrays:
        if array is not None:
            digest.update(
                f"{array.dtype} {array.shape}".encode() + np.ascontiguousarray(array).tobytes()
            )
    return digest.hexdigest()
