"""Names of environments: which one a name means today, and how it is made."""

import importlib
import importlib.util
import json
import re
import warnings
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from functools import cache
from pathlib import Path
from typing import Any

from library.errors import UnusableRecording
from worlds.gymnasium_world import name_world, write_arguments

NAME = re.compile(r"(?:(?P<space>[\w-]+)/)?(?P<name>[\w.-]+?)-v(?P<version>\d{1,4})", re.ASCII)
SUFFIX = re.compile(r"[-_](?P<map>\d+x\d+)(?P<still>[-_]no[-_]?slippery)?", re.IGNORECASE)
WELL_KNOWN = Path(__file__).with_name("well_known.json")
# Packages that register environments only when they are imported, by how the names begin.
PACKAGES = {"MiniGrid-": "minigrid", "BabyAI-": "minigrid", "ALE/": "ale_py"}
COMPATIBILITY = ("GymV21", "GymV26")  # they would import whatever their arguments name
MAX_OPTION = 1_000  # characters of an argument; a map of 16 x 16 cells has 300
Env = Any  # gymnasium.Env, which is imported where it is used

GIVE_ENV = "give it with --env, for instance --env Taxi-v4 or --env my_package:MyWorld-v0"


@dataclass(frozen=True)
class Environment:
    """An environment that Gymnasium can make.

    Attributes:
        id: its name, "Taxi-v4", or "module:Name-v0" for one of the user's own.
        kwargs: the arguments that it is made with.
        notes: what the user should know of the choice, a line each.
        replaces: the retired name that it stands for; empty for none.
    """

    id: str
    kwargs: Mapping[str, Any] = field(default_factory=dict)
    notes: tuple[str, ...] = ()
    replaces: str = ""

    @property
    def world(self) -> str:
        """Name the world, "FrozenLake-v1(is_slippery=False,map_name=4x4)"."""
        return name_world(self.id, self.kwargs)

    def to_json(self) -> dict[str, Any]:
        """Say in plain values how it is made, as in a `world.json`."""
        return {"environment": self.id, "kwargs": dict(self.kwargs)}

    @property
    def given(self) -> str:
        """Write the arguments, or a checksum of long ones."""
        return write_arguments(self.kwargs)

    @property
    def name(self) -> str:
        """Name it for people and folders: the id, and what its arguments are."""
        values = [
            f"{key}-{value}" if isinstance(value, bool | int | float) else str(value)
            for key, value in sorted(self.kwargs.items())
        ]
        text = "-".join([self.id.rsplit(":", 1)[-1], *values])
        return re.sub(r"[^\w.-]+", "-", text, flags=re.ASCII).strip("-.")[:80]


def find_environment(
    name: str, kwargs: Mapping[str, Any] | None = None, trusted: bool = False
) -> Environment:
    """Find the environment that a name means; a retired one is replaced by its successor.

    Args:
        name: for instance "Taxi-v3".
        kwargs: the arguments to make it with.
        trusted: the user typed the name, so a module that it names may be imported.

    Raises:
        UnusableRecording: there is none, or it can't be made here.
    """
    options = dict(kwargs or {})
    if ":" in name:
        if not trusted:
            raise UnusableRecording(f"{name[:100]!r} would import a module; {GIVE_ENV}")
        return _checked(Environment(name, options))
    match = NAME.match(name)
    if not match or match["name"].startswith(COMPATIBILITY):
        raise UnusableRecording(f"{name[:100]!r} is no Gymnasium environment; {GIVE_ENV}")
    _import_package(name)
    if match["name"].lower().startswith("frozenlake"):
        options = {**_options_in(name[match.end() :]), **options}
    return _find_version(match["space"], match["name"], match["version"], options)


def _find_version(
    space: str | None, name: str, version: str, options: dict[str, Any]
) -> Environment:
    """Find a version that can be made: the one that is wanted, or the newest."""
    from gymnasium.envs.registration import find_highest_version, registry

    names = {spec.name.lower(): spec.name for spec in registry.values() if spec.namespace == space}
    name = names.get(name.lower(), name)
    wanted = f"{space}/{name}-v{version}" if space else f"{name}-v{version}"
    newest = find_highest_version(space, name)
    if wanted in registry:
        try:
            return _checked(Environment(wanted, options))
        except _Retired:
            pass
    if newest is None:
        raise UnusableRecording(f"Gymnasium has no environment {wanted!r}; {GIVE_ENV}")
    successor = f"{space}/{name}-v{newest}" if space else f"{name}-v{newest}"
    if successor == wanted:
        raise UnusableRecording(f"{wanted} can't be made here")
    return _checked(_successor(wanted, successor, options))


def _successor(retired: str, name: str, options: Mapping[str, Any]) -> Environment:
    note = f"{retired} is retired: its successor {name} is used"
    return Environment(name, options, (note,), retired)


def relatives(environment: Environment) -> Iterator[Environment]:
    """List what an environment's name may have meant instead, where an agent does not fit it.

    These are well-known variants of it, another map for instance, and, if it is a successor, the
    versions between it and what it replaces.
    """
    entry = known(environment.id)
    for name in (environment.id, *_versions_between(environment)):
        same = name == environment.id
        other = environment if same else _successor(environment.replaces, name, environment.kwargs)
        if not same:
            yield other
        for variant in entry.variants if entry else ():
            given = ", ".join(f"{key}={value}" for key, value in variant.items())
            kwargs = {**variant, **environment.kwargs}
            yield replace(
                other, kwargs=kwargs, notes=(*other.notes, f"{name} is taken with {given}")
            )


