"""Hostile files, damage, kills and full disks: nothing runs, nothing is lost, one line says it.

The long form of the damage and the kills is `python -m tests.fuzz`; of the hostile metadata, of
which one forgery in 60 is tried, `LEVER_FUZZ_SHARE=1 python -m pytest tests/test_safety.py`.
"""

import builtins
import ctypes
import json
import os
import pickle
import random
import resource
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import faiss
import numpy as np
import pytest

import plain_pickle
from errors import UnusableLibrary
from tests.conftest import run
from tests.fuzz import (
    ACCEPTED,
    HARMLESS,
    KILLED_WELL,
    PREPARE,
    QUERY,
    SEARCH,
    SEED_SETS,
    VIEW,
    Worker,
    answer_of,
    damage_files,
    forge_files,
    judge_forgery,
    kill_preparations,
    make_library,
    read_states,
    seal,
    search_while_preparing,
    write_tiny_encoder,
)
from workspace import HOME, Workspace

pytestmark = pytest.mark.slow
SCRIPTS = {name: f"{name.replace('.', '/')}.py" for name in (SEARCH, VIEW, PREPARE)}


@pytest.fixture(scope="module")
def tiny(tmp_path_factory):
    """A small library with a text encoder that takes no time."""
    return make_library(tmp_path_factory.mktemp("tiny") / "library", write_tiny_encoder)


@pytest.fixture
def library(tiny, tmp_path):
    """A copy that a test may change."""
    return Workspace(Path(shutil.copytree(tiny.root, tmp_path / "library")))


@pytest.fixture(scope="module")
def worker():
    with Worker() as worker:
        yield worker


def failures(cases, accepted):
    return [case for case in cases if case[2] not in accepted]


def error_line(result):
    lines = result.stderr.splitlines()
    assert result.returncode == 2 and len(lines) == 1, result
    assert lines[0].startswith("error: ") and "; " in lines[0]
    return lines[0]


def test_damage_is_named(library):
    cases = damage_files(library, SEED_SETS[0].split(","), 20, 6, random.Random(1))
    assert not failures(cases, ACCEPTED)


def test_damage_that_the_manifest_hides_is_harmless(library):
    assert not failures(forge_files(library, 20, random.Random(1)), HARMLESS)


def test_killed_preparations_lose_nothing(library):
    assert not failures(kill_preparations(library, 1, random.Random(1)), KILLED_WELL)


def test_a_search_during_preparation_sees_one_library(library):
    cases = search_while_preparing(library, 1)
    assert not failures(cases, ("one library or the other",))


# Code in data


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
    for path in (library.metadata, library.reward_regressor, library.q_tables):
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
    np.save(library.q_tables, objects, allow_pickle=True)
    seal(library)
    assert judge_forgery(worker, library)[0] == "one line"
    episode = next(library.states.glob("gold/seed_0038/episodes/*00"))
    np.save(episode / "q_table.npy", objects, allow_pickle=True)
    run(SCRIPTS[PREPARE], "--seeds", "0038", workspace=library)
    assert not marker.exists()


# Hostile content under a manifest that fits


VALUES = {
    "None": lambda value: None,
    "text": lambda value: "\x1b[31mred\r\n\x07",
    "number": lambda value: 10**12,
    "NaN": lambda value: float("nan"),
    "empty list": lambda value: [],
    "shorter": lambda value: value[:-1],
    "twice": lambda value: [*value, *value],
    "array of twice": lambda value: np.concatenate([value, value]),
    "backwards": lambda value: value[::-1],
    "one dimension more": lambda value: np.array(value)[np.newaxis],
    "no dimension": lambda value: np.array(3),
    "negative": lambda value: np.full_like(value, -1),
    "wild": lambda value: np.full_like(value, 10**9),
    "minimum": lambda value: np.full_like(value, np.iinfo(value.dtype).min),
    "not finite": lambda value: np.full_like(value, np.nan),
    "infinite": lambda value: np.full_like(value, np.inf),
    "complex": lambda value: np.array(value, dtype=complex),
    "other bytes": lambda value: value.astype(value.dtype.newbyteorder()),
    "objects": lambda value: np.array([[{}]] * len(value), dtype=object),
    "texts": lambda value: np.array(["\x1b]0;x\x07"] * len(value)),
    "list": lambda value: value.tolist(),
    "zero": lambda value: np.zeros_like(value),
}


