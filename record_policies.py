#!/usr/bin/env python3
"""Record trained policies, anyone's, so that a library can be prepared from them.

reads   FOLDER and all below it
writes  states_f/
run     python record_policies.py ~/downloads/states_8_99
time    a second for a hundred policies of a grid world

Each run is a seed of a target, each saved policy a snapshot. What is recorded already stays as it
is, so an interrupted recording goes on where it stopped.

Examples:
  python record_policies.py runs --dry-run
  python record_policies.py runs/gold --describe "Collect the gold." --phrasing "pick up gold"
"""

import json
from argparse import ArgumentTypeError, Namespace
from pathlib import Path
from typing import TYPE_CHECKING

from library import command_line
from library.command_line import notice
from library.errors import LeverError

if TYPE_CHECKING:
    from recording.run import FoundRun, Skipped

    Targets = dict[str, dict[str, FoundRun]]


def main() -> int:
    """Find, name, record, tell."""
    arguments = parse_arguments()
    from recording import exported, published_runs  # numpy and scipy, which --help does not need
    from recording.targets import name_targets

    found, skipped = published_runs.find_runs(arguments.folder)
    composed, unusable = exported.find_runs(arguments.folder)
    found, skipped = found + composed, skipped + unusable
    targets, twice = name_targets(found, arguments.workspace, arguments.target)
    if len(targets) > 1 and (arguments.describe or arguments.phrasing):
        raise LeverError(
            f"--describe and --phrasing are for one target, but {arguments.folder} has "
            f"{len(targets)} ({', '.join(targets)}); record them one by one"
        )
    failed = []
    if not arguments.dry_run:
        with arguments.workspace.locked():
            failed = record(targets, arguments)
    lines = table(targets, skipped + twice, failed, arguments.dry_run)
    command_line.show("\n".join(lines))
    return command_line.DONE if targets else command_line.NOTHING_FOUND


def parse_arguments() -> Namespace:
    """Read the command line; wrong usage ends with one line and code 2."""
    parser = command_line.create_parser(__doc__)
    parser.add_argument("folder", type=existing_folder, metavar="FOLDER")
    parser.add_argument("--target", metavar="NAME", type=target_name, help="the target's name")
    parser.add_argument("--describe", metavar="TEXT", type=text, help="what the target is for")
    parser.add_argument(
        "--phrasing",
        metavar="TEXT",
        type=text,
        action="append",
        default=[],
        help="another way to ask for it; may be given several times",
    )
    parser.add_argument(
        "--dry-run", action="store_true", help="only tell what would be recorded and what not"
    )
    return parser.parse_args()


def record(targets: "Targets", arguments: Namespace) -> "list[Skipped]":
    """Write the runs of all targets, each whole or not at all; return those that failed."""
    from tqdm import tqdm

    from library.errors import UnusableRecording
    from library.files import whole_folder
    from recording.run import Skipped

    states: Path = arguments.workspace.states
    runs = [(states / n / f"seed_{s}", r) for n, rs in targets.items() for s, r in rs.items()]
    failed = []
    for folder, run in tqdm(runs, desc="recording", unit="run", disable=None):
        if folder.exists():
            continue
        try:
            with whole_folder(folder) as partial:
                run.record(partial)
        except UnusableRecording as error:
            failed.append(Skipped(run.origin, str(error)))
    for target, found in targets.items():
        if (states / target).is_dir():
            describe(states / target, next(iter(found.values())).target, arguments)
    return failed


def describe(folder: Path, name: str, arguments: Namespace) -> None:
    """Write the objective of a target, if it has none or the arguments say what it is for."""
    from library.files import atomic_write
    from recording.targets import words_of_name

    path = folder / "objective.json"
    if path.exists() and not (arguments.describe or arguments.phrasing):
        return
    if not arguments.describe:
        notice(f"notice: {path} only has the target's name; --describe says what it is for")
    content = {
        "description": arguments.describe or words_of_name(name),
        "phrasings": arguments.phrasing,
    }
    with atomic_write(path) as file:
        file.write((json.dumps(content, indent=2, ensure_ascii=False) + "\n").encode())


def table(
    targets: "Targets", skipped: "list[Skipped]", failed: "list[Skipped]", dry_run: bool
) -> list[str]:
    """List what was found and became of it, and what was left out and why."""
    unused = {entry.origin for entry in failed}
    done = "would be recorded" if dry_run else "recorded"
    lines, n_found, n_used = [], len(skipped), 0
    for target, found in targets.items():
        runs = [run for run in found.values() if run.origin not in unused]
        n_policies = sum(run.n_snapshots for run in runs)
        if runs:
            counts = f"{len(runs)} runs, {n_policies} policies"
            lines.append(f"{target} ({runs[0].world}): {counts} {done}")
        n_found, n_used = n_found + len(found), n_used + len(runs)
    lines += [f"skipped: {entry.origin}: {entry.reason}" for entry in skipped + failed]
    return [*lines, f"{n_found} runs found, {n_used} used, {n_found - n_used} skipped"]


def existing_folder(path: str) -> Path:
    """Read the name of a folder, an argparse type."""
    folder = Path(path).expanduser()
    if not folder.is_dir():
        raise ArgumentTypeError(f"the folder {path!r} does not exist")
    return folder


def target_name(name: str) -> str:
    """Read a name that a folder can have, an argparse type."""
    from recording.targets import is_usable_name

    if not is_usable_name(name):
        raise ArgumentTypeError(f"{name!r} can't name a folder; use letters, digits, - and _")
    return name


def text(words: str) -> str:
    """Read a text that is not empty, an argparse type."""
    if not words.strip():
        raise ArgumentTypeError("the text is empty")
    return words


if __name__ == "__main__":
    command_line.run(main)
