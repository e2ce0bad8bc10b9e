#!/usr/bin/env python3
"""Measure what is told of policies from few recorded episodes, in four Gymnasium worlds.

reads   nothing: the libraries are trained here
writes  nothing
run     python benchmarks/benchmark_worlds.py --json
time    three to eight minutes on two cores

Each policy is recorded for k = 1, 3 and 10 episodes. Its expected return is estimated by the mean
of the k returns, and by LEVER; the truth is exact in discrete worlds, else the mean of 100 other
episodes. All policies are recorded ten times, and figures are means over these draws: in a single
one, which policy looks best is luck, and policies that share a model share its errors. Neighbours
are those among recordings of three episodes.
"""

import json
import sys
from collections import Counter
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))  # run as a script, from anywhere

import numpy as np
from numpy.typing import NDArray

from library import command_line

if TYPE_CHECKING:  # numba, scipy and gymnasium: a second that --help does not need
    from benchmarks.world_libraries import Library
    from pi2vec.empirical_model import ModelValues
    from worlds.episodes import Episodes

Floats = NDArray[np.float64]
EPISODES = (1, 3, 10)
N_NEIGHBOUR_EPISODES, TOP = 3, 5
N_PROBES = 64
ACTION_WEIGHT = 3.0  # of actions at probe states, against the embedding
WITHIN = 1.645  # deviations hold 90% of a normal distribution
FIGURES = ("nmae", "spearman", "regret_at_1")
MEASURED = """\
nmae: mean error over the range of true values. spearman: rank correlation with them. regret@1:
what the policy that looks best is worse than the best, over the range. cover: share of true values
within 1.645 deviations, on average and in single draws. Neighbours: difference of true value to
the nearest neighbour's, and to a random policy's, over the range; found: a policy recorded anew is
among its own five nearest."""


def main() -> int:
    """Train the libraries, measure, and print."""
    parser = command_line.create_parser(__doc__)
    parser.add_argument("--json", action="store_true", help="print one JSON object")
    parser.add_argument("--worlds", default=",".join(trainers()), help="names, comma-separated")
    arguments = parser.parse_args()
    report: dict[str, Any] = {"worlds": {}, "neighbours": {}}
    for name in arguments.worlds.split(","):
        library = trainers()[name]()
        report["worlds"][name] = {f"k{k}": measure_estimates(library, k) for k in EPISODES}
        report["neighbours"][name] = measure_neighbours(library)
        print(f"{name}: {len(library.values)} policies measured", file=sys.stderr)
    print(json.dumps(report) if arguments.json else "\n".join([*table(report), "", MEASURED]))
    return command_line.DONE


def trainers() -> "dict[str, Callable[[], Library]]":
    """Give each world what trains its library."""

    def frozen_lake() -> "Library":
        from benchmarks.discrete_libraries import train_discrete

        snapshots = (10, 50, 200, 500, 1_000, 3_000, 10_000)
        return train_discrete("FrozenLake-v1", {}, 100, 20, snapshots)

    def taxi() -> "Library":
        from benchmarks.discrete_libraries import train_discrete

        return train_discrete("Taxi-v4", {}, 200, 16, (100, 200, 300, 500, 1_000, 2_000))

    def cart_pole() -> "Library":
        from benchmarks.vector_libraries import train_vector

        return train_vector("CartPole-v1", 16, (0, 1, 2, 3, 5))

    def pendulum() -> "Library":
        from benchmarks.vector_libraries import train_vector

        return train_vector("Pendulum-v1", 16, (0, 10, 20, 30, 60))

    return {"FrozenLake": frozen_lake, "Taxi": taxi, "CartPole": cart_pole, "Pendulum": pendulum}


def measure_estimates(library: "Library", k: int) -> dict[str, Any]:
    """Hold the mean of k returns, and LEVER's estimate from the same episodes, to the truth."""
    from benchmarks.world_libraries import N_DRAWS

    measured = [measure_draw(library, library.draw(number, k)) for number in range(N_DRAWS)]
    covered = [each["coverage_90"] for each in measured]
    return {
        **{
            who: {name: float(np.mean([each[who][name] for each in measured])) for name in FIGURES}
            for who in ("mean", "lever")
        },
        "coverage_90": float(np.mean(covered)),
        "coverage_90_range": [min(covered), max(covered)],
        "estimators": Counter(each["estimator"] for each in measured),
    }


def measure_draw(library: "Library", recordings: "list[Episodes]") -> dict[str, Any]:
    """Measure both on one draw."""
    from pi2vec.behaviour import behaviour_vectors
    from pi2vec.return_estimators import estimate_returns

    model = (lambda seen: evaluate(library, seen)) if library.tables is not None else None
    if library.tables is None:
        behaviours = behaviour_vectors(probe_actions(library, recordings))
    else:
        behaviours = behaviour_vectors(embed_discrete(library, recordings))
    estimates = estimate_returns(recordings, behaviours, model)
    means = np.array([each.returns.mean() for each in recordings])
    errors = np.abs(estimates.values - library.values)
    return {
        "mean": figures(means, library.values),
        "lever": figures(estimates.values, library.values),
        "coverage_90": float(np.mean(errors <= WITHIN * estimates.deviations + 1e-9)),
        "estimator": estimates.estimator,
    }


