"""The stage that fits a reward regressor to each world, holds it to account and draws the plot.

All figures are of held-out seeds: each policy is predicted by a regressor that never saw a policy
of its seed.
"""

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np
from numpy.typing import ArrayLike, NDArray

from library import plain_pickle
from library.files import atomic_write
from library.workspace import Workspace
from pi2vec.pi2vec_utils import Policy
from pi2vec.return_estimators import ReturnEstimates
from pi2vec.reward_regressor import RewardRegressor, fit_regressor

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.axes import Axes

N_FOLDS = 10
COVERAGE = 0.9
NORMAL_QUANTILE = 1.6448536  # 90% of a normal distribution lie within as many deviations
N_BOOTSTRAP = 2_000
MAX_PANELS, MAX_LEGEND = 8, 20  # worlds and targets; more would not be legible

Floats = NDArray[np.float64]


@dataclass(frozen=True)
class HeldOut:
    """Predictions of n policies by regressors that never saw their seeds.

    Attributes:
        predicted: float64 (n,).
        deviation: float64 (n,), calibrated without the policy's own fold.
        calibration: the factor that calibrates the deviations of all folds.
        rewards: float64 (n,), what was predicted, where it is not the policies' rewards.
    """

    predicted: Floats
    deviation: Floats
    calibration: float
    rewards: Floats | None = None


@dataclass(frozen=True)
class Figures:
    """How well held-out rewards are predicted.

    Attributes:
        nmae: mean absolute error / (largest - smallest reward).
        pearson, spearman: correlation of rewards, and of their ranks.
        r2: 1 - squared error / variance.
        regret_at_1: (best reward of a run's snapshots - reward of the one predicted to be best) /
            (largest - smallest reward), mean over the runs.
        regret_low, regret_high: 95% bootstrap interval of that mean.
        coverage_90: share of the rewards inside their 90% interval.
    """

    nmae: float
    pearson: float
    spearman: float
    r2: float
    regret_at_1: float
    regret_low: float
    regret_high: float
    coverage_90: float

    def __str__(self) -> str:
        """Write the figures in one line."""
        return (
            f"NMAE {self.nmae:.4f}, Pearson {self.pearson:.4f}, Spearman {self.spearman:.4f}, "
            f"R2 {self.r2:.4f}, Regret@1 {self.regret_at_1:.4f} "
            f"({self.regret_low:.4f} to {self.regret_high:.4f}), "
            f"90% intervals cover {self.coverage_90:.0%}"
        )


@dataclass(frozen=True)
class Prediction:
    """What is predicted of the n policies of a world.

    Attributes:
        rewards: float64 (n,), predicted.
        deviations: float64 (n,), their standard deviations; NaN where nothing tells.
        held_out: predictions of rewards that they have not seen, with those rewards, and
        figures: how good they are; None where that can't be measured.
        estimator: the name of what predicts.
        regressor: the fitted one, in worlds that have one.
    """

    rewards: Floats
    deviations: Floats
    held_out: HeldOut | None
    figures: Figures | None
    estimator: str = "regressor"
    regressor: RewardRegressor | None = None

    @property
    def summary(self) -> str:
        """Say in a line how good predictions are, where that could be measured."""
        unseen = "held-out seeds" if self.regressor else "one half of the episodes from the other"
        how = "" if self.regressor else f" by {self.estimator}"
        return f"{unseen}{how}: {self.figures}"


def estimated_prediction(
    policies: list[Policy],
    estimates: ReturnEstimates,
    half: tuple[Floats, Floats, Floats] | None,
) -> Prediction:
    """Bring estimates of expected returns into the form of predictions.

    Args:
        policies: n policies.
        estimates: from all of their episodes.
        half: estimates from one half of the episodes, their deviations, and the mean returns of
            the other half, float64 (n,) each; None where nothing can be split.
    """
    held_out = figures = None
    if half is not None and np.ptp(half[2]) > 0.0:
        _, targets, seeds = columns(policies)
        held_out = HeldOut(half[0], half[1], calibration=1.0, rewards=half[2])
        figures = measure(held_out, half[2], targets, seeds)
    deviations = np.where(np.isfinite(estimates.deviations), estimates.deviations, np.nan)
    return Prediction(estimates.values, deviations, held_out, figures, estimates.estimator)


