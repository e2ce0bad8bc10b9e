"""Preparations that are killed, or searched during: one whole library or the other."""

import importlib
import os
import sys
import time

from library import command_line
from library.manifest import read_manifest
from library.workspace import Workspace
from tests.safety.damage import REAL_SHARE
from tests.safety.tiny_library import SEED_SETS
from tests.safety.workers import PREPARE, PROCESSES, QUERY, SEARCH, Worker, answer_of

TOO_LATE = "after its end"
KILLED_WELL = (
    "answers as the previous library",
    "answers as the new library",
    "says what is missing",
)


def kill_preparations(workspace: Workspace, n_kills: int, rng):
    """Kill preparations, each of which would replace the library by another one.

    The library must have been made of the first of `SEED_SETS`.

    Yields:
        When it was killed, `preparation`, the outcome, and what was said.
    """
    with Worker() as worker:
        libraries = Libraries(worker, workspace)
        killed, before, seeds = 0, *SEED_SETS
        while killed < n_kills:
            moment, done = libraries.kill(seeds, rng, real=rng.random() < 5 * REAL_SHARE)
            killed += moment != TOO_LATE
            yield done, f"killed {moment}", *libraries.judge(before, seeds)
            before, seeds = seeds, before


class Libraries:
    """The same workspace with one library or the other: what they answer and hold."""

    def __init__(self, worker, workspace):
        self.worker, self.workspace = worker, workspace
        self.answers, self.contents = {}, {}
        for seeds in (*SEED_SETS, SEED_SETS[0]):
            started = time.monotonic()
            assert self.prepare(seeds) == 0
            self.duration = time.monotonic() - started
            self.answers[seeds] = answer_of(self.search())
            self.contents[seeds] = contents(workspace)

    def prepare(self, seeds):
        """Prepare without interruption."""
        process = self._start(seeds)
        process.join()
        return process.exitcode

    def kill(self, seeds, rng, real):
        """Kill a preparation at a random moment, or a random while after the last stage began."""
        process = self._start(seeds, real)
        moment = rng.choice(["at any time", "while it writes", "while it publishes"])
        waits = {
            "at any time": self.workspace.root,
            "while it writes": self.workspace.staging.data,
            "while it publishes": self.workspace.staging.manifest,
        }
        started = time.monotonic()
        while process.is_alive() and not waits[moment].exists():
            time.sleep(0 if moment == "while it publishes" else 1e-3)
        longest = self.duration + 6.0 * real if moment != "while it publishes" else 0.012
        process.join(rng.uniform(0.0, longest))
        moment = moment if process.is_alive() else TOO_LATE
        process.kill()
        process.join()
        took = time.monotonic() - started
        return moment, f"after {took:.3f} s{' in a process of its own' if real else ''}"

    def judge(self, before, seeds):
        """Search what a kill left, finish, and compare with the uninterrupted library."""
        ended = self.search()
        if ended.code in (0, 1):
            known = {"the previous library": before, "the new library": seeds}
            same = [n for n, s in known.items() if self.answers[s] == answer_of(ended)]
            outcome = f"answers as {same[0]}" if same else "mixed answer"
        else:
            outcome = "says what is missing" if ended.line else str(ended.code)
        if outcome not in KILLED_WELL:
            return outcome, ended.out + ended.err
        if self.prepare(seeds) != 0:
            return "the next run fails", self.log.read_text()
        differing = differences(self.contents[seeds], contents(self.workspace))
        if differing or answer_of(self.search()) != self.answers[seeds]:
            return "another library than uninterrupted", " ".join(differing)
        return outcome, ""

    def search(self):
        return self.worker.script(SEARCH, QUERY, "--json", "--top", "100", workspace=self.workspace)

    @property
    def log(self):
        return self.workspace.root / "log.txt"

    def _start(self, seeds, real=False):
        arguments = ("--seeds", seeds, "--workspace", str(self.workspace.root))
        target = _prepare_really if real else _prepare
        process = PROCESSES.Process(target=target, args=(self.log, arguments))
        process.start()
        return process


def _prepare(log, arguments):
    with open(log, "w") as file:
        os.dup2(file.fileno(), 1)
        os.dup2(file.fileno(), 2)
        sys.argv = [PREPARE, *arguments]
        command_line.run(importlib.import_module(PREPARE).main)


def _prepare_really(log, arguments):
    with open(log, "w") as file:
        os.dup2(file.fileno(), 1)
        os.dup2(file.fileno(), 2)
    os.execv(sys.executable, [sys.executable, f"{PREPARE}.py", *arguments])


def contents(workspace):
    """Read all files of a library; of the manifest what does not depend on the clock."""
    manifest = read_manifest(workspace)
    found = {
        str(path.relative_to(workspace.root)): path.read_bytes()
        for path in workspace.built_files()
        if path != workspace.manifest and path.parent != workspace.text_encoder
    }
    entries = {name: (entry.size, entry.sha256) for name, entry in manifest.files.items()}
    found["faiss_index/manifest.json"] = (manifest.fingerprint, manifest.text_encoder, entries)
    if workspace.staging.root.exists():
        found[".preparation"] = "left over"
    return found


def differences(one, other):
    """Name the files in which two libraries differ."""
    return sorted(n for n in one.keys() | other.keys() if one.get(n) != other.get(n))


def search_while_preparing(workspace, n_preparations):
    """Search again and again while preparations replace the library.

    Yields:
        As `kill_preparations`.
    """
    with Worker() as worker:
        libraries = Libraries(worker, workspace)
        for i in range(n_preparations):
            process = libraries._start(SEED_SETS[(i + 1) % 2])
            while process.is_alive():
                ended = libraries.search()
                known = ended.code in (0, 1) and answer_of(ended) in libraries.answers.values()
                outcome = "one library or the other" if known else "no or mixed answer"
                yield "search", "during preparation", outcome, "" if known else str(ended)
            process.join()
