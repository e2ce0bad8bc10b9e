#!/usr/bin/env python3
"""Record trained policies, anyone's, so that a library can be prepared from them.

reads   FOLDER and all below it: agents of Stable-Baselines3 (.zip), alone, in rl-zoo's folders or
        in clones of hub repositories; Q-tables (.npy, .npz, .pkl, .json, .csv, .txt); runs of the
        published system's grid worlds. No code in them is run.
writes  states_f/
run     python record_policies.py ~/downloads/rl-trained-agents
time    a second for a hundred policies of a grid world; elsewhere the episodes take it: ten are
        50 ms (CartPole) to 1.5 s (MuJoCo)

Each run is a seed of a target, each saved policy a snapshot. What is recorded already stays as it
is, so an interrupted recording goes on where it stopped.

Examples:
  python record_policies.py runs --dry-run
  python record_policies.py q_tables --env Taxi-v4
  python record_policies.py agents --env my_package:MyWorld-v0 --target mine --jobs 4
  python record_policies.py runs/gold --describe "Collect the gold." --phrasing "pick up gold"
"""

import os
import sys
from argparse import ArgumentTypeError, Namespace
from pathlib import Path
from typing import TYPE_CHECKING

from library import command_line
from library.command_line import notice, positive_number
from library.errors import LeverError
from library.files import absolute

if TYPE_CHECKING:
    from library.parallel import Engine
    from recording.run import FoundRun, Skipped

    Targets = dict[str, dict[str, FoundRun]]


def main() -> int:
    """Find, name, record, tell."""
    arguments = parse_arguments()
    with command_line.open_engine(arguments) as engine:
        return record_all(arguments, engine)


def record_all(arguments: Namespace, engine: "Engine") -> int:
    """Find, name, record and tell, with an engine that is there."""
    from recording.environments import find_environment  # numpy and more, which --help spares
    from recording.snapshots import Settings
    from recording.sources import find_runs
    from recording.targets import name_targets

    given = find_environment(arguments.env, trusted=True) if arguments.env else None
    settings = Settings(arguments.episodes, arguments.max_steps)
    folder = absolute(arguments.folder)
    found, skipped = find_runs(folder, given, settings)
    targets, twice = name_targets(found, arguments.workspace, arguments.target)
    if len(targets) > 1 and (arguments.describe or arguments.phrasing):
        raise LeverError(
            f"--describe and --phrasing are for one target, but {arguments.folder} has "
            f"{len(targets)} ({', '.join(targets)}); record them one by one"
        )
    tell_of_environments(found, arguments)
    failed = []
    if not arguments.dry_run:
        with arguments.workspace.locked():
            failed = record(targets, engine, arguments)
    lines = table(targets, skipped + twice, failed, arguments.dry_run)
    command_line.show(command_line.as_given("\n".join(lines), folder, arguments.folder))
    n_runs = sum(len(runs) for runs in targets.values())
    return command_line.DONE if n_runs > len(failed) else command_line.NOTHING_FOUND


def parse_arguments() -> Namespace:
    """Read the command line; wrong usage ends with one line and code 2."""
    parser = command_line.create_parser(__doc__)
    parser.add_argument("folder", type=existing_path, metavar="FOLDER")
    parser.add_argument(
        "--env", metavar="ID", type=text, help="the environment, module:Name-v0 for your own"
    )
    parser.add_argument("--target", metavar="NAME", type=target_name, help="the target's name")
    parser.add_argument("--describe", metavar="TEXT", type=text, help="what the target is for")
    parser.add_argument(
        "--phrasing",
        metavar="TEXT",
        type=text,
        action="extend",
        nargs="+",
        default=[],
        help="other ways to ask for it",
    )
    parser.add_argument(
        "--episodes",
        metavar="N",
        type=positive_number,
        default=10,
        help="episodes of each policy (default: %(default)s)",
    )
    parser.add_argument(
        "--max-steps",
        metavar="N",
        type=positive_number,
        help="end episodes after N steps (default: the environment's limit, or 1000)",
    )
    command_line.add_engine(parser, n_jobs=os.cpu_count() or 1)
    parser.add_argument(
        "--dry-run", action="store_true", help="only tell what would be recorded and what not"
    )
    arguments = parser.parse_args()
    if ":" in (arguments.env or ""):  # only then: the folder may be a stranger's
        sys.path.append(str(Path.cwd()))  # the user's own module can lie where they are
    return arguments


def tell_of_environments(found: "list[FoundRun]", arguments: Namespace) -> None:
    """Tell, once each, which environments are used in another's place, and which need a limit."""
    from recording.environments import has_limit
    from recording.rollout import DEFAULT_LIMIT

    environments = {run.environment.world: run.environment for run in found if run.environment}
    lines = [note for environment in environments.values() for note in environment.notes]
    lines += [
        f"{name} has no time limit: its episodes end after {DEFAULT_LIMIT} steps; --max-steps "
        "sets another limit"
        for name, environment in environments.items()
        if arguments.max_steps is None and not has_limit(environment)
    ]
    for line in dict.fromkeys(lines):
        notice(f"notice: {line}")


def record(targets: "Targets", engine: "Engine", arguments: Namespace) -> "list[Skipped]":
    """Write the runs of all targets, each whole or not at all; return those that failed."""
    from recording.objectives import Words, is_described, write_objective
    from recording.recorder import record_runs

    states: Path = arguments.workspace.states
    words = Words(arguments.describe, tuple(arguments.phrasing))
    firsts = {states / target: next(iter(found.values())) for target, found in targets.items()}
    for folder, run in firsts.items():
        if not is_described(folder, run, words):
            path = folder / "objective.json"
            notice(f"notice: {path} only has the target's name; --describe says what it is for")
    runs = [(states / n / f"seed_{s}", r) for n, rs in targets.items() for s, r in rs.items()]
    missing = [(folder, run) for folder, run in runs if not folder.exists()]
    failed = record_runs(missing, engine, words)
    for folder, run in firsts.items():
        if any(folder.glob("seed_*")):
            write_objective(folder, run, words)
        elif folder.is_dir() and not any(folder.iterdir()):
            folder.rmdir()
    return failed


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
    lines += [" ".join(f"skipped: {entry.line}".split()) for entry in skipped + failed]
    return [*lines, f"{n_found} runs found, {n_used} used, {n_found - n_used} skipped"]


def existing_path(path: str) -> str:
    """Check the name of a folder or a file, an argparse type."""
    if not absolute(path).exists():
        raise ArgumentTypeError(f"the folder {path!r} does not exist")
    return path


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
    command_line.run(main)  # processes that work for it have to be ended
