"""What `save` writes comes back; anything that could run is refused by name."""

import builtins
import os
import pickle

import numpy as np
import pytest

from library import plain_pickle
from library.errors import UnusableLibrary


class Payload:
    def __init__(self, function, *arguments):
        self.call = (function, arguments)

    def __reduce__(self):
        return self.call


@pytest.mark.parametrize(
    "content",
    [
        {"numbers": [1, 2.5, None, True], "text": "ψ", "nested": {"tuple": (1, 2)}},
        {"floats": np.linspace(0, 1, 7, dtype=np.float32).reshape(7, 1)},
        {"names": np.array(["gold", "path"]), "fortran": np.asfortranarray(np.eye(3))},
        {"empty": np.empty((0, 4)), "big": np.arange(100_000)},
    ],
)
def test_data_comes_back(tmp_path, content):
    plain_pickle.save(tmp_path / "file.pkl", content)
    loaded = plain_pickle.load(tmp_path / "file.pkl")
    assert loaded.keys() == content.keys()
    for key, value in content.items():
        np.testing.assert_array_equal(loaded[key], value)
        assert type(loaded[key]) is type(value)


@pytest.mark.parametrize(
    ("function", "arguments", "name"),
    [
        (os.system, ("touch {}",), "system"),
        (builtins.eval, ("open({!r}, 'w')",), "eval"),
        (builtins.exec, ("open({!r}, 'w')",), "exec"),
        (builtins.open, ("{}", "w"), "open"),
        (os.mkdir, ("{}",), "mkdir"),
    ],
)
def test_code_is_refused_by_name_before_it_runs(tmp_path, function, arguments, name):
    marker = tmp_path / "marker"
    arguments = tuple(argument.format(str(marker)) for argument in arguments)
    payload = Payload(function, *arguments)
    path = tmp_path / "file.pkl"
    hidden_in_an_array = np.array([payload], dtype=object)
    for content in (payload, {"deep": [({"er": payload},)]}, hidden_in_an_array):
        path.write_bytes(pickle.dumps(content))
        with pytest.raises(UnusableLibrary, match=rf"\(it asks for \w+\.{name}\)"):
            plain_pickle.load(path)
    assert not marker.exists()


def test_a_truncated_file_is_named(tmp_path):
    path = tmp_path / "file.pkl"
    plain_pickle.save(path, {"numbers": list(range(1000))})
    whole = path.read_bytes()
    for length in (0, 1, 10, len(whole) // 2, len(whole) - 1):
        path.write_bytes(whole[:length])
        with pytest.raises(UnusableLibrary, match=r"file\.pkl is damaged"):
            plain_pickle.load(path)


def test_a_failed_write_leaves_the_old_file(tmp_path):
    path = tmp_path / "file.pkl"
    plain_pickle.save(path, {"old": 1})
    with pytest.raises((pickle.PicklingError, AttributeError, TypeError)):
        plain_pickle.save(path, {"new": lambda: None})
    assert plain_pickle.load(path) == {"old": 1}
    assert [p.name for p in tmp_path.iterdir()] == ["file.pkl"]


def test_equal_content_gives_equal_bytes_whichever_objects_are_the_same(tmp_path):
    text = "".join(["most ", "energy"])
    plain_pickle.save(tmp_path / "one.pkl", {"a": [text, text], "b": np.arange(3)})
    plain_pickle.save(
        tmp_path / "two.pkl", {"a": [text, "".join(["most ", "energy"])], "b": np.arange(3)}
    )
    assert (tmp_path / "one.pkl").read_bytes() == (tmp_path / "two.pkl").read_bytes()
