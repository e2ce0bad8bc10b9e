"""Q-tables held against an environment: which row is which state, which column which action."""

import re
from collections.abc import Sequence

import numpy as np

from library.errors import UnusableRecording
from recording.states import States
from recording.table_forms import State, Table, plain_name
from worlds.policy import TablePolicy

SYNONYMS = {
    "up": ("north", "n", "u"),
    "down": ("south", "s", "d"),
    "left": ("west", "w", "l"),
    "right": ("east", "e", "r"),
    "nothing": ("noop", "stay", "wait", "idle"),
    "pickup": ("pick",),
    "dropoff": ("drop", "putdown"),
}

# A dictionary has the states that training met. One of 0, 1, 2 and so on without a gap that ends
# before this share of the environment's states is all of some smaller world.
COVERED = 0.5


def fit_table(
    table: Table, states: States, n_actions: int, actions: Sequence[str], name: str
) -> TablePolicy:
    """Bring a table into an environment's order.

    Args:
        table: what was read.
        states: of the environment.
        n_actions: that it has.
        actions: their names, where they have some.
        name: of the environment, for errors.

    Returns:
        The policy; states that the table does not have are all 0, and actions that it does not
        have are never the best.

    Raises:
        UnusableRecording: a state or an action is unknown, or the size is wrong.
    """
    rows = _rows(table, states, name)
    columns = _columns(table, n_actions, actions, name)
    values = np.zeros((states.n_states, n_actions))
    least = table.values.min()
    values[rows] = least - abs(least) - 1.0
    values[np.ix_(rows, columns)] = table.values
    return TablePolicy(values)


def _columns(table: Table, n_actions: int, names: Sequence[str], name: str) -> list[int]:
    """Find the action of each column."""
    n_columns = table.values.shape[1]
    if n_columns > n_actions or (n_columns < n_actions and table.actions is None):
        raise UnusableRecording(f"a table of {n_columns} actions is not {name}'s {n_actions}")
    if table.actions is None:
        return list(range(n_columns))
    known = {plain_name(word): i for i, names_ in enumerate(map(_words, names)) for word in names_}
    columns = [_action(label, known, n_actions, name) for label in table.actions]
    if len(set(columns)) != len(columns):
        raise UnusableRecording("two columns of the table are the same action")
    return columns


def _action(label: str, known: dict[str, int], n_actions: int, name: str) -> int:
    plain = plain_name(label)
    digits = re.fullmatch(r"(?:action|a|q|qaction|qa)?(\d{1,9})", plain)
    number = known.get(plain, int(digits[1]) if digits else n_actions)
    if number >= n_actions:
        raise UnusableRecording(f"the action {label[:40]!r} is unknown in {name}")
    return number


def _rows(table: Table, states: States, name: str) -> list[int]:
    """Find the state of each row."""
    n_rows, named = len(table.values), table.states
    if named is None or named == tuple((i,) for i in range(n_rows)):
        least = states.n_states if named is None else COVERED * states.n_states
        is_grid = len(table.shape) > 1 and table.shape != states.sizes
        if not least <= n_rows <= states.n_states or (is_grid and states.encode is None):
            raise _wrong_size(table, states, name)
        if not is_grid:
            return list(range(n_rows))
        named = tuple(np.ndindex(table.shape))
    rows = [_row(state, states, name) for state in named]
    if len(set(rows)) != len(rows):
        raise UnusableRecording("two rows of the table are the same state")
    return rows


def _wrong_size(table: Table, states: States, name: str) -> UnusableRecording:
    size = " x ".join(f"{n:,}" for n in table.shape or table.values.shape[:1])
    return UnusableRecording(f"a table of {size} states is not {name}'s {states.n_states:,}")


def _row(state: State, states: States, name: str) -> int:
    row = states.index(state)
    if row is None:
        shown = state[0] if len(state) == 1 else state
        raise UnusableRecording(f"the state {shown} is unknown in {name}: its states are {states}")
    return row


def _words(name: str) -> tuple[str, ...]:
    return (name, *SYNONYMS.get(name, ()))
