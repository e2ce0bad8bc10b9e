"""Worlds of Gymnasium environments, with discrete or with vector observations."""

import json
from collections.abc import Mapping
from hashlib import sha256
from pathlib import Path
from typing import Any

import numpy as np

from library.arrays import read_arrays
from library.errors import UnusableRecording
from library.files import read_bounded
from worlds.episodes import Episodes
from worlds.policy import NETWORK, TABLE, NetworkPolicy, load_network, load_policy
from worlds.world import MAX_NAME, Recording, World, check

WORLD, EPISODES = "world.json", "episodes.npz"
MAX_WORLD = 2**20  # bytes of a `world.json`
MAX_GIVEN = 80  # characters of arguments in the name of a world


class GymnasiumWorld(World):
    """An environment with its arguments."""

    def __init__(self, name: str) -> None:
        """Name the world, as `name_world` does."""
        self.name = name

    def measures(self, recording: Recording) -> dict[str, float]:
        """Say how a policy behaves: episodes, steps, and the spread of its returns."""
        returns, k = recording.as_episodes().returns, len(recording.lengths)
        measures = {"episodes": float(k), "steps": float(recording.lengths.mean())}
        if k > 1:
            measures["reward_std"] = float(returns.std(ddof=1))
        return measures


class TabularWorld(GymnasiumWorld):
    """Observations and actions are whole numbers."""


class VectorWorld(GymnasiumWorld):
    """Observations are vectors; actions are whole numbers or vectors."""

    def measures(self, recording: Recording) -> dict[str, float]:
        """Add the energy of vector actions: the mean squared action over its bound squared."""
        measures, bounds = super().measures(recording), action_bounds(recording)
        if bounds is not None:
            largest = np.maximum(np.abs(bounds).max(axis=0), np.finfo(float).tiny)
            share = np.clip(recording.actions / largest, -1.0, 1.0)
            measures["energy"] = float((share**2).mean())
        return measures


def action_bounds(recording: Recording) -> Any:
    """Find the lowest and highest vector action, float64 (2, a); None for whole numbers.

    A network knows its bounds; without one they are the largest actions on record.
    """
    actions = recording.actions
    if actions.dtype.kind != "f":
        return None
    if recording.network is not None:
        head = load_network(recording.network).head
        if head.low.size == actions[0].size:
            return np.stack([head.low.ravel(), head.high.ravel()]).astype(np.float64)
    largest = np.abs(actions.reshape(len(actions), -1)).max(axis=0)
    return np.stack([-largest, largest]).astype(np.float64)


def read_recording(folder: Path, name: str) -> tuple[World, Recording]:
    """Read the folder of a snapshot of a Gymnasium environment.

    Args:
        folder: holds `episodes.npz` and, where there is one, `q_table.npy` or `policy.npz`.
        name: of the world.

    Raises:
        UnusableRecording: a file is missing or damaged, or breaks the rules of the world.
    """
    try:
        check(folder.is_dir(), "it is missing")
        episodes = _read_episodes(folder / EPISODES)
        recording = Recording(
            observations=episodes.observations,
            actions=episodes.actions,
            lengths=episodes.lengths.astype(np.int64),
            rewards=episodes.rewards.astype(np.float64),
            terminated=episodes.terminated,
            **_read_policy(folder),
        )
        world = _find_kind(name, recording)
    except UnusableRecording as error:
        text = str(error)
        raise UnusableRecording(text if str(folder) in text else f"{folder}: {text}") from None
    return world, recording


def read_world_name(path: Path) -> str:
    """Read the name of the world from a target's `world.json`.

    Raises:
        UnusableRecording: it is missing or damaged.
    """
    try:
        content = json.loads(read_bounded(path, MAX_WORLD))
        name, kwargs = content["environment"], content.get("kwargs", {})
        if not isinstance(name, str) or not isinstance(kwargs, dict):
            raise ValueError("environment must be a text, kwargs an object")
        world = name_world(name, kwargs)
        check(0 < len(world) <= MAX_NAME and world.isprintable(), "the name can't be used")
    except (AttributeError, KeyError, TypeError, ValueError, RecursionError) as error:
        form = '{"environment": "Taxi-v4", "kwargs": {}}'
        raise UnusableRecording(f"{path} is no world ({error}); write {form}") from None
    return world


def name_world(environment: str, kwargs: Mapping[str, Any]) -> str:
    """Name a world, "FrozenLake-v1(is_slippery=False,map_name=4x4)"."""
    return f"{environment}({write_arguments(kwargs)})" if kwargs else environment


def write_arguments(kwargs: Mapping[str, Any]) -> str:
    """Write arguments in their alphabetical order; of long ones a checksum."""
    given = ",".join(f"{key}={value}" for key, value in sorted(kwargs.items()))
    return given if len(given) <= MAX_GIVEN else sha256(given.encode()).hexdigest()[:12]


def _read_episodes(path: Path) -> Episodes:
    arrays = read_arrays(path)
    names = Episodes.__dataclass_fields__.keys()
    missing = sorted(names - arrays.keys())
    check(not missing, f"{path} has no {', '.join(missing)}")
    return Episodes(**{name: arrays[name] for name in names})


def _read_policy(folder: Path) -> dict[str, Any]:
    """Read the policy beside the episodes, if there is one, and check that it is whole."""
    if not any((folder / name).exists() for name in (TABLE, NETWORK)):
        return {}
    policy = load_policy(folder)
    if isinstance(policy, NetworkPolicy):
        return {"network": read_bounded(folder / NETWORK)}
    return {"q_table": policy.values}


def _find_kind(name: str, recording: Recording) -> World:
    """Tell discrete from vector observations, and refuse what is neither."""
    seen, actions = recording.observations, recording.actions
    discrete = actions.ndim == 1 and actions.dtype.kind in "iu" and bool((actions >= 0).all())
    if seen.ndim == 1 and seen.dtype.kind in "iu":
        check(discrete, "actions must be whole numbers from 0")
        check(bool((seen >= 0).all()), "observations must be whole numbers from 0")
        if recording.q_table is not None:
            n_states, n_actions = recording.q_table.shape
            check(int(seen.max()) < n_states, f"a state is not among the table's {n_states}")
            check(int(actions.max()) < n_actions, f"an action is not among the {n_actions}")
        return TabularWorld(name)
    check(seen.ndim == 2, f"observations have shape {seen.shape}, must be numbers or vectors")
    check(discrete or actions.ndim == 2, "actions must be whole numbers from 0, or vectors")
    return VectorWorld(name)
