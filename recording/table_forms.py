"""The forms of Q-tables: arrays, and dictionaries of states, brought into rows and columns."""

import re
from collections.abc import Iterable
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from library.errors import UnusableRecording

State = tuple[int, ...]
# What a table is called among other things in a file, without case, spaces and underscores.
TABLE_NAMES = (
    "qtable",
    "q",
    "qvalues",
    "qvalue",
    "table",
    "qtables",
    "values",
    "arr0",
    "qfunction",
)
# What may stand beside the states in a dictionary of them.
REMARKS = set(
    "metadata meta info config params parameters hyperparameters epsilon alpha gamma episodes "
    "episode steps learningrate discount version timestamp".split()
)
ENVIRONMENT_NAMES = ("env_id", "environment", "env", "env_name")
NUMPY_NUMBER = re.compile(r"np\.\w+\(([^()]*)\)|(?:numpy\.)?(?:u?int\d+|bool_?)\(([^()]*)\)")
WHOLE = re.compile(r"[+-]?\d{1,18}(?:\.0*)?")
MAX_OTHERS = 30  # things beside a table in a dictionary
MAX_LABEL = 1_000  # characters of a state


@dataclass(frozen=True)
class Table:
    """A Q-table as its author saved it.

    Attributes:
        values: float64 (n_rows, n_columns); what is missing is 0, as untried values start.
        states: one a row; None: the rows are in the order of the states.
        actions: one a column, numbers or names; None: they are in order.
        shape: of the array's axes but the last, when it had more than two.
        environment: which one the file says that it is for.
        options: the arguments of that environment.
        training_episodes: how many the file says that it was trained.
    """

    values: NDArray[np.float64]
    states: tuple[State, ...] | None = None
    actions: tuple[str, ...] | None = None
    shape: tuple[int, ...] = ()
    environment: str | None = None
    options: dict[str, Any] = field(default_factory=dict)
    training_episodes: int | None = None


def plain_name(label: str) -> str:
    """Write a name without case, spaces and marks."""
    return re.sub(r"[\W_]+", "", label.lower())


def find_table(content: Any) -> Table:
    """Find the table in what a file held.

    Raises:
        UnusableRecording: there is none.
    """
    if isinstance(content, dict):
        return named_table(content) or _table_of_states(content)
    return table_of_array(content)


def named_table(content: dict[Any, Any]) -> Table | None:
    """Find the table among other things in a dictionary, as the hub's course saves it."""
    for key, value in content.items():
        if isinstance(key, str) and plain_name(key) in TABLE_NAMES and not _is_number(value):
            table = find_table(value)
            return replace(table, **_circumstances(content))
    return None if len(content) > MAX_OTHERS else _table_inside(content)


def _table_inside(content: dict[Any, Any]) -> Table | None:
    """Find a named table one level down: {"agent": {"q_table": ...}, "env_id": ...}."""
    for value in content.values():
        if isinstance(value, dict) and any(plain_name(str(key)) in TABLE_NAMES for key in value):
            table = named_table(value)
            if table is not None:
                return table
    return None


def _circumstances(content: dict[Any, Any]) -> dict[str, Any]:
    """Read which environment a dictionary says that its table is for."""
    named = [content[name] for name in ENVIRONMENT_NAMES if isinstance(content.get(name), str)]
    options: dict[str, Any] = {}
    if isinstance(content.get("map_name"), str) and content["map_name"]:
        options["map_name"] = content["map_name"]
    for name in ("slippery", "is_slippery"):
        if isinstance(content.get(name), bool):
            options["is_slippery"] = content[name]
    episodes = content.get("n_training_episodes")
    known = {"training_episodes": episodes} if type(episodes) is int and episodes >= 0 else {}
    return {"environment": named[0] if named else None, "options": options, **known}


def table_of_array(content: Any) -> Table:
    """Take an array or a list of lists (..., n_actions)."""
    try:
        if np.asarray(content).dtype.kind not in "biufO":
            raise TypeError
        values = np.asarray(content, dtype=np.float64)
    except (TypeError, ValueError, OverflowError):
        raise UnusableRecording("it holds no Q-table: it is no array of numbers") from None
    if values.ndim < 2 or not values.size:
        raise UnusableRecording(f"it holds no Q-table: an array {values.shape} is none")
    return Table(values.reshape(-1, values.shape[-1]), shape=values.shape[:-1])


