#!/usr/bin/env python3
"""Measure composed policies against single ones, simple mixtures, the optimum and training anew.

reads   nothing; with --published DIR runs of the published system's grid worlds
writes  nothing that stays
run     python benchmarks/benchmark_composition.py --json
time    a minute for 100 seeds; half a minute more for each seed trained in Python

Sources: of the demonstration three snapshots of gold and of path on each layout, the joint reward
is that of `combined`; of FrozenLake 8x8 (slippery) six snapshots of each of ten short trainings,
100 recorded episodes each; of the published worlds the single targets. Mixtures (the sum of the
tables, the largest Q) are of the last snapshots. Shares are means over layouts or trainings; on
FrozenLake the last snapshot is the training from scratch, since the objective is the same.
"""

import json
import os
import subprocess
import sys
from argparse import ArgumentTypeError
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path
from statistics import mean
from tempfile import TemporaryDirectory
from time import perf_counter
from typing import Any, TypeVar

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))  # run as a script, from anywhere

import numpy as np
from numpy.typing import NDArray

from composition.compose import compose_sources
from composition.grid_model import GridModel
from composition.planning import plan, walk
from composition.rewards import fit_reward
from composition.sources import Sources
from library import command_line
from worlds.gridworld.environment import draw_layout
from worlds.gridworld.events import episode_events
from worlds.gridworld.optimum import optimal_return
from worlds.gridworld.rules import AGENT, EXIT, Grid, GridRules
from worlds.gridworld.sarsa import SavedEpisode, train

N_EPISODES, N_SAVED = 50_000, 6
FORWARD = GridRules(16, 16, 5)
JOINT_TARGETS = ("path-gold", "path-gold-hazard", "path-gold-hazard-lever")
YARDSTICKS = {"optimum", "scratch"}
PYTHON_TRAINING = """
import sys, time
from worlds.gridworld.environment import draw_layout
from worlds.gridworld.sarsa import train
seed, n_episodes = map(int, sys.argv[1:])
started = time.perf_counter()
train(draw_layout(seed), "combined", n_episodes, 1, seed)
print(time.perf_counter() - started)
"""
Shares = dict[str, list[float]]  # by method
Tables = NDArray[np.floating]
T = TypeVar("T")


def main() -> int:
    """Measure all worlds and print a report."""
    parser = command_line.create_parser(__doc__)
    parser.add_argument("--seeds", type=command_line.positive_number, default=100, metavar="N")
    parser.add_argument(
        "--python-seeds",
        type=int,
        default=1,
        metavar="N",
        help="seeds trained in Python, 10 to 60 s each (default: %(default)s)",
    )
    parser.add_argument("--published", type=existing_folder, metavar="DIR")
    parser.add_argument("--json", action="store_true", help="print one JSON object")
    arguments = parser.parse_args()
    report = {
        "demonstration": measure_demonstration(arguments.seeds, arguments.python_seeds),
        "frozen_lake": measure_frozen_lake(),
    }
    if arguments.published:
        report |= measure_published(arguments.published)
    lines = [json.dumps(report)] if arguments.json else table(report)
    command_line.show("\n".join(lines))
    return command_line.DONE


def measure_demonstration(n_seeds: int, n_python: int) -> dict[str, Any]:
    """Compose gold and path on layouts."""
    train(draw_layout(0), "combined", 10, 1, 0)  # compiles
    optimum, scratch, milliseconds = Shares(), Shares(), Shares()
    for seed in range(n_seeds):
        earned, times = measure_layout(seed)
        best = optimal_return(draw_layout(seed), "combined")
        add(optimum, {name: value / best for name, value in earned.items()})
        add(scratch, {name: value / earned["scratch"] for name, value in earned.items()})
        add(milliseconds, times)
    for seed in range(n_python):
        add(milliseconds, {"scratch_python": 1000 * train_in_python(seed)})
    return {
        "n_seeds": n_seeds,
        "optimum_share": means(optimum),
        "least_optimum_share": {name: min(values) for name, values in optimum.items()},
        "scratch_share": means(scratch),
        "milliseconds": means(milliseconds),
    }


def measure_layout(seed: int) -> tuple[dict[str, float], dict[str, float]]:
    """Tell what each method earns on a layout, and what it takes."""
    layout = draw_layout(seed)
    runs = {t: train(layout, t, N_EPISODES, N_SAVED, seed) for t in ("gold", "path")}
    sources = demonstration_sources(seed, runs)
    composed, times = {}, {}
    for support in ("policies", "tried"):
        times[support], composed[support] = timed(
            partial(compose_sources, sources, support=support)
        )
    times["scratch"], anew = timed(lambda: train(layout, "combined", N_EPISODES, 1, seed))
    model = GridModel.from_start(FORWARD, sources.start)
    last = np.stack([run[-1].q_table for run in runs.values()])
    mixtures = {"sum_of_tables": last.sum(axis=0), "largest_q": last.max(axis=0)}
    mixtures["scratch"] = anew[-1].q_table
    reward = composed["tried"].reward
    return {
        "best_single": composed["tried"].single_reward,
        **{n: float(walk(model, t[np.newaxis]).events @ reward) for n, t in mixtures.items()},
        **{name: float(c.plan.events @ c.reward) for name, c in composed.items()},
        "optimum": optimal_return(layout, "combined"),
    }, times