def places(metadata):
    """List (container, key) of every value that a hostile author may replace."""
    inner = [metadata, metadata["columns"], metadata["meanings"], *metadata["objectives"]]
    found = [(container, key) for container in inner for key in container]
    return [*found, (metadata["seeds"], 0), (metadata["objectives"][0]["phrasings"], slice(0, 1))]


def forgeries(library):
    """Replace every value of the metadata by every other kind of value."""
    n_places = len(places(plain_pickle.load(library.metadata)))
    for place in range(n_places):
        for name, change in VALUES.items():
            metadata = plain_pickle.load(library.metadata)
            container, key = places(metadata)[place]
            try:
                with np.errstate(invalid="ignore"):  # NaN as an integer
                    container[key] = change(container[key])
            except (TypeError, ValueError, AttributeError, KeyError, OverflowError):
                continue  # a list has no dtype
            yield f"{key}: {name}", metadata


def test_hostile_metadata_is_harmless(library, worker):
    share = int(os.environ.get("LEVER_FUZZ_SHARE", "60"))
    problems = {}
    for number, (name, metadata) in enumerate(list(forgeries(library))):
        if number % share == 0:
            plain_pickle.save(library.metadata, metadata)
            seal(library)
            outcome, said = judge_forgery(worker, library)
            if outcome not in HARMLESS:
                problems[name] = (outcome, said[-600:])
    assert not problems


def made_index(kind, dimension, n, ids=None):
    index = faiss.index_factory(dimension, kind, faiss.METRIC_INNER_PRODUCT)
    vectors = np.random.default_rng(0).normal(size=(n, dimension)).astype(np.float32)
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    index.train(vectors)
    index.add(vectors) if ids is None else index.add_with_ids(vectors, ids)
    return faiss.serialize_index(index).tobytes()


