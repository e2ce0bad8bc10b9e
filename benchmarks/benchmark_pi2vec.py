#!/usr/bin/env python3
"""Measure π2vec against the published recipe: time, exactness, prediction of held-out seeds.

reads   states_f/; if it has no runs, the demonstration library is generated in a temporary folder
writes  nothing that stays
run     python benchmarks/benchmark_pi2vec.py --json
time    a minute for 120 policies of 20 seeds, six with --all-seeds

Both methods get the same policies and the same folds. The time of each is that to compute
features, fit, embed and save every policy; reading states_f/ is not part of it.
"""

import json
import sys
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from tempfile import TemporaryDirectory
from time import perf_counter
from typing import TYPE_CHECKING, Any

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))  # run as a script, from anywhere

import numpy as np
from numpy.typing import NDArray

from library import command_line
from library.errors import LeverError
from library.workspace import Workspace
from pi2vec.pi2vec_utils import Catalogue, Policy, pick_seeds, read_catalogue
from pi2vec.train_regressor import columns
from worlds.gridworld.generate_states import N_EPISODES, N_SEEDS, generate
from worlds.world import Recording

if TYPE_CHECKING:  # torch and scikit-learn: seconds that --help does not need
    from torch import nn

    from pi2vec.train_regressor import HeldOut

N_TRANSFER_SEEDS, N_TRANSFER_EPISODES = 20, 5_000
N_RUNS = 5  # of LEVER, which takes a fraction of a second; of the recipe one is half a minute
FIGURES = ("nmae", "pearson", "spearman", "r2", "regret_at_1", "coverage_90")
MEASURED = """\
Seconds: features, fit, embed and save of one policy. psi error: of the saved models, on the
visited states, relative to the exact discounted sums. Held-out: rewards predicted by regressors
that never saw the policy's seed. Ratio: how many times smaller LEVER's figure is."""

Features = NDArray[np.float32]


@dataclass(frozen=True)
class LoadedPolicy(Policy):
    """A policy whose recording is in memory, so that reading it takes no time."""

    recording: Recording

    def read(self) -> Recording:
        """Give the recording."""
        return self.recording


def main() -> int:
    """Measure both methods and print the figures."""
    parser = command_line.create_parser(__doc__)
    parser.add_argument("--json", action="store_true", help="print one JSON object")
    parser.add_argument(
        "--all-seeds",
        action="store_true",
        help="not only the share that is prepared",
    )
    arguments = parser.parse_args()
    with TemporaryDirectory() as folder:
        scratch = Path(folder)
        fraction = 1.0 if arguments.all_seeds else None
        policies = read_library(arguments.workspace, scratch, fraction)
        first = max(N_SEEDS, 1 + max(int(policy.seed) for policy in policies))
        unseen = range(first, first + N_TRANSFER_SEEDS)
        others = generate_policies(scratch / "transfer", unseen, N_TRANSFER_EPISODES)
        report = compare(policies, others, scratch)
    print(json.dumps(report) if arguments.json else "\n".join([*table(report), "", MEASURED]))
    return command_line.DONE


def read_library(workspace: Workspace, scratch: Path, fraction: float | None) -> list[Policy]:
    """Read a share of the workspace's seeds, or of the demonstration library's if it has none."""
    if not any(workspace.states.glob("*/seed_*")):
        demonstration = [f"{seed:04d}" for seed in range(N_SEEDS)]
        picked = [int(seed) for seed in pick_seeds(demonstration, fraction)]
        return generate_policies(scratch / "library", picked, N_EPISODES)
    policies = load(read_catalogue(workspace.states, fraction))
    if len({policy.seed for policy in policies}) < 2:
        raise LeverError("one seed can't be held out from itself; add runs or pass --all-seeds")
    return policies


def load(catalogue: Catalogue) -> list[Policy]:
    """Keep the recordings of the largest world in memory."""
    if not catalogue.policies:
        raise LeverError("states_f/ has no policy that can be used; prepare it to see why")
    policies = max(catalogue.worlds.values(), key=len)
    return [LoadedPolicy(**vars(policy), recording=policy.read()) for policy in policies]


def generate_policies(root: Path, seeds: Iterable[int], n_episodes: int) -> list[Policy]:
    """Train policies on the layouts of these seeds and read them."""
    workspace = Workspace(root)
    generate(workspace, list(seeds), n_episodes)
    return load(read_catalogue(workspace.states, fraction=1.0))


