"""Damage every file and kill preparation at any moment: the long form of test_safety.py.

reads   nothing
writes  a temporary folder
run     python -m tests.fuzz --flips 2000 --truncations 200 --kills 100
time    ten minutes for flips and truncations, five seconds a kill

Equal arguments damage the same bits. It prints the counts by outcome, every failure with what to
look at, and ends with code 1 when there is any.
"""

import argparse
import importlib
import io
import json
import multiprocessing
import os
import random
import resource
import shutil
import sys
import tempfile
import time
import traceback
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager, redirect_stderr, redirect_stdout
from dataclasses import dataclass, replace
from pathlib import Path

import command_line
from errors import UnusableLibrary
from faiss_utils.english import words_of
from faiss_utils.text_encoder import EMBEDDED, GRAPH, INPUTS, OUTPUT, RECORD, TOKENIZER
from gridworld.generate_states import OBJECTIVES, generate
from manifest import Manifest, describe_library, read_manifest, write_manifest
from tests.conftest import run
from workspace import Workspace

SEARCH, VIEW, PREPARE = (
    "search_faiss_policies",
    "faiss_utils.view_faiss_db",
    "pi2vec_preparation",
)
QUERY = "Find the fastest exit and collect as much gold as possible"
SEED_SETS = ("0036,0038", "0038,0040")  # two libraries that share a seed
N_EPISODES = 2_000
SEEDS = range(34, 54)
PATIENCE_S = 120.0  # a call that takes longer hangs
MAX_MEMORY = 8 * 2**30  # bytes of addresses, most of which the libraries never touch
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


def read_states(root, seeds):
    """Do what a preparation does before it computes, and print the fingerprint."""
    from pi2vec.pi2vec_utils import fingerprint
    from pi2vec_preparation import find_targets, load_policies

    targets = find_targets(Workspace(root))
    policies = load_policies(targets, seeds)
    print(fingerprint([target.objective for target in targets], policies))
    return 0


def resume_generation(root):
    """Do what a generation does before it trains."""
    generate(Workspace(root), seeds=(), n_episodes=N_EPISODES)
    return 0


def seal(workspace):
    """Write the manifest that a hostile author would: every file as it is now."""
    files = describe_library(workspace)
    try:
        manifest = replace(read_manifest(workspace), files=files)
    except UnusableLibrary:
        manifest = Manifest(fingerprint="", text_encoder=EMBEDDED, index_factory=None, files=files)
    write_manifest(workspace, manifest)


def answer_of(ended):
    """Take from the output of a search what does not depend on the clock."""
    return [
        {name: value for name, value in json.loads(line).items() if name != "timing_ms"}
        for line in ended.out.splitlines()
    ]


# Damage


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
    for path in workspace.generated():
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


# Kills


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


TOO_LATE = "after its end"
KILLED_WELL = (
    "answers as the previous library",
    "answers as the new library",
    "says what is missing",
)


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
        for path in workspace.generated()
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


# The command


def make_library(root, encoder=None):
    """Record short trainings and prepare a library of a few seeds.

    Args:
        root: where; a new folder.
        encoder: writes a text encoder to a folder; None for the real one, which takes 20 s.
    """
    workspace = Workspace(Path(root))
    generate(workspace, seeds=SEEDS, n_episodes=N_EPISODES)
    if encoder:
        encoder(workspace.text_encoder)
        seal(workspace)
    result = run(f"{PREPARE}.py", "--seeds", SEED_SETS[0], workspace=workspace, timeout=600)
    assert result.returncode == 0, result.stderr
    return workspace


