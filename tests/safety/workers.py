"""Processes that run the scripts: many calls, each judged by how it ended."""

import importlib
import io
import json
import multiprocessing
import resource
import sys
import traceback
from contextlib import redirect_stderr, redirect_stdout
from dataclasses import dataclass

from library import command_line

SEARCH, VIEW, PREPARE = (
    "search_faiss_policies",
    "faiss_utils.view_faiss_db",
    "pi2vec_preparation",
)
QUERY = "Find the fastest exit and collect as much gold as possible"
PATIENCE_S = 120.0  # a call that takes longer hangs
MAX_MEMORY = 8 * 2**30  # bytes of addresses, most of which the libraries never touch
HEAVY = (
    "faiss_utils.policy_retrieval",
    "faiss_utils.setup_faiss_vdb",
    "matplotlib.figure",
    "pandas",
    "pi2vec.train_regressor",
    "pi2vec.train_successor",
    "sklearn.kernel_ridge",
    "sklearn.linear_model",
    "sklearn.metrics",
    "sklearn.model_selection",
)

# Children of a process that has imported everything: preparation in a second, not in seven.
PROCESSES = multiprocessing.get_context("forkserver")
PROCESSES.set_forkserver_preload(list(HEAVY))


@dataclass(frozen=True)
class Ended:
    """How a call ended: the exit code, or `traceback`, `crash`, `hang`; and what it printed."""

    code: int | str
    out: str = ""
    err: str = ""

    @property
    def line(self) -> str | None:
        """The one line of an error; None when it was no polite error."""
        lines = self.err.splitlines()
        polite = self.code == 2 and lines and lines[-1].startswith("error: ") and "; " in lines[-1]
        return lines[-1] if polite and len(lines) == 1 else None


class Worker:
    """A process that runs scripts one after the other; when it dies, another takes its place."""

    def __init__(self):
        self._process = None

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self._stop()

    def script(self, name, *arguments, workspace):
        """Run a script's main function on a workspace."""
        return self.call(run_main, name, (*map(str, arguments), "--workspace", str(workspace.root)))

    def call(self, function, *arguments):
        """Call a function that returns an exit code."""
        if self._process is None:
            self._pipe, pipe = PROCESSES.Pipe()
            self._process = PROCESSES.Process(target=_serve, args=(pipe,), daemon=True)
            self._process.start()
            pipe.close()
        self._pipe.send((function, arguments))
        try:
            if self._pipe.poll(PATIENCE_S):
                return Ended(*self._pipe.recv())
            self._stop()
            return Ended("hang")
        except (EOFError, ConnectionError):
            self._process.join()
            ended = Ended("crash", err=f"exit code {self._process.exitcode}")
            self._process = None
            return ended

    def _stop(self):
        if self._process is not None:
            self._process.kill()
            self._process.join()
            self._process = None


def _serve(pipe):
    resource.setrlimit(resource.RLIMIT_AS, (MAX_MEMORY, MAX_MEMORY))
    while True:
        try:
            function, arguments = pipe.recv()
        except EOFError:
            return
        pipe.send(_call(function, arguments))


def _call(function, arguments):
    out, err, code = io.StringIO(), io.StringIO(), 0
    with redirect_stdout(out), redirect_stderr(err):
        try:
            command_line.run(lambda: function(*arguments))
        except SystemExit as error:
            code = error.code
        except BaseException:
            traceback.print_exc()
            code = "traceback"
    return code, out.getvalue(), err.getvalue()


def run_main(name, arguments):
    """Run a script in this process."""
    sys.argv = [name, *arguments]
    return importlib.import_module(name).main()


def answer_of(ended):
    """Take from the output of a search what does not depend on the clock."""
    return [
        {name: value for name, value in json.loads(line).items() if name != "timing_ms"}
        for line in ended.out.splitlines()
    ]