def demonstration_sources(seed: int, runs: Mapping[str, Sequence[SavedEpisode]]) -> Sources:
    """Gather snapshots of 20, 60 and 100 percent of trainings for each target."""
    rewards = []
    for target, saved in runs.items():
        events = np.stack([events_of(episode.states) for episode in saved])
        rewards.append(fit_reward(target, events, np.array([e.reward for e in saved])))
    snapshots = [(t, p, runs[t][i]) for t in runs for p, i in ((20, 1), (60, 3), (100, 5))]
    return Sources(
        rules=FORWARD,
        start=snapshots[0][2].states[0],
        seed=f"{seed:04d}",
        targets=tuple(runs),
        rewards=tuple(rewards),
        joint=None,
        rows=(),
        names=tuple(f"{target}_{seed:04d}_{percent}" for target, percent, _ in snapshots),
        q_tables=np.stack([episode.q_table for _, _, episode in snapshots]),
    )


def measure_frozen_lake(n_trainings: int = 10, n_episodes: int = 3_000) -> dict[str, Any]:
    """Improve policies of one objective, within what they do, on counts of their recordings."""
    from benchmarks import frozen_lake
    from composition.counts import compose_on_counts

    tables = [frozen_lake.train(n_episodes, 6, seed) for seed in range(n_trainings)]
    rng = np.random.default_rng(0)
    steps = [[frozen_lake.record(table, 100, rng) for table in run] for run in tables]
    own = [frozen_lake.join(run).count() for run in steps]
    pooled = frozen_lake.join([each for run in steps for each in run]).count()
    optimum, milliseconds, losses = frozen_lake.exact_value(), Shares(), Shares()

    def share(q_table: Tables) -> float:
        return frozen_lake.exact_value(q_table.argmax(axis=1)) / optimum

    def planned(counts: Any, run: Tables, support: str) -> float:
        seconds, composed = timed(
            partial(compose_on_counts, counts, run, frozen_lake.HORIZON, support)
        )
        add(milliseconds, {support: seconds})
        assert composed.loss is not None, "these worlds are small"
        add(losses, {support: composed.loss.share})
        return share(composed.q_table)

    shares = Shares()
    for run, counts in zip(tables, own, strict=True):
        add(shares, {"best_single": max(map(share, run)), "scratch": share(run[-1])})
        add(shares, {"sum_of_tables": share(run.sum(axis=0)), "largest_q": share(run.max(axis=0))})
        add(shares, {"policies_own_recordings": planned(counts, run, "policies")})
        for support in ("policies", "tried"):
            add(shares, {support: planned(pooled, run, support)})
    everything = np.concatenate(tables)
    shares["policies_all_trainings"] = [planned(pooled, everything, "policies")]
    scratch = mean(shares["scratch"])
    return {
        "optimum_share": means(shares),
        "scratch_share": {n: round(mean(v) / scratch, 5) for n, v in shares.items()},
        "expected_loss_share": means(losses),
        "milliseconds": means(milliseconds),
    }


def measure_published(folder: Path) -> dict[str, Any]:
    """Compose the single targets of the published system's worlds, by size and joint target."""
    from recording.published_runs import find_runs

    with TemporaryDirectory() as scratch:
        recorded: dict[tuple[str, str, str], list[tuple[float, Grid, Tables]]] = {}
        for number, run in enumerate(find_runs(folder)[0]):
            own = Path(scratch) / str(number)
            own.mkdir()
            run.record(own)
            recorded[run.world, str(run.seed), run.target] = read_snapshots(own)
    worlds = sorted({world for world, _, _ in recorded})
    return {
        world: {target: measure_joint(recorded, world, target) for target in JOINT_TARGETS}
        for world in worlds
    }


def read_snapshots(run: Path) -> list[tuple[float, Grid, Tables]]:
    """Read reward, grids and table of a run's snapshots."""
    from pi2vec.snapshots import choose_snapshots
    from worlds.gridworld.world import read_recording

    snapshots = []
    for snapshot in choose_snapshots(run)[0]:
        _, recording = read_recording(snapshot.folder)
        assert recording.q_table is not None, "a grid world has tables"
        snapshots.append((snapshot.reward, recording.observations, recording.q_table))
    return snapshots


