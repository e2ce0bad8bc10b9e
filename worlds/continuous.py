"""Worlds with vector observations, and discrete or vector actions.

phi of a step (s, a, s'), where z is the observation in standard deviations of the world, clipped
at 5, and dz the change that the step made:

====================  =========  =================================================================
feature               columns    meaning
====================  =========  =================================================================
constant              1          1: its sum is the number of steps
z, z_squared          d each     where the step began
moved, change         d each     |dz|, dz
action                A          discrete actions: 1 for the one that was taken
action, action_       a each     vector actions in units of their bounds, -1 to 1; squares and
    squared, _size                absolute values
terminated            1          1 where the step ended the episode for good
elapsed               1          steps taken before / horizon
wave                  300        cos(w . (z, action) + b), random Fourier features of a Gaussian
                                  kernel (Rahimi & Recht 2007)
====================  =========  =================================================================

What is random is drawn from a fixed seed, so that libraries agree.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from library.errors import UnusableRecording
from worlds.episodes import Episodes

Features = NDArray[np.float32]
Floats = NDArray[np.float64]
N_WAVES = 300
MAX_Z = 5.0
WAVE_SEED = 7
GAMMA = 0.99  # discount of psi
TINY = 1e-9


@dataclass(frozen=True)
class VectorWorld:
    """What is needed to describe a step, learned from the recordings of a world.

    Attributes:
        means, deviations: float64 (d,), of all recorded observations; deviations are 1 where
            nothing varies.
        n_actions: A discrete actions; 0 for vector actions.
        bounds: float64 (2, a), the lowest and highest vector action; (2, 0) for discrete ones.
        horizon: steps after which an episode is truncated.
    """

    means: Floats
    deviations: Floats
    n_actions: int
    bounds: Floats
    horizon: int


def fit_world(
    recordings: Sequence[Episodes], n_actions: int, bounds: Floats | None, horizon: int
) -> VectorWorld:
    """Learn the scale of a world's observations.

    Args:
        recordings: observations (sum of T_i + 1, d).
        n_actions: of discrete actions, else 0.
        bounds: float64 (2, a), finite, of vector actions, else None.
        horizon: steps after which an episode is truncated, >= 1.
    """
    total, squares, count = 0.0, 0.0, 0
    for each in recordings:  # one at a time: together they may be large
        x = each.observations.astype(np.float64)
        total, squares, count = total + x.sum(axis=0), squares + (x**2).sum(axis=0), count + len(x)
    means = np.asarray(total / count)
    variances = np.maximum(squares / count - means**2, 0)
    varies = variances > (TINY * (1 + np.abs(means))) ** 2
    deviations = np.where(varies, np.sqrt(variances), 1.0)
    limits = np.zeros((2, 0)) if bounds is None else np.asarray(bounds, np.float64)
    return VectorWorld(means, deviations, n_actions, limits, horizon)


def check_recording(episodes: Episodes, n_inputs: int, n_actions: int, n_outputs: int) -> None:
    """Check that a recording is one of a world of `n_inputs` numbers an observation.

    Raises:
        UnusableRecording: observations are not (n, n_inputs), or actions are neither whole
            numbers below `n_actions` nor, where that is 0, vectors (n, n_outputs).
    """
    observations, actions = episodes.observations, episodes.actions
    _check(
        observations.ndim == 2 and observations.shape[1] == n_inputs,
        f"observations have shape {observations.shape}, must be (n, {n_inputs})",
    )
    if not n_actions:
        _check(
            actions.ndim == 2 and actions.shape[1] == n_outputs,
            f"actions have shape {actions.shape}, must be (n, {n_outputs})",
        )
        return
    _check(
        actions.ndim == 1 and actions.dtype.kind in "iu",
        f"actions are {actions.dtype} {actions.shape}, must be whole numbers (n,)",
    )
    low, high = int(actions.min()), int(actions.max())
    _check(0 <= low <= high < n_actions, f"actions are {low} to {high}, not 0 to {n_actions - 1}")


def feature_names(world: VectorWorld) -> list[str]:
    """Name the columns of phi."""
    d, a = range(len(world.means)), range(world.bounds.shape[1])
    of_state = [f"{name}_{i}" for name in ("z", "z_squared", "moved", "change") for i in d]
    of_action = [f"{name}_{i}" for name in ("action", "action_squared", "action_size") for i in a]
    chosen = [f"action_{i}" for i in range(world.n_actions)]
    waves = [f"wave_{i}" for i in range(N_WAVES)]
    return ["constant", *of_state, *of_action, *chosen, "terminated", "elapsed", *waves]


def episode_features(episodes: Episodes, world: VectorWorld) -> Features:
    """Describe all steps of a recording: float32 (sum of T_i, D), as in `feature_names`."""
    z = standardise(episodes.observations, world)
    before, after = z[episodes.before], z[episodes.before + 1]
    change, steps = after - before, len(episodes.rewards)
    actions = encode_actions(episodes.actions, world)
    sizes = [] if world.n_actions else [actions**2, np.abs(actions)]
    columns = [
        np.ones((steps, 1)),
        *(before, before**2, np.abs(change), change, actions, *sizes),
        episodes.terminal[:, None],
        episodes.times[:, None] / world.horizon,
        _waves(np.hstack([before, actions])),
    ]
    return np.hstack(columns).astype(np.float32)


def standardise(observations: NDArray[np.generic], world: VectorWorld) -> Floats:
    """Give z of (n, d) observations: float64 (n, d), between -5 and 5."""
    z = (observations.astype(np.float64) - world.means) / world.deviations
    return np.asarray(np.clip(z, -MAX_Z, MAX_Z))


def encode_actions(actions: NDArray[np.generic], world: VectorWorld) -> Floats:
    """Give discrete actions (n,) a column each, and scale vector actions (n, a) to -1 to 1."""
    if world.n_actions:
        chosen: NDArray[np.bool_] = actions[:, None] == np.arange(world.n_actions)
        return chosen.astype(np.float64)
    low, high = world.bounds
    half = np.maximum((high - low) / 2, TINY)
    return np.asarray(np.clip((actions.astype(np.float64) - (high + low) / 2) / half, -1, 1))


def embed(episodes: Episodes, world: VectorWorld, gamma: float = GAMMA) -> Features:
    """Compute a policy's psi, averaged over the starts of its episodes.

    The discounted sum of phi over an episode is psi at its start (Barreto et al. 2017, arXiv
    1606.05312, eq. 3), exact where it was terminated, cut at the horizon where truncated.

    Returns:
        float32 (D,).
    """
    weights = gamma**episodes.times / episodes.n_episodes
    return (weights @ episode_features(episodes, world).astype(np.float64)).astype(np.float32)


def energy(episodes: Episodes, world: VectorWorld) -> float | None:
    """Compute the mean squared action over its bound squared, 0 to 1; None for discrete actions."""
    if world.n_actions:
        return None
    return float((encode_actions(episodes.actions, world) ** 2).mean())


def _waves(inputs: Floats) -> Floats:
    """Compute random Fourier features of (n, m) inputs: (n, 300)."""
    generator = np.random.default_rng(WAVE_SEED)
    frequencies = generator.normal(size=(inputs.shape[1], N_WAVES)) / np.sqrt(inputs.shape[1])
    return np.asarray(np.cos(inputs @ frequencies + generator.uniform(0, 2 * np.pi, N_WAVES)))


def _check(rule: bool, complaint: str) -> None:
    if not rule:
        raise UnusableRecording(complaint)