def predict_rewards(policies: list[Policy], embeddings: NDArray[np.float32]) -> Prediction:
    """Fit the regressor to all policies of a world, and measure it on held-out seeds.

    Args:
        policies: n policies of one world.
        embeddings: float32 (n, d).
    """
    rewards, targets, seeds = columns(policies)
    regressor = fit_regressor(embeddings, rewards, targets)
    held_out = figures = None
    if len(set(seeds)) > 1 and np.ptp(rewards) > 0.0:
        held_out = cross_validate(embeddings, rewards, targets, seeds)
        regressor = replace(regressor, calibration=held_out.calibration)
        figures = measure(held_out, rewards, targets, seeds)
    predicted, deviations = regressor.predict(embeddings, targets)
    return Prediction(predicted, deviations, held_out, figures, regressor=regressor)


class PredictedWorld(Protocol):
    """The policies of a world, their embeddings float32 (n, d), and what is predicted of them."""

    policies: list[Policy]
    embeddings: NDArray[np.float32]
    prediction: Prediction


def save_predictions(worlds: Mapping[str, PredictedWorld], workspace: Workspace) -> None:
    """Save what predicts rewards in each world, with figures, training data and the plot."""
    stored = {
        name: {
            **(world.prediction.regressor.to_dict() if world.prediction.regressor else {}),
            "estimator": world.prediction.estimator,
            "held_out": asdict(world.prediction.figures) if world.prediction.figures else None,
        }
        for name, world in worlds.items()
    }
    plain_pickle.save(workspace.reward_regressor, {"worlds": stored})
    everyone = [policy for world in worlds.values() for policy in world.policies]
    training_data = {
        "policy_name": [policy.name for policy in everyone],
        "policy_target": [policy.target for policy in everyone],
        "policy_embedding": [row for w in worlds.values() for row in w.embeddings.tolist()],
        "reward": [policy.reward for policy in everyone],
    }
    with atomic_write(workspace.regressor_training_data) as file:
        file.write(json.dumps(training_data).encode())
    plot({name: (w.policies, w.prediction.held_out) for name, w in worlds.items()}, workspace)


def columns(policies: list[Policy]) -> tuple[Floats, list[str], list[str]]:
    """Give the rewards, float64 (n,), the targets and the seeds of policies."""
    rewards = np.array([policy.reward for policy in policies])
    return rewards, [policy.target for policy in policies], [policy.seed for policy in policies]


def cross_validate(
    embeddings: ArrayLike, rewards: Floats, targets: Sequence[str], seeds: Sequence[str]
) -> HeldOut:
    """Predict every policy by a regressor that never saw its seed.

    The calibration of a fold is the factor that makes the intervals of the other folds cover 90%
    of their held-out rewards (conformal prediction, Lei et al. 2018, arXiv 1604.04173).
    """
    x, target_of = np.asarray(embeddings, dtype=np.float64), np.asarray(targets)
    predicted, deviation, fold_of = np.empty((3, len(rewards)))
    for fold, (seen, unseen) in enumerate(seed_folds(seeds)):
        regressor = fit_regressor(x[seen], rewards[seen], target_of[seen].tolist(), targets)
        predicted[unseen], deviation[unseen] = regressor.predict(
            x[unseen], target_of[unseen].tolist()
        )
        fold_of[unseen] = fold
    errors = np.abs(predicted - rewards)
    ratios = np.divide(errors, deviation, out=np.ones_like(errors), where=deviation > 0.0)
    factors = [_calibration(ratios[fold_of != fold]) for fold in fold_of]
    return HeldOut(predicted, deviation * factors, _calibration(ratios))


