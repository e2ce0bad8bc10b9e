"""Hostile content under a manifest that fits it, and hostile recorded runs.

One forgery of the metadata, and of the fields of policies, in 60 is tried; all with
LEVER_FUZZ_SHARE=1.
"""

import os
import shutil

import faiss
import numpy as np
import pytest

from library import plain_pickle
from tests.safety.damage import HARMLESS, judge_forgery, read_states
from tests.safety.tiny_library import seal

pytestmark = pytest.mark.slow

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
    inner = [metadata, metadata["meanings"], *metadata["objectives"]]
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


def forged_columns(library):
    """Replace every field of the policies by every other kind of array."""
    for path in sorted(library.policy_column("x").parent.glob("*.npy")):
        whole = np.load(path)
        for name, change in VALUES.items():
            try:
                with np.errstate(invalid="ignore"):
                    yield f"{path.stem}: {name}", path, np.asarray(change(whole))
            except (TypeError, ValueError, AttributeError, KeyError, OverflowError):
                continue


def test_hostile_columns_are_harmless(library, worker):
    share = int(os.environ.get("LEVER_FUZZ_SHARE", "60"))
    problems = {}
    for number, (name, path, forged) in enumerate(list(forged_columns(library))):
        if number % share == 0:
            whole = path.read_bytes()
            np.save(path, forged)
            seal(library)
            outcome, said = judge_forgery(worker, library)
            if outcome not in HARMLESS:
                problems[name] = (outcome, said[-600:])
            path.write_bytes(whole)
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


@pytest.mark.parametrize("name", ["q_tables", "embeddings", "start_states", "sources"])
def test_hostile_arrays_are_harmless(library, worker, name):
    problems = []
    for content in hostile_arrays():
        path = library.world_arrays("gridworld-16x16-5", name)
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
