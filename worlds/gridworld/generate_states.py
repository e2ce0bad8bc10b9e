"""Generate the demonstration library: train SARSA on many layouts and record the training.

reads   nothing
writes  states_f/<target>/objective.json, states_f/<target>/seed_0000/ and so on
run     python -m worlds.gridworld.generate_states --seeds 200
time    30 s for 200 seeds of both targets

Equal arguments give equal files. Runs that are there already stay, so an interrupted
generation goes on where it stopped.
"""

from library import command_line

if __name__ == "__main__":
    command_line.end_on_interrupt()  # before anything slow is imported

import csv
import io
import json
from collections.abc import Sequence
from pathlib import Path

from library.checksums import write_checksums
from library.errors import LeverError
from library.files import atomic_write, whole_folder
from library.workspace import Workspace

N_SEEDS = 200
N_EPISODES = 50_000
N_SAVED = 6
OBJECTIVES = Path(__file__).with_name("objectives.json")


def main() -> int:
    """Generate what the arguments ask for."""
    parser = command_line.create_parser(__doc__)
    parser.add_argument(
        "--seeds",
        type=command_line.positive_number,
        default=N_SEEDS,
        metavar="N",
        help="layouts to train on, 0000 and up (default: %(default)s)",
    )
    parser.add_argument(
        "--episodes",
        type=command_line.positive_number,
        default=N_EPISODES,
        metavar="N",
        help="episodes of training (default: %(default)s)",
    )
    parser.add_argument(
        "--snapshots",
        type=command_line.positive_number,
        default=N_SAVED,
        metavar="N",
        help="episodes saved of each training (default: %(default)s)",
    )
    arguments = parser.parse_args()
    if arguments.snapshots > arguments.episodes:
        parser.error("--snapshots can't be more than --episodes")
    n_written = generate(
        arguments.workspace, range(arguments.seeds), arguments.episodes, arguments.snapshots
    )
    command_line.show(f"{n_written} runs written to {arguments.workspace.states}")
    return command_line.DONE


def generate(
    workspace: Workspace,
    seeds: Sequence[int] = range(N_SEEDS),
    n_episodes: int = N_EPISODES,
    n_saved: int = N_SAVED,
) -> int:
    """Write the runs of the seeds that are missing; return how many they were.

    Raises:
        LeverError: the folder holds runs that were generated with other arguments.
    """
    from tqdm import tqdm  # with numpy an eighth of a second that --help spares

    objectives = json.loads(OBJECTIVES.read_text("utf-8"))
    _record_arguments(workspace, n_episodes, n_saved)
    for target, objective in objectives.items():
        path = workspace.states / target / "objective.json"
        if not path.exists():
            _write_text(path, json.dumps(objective, indent=2, ensure_ascii=False) + "\n")
    runs = [
        (workspace.states / target / f"seed_{seed:04d}", target, seed)
        for seed in seeds
        for target in objectives
    ]
    missing = [run for run in runs if not run[0].exists()]
    for folder, target, seed in tqdm(missing, desc="training", unit="run", disable=None):
        _write_run(folder, target, seed, n_episodes, n_saved)
    return len(missing)


def _record_arguments(workspace: Workspace, n_episodes: int, n_saved: int) -> None:
    """Keep runs of different trainings apart."""
    wanted = {"episodes": n_episodes, "snapshots": n_saved}
    path = workspace.generation_record
    if not path.exists():
        _write_text(path, json.dumps(wanted) + "\n")
        return
    try:
        present = json.loads(path.read_text("utf-8"))
    except (ValueError, RecursionError):
        present = "what can't be read"
    if present != wanted:
        raise LeverError(
            f"{path} says that the runs were generated with {present}, not {wanted}; "
            "use the same arguments, another --workspace, or delete those runs"
        )


def _write_run(folder: Path, target: str, seed: int, n_episodes: int, n_saved: int) -> None:
    """Train one policy and record it, under another name until it is whole."""
    import numpy as np

    from worlds.gridworld.environment import draw_layout
    from worlds.gridworld.sarsa import train  # compiled code: half a second that --help spares

    saved = train(draw_layout(seed), target, n_episodes, n_saved, seed)
    with whole_folder(folder) as partial:
        for episode in saved:
            episode_folder = partial / "episodes" / f"episode_{episode.episode:06d}"
            episode_folder.mkdir(parents=True)
            np.save(episode_folder / "episode_states.npy", episode.states)
            np.save(episode_folder / "episode_actions.npy", episode.actions)
            np.save(episode_folder / "q_table.npy", episode.q_table)
        table = io.StringIO()
        rows = [("episode", "reward")] + [(episode.episode, episode.reward) for episode in saved]
        csv.writer(table, lineterminator="\n").writerows(rows)
        _write_text(partial / "episode_rewards.csv", table.getvalue())
        write_checksums(partial)


def _write_text(path: Path, text: str) -> None:
    with atomic_write(path) as file:
        file.write(text.encode("utf-8"))


if __name__ == "__main__":
    command_line.run(main)
