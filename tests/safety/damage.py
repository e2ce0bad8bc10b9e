"""Damage to files, by accident or with a manifest that hides it, and what the scripts say of it."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from library.parallel import HERE
from library.workspace import Workspace
from tests.conftest import N_EPISODES, run
from tests.safety.tiny_library import seal
from tests.safety.workers import QUERY, SEARCH, VIEW, Ended, Worker, answer_of
from worlds.gridworld.generate_states import generate

HEADER = 200  # bytes; damage in a header does more than in numbers
REAL_SHARE = 0.03  # of the damage is shown to the scripts in a process of their own
CORRECT = "correct"
ACCEPTED = (
    CORRECT,
    "correct, named by --verify",
    "one line that names the file",
    "named: skipped or notice",
)
HARMLESS = ("answers", "one line")
LOOKS = (
    (SEARCH, QUERY, "--json"),
    (SEARCH, QUERY, "--show-all", "--top", "30", "--min-similarity", "-1"),
    (SEARCH, "collect gold", "--seed", "0038", "--filter-energy", "--top", "3"),
    (SEARCH, "bake a cake", "--decomposer", "offline"),
    (VIEW,),
    (VIEW, "--json", "--seed", "0038"),
)


@contextmanager
def flipped(path: Path, bit: int) -> Iterator[None]:
    """Flip a bit of a file, and back again."""
    with _kept_time(path):
        _flip(path, bit)
        try:
            yield
        finally:
            _flip(path, bit)


@contextmanager
def truncated(path: Path, length: int) -> Iterator[None]:
    """Cut a file, and make it whole again."""
    with _kept_time(path), open(path, "rb") as file:
        file.seek(length)
        tail = file.read()
        os.truncate(path, length)
        try:
            yield
        finally:
            with open(path, "ab") as whole:
                whole.write(tail)


def _flip(path, bit):
    with open(path, "r+b") as file:
        file.seek(bit // 8)
        byte = file.read(1)[0] ^ 1 << bit % 8
        file.seek(bit // 8)
        file.write(bytes([byte]))


@contextmanager
def _kept_time(path):
    status = path.stat()
    try:
        yield
    finally:
        os.utime(path, ns=(status.st_atime_ns, status.st_mtime_ns))


def kinds_of_files(workspace: Workspace, seeds) -> dict[str, list[Path]]:
    """Sort the files of a library, and of the runs that it was made from, by kind."""
    kinds: dict[str, list[Path]] = {}
    for path in workspace.built_files():
        kind = "psi_models/*.pth" if path.suffix == ".pth" else path.relative_to(workspace.root)
        kinds.setdefault(str(kind), []).append(path)
    for path in sorted(p for p in workspace.states.rglob("*") if p.is_file()):
        parts = path.relative_to(workspace.states).parts
        if len(parts) < 3 or parts[1].removeprefix("seed_") in seeds:
            kinds.setdefault(f"states_f: {path.name}", []).append(path)
    return kinds


def damage_files(workspace, seeds, n_flips, n_truncations, rng):
    """Damage one file after the other.

    Yields:
        What was done, the kind of file, the outcome, and what the script said.
    """
    kinds = kinds_of_files(workspace, seeds)
    with Worker() as worker:
        judge = Judge(worker, workspace, seeds)
        for i in range(n_flips + n_truncations):
            kind = list(kinds)[i % len(kinds)]
            path = rng.choice(kinds[kind])
            size = path.stat().st_size
            near = min(HEADER, size) if rng.random() < 0.3 else size
            if i < n_flips:
                bit = rng.randrange(8 * near)
                done, damage = f"bit {bit} of {path}", flipped(path, bit)
            else:
                length = rng.choice([0, size - 1, rng.randrange(near), rng.randrange(size)])
                done, damage = f"{length} bytes of {path}", truncated(path, length)
            with damage:
                yield done, kind, *judge.judge(path, real=rng.random() < REAL_SHARE)


class Judge:
    """Judges what is said of a damaged file."""

    def __init__(self, worker, workspace, seeds):
        self.worker, self.workspace, self.seeds = worker, workspace, seeds
        self.answer = answer_of(self._search(real=False))
        self.read = self._read()
        assert self.answer and not self.read.err

    def judge(self, path, real=False):
        """Give the outcome and, when it is a failure, what was said."""
        if path == self.workspace.generation_record:
            return self._judge_generation(path)
        if self.workspace.states in path.parents:
            return self._judge_states(path)
        return self._judge_library(path, real)

    def _judge_library(self, path, real):
        ended = self._search(real)
        if ended.code not in (0, 1):
            return self._judge_error(ended, path)
        if answer_of(ended) != self.answer:
            return "silent difference", ended.out
        if path == self.workspace.manifest:
            return CORRECT, ""
        verified = self.worker.script(VIEW, "--verify", workspace=self.workspace)
        if verified.code == 2 and str(path) in verified.out:
            return "correct, named by --verify", ""
        return "unnoticed by --verify", verified.out + verified.err

    def _judge_states(self, path):
        ended = self._read()
        if ended.code != 0:
            return self._judge_error(ended, path)
        if ended.out == self.read.out:
            return CORRECT, ""
        if str(path) in ended.err:
            return "named: skipped or notice", ""
        if str(path.parent) in ended.err:
            return "only its folder is named", ended.err
        return "silent difference", ended.err

    def _judge_generation(self, path):
        ended = self.worker.call(resume_generation, self.workspace.root)
        return (CORRECT, "") if ended.code == 0 else self._judge_error(ended, path)

    def _judge_error(self, ended, path):
        if ended.code != 2:
            return str(ended.code), ended.err
        if ended.line is None:
            lines = ended.err.splitlines()
            named = str(path) in ended.err and lines[-1].startswith("error: ")
            polite = named and all(line.startswith("skipped: ") for line in lines[:-2])
            return ("named: skipped or notice", "") if polite else ("not one line", ended.err)
        return (
            ("one line that names the file", "")
            if str(path) in ended.line
            else ("error without the file", ended.err)
        )

    def _search(self, real):
        if real:
            result = run(f"{SEARCH}.py", QUERY, "--json", workspace=self.workspace)
            code = "traceback" if "Traceback" in result.stderr else result.returncode
            return Ended(
                code if code != 1 or result.stdout else "crash", result.stdout, result.stderr
            )
        return self.worker.script(SEARCH, QUERY, "--json", workspace=self.workspace)

    def _read(self):
        return self.worker.call(read_states, self.workspace.root, self.seeds)


def forge_files(workspace, n_forgeries, rng):
    """Damage files as a hostile author would: the manifest says that they are as they should be.

    Yields:
        As `damage_files`.
    """
    kinds = {
        kind: paths
        for kind, paths in kinds_of_files(workspace, ()).items()
        if kind.startswith("faiss_index") and "manifest" not in kind
    }
    with Worker() as worker:
        for i in range(n_forgeries):
            kind = list(kinds)[i % len(kinds)]
            (path,) = kinds[kind]
            near = min(HEADER, path.stat().st_size) if rng.random() < 0.5 else path.stat().st_size
            if rng.random() < 0.8:
                bit = rng.randrange(8 * near)
                done, damage = f"bit {bit} of {path}", flipped(path, bit)
            else:
                length = rng.randrange(near)
                done, damage = f"{length} bytes of {path}", truncated(path, length)
            with damage:
                seal(workspace)
                yield done, kind, *judge_forgery(worker, workspace)
        seal(workspace)


def judge_forgery(worker, workspace):
    """Look at a hostile library in every way; give the outcome and what was said."""
    outcome = "answers"
    for script, *arguments in LOOKS:
        ended = worker.script(script, *arguments, workspace=workspace)
        if any(c < " " and c != "\n" for c in ended.out + ended.err):
            return "control characters", ended.out + ended.err
        if ended.code == 2 and ended.line:
            outcome = "one line"
        elif ended.code not in (0, 1):
            return str(ended.code), f"{script} {arguments}: {ended.err}"
        elif ended.err:
            return "not one line", ended.err
    return outcome, ""


def read_states(root, seeds):
    """Do what a preparation does before it computes, and print the fingerprint."""
    from argparse import Namespace

    from pi2vec.pi2vec_utils import fingerprint
    from pi2vec_preparation import find_policies

    arguments = Namespace(all_seeds=False, fraction=None, seeds=seeds)
    catalogue = find_policies(Workspace(root), arguments, HERE)
    print(fingerprint([target.objective for target in catalogue.targets], catalogue.policies))
    return 0


def resume_generation(root):
    """Do what a generation does before it trains."""
    generate(Workspace(root), seeds=(), n_episodes=N_EPISODES)
    return 0
