"""Pickles, models and arrays of a stranger: nothing in them runs, and none takes much memory."""

import builtins
import ctypes
import os
import pickle
import subprocess
from pathlib import Path

import numpy as np
import pytest

from library import plain_pickle
from library.errors import UnusableLibrary
from tests.conftest import run
from tests.safety.damage import HARMLESS, judge_forgery
from tests.safety.tiny_library import seal

pytestmark = pytest.mark.slow


class Call:
    """Pickles as a call of a function."""

    def __init__(self, function, *arguments, state=None):
        self.reduced = (function, arguments) if state is None else (function, arguments, state)

    def __reduce__(self):
        return self.reduced


def by_name(module, name, *arguments, protocol=0):
    """Write a pickle that calls a function by name, also one that can't be imported here."""
    body = pickle.dumps(arguments, protocol=2)[2:-1]
    return b"\x80\x02c" + f"{module}\n{name}\n".encode() + body + b"R."


def malicious_pickles(marker):
    """Streams that would make the file `marker` if they were obeyed."""
    touch, python = f"touch {marker}", f"open({str(marker)!r}, 'w')"
    calls = {
        "os.system": Call(os.system, touch),
        "eval": Call(builtins.eval, python),
        "exec": Call(builtins.exec, python),
        "open": Call(builtins.open, str(marker), "w"),
        "popen": Call(subprocess.Popen, ["touch", str(marker)]),
        "nested": Call(list, Call(map, os.system, [touch])),
        "object array": np.array([Call(os.system, touch)], dtype=object),
        "dictionary key": {(1, Call(os.mkdir, str(marker))): 2},
        "ctypes": Call(ctypes.CDLL, str(marker)),
    }
    streams = {name: pickle.dumps(call) for name, call in calls.items()}
    gadgets = [
        ("posix", "system", touch),
        ("nt", "system", touch),
        ("builtins", "__import__", "os"),
        ("__builtin__", "eval", python),
        ("codecs", "encode", "x", "rot13"),
        ("_codecs", "encode", "x", "latin1"),
        ("operator", "methodcaller", "system", touch),
        ("functools", "partial", "x"),
        ("importlib", "import_module", "antigravity"),
        ("runpy", "run_path", str(marker)),
        ("pydoc", "pipepager", "x", touch),
        ("numpy", "load", str(marker)),
        ("numpy", "fromfile", str(marker)),
        ("numpy", "memmap", str(marker), "uint8", "w+", 0, 1),
        ("numpy.testing._private.utils", "runstring", python, {}),
        ("numpy.f2py.crackfortran", "myeval", python),
        ("numpy.core.multiarray", "_reconstruct", "x"),
        ("numpy._core._internal", "_ctypes", "x"),
        ("numpy._core.numeric", "fromfunction", "x"),
        ("numpy", "ndarray.tofile", str(marker)),
        ("numpy._core.numeric", "_frombuffer.__globals__", "x"),
        ("sklearn.linear_model._bayes", "BayesianRidge"),
        ("sklearn.utils._bunch", "Bunch"),
        ("joblib.numpy_pickle", "load", str(marker)),
        ("torch.storage", "_load_from_bytes", b"x"),
        ("torch", "load", str(marker)),
        ("torch._utils", "_rebuild_tensor_v2"),
        ("torch.jit.unsupported_tensor_ops", "execWrapper", python, {}, {}),
        ("pandas", "read_pickle", str(marker)),
        ("faiss_utils.setup_faiss_vdb", "load_database", str(marker)),
        ("plain_pickle", "save", str(marker), "x"),
    ]
    streams |= {f"{g[0]}.{g[1]}": by_name(*g) for g in gadgets}
    return streams


