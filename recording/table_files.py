"""Files that hold Q-tables: .npy, .npz, .pkl, .json, .csv and .txt."""

import csv
import io
import json
import warnings
from collections.abc import Callable
from dataclasses import replace
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from library.arrays import parse_array, read_arrays
from library.errors import UnusableRecording
from library.files import read_bounded
from recording.plain_data import read_plain_pickle
from recording.table_forms import (
    State,
    Table,
    find_table,
    named_table,
    numbers_in,
    plain_name,
    read_state,
    table_of_array,
    table_of_entries,
)

STATE_COLUMNS = ("state", "states", "s", "stateid", "stateindex", "index", "observation", "obs")
ACTION_COLUMNS = ("action", "actions", "a", "actionid")
OTHER_STATE_COLUMNS = ("", "unnamed0", "row", "col", "column")
MAX_COMMENTS, MAX_HEAD = 20, 10_000  # lines and characters that tell a matrix from prose
VALUE_COLUMNS = ("value", "q", "qvalue", "values")


def read_table(path: Path) -> Table:
    """Read a Q-table from .npy, .npz, .pkl, .json, .csv or .txt.

    Raises:
        UnusableRecording: the file is damaged, holds code, or holds no Q-table.
    """
    reader = READERS.get(path.suffix.lower())
    if reader is None:
        raise UnusableRecording(f"files {path.suffix or 'without a suffix'} hold no Q-tables")
    return reader(path)


def _read_npy(path: Path) -> Table:
    return find_table(_parse_npy(read_bounded(path), path.name))


def _parse_npy(content: bytes, name: str) -> Any:
    """Read an array, or the pickle that numpy writes after the header of an array of objects."""
    try:
        return parse_array(content, name)
    except UnusableRecording:
        file = io.BytesIO(content)
        try:
            version = np.lib.format.read_magic(file)
            read = {
                (1, 0): np.lib.format.read_array_header_1_0,
                (2, 0): np.lib.format.read_array_header_2_0,
            }[version]
            holds_objects = read(file)[2].hasobject
        except Exception:  # damage: numpy parses a header as Python
            holds_objects = False
        if not holds_objects:
            raise
    return read_plain_pickle(content[file.tell() :])


def _read_npz(path: Path) -> Table:
    arrays = {name: array for name, array in read_arrays(path).items() if array.ndim >= 2}
    if len(arrays) == 1:
        return find_table(next(iter(arrays.values())))
    table = named_table(dict(arrays))
    if table is None:
        raise UnusableRecording(f"which of its arrays is the Q-table? {', '.join(arrays)}"[:200])
    return table


def _read_pickle(path: Path) -> Table:
    return find_table(read_plain_pickle(read_bounded(path)))


def _read_json(path: Path) -> Table:
    try:
        content = json.loads(read_bounded(path))
    except (ValueError, RecursionError) as error:
        raise UnusableRecording(f"it is no JSON ({str(error)[:100]})") from None
    return find_table(content)


def _read_csv(path: Path) -> Table:
    try:
        text = read_bounded(path).decode("utf-8-sig")
        rows = [row for row in csv.reader(io.StringIO(text)) if any(map(str.strip, row))]
    except (ValueError, csv.Error) as error:
        raise UnusableRecording(f"it is no CSV ({str(error)[:100]})") from None
    if len(rows) < 2 or len({len(row) for row in rows}) != 1:
        raise UnusableRecording("it holds no Q-table: its rows have different lengths, or are none")
    header, body = _split_header(rows)
    return _table_with_header(header, body) if header else _table_without(body)


def _read_text(path: Path) -> Table:
    """Read a matrix as `numpy.savetxt` writes it."""
    try:
        return table_of_array(_matrix(read_bounded(path).decode("utf-8-sig")))
    except ValueError:
        raise UnusableRecording("it holds no Q-table: it is no matrix of numbers") from None


