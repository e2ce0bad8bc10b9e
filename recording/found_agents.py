"""Finding the agents of Stable-Baselines3 below a folder, with what rl-zoo keeps beside them."""

import re
from collections import defaultdict
from collections.abc import Iterable, Iterator
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from library.checksums import checksum
from library.errors import UnusableRecording
from library.files import is_foreign
from recording.agent_spaces import AgentSpace
from recording.environments import (
    GIVE_ENV,
    NAME,
    Environment,
    find_environment,
    make_environment,
    plain_options,
    relatives,
)
from recording.rl_zoo import NORMALISATIONS, read_card, read_normalisation, read_options
from recording.run import Findings, FoundRun, Skipped
from recording.snapshots import SavedPolicy, Settings, run_of
from recording.stable_baselines3 import Agent, is_agent, read_agent
from worlds.policy import NetworkPolicy, Normalisation, Policy, TablePolicy
from worlds.world import check

CHECKPOINT = re.compile(r"(?P<prefix>.+)_(?P<steps>\d{1,15})_steps")
BEST = "best_model"
MAX_LEVELS = 3  # folders above an agent whose names can tell its environment
HARMLESS_WRAPPERS = ("Monitor", "TimeLimit")
NO_NORMALISATION = re.compile(r"norm_obs\W{1,4}(False|0)\b")


def find_agents(
    paths: Iterable[Path], root: Path, given: Environment | None, settings: Settings
) -> Findings:
    """Find the training runs among zip files.

    Args:
        paths: the zip files.
        root: the folder below which they are; names of folders above say nothing.
        given: the environment that the user named, for all of them.
        settings: how they will be recorded.
    """
    groups: dict[tuple[Path, str], list[Path]] = defaultdict(list)
    skipped = []
    for path in paths:
        if is_agent(path):
            groups[_run_of(path)].append(path)
        else:
            skipped.append(Skipped(path, "it is no agent of Stable-Baselines3"))
    found = [_read_run(sorted(group), root, given, settings, skipped) for group in groups.values()]
    return [run for run in found if run is not None], skipped


def _run_of(path: Path) -> tuple[Path, str]:
    """Tell which training run a file belongs to: its folder, and a name there.

    Checkpoints of one prefix, the best and the last model that rl-zoo writes beside them are one.
    """
    match = CHECKPOINT.fullmatch(path.stem)
    if match:
        prefix = match["prefix"]
        return path.parent, "" if prefix == "rl_model" else prefix
    of_the_zoo = path.stem == BEST or path.parent.name.rpartition("_")[0] == path.stem
    return path.parent, "" if of_the_zoo else path.stem


def _read_run(
    paths: list[Path],
    root: Path,
    given: Environment | None,
    settings: Settings,
    skipped: list[Skipped],
) -> FoundRun | None:
    """Read the files of a run; those that can't be used are passed over one by one."""
    saved: dict[int, tuple[SavedPolicy, Path]] = {}
    origin = paths[0] if len(paths) == 1 else paths[0].parent
    fitting: _Fitting | None = None
    for path in paths:
        try:
            agent = _read_agent(
                path, root
            )  # first: the reasons why it can't act come before all others
            fitting = fitting or _Fitting.of(_environment_of(path, root, given))
            policy, fits = fitting.fit(agent, path, root)
            check(fits is fitting or not saved, f"it is for another environment than {origin.name}")
            fitting = fits
            other = saved.setdefault(policy.training, (policy, path))[1]
            check(other is path, f"{other.name} is of the same {policy.training:,} training steps")
        except UnusableRecording as error:
            skipped.append(Skipped(path, str(error)))
    if fitting is None or not saved:
        return None
    policies = [saved[training][0] for training in sorted(saved)]
    return run_of(origin, fitting.environment, policies, settings)


@dataclass(frozen=True)
class _Fitting:
    """An environment and its spaces, made once for all agents of a run."""

    environment: Environment
    observations: Any
    actions: Any

    @classmethod
    def of(cls, environment: Environment) -> "_Fitting":
        env = make_environment(environment)
        env.close()
        return cls(environment, env.observation_space, env.action_space)

    def fit(self, agent: Agent, path: Path, root: Path) -> tuple[SavedPolicy, "_Fitting"]:
        """Fit an agent to the environment, or to the first of its relatives that it fits."""
        try:
            policy, fits = self._fit(agent), self
        except UnusableRecording as error:
            policy, fits = self._fit_relative(agent, error)
        match = CHECKPOINT.fullmatch(path.stem)
        training = int(match["steps"]) if match else agent.training_steps or 0
        source = {
            "file": path.relative_to(root).as_posix(),
            "sha256": checksum(path),
            "algorithm": agent.algorithm,
            "training_steps": agent.training_steps,
            "planned_steps": agent.planned_steps,
        }
        return SavedPolicy(policy, training, source), fits

    def _fit(self, agent: Agent) -> Policy:
        return fit_policy(agent, self.observations, self.actions, self.environment.id)

    def _fit_relative(self, agent: Agent, error: UnusableRecording) -> tuple[Policy, "_Fitting"]:
        for other in relatives(self.environment):
            with suppress(UnusableRecording):
                fitting = _Fitting.of(other)
                return fitting._fit(agent), fitting
        raise error from None


def _read_agent(path: Path, root: Path) -> Agent:
    """Read an agent with the normalisation of its observations."""
    agent = read_agent(path)
    policy = replace(agent.policy, normalisation=_normalisation_of(path, root))
    return replace(agent, policy=policy)