def measure_neighbours(library: "Library") -> dict[str, float]:
    """Measure whether near means alike, on recordings of three episodes and as many anew."""
    recordings = library.draw(0, N_NEIGHBOUR_EPISODES)
    anew = library.draw(1, N_NEIGHBOUR_EPISODES)
    n, span = len(recordings), np.ptp(library.values)
    differences = np.abs(library.values[:, None] - library.values) / span
    x = describe(library, recordings)
    distances = squared_distances(x, x)
    np.fill_diagonal(distances, np.inf)
    nearest = differences[np.arange(n), distances.argmin(axis=1)].mean()
    x, y = np.split(describe(library, recordings + anew), 2)
    ranks = (squared_distances(y, x) < squared_distances(y, x).diagonal()[:, None]).sum(axis=1)
    return {
        "nearest": float(nearest),
        "random": float(differences.sum() / (n * (n - 1))),
        "found_anew": float(np.mean(ranks < TOP)),
    }


def evaluate(library: "Library", recordings: "Sequence[Episodes]") -> "ModelValues":
    """Evaluate the library's tables on a model of these recordings."""
    from pi2vec.empirical_model import count_model, evaluate_policies, greedy_choices

    assert library.tables is not None
    model = count_model(recordings, library.n_actions)
    return evaluate_policies(model, greedy_choices(library.tables, model.states), library.horizon)


def describe(library: "Library", recordings: "list[Episodes]") -> Floats:
    """Place policies in behaviour space, (n, c); n is a multiple of the library's policies."""
    from pi2vec.behaviour import behaviour_vectors

    if library.tables is not None:
        return behaviour_vectors(embed_discrete(library, recordings)).astype(np.float64)
    from worlds.continuous import embed, fit_world

    world = fit_world(recordings, library.n_actions, library.bounds, library.horizon)
    embeddings = np.array([embed(each, world) for each in recordings])
    actions = probe_actions(library, recordings)
    return behaviour_vectors(embeddings, actions, weights=(1, ACTION_WEIGHT)).astype(np.float64)


def embed_discrete(library: "Library", recordings: "list[Episodes]") -> NDArray[np.float32]:
    """Compute psi of each policy in the model of all recordings: float32 (n, d)."""
    from pi2vec.empirical_model import count_model, embed_policies, greedy_choices

    assert library.tables is not None
    model = count_model(recordings, library.n_actions)
    choices = greedy_choices(library.tables, model.states)
    choices = np.concatenate([choices] * (len(recordings) // len(choices)))
    return embed_policies(model, choices, library.horizon, library.tables.shape[1])


def probe_actions(library: "Library", recordings: "list[Episodes]") -> Floats:
    """Ask every network what it does in 64 recorded states: (n, 64 * outputs)."""
    from benchmarks.vector_libraries import describe_task
    from worlds.continuous import encode_actions, fit_world

    world = fit_world(recordings, library.n_actions, library.bounds, library.horizon)
    states = np.concatenate([each.observations for each in recordings])
    probes = states[np.random.default_rng(0).choice(len(states), N_PROBES)]
    task = describe_task(library.environment)
    actions = [encode_actions(task.act(each)(probes), world) for each in library.networks]
    return np.concatenate(
        [np.array(actions).reshape(len(actions), -1)] * (len(recordings) // len(actions))
    )


def squared_distances(x: Floats, y: Floats) -> Floats:
    """Compute the squared distances of (n, c) from (m, c): (n, m)."""
    return np.asarray(((x[:, None] - y) ** 2).sum(axis=2))


def figures(estimates: Floats, values: Floats) -> dict[str, float]:
    """Compute NMAE, Spearman and Regret@1."""
    from scipy.stats import spearmanr

    span = np.ptp(values)
    return {
        "nmae": float(np.abs(estimates - values).mean() / span),
        "spearman": float(spearmanr(estimates, values).statistic),
        "regret_at_1": float((values.max() - values[estimates.argmax()]) / span),
    }


def table(report: dict[str, Any]) -> list[str]:
    """Align the figures."""
    lines = [
        " " * 18 + "nmae          spearman      regret@1",
        " " * 18 + "mean   lever  " * 3 + "cover  in a draw  mostly by",
    ]
    for name, measured in report["worlds"].items():
        for k, both in measured.items():
            pairs = [both[who][figure] for figure in FIGURES for who in ("mean", "lever")]
            numbers = "".join(f"{number:7.3f}" for number in pairs)
            low, high = both["coverage_90_range"]
            usual = max(both["estimators"], key=both["estimators"].get)
            covered = f"{both['coverage_90']:7.2f}  {low:.2f}-{high:.2f}  {usual}"
            lines.append(f"{name:12}{k:>4}{numbers}{covered}")
    lines += ["", "neighbours      nearest  random   found"]
    for name, each in report["neighbours"].items():
        lines.append(f"{name:14}" + "".join(f"{number:9.3f}" for number in each.values()))
    return lines


if __name__ == "__main__":
    command_line.run(main)