def _matrix(text: str) -> NDArray[np.float64]:
    """Parse rows of numbers with white space or a comma between them: float64 (n, m)."""
    with warnings.catch_warnings(action="ignore"):  # there are no rows
        return np.loadtxt(io.StringIO(text.replace(",", " ")), ndmin=2)


def is_prose(path: Path) -> bool:
    """Tell whether a file is a text that does not begin with a row of numbers."""
    if path.suffix.lower() != ".txt" or not path.is_file():  # a pipe may have no end
        return False
    try:
        with open(path, encoding="utf-8-sig") as file:
            head = io.StringIO(file.read(MAX_HEAD))
        rows = (line for line in islice(head, MAX_COMMENTS) if not line.startswith("#"))
        return not _matrix(next(rows, "")).size
    except (OSError, ValueError):
        return True


def _split_header(rows: list[list[str]]) -> tuple[list[str], list[list[str]]]:
    """Take off the names of the columns: words, or 0, 1, 2 and so on."""
    first = [cell.strip() for cell in rows[0]]
    numbered = first == [str(i) for i in range(len(first))] and len(first) > 1
    words = any(not _is_float(cell) for cell in first) and not numbers_in(first[0])
    return (first, rows[1:]) if numbered or words else ([], rows)


def _table_with_header(header: list[str], rows: list[list[str]]) -> Table:
    """Take columns of states, and either a column an action or columns action and value."""
    plain = [plain_name(name) for name in header]
    is_state = [_is_state_column(name) for name in plain]
    places = [i for i, state in enumerate(is_state) if state]
    if set(plain) & set(ACTION_COLUMNS) and set(plain) & set(VALUE_COLUMNS):
        action = next(i for i, name in enumerate(plain) if name in ACTION_COLUMNS)
        value = next(i for i, name in enumerate(plain) if name in VALUE_COLUMNS)
        return table_of_entries(
            (_state_of([row[i] for i in places]), row[action].strip(), _cell(row[value]))
            for row in rows
        )
    rest = [i for i, state in enumerate(is_state) if not state]
    values = np.array([[_cell(row[i]) for i in rest] for row in rows])
    states = tuple(_state_of([row[i] for i in places]) for row in rows) if places else None
    table = table_of_array(values)
    return replace(table, states=states, actions=tuple(header[i] for i in rest), shape=())


def _is_state_column(name: str) -> bool:
    """Tell by its plain name: "state", "state_0", "s1", "Unnamed: 0", "row"."""
    base = name.rstrip("0123456789")
    return base in STATE_COLUMNS or name in OTHER_STATE_COLUMNS


def _table_without(rows: list[list[str]]) -> Table:
    """Take a bare matrix; a first column of 0, 1, 2 and so on numbers the states."""
    if not all(_is_float(cell) for cell in rows[0][1:]):
        raise UnusableRecording("it holds no Q-table: it has cells that are no numbers")
    first = [row[0].strip() for row in rows]
    if all(not _is_float(cell) and numbers_in(cell) for cell in first) or (
        len(rows[0]) > 2 and first == [str(i) for i in range(len(rows))]
    ):
        values = np.array([[_cell(cell) for cell in row[1:]] for row in rows])
        return Table(values, states=tuple(_state_of([cell]) for cell in first))
    return table_of_array([[_cell(cell) for cell in row] for row in rows])


def _state_of(cells: list[str]) -> State:
    return read_state(" ".join(cells))


def _cell(text: str) -> float:
    """Read a cell; an empty one was never tried."""
    if not text.strip():
        return 0.0
    if not _is_float(text):
        raise UnusableRecording(f"it holds no Q-table: the cell {text[:40]!r} is no number")
    return float(text)


def _is_float(text: str) -> bool:
    try:
        float(text)
    except ValueError:
        return False
    return True


READERS: dict[str, Callable[[Path], Table]] = {
    ".npy": _read_npy,
    ".npz": _read_npz,
    ".pkl": _read_pickle,
    ".pickle": _read_pickle,
    ".json": _read_json,
    ".csv": _read_csv,
    ".txt": _read_text,
}
