"""Where runs are worked on makes no difference: here, in processes, on a cluster that shrinks."""

import argparse
import json
import logging
import os
import signal
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from types import SimpleNamespace

import numpy as np
import pytest

from library import cluster as cluster_module
from library import command_line
from library.cluster import (
    LOGGERS,
    _check_workers,
    connect,
    describe_difference,
    installation,
)
from library.command_line import scheduler_address
from library.errors import LeverError, UnusableRecording
from library.parallel import DIED, HERE, Processes, map_runs
from library.workspace import HOME, Workspace
from recording.environments import find_environment
from recording.objectives import Words
from recording.recorder import record_runs
from recording.snapshots import Settings
from recording.sources import find_runs
from tests.conftest import run
from worlds.gridworld.generate_states import generate

N_RUNS = 12


@pytest.mark.parametrize(
    "text",
    [
        *("", "host", "host:8786", "tcp://host", "tcp://:8786", "http://host:8786"),
        *("tcp://host:0", "tcp://host:99999", "tcp://a b:8786", "tcp://host:8786/x"),
    ],
)
def test_what_is_no_address_is_refused_with_one_that_is(text):
    with pytest.raises(argparse.ArgumentTypeError, match="tcp://host:8786"):
        scheduler_address(text)


@pytest.mark.parametrize("text", ["tcp://host:8786", "tls://10.0.0.1:1", "tcp://[::1]:8786"])
def test_addresses_are_taken_as_they_are(text):
    assert scheduler_address(text) == text


def test_the_difference_of_a_worker_is_named():
    here = {"Python": "3.11", "numpy": "2.4.6", "code": "x"}
    assert describe_difference({**here, "numpy": "2.0"}, here) == "has numpy 2.0, not 2.4.6"
    assert "other code" in describe_difference({**here, "code": "y"}, here)
    assert "numpy" in describe_difference({}, here)
    assert {"Python", "numpy", "torch", "distributed", "code"} <= installation().keys()


def double(x):
    return 2 * x


def die_of_three(x):
    if x == 3:
        os.kill(os.getpid(), signal.SIGKILL)
    return 2 * x


def fail(x):
    raise UnusableRecording(f"{x} is not there")


def test_results_keep_the_order_and_errors_go_up():
    lost = pytest.fail
    assert map_runs(HERE, double, [3, 1, 2], lost, "x") == [6, 2, 4]
    assert map_runs(HERE, double, [], lost, "x") == []
    with pytest.raises(UnusableRecording, match="1 is not there"):
        map_runs(HERE, fail, [1], lost, "x")


@pytest.mark.slow
def test_a_task_whose_process_always_dies_costs_no_other():
    def lost(item, reason):
        return f"{item}: {reason}"

    results = map_runs(Processes(2), die_of_three, range(6), lost, "x")
    assert results == [0, 2, 4, f"3: {DIED}", 8, 10]


@pytest.fixture(scope="module")
def dask(tmp_path_factory):
    """A scheduler that knows nothing of this checkout, two workers in it, and one elsewhere."""
    pytest.importorskip("distributed")
    folder = tmp_path_factory.mktemp("dask")
    file = folder / "scheduler.json"
    command = [sys.executable, "-m", "dask", "scheduler", "--scheduler-file", str(file)]
    options = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
    local = ["--host", "127.0.0.1", "--no-dashboard"]
    processes = [subprocess.Popen([*command, "--port", "0", *local], cwd=folder, **options)]
    worker = [sys.executable, "-m", "dask", "worker", "--scheduler-file", str(file), *local]
    worker += ["--nthreads", "1", "--no-nanny", "--local-directory", str(folder)]
    try:
        while not file.exists():
            time.sleep(0.05)
        processes += [subprocess.Popen(worker, cwd=HOME, **options) for _ in range(2)]
        yield (
            json.loads(file.read_text())["address"],
            processes,
            partial(subprocess.Popen, worker, cwd=folder, **options),
        )
    finally:
        for process in processes:
            process.kill()
            process.wait()


@pytest.fixture
def runs(tmp_path):
    """Runs of FrozenLake that can be recorded."""
    for i in range(N_RUNS):
        table = np.random.default_rng(i).normal(size=(16, 4))
        (tmp_path / "tables").mkdir(exist_ok=True)
        np.save(tmp_path / "tables" / f"{i:02d}.npy", table)
    settings = Settings(n_episodes=3)
    found, _ = find_runs(tmp_path / "tables", find_environment("FrozenLake-v1"), settings)
    return found


def record(runs, root, engine):
    """Record runs; return what is written, by its name."""
    target = root / "lake"
    target.mkdir(parents=True)
    places = [(target / f"seed_{i:04d}", run) for i, run in enumerate(runs)]
    assert record_runs(places, engine, Words()) == []
    return contents(root)


def contents(root):
    return {p.relative_to(root): p.read_bytes() for p in root.rglob("*") if p.is_file()}


def prepare(states, root, engine):
    """Read and embed recorded policies; return all that is written and learned."""
    from pi2vec.pi2vec_utils import read_catalogue
    from pi2vec.train_successor import train_successors

    policies = read_catalogue(states, 1.0, engine=engine).policies
    embeddings, _ = train_successors(policies, root, engine)
    return [policy.digest for policy in policies], embeddings.tobytes(), contents(root)