def hostile_indices(whole):
    n = faiss.deserialize_index(np.frombuffer(whole, np.uint8)).ntotal
    yield "of another dimension", made_index("Flat", 16, n)
    yield "of too few vectors", made_index("Flat", 32, n - 1)
    yield "of none", made_index("Flat", 32, 0)
    yield "with wild numbers", made_index("IDMap2,Flat", 32, n, np.arange(n) + 2**40)
    yield "with negative numbers", made_index("IDMap2,Flat", 32, n, np.arange(n) - 2**40)
    yield "with wild numbers in lists", made_index("IVF4,Flat", 32, n, np.arange(n) + 2**40)
    yield "of bits", faiss.serialize_index_binary(faiss.IndexBinaryFlat(32)).tobytes()
    yield "by distance", faiss.serialize_index(faiss.IndexFlatL2(32)).tobytes()
    yield "of long vectors", whole[:-400] + np.full(100, 1e30, np.float32).tobytes()
    yield "of NaN", whole[:-400] + np.full(100, np.nan, np.float32).tobytes()
    for length in (0, 25, 31, 40, len(whole) // 2, len(whole) - 1):
        yield f"cut after {length} bytes", whole[:length]
    for claimed in (n + 1, 10**12, 2**62, -1):
        yield (
            f"that claims {claimed}",
            whole[:8] + claimed.to_bytes(8, "little", signed=True) + whole[16:],
        )
    for dimension in (0, -1, 2**31 - 1):
        yield (
            f"of dimension {dimension}",
            whole[:4] + dimension.to_bytes(4, "little", signed=True) + whole[8:],
        )


def test_a_hostile_index_is_harmless(library, worker):
    problems = {}
    for name, content in hostile_indices(library.policy_index.read_bytes()):
        library.policy_index.write_bytes(content)
        seal(library)
        outcome, said = judge_forgery(worker, library)
        if outcome not in HARMLESS:
            problems[name] = (outcome, said[-600:])
    assert not problems


def hostile_arrays():
    yield np.full((12, 256, 5), np.nan, np.float32)
    yield np.zeros((12,), np.float32)
    yield np.zeros((11, 256, 5), np.float32)
    yield np.zeros((12, 0, 0), np.float32)
    yield np.zeros((12, 4), "U3")
    yield np.array(1.0)
    yield (
        b"\x93NUMPY\x01\x00v\x00"
        + (b"{'descr': '<f4', 'fortran_order': False, 'shape': (250000000000, 1), }").ljust(117)
        + b"\n"
    )
    yield b"\x93NUMPY\x01\x00v\x00" + b"[" * 117 + b"\n"


@pytest.mark.parametrize("name", ["q_tables", "policy_embeddings"])
def test_hostile_arrays_are_harmless(library, worker, name):
    problems = []
    for content in hostile_arrays():
        path = getattr(library, name)
        if isinstance(content, bytes):
            path.write_bytes(content)
        else:
            np.save(path, content)
        seal(library)
        outcome, said = judge_forgery(worker, library)
        if outcome not in HARMLESS:
            problems.append((str(content)[:99], outcome, said[-600:]))
    assert not problems


def test_the_encoder_reads_nothing_outside_its_folder(library, worker, tmp_path):
    graph, weights = library.text_encoder / "model.onnx", library.text_encoder / "model.onnx.data"
    outside = library.root / "model.onnx.data"
    weights.rename(outside)
    whole = graph.read_bytes()
    for location in (b"../../x.onnx.dat", b"../model.onnx.da"):
        name = library.text_encoder / location.decode()
        shutil.copy(outside, name)
        old = b"\x0fmodel.onnx.data"
        assert old in whole
        graph.write_bytes(whole.replace(old, bytes([len(location)])[:1] + location[:15]))
        seal(library)
        assert judge_forgery(worker, library)[0] == "one line"


# Hostile recorded runs


def sparse(path):
    with open(path, "wb") as file:
        file.write(b"episode,reward\n")
        file.truncate(2**30)


HOSTILE_RUNS = {
    "a line of 1 GB": ("episode_rewards.csv", sparse),
    "10 million columns": (
        "episode_rewards.csv",
        lambda path: path.write_text("episode,reward" + ",x" * 10**7 + "\n1,2\n"),
    ),
    "10 million fields": (
        "episode_rewards.csv",
        lambda path: path.write_text("episode,reward\n1,2" + "," * 10**7 + "\n1,2\n"),
    ),
    "numbers too large": (
        "episode_rewards.csv",
        lambda path: path.write_text("episode,reward\n" + "9" * 99 + ",2\n"),
    ),
    "a pipe for a table": ("episode_rewards.csv", os.mkfifo),
    "a pipe for an array": ("episodes/episode_001999/q_table.npy", os.mkfifo),
    "a device": (
        "episodes/episode_001999/q_table.npy",
        lambda path: path.symlink_to("/dev/zero"),
    ),
    "an array of a terabyte": (
        "episodes/episode_001999/q_table.npy",
        lambda path: path.write_bytes(list(hostile_arrays())[-2]),
    ),
    "a folder in an episode": (
        "episodes/episode_001999/notes",
        lambda path: path.mkdir(),
    ),
    "half a character": (
        "../objective.json",
        lambda path: path.write_text('{"description": "gold \\ud800"}'),
    ),
    "deep JSON": ("../objective.json", lambda path: path.write_text("[" * 10**6)),
    "a number of a million digits": (
        "../objective.json",
        lambda path: path.write_text("9" * 10**6),
    ),
    "escapes": (
        "../objective.json",
        lambda path: path.write_text('{"description": "\\u001b[31mgold\\u0007 \\u202e"}'),
    ),
}


@pytest.mark.parametrize("name", HOSTILE_RUNS)
def test_hostile_recorded_runs_are_named_in_bounded_memory(library, worker, name):
    file, write = HOSTILE_RUNS[name]
    path = library.states / "gold" / "seed_0038" / file
    path.unlink(missing_ok=True)
    write(path)
    ended = worker.call(read_states, library.root, ["0038"])
    assert ended.code == 0 and "\x1b" not in ended.err, ended.err[-900:]
    if name != "a folder in an episode":
        assert path.name in ended.err


# A full disk, no permission, Ctrl-C, endless input


def limited(bytes_a_file):
    return lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (bytes_a_file, bytes_a_file))


def prepare(library, **options):
    command = [sys.executable, SCRIPTS[PREPARE], "--seeds", SEED_SETS[1]]
    return subprocess.run(
        [*command, "--workspace", str(library.root)],
        cwd=HOME,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
        **options,
    )


def last_line(result):
    lines = result.stderr.splitlines()
    assert result.returncode == 2 and "Traceback" not in result.stderr, result
    assert lines[-1].startswith("error: ") and "; " in lines[-1], result
    return lines[-1]


@pytest.mark.parametrize("size", [100_000])
def test_a_full_disk_loses_nothing(library, worker, size):
    before = worker.script(SEARCH, QUERY, "--json", workspace=library)
    last_line(prepare(library, preexec_fn=limited(size)))
    after = worker.script(SEARCH, QUERY, "--json", workspace=library)
    assert answer_of(after) == answer_of(before)
    assert prepare(library).returncode == 0
    assert worker.script(VIEW, "--verify", workspace=library).code == 0