def seed_folds(seeds: Sequence[str]) -> Iterator[tuple[NDArray[np.intp], NDArray[np.intp]]]:
    """Split policies into those seen and those held out, never the policies of one seed."""
    from sklearn.model_selection import GroupKFold

    return GroupKFold(min(N_FOLDS, len(set(seeds)))).split(seeds, groups=seeds)  # type: ignore[no-any-return]


def measure(
    held_out: HeldOut, rewards: Floats, targets: Sequence[str], seeds: Sequence[str]
) -> Figures:
    """Compare held-out predictions with the rewards, which must not all be equal."""
    import pandas as pd
    from sklearn.metrics import mean_absolute_error, r2_score

    table = pd.DataFrame(
        {"reward": rewards, "predicted": held_out.predicted, "target": targets, "seed": seeds}
    )
    ranks = table[["reward", "predicted"]].rank()
    spread = np.ptp(rewards)
    regrets = np.array([_regret(run) for _, run in table.groupby(["target", "seed"])]) / spread
    rng = np.random.default_rng(0)
    means = rng.choice(regrets, (N_BOOTSTRAP, len(regrets))).mean(axis=1)
    errors = np.abs(held_out.predicted - rewards)
    return Figures(
        nmae=float(mean_absolute_error(rewards, held_out.predicted) / spread),
        pearson=float(table["reward"].corr(table["predicted"])),
        spearman=float(ranks["reward"].corr(ranks["predicted"])),
        r2=float(r2_score(rewards, held_out.predicted)),
        regret_at_1=float(regrets.mean()),
        regret_low=float(np.quantile(means, 0.025)),
        regret_high=float(np.quantile(means, 0.975)),
        coverage_90=float((errors <= NORMAL_QUANTILE * held_out.deviation).mean()),
    )


def plot(worlds: Mapping[str, tuple[list[Policy], HeldOut | None]], workspace: Workspace) -> None:
    """Draw predicted against actual reward of held-out seeds, a panel a world."""
    from matplotlib.figure import Figure  # without pyplot: no window, no global state

    measured = {name: (p, held_out) for name, (p, held_out) in worlds.items() if held_out}
    measured = dict(list(measured.items())[:MAX_PANELS])
    figure = Figure(figsize=(6 * max(1, len(measured)), 6), layout="constrained")
    for number, (name, (policies, held_out)) in enumerate(measured.items(), start=1):
        axes = figure.add_subplot(1, len(measured), number)
        _draw(axes, policies, held_out)
        axes.set(
            xlabel="actual reward",
            ylabel="predicted reward, 90% interval",
            title=f"{name}: predicted without being seen",
        )
    with atomic_write(workspace.regressor_plot) as file:
        figure.savefig(file, format="png", dpi=120)


def _draw(axes: "Axes", policies: list[Policy], held_out: HeldOut) -> None:
    """Draw the policies of a world, a colour a target, with 90% intervals."""
    rewards, targets, _ = columns(policies)
    rewards = rewards if held_out.rewards is None else held_out.rewards
    axes.axline((0, 0), slope=1, color="0.7", zorder=0)
    for target in sorted(set(targets)):
        own = np.asarray(targets) == target
        interval = NORMAL_QUANTILE * held_out.deviation[own]
        style: dict[str, Any] = {"fmt": "o", "ms": 4, "lw": 1, "alpha": 0.6}
        axes.errorbar(rewards[own], held_out.predicted[own], yerr=interval, label=target, **style)
    if len(set(targets)) <= MAX_LEGEND:
        axes.legend(title="target")


def _calibration(ratios: Floats) -> float:
    """Find the factor that makes 90% intervals cover 90%, from |error| / deviation."""
    level = min(1.0, COVERAGE * (1.0 + 1.0 / len(ratios)))
    return float(np.quantile(ratios, level, method="higher")) / NORMAL_QUANTILE


def _regret(run: "pd.DataFrame") -> float:
    """Compute the reward lost by taking the snapshot of a run that is predicted to be best."""
    return float(run["reward"].max() - run["reward"][run["predicted"].idxmax()])