def bombs():
    """Streams that would take much memory, or break the interpreter's own structures."""
    array = pickle.dumps(np.arange(4.0), protocol=2)
    return {
        "declares a terabyte of bytes": b"\x80\x04\x8e" + (2**40).to_bytes(8, "little") + b"x.",
        "declares a huge array of bytes": b"\x80\x05\x96" + (2**60).to_bytes(8, "little") + b"x.",
        "declares 4 GB of text": b"\x80\x02X\xff\xff\xff\xffx.",
        "declares a huge frame": b"\x80\x04\x95" + (2**62).to_bytes(8, "little") + b"N.",
        "a huge memo": b"\x80\x02Nr\xff\xff\xff\x7f.",
        "a memo that is not there": b"\x80\x02j\xff\xff\xff\x7f.",
        "deep": b"\x80\x02" + b"(" * 10**6 + b".",
        "deep tuples": b"\x80\x02N" + b"\x85" * 10**5 + b".",
        "a long integer": b"\x80\x02\x8b\xff\xff\xff\x7f1.",
        "a decimal integer": b"I" + b"9" * 10**6 + b"\n.",
        "persistent": b"\x80\x02X\x01\x00\x00\x00xQ.",
        "extension code": b"\x80\x02\x82\x01.",
        "buffer from outside": b"\x80\x05\x97.",
        "doubled 40 times": b"\x80\x02]q\x00" + b"(h\x00h\x00lq\x00" * 40 + b".",
        "state of an array": array.replace(b"K\x04\x85", b"J\xff\xff\xff\x7f\x85"),
        "negative shape": array.replace(b"K\x04\x85", b"J\xff\xff\xff\xff\x85"),
        "an array of a terabyte": by_name("numpy", "ndarray", (2**37,), "f8"),
        "zero strides": by_name("numpy", "ndarray", (2**20, 2**20), "f8", b"12345678", 0, (0, 0)),
        "object dtype over bytes": by_name("numpy", "ndarray", (1,), "O", b"12345678"),
        "frombuffer of objects": by_name(
            "numpy._core.numeric", "_frombuffer", b"12345678", "O", (1,), "C"
        ),
        "objects of state": array.replace(b"f8", b"O8"),
        "a type for an array": b"\x80\x02cnumpy\nndarray\n}b.",
        "a type's attributes": b"\x80\x02cnumpy\nndarray\nN}X\x01\x00\x00\x00xK\x01s\x86b.",
    }


@pytest.mark.parametrize("name", malicious_pickles(Path("x")))
def test_no_pickle_runs_code(name, tmp_path):
    marker = tmp_path / "marker"
    path = tmp_path / "metadata.pkl"
    path.write_bytes(malicious_pickles(marker)[name])
    with pytest.raises(UnusableLibrary, match="asks for"):
        plain_pickle.load(path)
    assert not marker.exists()


@pytest.mark.parametrize("name", bombs())
def test_no_pickle_breaks_the_interpreter(name, library, worker):
    library.metadata.write_bytes(bombs()[name])
    seal(library)
    outcome, said = judge_forgery(worker, library)
    assert outcome == "one line", said


def test_a_hostile_pickle_in_each_place_ends_in_one_line(library, worker, tmp_path):
    marker = tmp_path / "marker"
    stream = malicious_pickles(marker)["os.system"]
    for path in (
        library.metadata,
        library.reward_regressor,
        library.world_arrays("gridworld-16x16-5", "q_tables"),
    ):
        whole = path.read_bytes()
        path.write_bytes(stream)
        seal(library)
        outcome, said = judge_forgery(worker, library)
        assert outcome in HARMLESS, said
        path.write_bytes(whole)
    assert not marker.exists()


def test_models_and_arrays_do_not_run_code(tmp_path, library, worker):
    import torch

    marker = tmp_path / "marker"
    torch.save(Call(os.system, f"touch {marker}"), tmp_path / "model.pth")
    with pytest.raises(pickle.UnpicklingError):
        torch.load(tmp_path / "model.pth", weights_only=True)
    objects = np.array([Call(os.system, f"touch {marker}")], dtype=object)
    np.save(library.world_arrays("gridworld-16x16-5", "q_tables"), objects, allow_pickle=True)
    seal(library)
    assert judge_forgery(worker, library)[0] == "one line"
    episode = next(library.states.glob("gold/seed_0038/episodes/*00"))
    np.save(episode / "q_table.npy", objects, allow_pickle=True)
    run("pi2vec_preparation.py", "--seeds", "0038", workspace=library)
    assert not marker.exists()