def measure_joint(
    recorded: Mapping[tuple[str, str, str], list[tuple[float, Grid, Tables]]],
    world: str,
    joint: str,
) -> dict[str, Any]:
    """Compose the parts of a joint target on every layout that has them."""
    parts, rules = joint.split("-"), GridRules.from_name(world)
    assert rules is not None, "published runs are of grid worlds"
    rewards = []
    for part in parts:
        runs = [run for (w, _, target), run in recorded.items() if (w, target) == (world, part)]
        own = [entry for run in runs for entry in run]
        events = np.stack([events_of(states) for _, states, _ in own])
        rewards.append(fit_reward(part, events, np.array([reward for reward, *_ in own])))
    earned, shares, milliseconds = Shares(), {name: Shares() for name in YARDSTICKS}, Shares()
    for seed in sorted({s for w, s, _ in recorded if w == world}):
        of_parts = {part: recorded.get((world, seed, part), []) for part in parts}
        entries = [(part, *entry) for part, run in of_parts.items() for entry in run]
        if not all(of_parts.values()):
            continue
        sources = Sources(
            rules=rules,
            start=entries[0][2][0],
            seed=seed,
            targets=tuple(parts),
            rewards=tuple(rewards),
            joint=None,
            rows=(),
            names=tuple(f"{part}_{number}" for number, (part, *_) in enumerate(entries)),
            q_tables=np.stack([table for *_, table in entries]),
        )
        results, times = measure_sources(sources)
        if (world, seed, joint) in recorded:
            results["scratch"] = recorded[world, seed, joint][-1][0]
        add(earned, results)
        add(milliseconds, times)
        for yardstick in YARDSTICKS & results.keys():
            whole = results[yardstick]
            add(shares[yardstick], {name: value / whole for name, value in results.items()})
    return {
        "reward": means(earned),
        **{f"{name}_share": means(of_seeds) for name, of_seeds in shares.items() if of_seeds},
        "milliseconds": means(milliseconds),
    }


def measure_sources(sources: Sources) -> tuple[dict[str, float], dict[str, float]]:
    """Tell what composed policies earn, and what it takes; the optimum where it is exact."""
    earned: dict[str, float] = {}
    times: dict[str, float] = {}
    for support in ("policies", "tried"):
        times[support], composed = timed(partial(compose_sources, sources, support=support))
        earned |= {support: composed.predicted_reward, "best_single": composed.single_reward}
        earned[f"{support}_one_table"] = composed.predicted_by_table
    model = GridModel.from_start(sources.rules, sources.start)
    everything = np.ones(sources.q_tables.shape[1:], dtype=bool)
    known = np.ones(len(composed.reward), dtype=bool)
    best = plan(model, composed.reward, everything, known, remembers=True)
    if best and best.is_exact:
        earned["optimum"] = float(best.events @ composed.reward)
    return earned, times


def events_of(states: Grid) -> NDArray[np.float64]:
    """Sum the events of an episode."""
    agent, exits = np.argwhere(states == AGENT)[:, 1:], np.argwhere(states[0] == EXIT)
    return np.asarray(episode_events(states, agent, exits[0]).sum(axis=0))


def train_in_python(seed: int) -> float:
    """Train on a layout without the compiler; return the seconds."""
    arguments = [sys.executable, "-c", PYTHON_TRAINING, str(seed), str(N_EPISODES)]
    environment = {**os.environ, "NUMBA_DISABLE_JIT": "1"}
    root = Path(__file__).resolve().parent.parent
    done = subprocess.run(
        arguments, cwd=root, env=environment, capture_output=True, text=True, check=True
    )
    return float(done.stdout)


def timed(work: Callable[[], T]) -> tuple[float, T]:
    """Do some work; return its milliseconds and what it gives."""
    started = perf_counter()
    result = work()
    return 1000 * (perf_counter() - started), result


def add(shares: Shares, values: Mapping[str, float]) -> None:
    """Append values to the lists of their names."""
    for name, value in values.items():
        shares.setdefault(name, []).append(value)


def means(shares: Mapping[str, Sequence[float]]) -> dict[str, float]:
    """Average each list."""
    return {name: round(mean(values), 5) for name, values in shares.items()}


def existing_folder(path: str) -> Path:
    """Read the name of a folder, an argparse type."""
    folder = Path(path).expanduser()
    if not folder.is_dir():
        raise ArgumentTypeError(f"the folder {path!r} does not exist")
    return folder


def table(report: Mapping[str, Any], indent: str = "") -> list[str]:
    """Write a report in lines, one level of it an indent."""
    lines = []
    for name, value in report.items():
        if isinstance(value, Mapping):
            lines += [f"{indent}{name}", *table(value, f"{indent}  ")]
        else:
            lines.append(f"{indent}{name:<24} {value:.4g}")
    return lines


if __name__ == "__main__":
    command_line.run(main)