def _versions_between(environment: Environment) -> list[str]:
    """List registered versions below a successor and above what it replaces, newest first."""
    from gymnasium.envs.registration import registry

    ours, theirs = (NAME.fullmatch(name) for name in (environment.id, environment.replaces))
    if not (ours and theirs):
        return []
    found = [NAME.fullmatch(name) for name in registry]
    versions = [
        (int(match["version"]), match[0])
        for match in found
        if match
        and (match["space"], match["name"]) == (ours["space"], ours["name"])
        and int(theirs["version"]) < int(match["version"]) < int(ours["version"])
    ]
    return [name for _, name in sorted(versions, reverse=True)]


class _Retired(UnusableRecording):
    """The environment is listed, but only to say that it has gone."""


def _checked(environment: Environment) -> Environment:
    make_environment(environment).close()
    return environment


def make_environment(environment: Environment) -> Env:
    """Make an environment.

    Raises:
        UnusableRecording: it can't be made, with the reason.
    """
    import gymnasium

    _import_package(environment.id)
    with quiet():
        try:
            return gymnasium.make(
                environment.id, disable_env_checker=True, **dict(environment.kwargs)
            )
        except gymnasium.error.DependencyNotInstalled as error:
            raise UnusableRecording(f"{environment.id} can't be made: {_line(error)}") from None
        except ImportError as error:
            raise _Retired(f"{environment.id} can't be made: {_line(error)}") from None
        except Exception as error:  # an environment is anyone's code, and so are its errors
            given = f" with {dict(environment.kwargs)}" if environment.kwargs else ""
            reason = f"{environment.id} can't be made{given}"[:300]
            raise UnusableRecording(f"{reason}: {_line(error)}") from None


def has_limit(environment: Environment) -> bool:
    """Tell whether an environment ends its episodes after some number of steps."""
    env = make_environment(environment)
    env.close()
    return limits_steps(env)


def limits_steps(env: Env) -> bool:
    """Tell whether an environment that was made ends its episodes after some number of steps."""
    own = getattr(env.unwrapped, "max_steps", None)  # MiniGrid's
    return bool((env.spec and env.spec.max_episode_steps) or own)


def plain_options(options: Any) -> dict[str, Any]:
    """Take arguments of an environment from a stranger's file: numbers, texts and lists of them.

    Raises:
        UnusableRecording: there is anything else.
    """
    if options is None:
        return {}
    if not isinstance(options, dict) or len(json.dumps(options, default=str)) > MAX_OPTION:
        raise UnusableRecording("the environment's arguments are no short dictionary")
    kept = {key: value for key, value in options.items() if key != "render_mode"}
    for key, value in kept.items():
        values = value if isinstance(value, list) else [value]
        plain = all(isinstance(part, str | int | float | None) for part in values)
        if not (isinstance(key, str) and key.isidentifier() and plain):
            raise UnusableRecording(
                f"the environment's argument {str(key)[:50]!r} is no plain value"
            )
        if any(isinstance(part, str) and re.search(r"[/\\:]", part) for part in values):
            raise UnusableRecording(f"the environment's argument {key!r} names a file or a module")
    return kept


@dataclass(frozen=True)
class Known:
    """What the suite brings for a well-known environment.

    Attributes:
        description: what its agents are for, in a sentence.
        phrasings: more ways to say it.
        actions: the names of its actions, in order; empty where they have none.
        variants: arguments that make other worlds of it, of another size for instance.
    """

    description: str
    phrasings: tuple[str, ...] = ()
    actions: tuple[str, ...] = ()
    variants: tuple[dict[str, Any], ...] = ()


@cache
def _read_well_known() -> dict[str, Known]:
    entries = json.loads(WELL_KNOWN.read_text("utf-8"))
    return {
        name: Known(
            entry["description"],
            tuple(entry["phrasings"]),
            tuple(entry.get("actions", ())),
            tuple(entry.get("variants", ())),
        )
        for name, entry in entries.items()
    }


def known(environment_id: str) -> Known | None:
    """Look up a well-known environment, whatever its version."""
    match = NAME.fullmatch(environment_id.rsplit(":", 1)[-1])
    return _read_well_known().get(match["name"]) if match else None


@contextmanager
def quiet() -> Iterator[None]:
    """Keep Gymnasium's advice on versions off the screen: a line of our own says what is used."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield


def _import_package(name: str) -> None:
    for beginning, package in PACKAGES.items():
        if name.startswith(beginning) and importlib.util.find_spec(package):
            with quiet():
                importlib.import_module(package)


def _options_in(rest: str) -> dict[str, Any]:
    """Read what hub names add to FrozenLake's: "FrozenLake-v1-4x4-noSlippery"."""
    match = SUFFIX.match(rest)
    if not match:
        return {}
    still: dict[str, Any] = {"is_slippery": False} if match["still"] else {}
    return {"map_name": match["map"], **still}


def _line(error: Exception) -> str:
    return " ".join(str(error).split())[:200]
