"""A full disk, no permission, Ctrl-C, endless input, two at once: one line, and nothing is lost."""

import json
import os
import resource
import shutil
import signal
import subprocess
import sys
import time

import pytest

from library.workspace import HOME
from tests.conftest import run
from tests.safety.tiny_library import SEED_SETS
from tests.safety.workers import PREPARE, QUERY, SEARCH, VIEW, answer_of

pytestmark = pytest.mark.slow
RESET = "reset_framework"
SCRIPTS = {name: f"{name.replace('.', '/')}.py" for name in (SEARCH, VIEW, PREPARE, RESET)}


def error_line(result):
    lines = result.stderr.splitlines()
    assert result.returncode == 2 and len(lines) == 1, result
    assert lines[0].startswith("error: ") and "; " in lines[0]
    return lines[0]


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


def test_a_full_disk_loses_nothing(library, worker):
    before = worker.script(SEARCH, QUERY, "--json", workspace=library)
    last_line(prepare(library, preexec_fn=limited(100_000)))
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
    result = as_user(RESET, "--dry-run", "--workspace", str(locked_up.root))
    assert result.returncode == 0 and "Dry run" in result.stdout, result
    assert snapshot(locked_up) == before


@pytest.mark.parametrize("hidden", ["metadata", "manifest", "policy_index", "q_tables"])
def test_a_file_that_may_not_be_read_is_named(locked_up, hidden):
    path = getattr(locked_up, hidden, locked_up.world_arrays("gridworld-16x16-5", hidden))
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
    while not process.stderr.readline().endswith(" library.command_line\n"):
        pass  # before it Python itself would answer
    process.stderr.readline()  # what is imported next: the handler is there
    time.sleep(delay)
    process.send_signal(signal.SIGINT)
    _, err = process.communicate(timeout=60)
    lines = [line for line in err.splitlines() if not line.startswith("import time:")]
    assert "Traceback" not in err, lines
    assert (process.returncode, lines[-1:]) in ((130, ["interrupted"]), (0, []))


SWALLOWED = """
import os, signal, weakref
from library import command_line
command_line.end_on_interrupt()
class Thing: pass
thing = Thing()
callback = weakref.ref(thing, lambda _: os.kill(os.getpid(), signal.SIGINT))
del thing
print("went on")
"""


def test_an_interrupt_that_a_library_would_swallow_ends_all_the_same():
    result = run("-c", SWALLOWED)
    assert (result.returncode, result.stdout, result.stderr) == (130, "", "interrupted\n")


UNWOUND = """
import os, signal, sys, tempfile
from library import command_line
def main():
    with tempfile.TemporaryDirectory(dir=sys.argv[1]):
        os.kill(os.getpid(), signal.SIGINT)
command_line.run(main)
"""


def test_an_interrupt_removes_temporary_folders_where_there_are_any(tmp_path):
    result = run("-c", UNWOUND, tmp_path)
    assert (result.returncode, result.stderr) == (130, "interrupted\n")
    assert not list(tmp_path.iterdir())


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