def _table_of_states(content: dict[Any, Any]) -> Table:
    """Take a dictionary of states: to arrays, to values by action, or of (state, action)."""
    content = {key: value for key, value in content.items() if not _is_remark(key)}
    if not content:
        raise UnusableRecording("it holds no Q-table: the dictionary is empty")
    values = list(content.values())
    if all(isinstance(value, dict) for value in values):
        entries = (
            (read_state(state), str(action), value)
            for state, by_action in content.items()
            for action, value in by_action.items()
        )
        return table_of_entries(entries)
    if all(_is_number(value) for value in values):
        return table_of_entries((*_state_and_action(key), v) for key, v in content.items())
    table = table_of_array(values)
    if len(table.shape) != 1:
        raise UnusableRecording("it holds no Q-table: its values are no rows")
    return replace(table, states=tuple(map(read_state, content)), shape=())


def table_of_entries(entries: Iterable[tuple[State, str, Any]]) -> Table:
    """Collect values of a state and an action each."""
    states: dict[State, int] = {}
    actions: dict[str, int] = {}
    places, values = [], []
    for state, action, value in entries:
        places.append(
            (states.setdefault(state, len(states)), actions.setdefault(action, len(actions)))
        )
        values.append(_number(value))
    if not values:
        raise UnusableRecording("it holds no Q-table: no state has a value")
    table = np.zeros((len(states), len(actions)))
    table[tuple(np.array(places).T)] = values
    return Table(table, states=tuple(states), actions=tuple(actions))


def _state_and_action(key: Any) -> tuple[State, str]:
    """Split a key (state, action)."""
    if isinstance(key, str):
        *state, action = numbers_in(key) or (0,)
        key = (tuple(state), action)
    if not isinstance(key, tuple) or len(key) < 2:
        raise UnusableRecording(f"{_shown(key)} is no state and action")
    *state, action = key
    return read_state(state[0] if len(state) == 1 else tuple(state)), str(action)


def read_state(key: Any) -> State:
    """Read what a dictionary calls a state: a whole number or a tuple of them, or their text.

    Raises:
        UnusableRecording: it is neither.
    """
    if isinstance(key, str):
        numbers = numbers_in(key)
        if numbers:
            return numbers
    elif _is_whole(key):
        return (int(key),)
    elif isinstance(key, tuple) and key:
        return tuple(n for part in key for n in read_state(part))
    raise UnusableRecording(f"the state {_shown(key)} is no whole number and no tuple of them")


def numbers_in(text: str) -> State:
    """Read "(0, 1)", "[0 1]", "0,1", "(np.int64(3), False)"; an empty tuple for anything else."""
    text = NUMPY_NUMBER.sub(lambda match: match[1] or match[2] or "", text[:MAX_LABEL])
    text = re.sub(r"^\s*(?:state|s)[_ ]?(?=\d)", "", text, flags=re.IGNORECASE)
    text = text.replace("True", "1").replace("False", "0")
    parts = re.sub(r"[\[\](),;_\s]+", " ", text).split()
    if not all(WHOLE.fullmatch(part) for part in parts):
        return ()
    return tuple(int(float(part)) if "." in part else int(part) for part in parts)


def _is_remark(key: Any) -> bool:
    """Tell an entry about a table, beside its states, by its name."""
    return isinstance(key, str) and plain_name(key) in REMARKS


def _is_whole(value: Any) -> bool:
    return isinstance(value, int) or (isinstance(value, float) and value.is_integer())


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float)


def _number(value: Any) -> float:
    value = value.item() if isinstance(value, np.ndarray) and value.size == 1 else value
    if not _is_number(value):
        raise UnusableRecording(f"the value {_shown(value)} is no number")
    return float(value)


def _shown(value: Any) -> str:
    return (
        repr(value)[:60] if isinstance(value, str | int | float | tuple) else type(value).__name__
    )