def compare(policies: list[Policy], others: list[Policy], scratch: Path) -> dict[str, Any]:
    """Measure LEVER and the published recipe on the same policies, and LEVER on the others."""
    import torch

    from benchmarks import published_recipe as published
    from pi2vec.successor_model import GAMMA, SuccessorModel
    from pi2vec.train_regressor import cross_validate
    from pi2vec.train_successor import train_successors
    from worlds.gridworld.features import episode_features

    torch.set_num_threads(1)  # the best for both: with matrices this small, threads only wait
    ours, theirs = scratch / "lever", scratch / "published"
    seconds, (embeddings, canonical) = time_training(train_successors, policies, ours, N_RUNS)
    baseline_seconds, (baseline, _) = time_training(published.train_published, policies, theirs)
    grids = [policy.read().observations for policy in policies]
    phi = episode_features(grids)
    models = [
        SuccessorModel(**torch.load(path, weights_only=True))
        for path in model_files(policies, ours)
    ]
    networks = [published.load_network(path) for path in model_files(policies, theirs)]
    rewards, targets, seeds = columns(policies)
    held_out = cross_validate(embeddings, rewards, targets, seeds)
    baseline_held_out = published.cross_validate_linear(baseline, rewards, seeds)
    transferred = predict_others(others, policies, embeddings, canonical)
    return {
        "policies": len(policies),
        "seconds_per_policy": seconds,
        "baseline_seconds_per_policy": baseline_seconds,
        "speedup": baseline_seconds / seconds,
        "psi_relative_error": psi_error(models, phi, GAMMA),
        "baseline_psi_relative_error": psi_error(
            networks, published.published_features(grids), published.GAMMA
        ),
        "heldout": measure_figures(held_out, policies, FIGURES),
        "baseline_heldout": measure_figures(baseline_held_out, policies, FIGURES),
        "transfer": measure_figures(transferred, others, ("nmae", "pearson")),
    }


def time_training(
    train: Callable[[list[Policy], Path], tuple[Features, Features]],
    policies: list[Policy],
    folder: Path,
    n_runs: int = 1,
) -> tuple[float, tuple[Features, Features]]:
    """Fit, embed and save all policies; return the median seconds a policy, and what was made."""
    train(policies[:2], folder)  # torch is slow the first time
    seconds = []
    for _ in range(n_runs):
        start = perf_counter()
        made = train(policies, folder)
        seconds.append(perf_counter() - start)
    return median(seconds) / len(policies), made


def model_files(policies: list[Policy], folder: Path) -> list[Path]:
    """Name the file of each policy's model."""
    return [folder / f"{policy.name}.pth" for policy in policies]


def psi_error(models: Iterable["nn.Module"], described: list[Features], gamma: float) -> float:
    """Compare psi with the exact discounted sums on the visited states.

    Returns:
        Root of (summed squared error / summed squared exact sums), mean over the policies.
    """
    import torch

    from pi2vec.successor_model import discounted_sums

    errors = []
    for model, features in zip(models, described, strict=True):
        phi = torch.from_numpy(features)
        exact = discounted_sums(phi.double(), gamma)
        with torch.no_grad():
            errors.append(float((model(phi) - exact).norm() / exact.norm()))
    return float(np.mean(errors))


def predict_others(
    others: list[Policy], policies: list[Policy], embeddings: Features, canonical: Features
) -> "HeldOut":
    """Predict policies that took no part, embedded at the canonical states of those that did."""
    from pi2vec.reward_regressor import fit_regressor
    from pi2vec.train_regressor import HeldOut
    from pi2vec.train_successor import embed_policies

    rewards, targets, _ = columns(policies)
    _, other_targets, _ = columns(others)
    regressor = fit_regressor(embeddings, rewards, targets, targets + other_targets)
    predictions = regressor.predict(embed_policies(others, canonical), other_targets)
    return HeldOut(*predictions, calibration=1.0)


def measure_figures(
    predictions: "HeldOut", policies: list[Policy], names: Iterable[str]
) -> dict[str, float]:
    """Compare predictions with the rewards."""
    from pi2vec.train_regressor import measure

    figures = measure(predictions, *columns(policies))
    return {name: getattr(figures, name) for name in names}


def table(report: dict[str, Any]) -> list[str]:
    """Align the figures of both methods, with the ratio where smaller is better."""
    rows = [
        ("seconds a policy", report["seconds_per_policy"], report["baseline_seconds_per_policy"]),
        ("psi error", report["psi_relative_error"], report["baseline_psi_relative_error"]),
    ]
    held_out, baseline = report["heldout"], report["baseline_heldout"]
    rows += [(f"held-out {name}", held_out[name], baseline[name]) for name in FIGURES]
    lines = [f"{report['policies']} policies".ljust(22) + "     LEVER  published     ratio"]
    for name, lever, published in rows:
        smaller_is_better = not name.endswith(("pearson", "spearman", "r2", "coverage_90"))
        ratio = f"{published / lever:10,.0f}" if smaller_is_better and lever else ""
        lines.append(f"{name:22}{lever:10.5f}{published:11.5f}{ratio}")
    transfer = report["transfer"].items()
    return lines + [f"transfer {name:13}{value:10.5f}" for name, value in transfer]


if __name__ == "__main__":
    command_line.run(main)
