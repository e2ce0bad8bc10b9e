"""Finding Q-tables below a folder, each a training run of one snapshot."""

import json
from collections.abc import Iterable
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import Any

from library.checksums import checksum
from library.errors import UnusableRecording
from library.files import read_bounded
from recording.environments import (
    NAME,
    Environment,
    find_environment,
    known,
    make_environment,
    plain_options,
    relatives,
)
from recording.found_agents import environment_by_path
from recording.q_tables import fit_table
from recording.rl_zoo import read_card
from recording.run import Findings, FoundRun, Skipped
from recording.snapshots import SavedPolicy, Settings, run_of
from recording.states import states_of
from recording.table_files import read_table
from recording.table_forms import Table
from worlds.policy import TablePolicy

DESCRIPTION = "policy.json"


def find_tables(
    paths: Iterable[Path], root: Path, given: Environment | None, settings: Settings
) -> Findings:
    """Find the Q-tables among files.

    Args:
        paths: the files.
        root: the folder below which they are.
        given: the environment that the user named.
        settings: how they will be recorded.
    """
    found, skipped = [], []
    for path in paths:
        try:
            found.append(read_run(path, root, given, settings))
        except UnusableRecording as error:
            skipped.append(Skipped(path, str(error)))
    return found, skipped


def read_run(path: Path, root: Path, given: Environment | None, settings: Settings) -> FoundRun:
    """Read one Q-table; arguments as `find_tables`.

    Raises:
        UnusableRecording: it is none, or nothing says which environment it is for.
    """
    table = read_table(path)
    environment, policy = _fit_one(table, _environment_of(table, path, root, given))
    source: dict[str, Any] = {
        "file": path.relative_to(root).as_posix(),
        "sha256": checksum(path),
        "algorithm": "q-table",
        "training_episodes": table.training_episodes,
    }
    saved = SavedPolicy(policy, table.training_episodes or 0, source)
    return run_of(path, environment, [saved], settings)


def _environment_of(table: Table, path: Path, root: Path, given: Environment | None) -> Environment:
    """Find out which environment a table is for; its own arguments count in the same one."""
    if given is not None:
        said, ours = (NAME.match(name or "") for name in (table.environment, given.id))
        same = said and ours and said["name"] == ours["name"]
        kwargs = {**plain_options(table.options if same else {}), **given.kwargs}
        return replace(given, kwargs=kwargs)
    if described := _described(path.parent / DESCRIPTION):
        return described
    options = plain_options(table.options)
    named = table.environment or read_card(path.parent)
    return find_environment(named, options) if named else environment_by_path(path, root, options)


def _described(path: Path) -> Environment | None:
    """Find the environment that the `policy.json` of an exported policy names; None for none."""
    environment = read_description(path).get("environment")
    if not isinstance(environment, dict) or "environment" not in environment:
        return None
    return find_environment(
        str(environment["environment"]), plain_options(environment.get("kwargs"))
    )


def read_description(path: Path) -> dict[str, Any]:
    """Read the `policy.json` of an exported policy; nothing where there is none to be read."""
    try:
        content = json.loads(read_bounded(path))
    except (UnusableRecording, ValueError, RecursionError):
        return {}
    return content if isinstance(content, dict) else {}


def _fit_one(table: Table, environment: Environment) -> tuple[Environment, TablePolicy]:
    """Fit a table to an environment, or to the first of its relatives that it fits."""
    try:
        return environment, _fit(table, environment)
    except UnusableRecording as error:
        for other in relatives(environment):
            with suppress(UnusableRecording):
                return other, _fit(table, other)
        raise error from None


def _fit(table: Table, environment: Environment) -> TablePolicy:
    env = make_environment(environment)
    try:
        n_actions = getattr(env.action_space, "n", None)
        if n_actions is None or env.action_space.shape:
            raise UnusableRecording(f"{environment.id}'s actions are no single choice")
        entry = known(environment.id)
        names = entry.actions if entry else _names_of_actions(env.unwrapped)
        return fit_table(table, states_of(env), int(n_actions), names, environment.id)
    finally:
        env.close()


def _names_of_actions(world: Any) -> tuple[str, ...]:
    """Read the names of an environment's actions, where it has an enumeration of them."""
    members = getattr(getattr(world, "actions", None), "__members__", {})
    return tuple(members)
