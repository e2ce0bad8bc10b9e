"""Training runs that were found: their policies, where they came from, what was passed over."""

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from recording.environments import Environment
from recording.policy import Policy


@dataclass(frozen=True)
class Snapshot:
    """A policy at some point of its training.

    Attributes:
        policy: what it does.
        training: the steps, or episodes, of training so far; 0 where nothing says.
        source: where it came from, as `source.json` says it: file, sha256, algorithm,
            training_steps.
    """

    policy: Policy
    training: int
    source: Mapping[str, Any]

    @property
    def sha256(self) -> str:
        """The checksum of the file that it came from."""
        return str(self.source["sha256"])


@dataclass(frozen=True)
class Run:
    """A training run: the snapshots of one policy, in the order of training.

    Attributes:
        path: the file or folder that it was found in.
        environment: in which it acts.
        snapshots: at least one, the last is the most trained.
        notes: what the user should know, a line each.
    """

    path: Path
    environment: Environment
    snapshots: tuple[Snapshot, ...]
    notes: tuple[str, ...] = ()

    @property
    def identity(self) -> str:
        """SHA-256 of all that it was read from: equal files in equal environments are one run."""
        parts = [
            self.environment.id,
            repr(sorted(self.environment.kwargs.items())),
            *(snapshot.sha256 for snapshot in self.snapshots),
        ]
        return hashlib.sha256("\n".join(parts).encode()).hexdigest()


@dataclass(frozen=True)
class Skipped:
    """A file that is not used, and why, in a line."""

    path: Path
    reason: str


@dataclass
class Findings:
    """What a folder holds.

    Attributes:
        runs: what can be recorded.
        skipped: what can't.
    """

    runs: list[Run] = field(default_factory=list)
    skipped: list[Skipped] = field(default_factory=list)
