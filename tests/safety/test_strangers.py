"""Files of strangers: whatever they hold, they are read or refused in a line, and nothing runs."""

import random
import resource
import shutil
import subprocess
import sys
import zipfile

import pytest

from library.errors import UnusableRecording
from library.workspace import HOME, Workspace
from recording.archives import Archive
from recording.stable_baselines3 import read_agent
from tests.conftest import run

pytestmark = pytest.mark.slow
strangers = pytest.importorskip("tests.safety.strangers")

N_DAMAGED = 150  # the long form: python -m tests.fuzz --strangers 2000
MEMORY = 4 * 2**30  # bytes of address space that a reader may take, numpy and torch included


def test_damage_is_read_or_refused_in_a_line(tmp_path):
    cases = list(strangers.damage_strangers(tmp_path, N_DAMAGED, random.Random(0)))
    bad = [case for case in cases if case[2] not in strangers.ACCEPTED]
    assert not bad, bad[0]
    assert {case[2] for case in cases} == set(strangers.ACCEPTED)


@pytest.mark.parametrize(
    "write",
    [
        strangers.hostile_agents,
        strangers.hostile_normalisations,
        strangers.hostile_options,
    ],
)
def test_code_in_any_field_does_not_run(write, tmp_path):
    marker = tmp_path / "marker"
    n = 0
    for name, path in write(tmp_path / "files", marker):
        outcome, said = strangers.judge(path)
        assert outcome in strangers.ACCEPTED, (name, outcome, said)
        assert not marker.exists(), name
        n += 1
    assert n > 10
    assert {p.name for p in tmp_path.iterdir()} == {"files"}


def test_code_instead_of_numbers_is_named(tmp_path):
    marker = tmp_path / "marker"
    (tmp_path / "q.pkl").write_bytes(strangers.payload(marker))
    assert "posix.system" in strangers.judge(tmp_path / "q.pkl")[1]


def test_an_archive_that_unfolds_is_not_unfolded(tmp_path):
    path = tmp_path / "bomb.zip"
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("data", bytes(40 * 2**20))
        archive.writestr("policy.pth", bytes(100 * 2**20))
    with pytest.raises(UnusableRecording, match="'data' has more than"):
        read_agent(path)
    with pytest.raises(UnusableRecording, match=r"'policy\.pth' has more than"):
        Archive(path, "bomb.zip").read("policy.pth")


def test_a_folder_of_hostile_files_is_a_table_of_reasons(tmp_path):
    folder, marker = tmp_path / "found", tmp_path / "marker"
    paths = strangers.write_whole_files(folder)
    for i, write in enumerate((strangers.hostile_agents, strangers.hostile_tables)):
        for j, (_, path) in enumerate(write(tmp_path / f"hostile_{i}", marker)):
            if j % 5 == 0:
                shutil.copy(path, folder / f"{i}_{j}\x1b[31m\n{path.name}")
    given = ("--env", "FrozenLake-v1", "--episodes", "1", "--jobs", "1")
    (tmp_path / "library").mkdir()
    result = run("record_policies.py", folder, *given, workspace=Workspace(tmp_path / "library"))
    assert result.returncode == 0, result.stderr
    assert "Traceback" not in result.stderr
    assert "\x1b" not in result.stdout + result.stderr
    assert not marker.exists()
    n_tables = sum(path.name in strangers.FORMS for path in paths)
    assert f"FrozenLake-v1 (FrozenLake-v1): {n_tables} runs" in result.stdout
    n_skipped = int(result.stdout.split()[-2])
    assert result.stdout.count("skipped: ") == n_skipped


def test_bombs_take_little_memory_and_time(tmp_path):
    """In a process whose memory is limited, where a crash would be seen."""
    program = (
        "import sys; from pathlib import Path; from tests.safety import strangers\n"
        "for name, path in strangers.hostile_tables(Path(sys.argv[1]), Path(sys.argv[2])):\n"
        "    outcome, said = strangers.judge(path)\n"
        "    assert outcome in strangers.ACCEPTED, (name, outcome, said)\n"
    )
    result = subprocess.run(
        [sys.executable, "-c", program, tmp_path / "files", tmp_path / "marker"],
        cwd=HOME,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
        preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_AS, (MEMORY, MEMORY)),
    )
    assert result.returncode == 0, result.stderr[-2000:]
    assert not (tmp_path / "marker").exists()
