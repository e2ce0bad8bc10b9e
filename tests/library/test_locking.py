"""One preparation at a time: the lock is refused in one line, and dies with its process."""

import contextlib
import subprocess
import sys

import pytest

from library.errors import LeverError
from library.workspace import HOME, Workspace

HOLD = """
import sys
from pathlib import Path
from library.workspace import Workspace
if "blocked" in sys.argv:
    sys.modules["fcntl"] = None  # filelock then has files only
with Workspace(Path(sys.argv[1])).locked():
    print("held", flush=True)
    sys.stdin.read()
"""


@contextlib.contextmanager
def held_elsewhere(workspace, *arguments):
    process = subprocess.Popen(
        [sys.executable, "-c", HOLD, workspace.root, *arguments],
        cwd=HOME,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    assert process.stdout.readline() == "held\n"
    try:
        yield process
    finally:
        process.communicate()


def test_the_lock_is_refused_and_free_again_after_the_end(tmp_path):
    workspace = Workspace(tmp_path)
    with held_elsewhere(workspace):
        with pytest.raises(LeverError, match="is running; wait"), workspace.locked():
            pass
        assert workspace.lock.exists()
    with workspace.locked():
        assert workspace.lock.exists()
    assert not list(tmp_path.iterdir())


def test_the_lock_of_a_killed_process_is_free(tmp_path):
    workspace = Workspace(tmp_path)
    with held_elsewhere(workspace) as process:
        process.kill()
        process.wait()
        with workspace.locked():
            pass
    assert not list(tmp_path.iterdir())


def test_without_locks_of_the_system_a_file_does(tmp_path):
    workspace = Workspace(tmp_path)
    with held_elsewhere(workspace, "blocked"):
        command = [sys.executable, "-c", HOLD, tmp_path, "blocked"]
        second = subprocess.run(command, cwd=HOME, capture_output=True, text=True, check=False)
        assert "is running" in second.stderr.splitlines()[-1]
    assert not list(tmp_path.iterdir())


def test_a_lock_is_released_by_a_failure(tmp_path):
    workspace = Workspace(tmp_path)
    with pytest.raises(ValueError, match="mine"), workspace.locked():
        raise ValueError("mine")
    with workspace.locked():
        pass


def test_a_lock_that_leads_elsewhere_is_refused(tmp_path):
    workspace = Workspace(tmp_path)
    (tmp_path / "mine.txt").write_text("mine")
    workspace.lock.symlink_to(tmp_path / "mine.txt")
    with pytest.raises(LeverError, match="symbolic link"), workspace.locked():
        pass
    assert (tmp_path / "mine.txt").read_text() == "mine"


def test_only_who_takes_the_lock_imports_it():
    code = "import sys, search_faiss_policies; assert 'filelock' not in sys.modules"
    assert subprocess.run([sys.executable, "-c", code], cwd=HOME, check=False).returncode == 0