def is_inside(path: Path, root: Path) -> bool:
    """Tell whether a file lies below a folder, wherever links lead; hub caches are full of them."""
    return not path.is_symlink() or path.resolve().is_relative_to(root.resolve())


# ------------------------------------------------------------------ what stands beside an agent


def _find_beside(path: Path, root: Path, *names: str) -> Path | None:
    """Find a file about an agent, by one of its names; links that lead out don't count."""
    for folder in _folders_beside(path):
        for name in names:
            if (folder / name).is_file() and is_inside(folder / name, root):
                return folder / name
    return None


def _options_of(path: Path, root: Path, name: str) -> dict[str, Any]:
    found = _find_beside(path, root, name)
    return read_options(found) if found else {}


def _folders_beside(path: Path) -> Iterator[Path]:
    """List where files about an agent can be: rl-zoo's folder of its name, beside it, below it."""
    yield path.with_suffix("")
    yield path.parent
    folders = [folder for folder in path.parent.iterdir() if not is_foreign(folder.name)]
    below = [folder for folder in folders if (folder / "args.yml").is_file()]
    if len(below) == 1:
        yield below[0]


def _normalisation_of(path: Path, root: Path) -> Normalisation | None:
    """Read how an agent's observations were normalised; None when they weren't.

    Raises:
        UnusableRecording: they were, and nobody says how.
    """
    match = CHECKPOINT.fullmatch(path.stem)
    own = f"{match['prefix']}_vecnormalize_{match['steps']}_steps.pkl" if match else None
    found = _find_beside(path, root, *filter(None, [own]), *NORMALISATIONS)
    if found:
        return read_normalisation(found)
    wanted = _options_of(path, root, "config.yml").get("normalize")
    if wanted and not NO_NORMALISATION.search(str(wanted)):
        raise UnusableRecording("it saw normalised observations, and vecnormalize.pkl is missing")
    return None


def _environment_of(path: Path, root: Path, given: Environment | None) -> Environment:
    """Find out which environment an agent is for.

    Raises:
        UnusableRecording: nothing says it, or it can't be made.
    """
    if given is not None:
        return given
    wrapper = _options_of(path, root, "config.yml").get("env_wrapper")
    if wrapper and not str(wrapper).endswith(HARMLESS_WRAPPERS):
        seen = f"it saw its environment through {str(wrapper)[:100]!r}"
        raise UnusableRecording(f"{seen}; register one of your own with it, and {GIVE_ENV}")
    arguments = _options_of(path, root, "args.yml")
    kwargs = plain_options(arguments.get("env_kwargs") or _options_of(path, root, "env_kwargs.yml"))
    named = arguments.get("env") or read_card(path.parent)
    if isinstance(named, str):
        return find_environment(named, kwargs)
    return environment_by_path(path, root, kwargs)


def environment_by_path(path: Path, root: Path, kwargs: dict[str, Any]) -> Environment:
    """Find an environment by the name of a file, or of the folders that it is in.

    Raises:
        UnusableRecording: none of them is one.
    """
    inside = path.relative_to(root.parent).parts[:-1]
    names = [path.stem, *reversed(inside[-MAX_LEVELS:])]
    candidates = [part for name in names for part in _endings(name) if NAME.match(part)]
    for candidate in candidates:
        try:
            return find_environment(candidate, kwargs)
        except UnusableRecording:
            continue
    tried = f"{candidates[0][:60]!r} is no Gymnasium environment" if candidates else ""
    raise UnusableRecording(f"{tried or 'nothing says which environment it is for'}; {GIVE_ENV}")


def _endings(name: str) -> list[str]:
    """List "ppo-LunarLander-v2" and "LunarLander-v2", longest first."""
    starts = [0, *(match.end() for match in re.finditer(r"[-_]", name))]
    return [name[start:] for start in starts]


# ------------------------------------------------------------------ an agent in its environment


def fit_policy(agent: Agent, observations: Any, actions: Any, name: str) -> Policy:
    """Hold an agent against an environment; one of numbered states becomes a table.

    Raises:
        UnusableRecording: its observations or actions are not the environment's.
    """
    _compare(agent.observations, observations, "observations", name)
    _compare(agent.actions, actions, "actions", name)
    if len(agent.policy.categories) and agent.actions.kind == "Discrete":
        return _as_table(agent.policy)
    return agent.policy


def _compare(space: AgentSpace, other: Any, what: str, name: str) -> None:
    kind = type(other).__name__
    if kind != space.kind:
        raise UnusableRecording(f"its {what} are of kind {space.kind}, those of {name} {kind}")
    sizes = np.ravel(getattr(other, "n", getattr(other, "nvec", ()))) if len(space.sizes) else ()
    ours, theirs = (space.shape, *space.sizes.tolist()), (other.shape, *map(int, sizes))
    if ours != theirs:
        raise UnusableRecording(
            f"its {what} are of size {_size(ours)}, those of {name} of {_size(theirs)}"
        )


def _size(parts: tuple[Any, ...]) -> str:
    shape, *sizes = parts
    return " x ".join(map(str, sizes or shape))


def _as_table(policy: NetworkPolicy) -> TablePolicy:
    """Write down a network's outputs in every state."""
    states = np.indices(tuple(policy.categories)).reshape(len(policy.categories), -1).T
    return TablePolicy(policy.head.preferences(policy.outputs(states)))