def write_tiny_encoder(folder):
    """Write a text encoder that is quick: the mean of a random vector a word, normalised."""
    import numpy as np
    from onnx import TensorProto, helper, numpy_helper, save_model
    from tokenizers import Tokenizer, models, normalizers, pre_tokenizers, processors

    objectives = json.loads(OBJECTIVES.read_text("utf-8")).values()
    texts = [text for o in objectives for text in (o["description"], *o["phrasings"], QUERY)]
    words = ["[PAD]", "[UNK]", "[CLS]", *sorted({w for t in texts for w in words_of(t)})]
    tokenizer = Tokenizer(models.WordLevel({w: i for i, w in enumerate(words)}, unk_token="[UNK]"))
    tokenizer.normalizer = normalizers.Lowercase()
    tokenizer.pre_tokenizer = pre_tokenizers.Whitespace()
    tokenizer.post_processor = processors.TemplateProcessing(
        "[CLS] $A", special_tokens=[("[CLS]", 2)]
    )
    table = np.random.default_rng(0).normal(size=(len(words), 32)).astype(np.float32)
    table[2] *= 0.1
    nodes = [
        helper.make_node("Gather", ["table", "input_ids"], ["vectors"]),
        helper.make_node("Cast", ["attention_mask"], ["mask"], to=TensorProto.FLOAT),
        helper.make_node("Unsqueeze", ["mask", "last"], ["weights"]),
        helper.make_node("Mul", ["vectors", "weights"], ["weighted"]),
        helper.make_node("ReduceSum", ["weighted", "words"], ["sum"], keepdims=0),
        helper.make_node("LpNormalization", ["sum"], [OUTPUT], axis=-1, p=2),
    ]
    graph = helper.make_graph(
        nodes,
        "tiny",
        [helper.make_tensor_value_info(n, TensorProto.INT64, ["batch", "length"]) for n in INPUTS],
        [helper.make_tensor_value_info(OUTPUT, TensorProto.FLOAT, ["batch", 32])],
        [
            numpy_helper.from_array(table, "table"),
            numpy_helper.from_array(np.array([-1]), "last"),
            numpy_helper.from_array(np.array([1]), "words"),
        ],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=8)
    folder.mkdir(parents=True)
    external = {"save_as_external_data": True, "location": f"{GRAPH}.data", "size_threshold": 1000}
    save_model(model, str(folder / GRAPH), **external)
    tokenizer.save(str(folder / TOKENIZER))
    (folder / RECORD).write_text(json.dumps({"name": EMBEDDED, "max_tokens": 64}))


def tally(cases, accepted):
    """Count the outcomes by kind; print and count the failures."""
    counts, failures = Counter(), 0
    for done, kind, outcome, said in cases:
        counts[kind, outcome] += 1
        if outcome not in accepted:
            failures += 1
            print(f"FAILED {outcome}: {done}\n    {said.strip()[-1500:]}", flush=True)
    for (kind, outcome), n in sorted(counts.items()):
        print(f"{n:6}  {kind:40} {outcome}")
    for outcome, n in Counter(
        {o: sum(c for (_, p), c in counts.items() if p == o) for _, o in counts}
    ).items():
        print(f"{n:6}  {'all':40} {outcome}", flush=True)
    return failures


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--flips", type=int, default=0)
    parser.add_argument("--truncations", type=int, default=0)
    parser.add_argument("--forgeries", type=int, default=0, help="damage with a matching manifest")
    parser.add_argument("--kills", type=int, default=0)
    parser.add_argument("--searches", type=int, default=0, help="preparations to search during")
    parser.add_argument("--seed", type=int, default=0, help="of the random damage")
    parser.add_argument("--tiny", action="store_true", help="with a tiny text encoder: quicker")
    parser.add_argument("--library", type=Path, help="copy this one instead of making one")
    arguments = parser.parse_args()
    rng = random.Random(arguments.seed)
    failures = 0
    with tempfile.TemporaryDirectory() as folder:
        if arguments.library:
            workspace = Workspace(Path(shutil.copytree(arguments.library, f"{folder}/library")))
        else:
            workspace = make_library(folder, write_tiny_encoder if arguments.tiny else None)
        if arguments.flips or arguments.truncations:
            failures += tally(
                damage_files(
                    workspace,
                    SEED_SETS[0].split(","),
                    arguments.flips,
                    arguments.truncations,
                    rng,
                ),
                ACCEPTED,
            )
        if arguments.forgeries:
            failures += tally(forge_files(workspace, arguments.forgeries, rng), HARMLESS)
        if arguments.kills:
            failures += tally(kill_preparations(workspace, arguments.kills, rng), KILLED_WELL)
        if arguments.searches:
            failures += tally(
                search_while_preparing(workspace, arguments.searches),
                ("one library or the other",),
            )
    print(f"{failures} failures")
    return 1 if failures else 0


if __name__ == "__main__":
    sys.exit(main())