class Murderer:
    """An engine that kills a process once the third result is there."""

    def __init__(self, engine, process):
        self.engine, self.process = engine, process

    def run(self, function, items):
        for number, outcome in enumerate(self.engine.run(function, items)):
            if number == 2:
                self.process.kill()
            yield outcome


@pytest.mark.slow
def test_a_cluster_does_what_processes_do_also_when_a_worker_dies(dask, runs, tmp_path):
    address, processes, _ = dask
    workspace = Workspace(tmp_path / "grid")
    generate(workspace, seeds=range(40, 44), n_episodes=50)
    recorded = record(runs, tmp_path / "here", HERE)
    assert len(recorded) >= 4 * N_RUNS
    prepared = prepare(workspace.states, tmp_path / "models", HERE)
    assert record(runs, tmp_path / "two", Processes(2)) == recorded
    assert prepare(workspace.states, tmp_path / "two_models", Processes(2)) == prepared
    with connect(address, tmp_path) as cluster:
        assert not cluster.has_threads
        assert prepare(workspace.states, tmp_path / "their_models", cluster) == prepared
        engine = Murderer(cluster, processes[-1])
        assert record(runs, tmp_path / "theirs", engine) == recorded
        assert processes[-1].wait() == -signal.SIGKILL
        with pytest.raises(UnusableRecording, match="1 is not there"):
            map_runs(cluster, fail, [1], pytest.fail, "x")


@pytest.mark.slow
def test_workers_that_would_do_something_else_are_refused(dask, tmp_path, monkeypatch):
    address, processes, start_elsewhere = dask
    here = {**installation(), "numpy": "0.1"}
    monkeypatch.setattr(cluster_module, "installation", lambda: here)
    with (
        pytest.raises(LeverError, match=r"has numpy .* not 0\.1; .*dask worker"),
        connect(address, tmp_path),
    ):
        pytest.fail("it must be refused")
    monkeypatch.undo()
    processes.append(start_elsewhere())
    deadline = time.monotonic() + 30
    while time.monotonic() < deadline:
        try:
            with connect(address, tmp_path):
                time.sleep(0.1)
        except LeverError as error:
            assert "can't import this checkout" in str(error)
            return
    pytest.fail("a worker elsewhere was not refused")


@pytest.mark.slow
def test_an_address_where_nobody_is_ends_in_one_line(tmp_path):
    pytest.importorskip("distributed")

    def call(*arguments):
        started = time.monotonic()
        address = ("--cluster", "tcp://127.0.0.1:1")
        result = run(*arguments, *address, workspace=Workspace(tmp_path))
        assert time.monotonic() - started < 15
        return result

    with ThreadPoolExecutor() as threads:
        scripts = [("record_policies.py", tmp_path), ("pi2vec_preparation.py",)]
        for result in threads.map(lambda arguments: call(*arguments), scripts):
            (line,) = result.stderr.splitlines()
            assert result.returncode == 2 and not result.stdout
            assert line.startswith("error: no Dask scheduler answers at tcp://127.0.0.1:1; ")


def test_a_worker_without_the_shared_folder_is_refused(tmp_path):
    for is_there in (True, False):
        answers = {"tcp://other:1": (installation(), is_there)}
        client = SimpleNamespace(
            wait_for_workers=lambda *_, **__: None,
            run=lambda *_, answers=answers, **__: answers,
        )
        if is_there:
            _check_workers(client, "tcp://host:1", tmp_path)
            continue
        with pytest.raises(LeverError, match=rf"worker tcp://other:1 has no {tmp_path}; share"):
            _check_workers(client, "tcp://host:1", tmp_path)


def test_what_dask_logs_is_not_shown(tmp_path, monkeypatch):
    pytest.importorskip("distributed")
    monkeypatch.setattr(cluster_module, "CONNECT_S", 0.1)
    for name in LOGGERS:
        monkeypatch.setattr(logging.getLogger(name), "level", logging.NOTSET)
    with pytest.raises(LeverError, match="no Dask"), connect("tcp://127.0.0.1:1", tmp_path):
        pytest.fail("it must be refused")
    assert not any(logging.getLogger(name).isEnabledFor(logging.ERROR) for name in LOGGERS)


def test_without_dask_a_line_says_what_to_install(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "distributed", None)
    with (
        pytest.raises(LeverError, match=r"pip install -r .*requirements-cluster\.txt"),
        connect("tcp://host:1", tmp_path),
    ):
        pytest.fail("it must be refused")


def test_jobs_and_a_cluster_are_one_or_the_other(tmp_path):
    result = run("pi2vec_preparation.py", "--jobs", "2", "--cluster", "tcp://host:1")
    assert result.returncode == 2 and len(result.stderr.splitlines()) == 1
    assert "not allowed with" in result.stderr


def test_an_interrupt_ends_the_processes_too(monkeypatch):
    before = signal.getsignal(signal.SIGINT)
    monkeypatch.setattr(command_line.atexit, "register", lambda *arguments: None)
    try:
        signal.signal(signal.SIGINT, signal.default_int_handler)
        command_line.end_on_interrupt()
        with command_line.open_engine(argparse.Namespace(jobs=1, cluster=None)):
            assert signal.getsignal(signal.SIGINT) is not signal.default_int_handler
        with command_line.open_engine(argparse.Namespace(jobs=2, cluster=None)):
            assert signal.getsignal(signal.SIGINT) is signal.default_int_handler
    finally:
        signal.signal(signal.SIGINT, before)