@pytest.fixture
def locked_up(library):
    """A library whose files may only be read."""
    for path in (library.root, *library.root.rglob("*")):
        path.chmod(0o555 if path.is_dir() else 0o444)
    yield library
    for path in (library.root, *library.root.rglob("*")):
        path.chmod(0o755)


def as_user(script, *arguments):
    """Run a script to which permissions apply, also when the tests are root's."""
    command = [sys.executable, SCRIPTS[script], *arguments]
    if os.geteuid() == 0:
        if not shutil.which("setpriv"):
            pytest.skip("permissions do not bind root")
        command = ["setpriv", "--bounding-set", "-dac_override,-dac_read_search", *command]
    return subprocess.run(command, cwd=HOME, capture_output=True, text=True, check=False)


def test_a_read_only_library_answers_and_stays(locked_up):
    before = snapshot(locked_up)
    assert "ermission denied" in last_line(
        as_user(PREPARE, "--seeds", "0040", "--workspace", str(locked_up.root))
    )
    result = as_user(SEARCH, QUERY, "--workspace", str(locked_up.root))
    assert result.returncode == 0 and not result.stderr, result
    assert snapshot(locked_up) == before


@pytest.mark.parametrize("hidden", ["metadata", "manifest", "policy_index", "q_tables"])
def test_a_file_that_may_not_be_read_is_named(locked_up, hidden):
    path = getattr(locked_up, hidden)
    path.chmod(0)
    result = as_user(SEARCH, QUERY, "--workspace", str(locked_up.root))
    assert str(path) in error_line(result)


@pytest.mark.parametrize("script", [SEARCH, PREPARE, VIEW])
@pytest.mark.parametrize("delay", [0.0, 0.3])
def test_an_interrupt_is_one_line(library, script, delay):
    arguments = {SEARCH: ["--batch", "-"], PREPARE: ["--seeds", "0040"], VIEW: []}[script]
    command = [sys.executable, "-X", "importtime", SCRIPTS[script], *arguments]
    process = subprocess.Popen(
        [*command, "--workspace", str(library.root)],
        cwd=HOME,
        stdin=subprocess.PIPE,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
        # A job in the background inherits that interrupts are ignored.
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.default_int_handler),
    )
    while not process.stderr.readline().endswith(" command_line\n"):
        pass  # before it Python itself would answer
    time.sleep(delay)
    process.send_signal(signal.SIGINT)
    _, err = process.communicate(timeout=60)
    lines = [line for line in err.splitlines() if not line.startswith("import time:")]
    assert "Traceback" not in err, lines
    assert (process.returncode, lines[-1:]) in ((130, ["interrupted"]), (0, []))


SWALLOWED = """
import command_line, os, signal, weakref
class Thing: pass
thing = Thing()
callback = weakref.ref(thing, lambda _: os.kill(os.getpid(), signal.SIGINT))
del thing
print("went on")
"""


def test_an_interrupt_that_a_library_would_swallow_ends_all_the_same():
    result = run("-c", SWALLOWED)
    assert (result.returncode, result.stdout, result.stderr) == (130, "", "interrupted\n")


def test_a_batch_is_streamed(library):
    process = subprocess.Popen(
        [sys.executable, SCRIPTS[SEARCH], "--batch", "-", "--workspace", str(library.root)],
        cwd=HOME,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    process.stdin.write("collect gold\n")
    process.stdin.flush()
    assert "gold" in process.stdout.readline(), "the first answer comes before the input ends"
    for _ in range(100):
        process.stdin.write("x" * 10**6)
    out, _ = process.communicate("\nfind the exit\n", timeout=60)
    refused, found = map(json.loads, out.splitlines())
    assert refused["sub_queries"][0]["best_policy"] is None and len(out) < 20_000
    assert found["sub_queries"][0]["best_policy"]


def test_two_preparations_and_a_reset_exclude_each_other(library):
    command = [sys.executable, SCRIPTS[PREPARE], "--seeds", SEED_SETS[1]]
    command += ["--workspace", str(library.root)]
    first = subprocess.Popen(command, cwd=HOME, stderr=subprocess.DEVNULL)
    while not library.staging.root.exists():
        time.sleep(0.01)
    assert "is running" in error_line(prepare(library))
    assert "is running" in error_line(run("reset_framework.py", "--yes", workspace=library))
    assert first.wait() == 0


def snapshot(workspace):
    return {path: path.read_bytes() for path in workspace.root.rglob("*") if path.is_file()}
