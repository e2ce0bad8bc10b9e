"""Record trained policies, anyone's, without running their code.

reads   FOLDER: agents of Stable-Baselines3 (.zip), alone, in rl-zoo's folders or in clones of hub
        repositories; Q-tables (.npy, .npz, .pkl, .json, .csv)
writes  states_f/<target>/world.json, objective.json, seed_0000/ and so on
run     python record_policies.py ~/rl-trained-agents
        python record_policies.py q_table.npy --env Taxi-v4
time    seconds a run: 10 episodes take 50 ms (CartPole) to 1.5 s (MuJoCo)

Runs that were recorded before stay, so an interrupted recording goes on where it stopped.
"""

import argparse
import os
from collections.abc import Sequence
from pathlib import Path

from tqdm import tqdm

from library import command_line
from recording.environments import Environment, find_environment
from recording.folders import find_runs
from recording.recorder import Outcome, record
from recording.rollout import DEFAULT_LIMIT
from recording.runs import Findings
from recording.written_runs import Place, Settings, place_runs, target_name


def main() -> int:
    """Record what the arguments ask for."""
    arguments = _parse()
    given = find_environment(arguments.env, trusted=True) if arguments.env else None
    target = target_name(arguments.target) if arguments.target else None
    findings = find_runs(arguments.folder, given)
    places = place_runs(findings.runs, arguments.workspace.states, target)
    for line in _notes(findings, given):
        command_line.notice(line)
    outcomes = [] if arguments.dry_run else _record(places, arguments)
    for line in _table(findings, places, outcomes):
        command_line.show(line)
    usable = [place for place in places if _error_of(place, outcomes) == ""]
    return command_line.DONE if usable else command_line.NOTHING_FOUND


def _parse() -> argparse.Namespace:
    parser = command_line.create_parser(__doc__)
    parser.add_argument("folder", type=_existing_path, metavar="FOLDER", help="where policies are")
    parser.add_argument(
        "--env", metavar="ID", help="their environment, module:Name-v0 for your own"
    )
    parser.add_argument("--target", metavar="NAME", help="a name for what they were trained for")
    parser.add_argument("--describe", metavar="TEXT", help="what they were trained for, a sentence")
    parser.add_argument(
        "--phrasing", metavar="TEXT", action="extend", nargs="+", default=[], help="the same anew"
    )
    number = command_line.positive_number
    parser.add_argument(
        "--episodes", metavar="N", type=number, default=10, help="of each policy (default: 10)"
    )
    parser.add_argument(
        "--max-steps",
        metavar="N",
        type=number,
        help="of an episode (default: the environment's limit; where it has none, "
        f"{DEFAULT_LIMIT:,})",
    )
    parser.add_argument(
        "--jobs", metavar="N", type=number, default=os.cpu_count() or 1, help="runs at a time"
    )
    parser.add_argument("--dry-run", action="store_true", help="only list what would be recorded")
    return parser.parse_args()


def _existing_path(text: str) -> Path:
    path = Path(text).expanduser().resolve()
    if not path.exists():
        raise argparse.ArgumentTypeError(f"{text!r} does not exist")
    return path


def _record(places: Sequence[Place], arguments: argparse.Namespace) -> list[Outcome]:
    settings = Settings(arguments.episodes, arguments.max_steps)
    outcomes = record(
        places, settings, arguments.jobs, arguments.describe, tuple(arguments.phrasing)
    )
    return list(tqdm(outcomes, total=len(places), desc="recording", unit="run", disable=None))


def _notes(findings: Findings, given: Environment | None) -> list[str]:
    """List what the user should know of the environments, each once."""
    notes = [note for run in findings.runs for note in run.notes]
    return list(dict.fromkeys([*(given.notes if given else ()), *notes]))


def _table(findings: Findings, places: Sequence[Place], outcomes: Sequence[Outcome]) -> list[str]:
    """List what was found, used, and skipped with the reason."""
    lines = [_line(place, outcomes) for place in places]
    lines += [f"skipped   {_shown(item.path)}: {item.reason}" for item in findings.skipped]
    n_failed = sum(bool(outcome.error) for outcome in outcomes)
    n_skipped = len(findings.skipped) + n_failed
    lines.append(
        f"{len(places) + len(findings.skipped)} found, {len(places) - n_failed} used, "
        f"{n_skipped} skipped"
    )
    return lines


def _line(place: Place, outcomes: Sequence[Outcome]) -> str:
    name = f"{place.folder.parent.name}/{place.folder.name}"
    error = _error_of(place, outcomes)
    if error:
        return f"skipped   {_shown(place.run.path)}: {error}"
    if place.done:
        return f"present   {_shown(place.run.path)} -> {name}"
    rewards = next((o.rewards for o in outcomes if o.place.folder == place.folder), ())
    measured = f", mean return {rewards[-1]:.2f}" if rewards else ""
    n = len(place.run.snapshots)
    return f"used      {_shown(place.run.path)} -> {name} ({n} snapshot{'s' * (n > 1)}{measured})"


def _shown(path: Path) -> str:
    """Write a path in one line: a stranger chose its name."""
    return str(path).replace("\n", "\\n")


def _error_of(place: Place, outcomes: Sequence[Outcome]) -> str:
    return next((o.error for o in outcomes if o.place.folder == place.folder), "")


if __name__ == "__main__":
    command_line.run(main)
