"""All scripts as on Windows, with any umask, and in folders that other systems have been in."""

import json
import os
import shutil
import stat
import subprocess
import sys

import numpy as np
import pytest

from library.files import is_foreign
from library.workspace import HOME, Workspace
from tests.safety.elsewhere import CAUGHT, FUNCTIONS, MODULES
from tests.safety.workers import PREPARE, run_main

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(sys.platform != "linux", reason="open files are found by /proc"),
]
HARNESS = "tests/safety/elsewhere.py"
WITHOUT = ("HOME", "USER", "LOGNAME", "TERM", "COLUMNS")  # of the environment


def elsewhere(*arguments, workspace, umask=0o022, code=0):
    """Run a script as on another system; its code is given."""
    environment = {name: value for name, value in os.environ.items() if name not in WITHOUT}
    result = subprocess.run(
        [sys.executable, HARNESS, *map(str, arguments), "--workspace", str(workspace.root)],
        cwd=HOME,
        env=environment,
        umask=umask,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert result.returncode == code and "Traceback" not in result.stderr, result
    return result


def modes(folder):
    """Give the modes of the files and of the folders below a folder."""
    paths = [folder, *folder.rglob("*")]
    files = {stat.S_IMODE(path.stat().st_mode) for path in paths if path.is_file()}
    return files, {stat.S_IMODE(path.stat().st_mode) for path in paths if path.is_dir()}


def q_tables(folder, n=2):
    folder.mkdir()
    for i in range(n):
        np.save(folder / f"lake_{i}.npy", np.random.default_rng(i).normal(size=(16, 4)))
    return folder


def test_every_script_runs_without_posix_and_follows_the_umask(library, tmp_path):
    umask = 0o007  # neither the usual one, nor as strict as a temporary file's
    options = {"workspace": library, "umask": umask}
    tables, out = q_tables(tmp_path / "tables"), tmp_path / "out"
    encoder = shutil.move(library.text_encoder, tmp_path / "encoder")
    for name in ("data", "psi_models", "models", "faiss_index/worlds", "states_f/path"):
        shutil.rmtree(library.root / name)
    empty = Workspace(tmp_path / "empty")
    empty.root.mkdir()
    generate = ["-m", "worlds.gridworld.generate_states", "--seeds", "2", "--episodes", "100"]
    elsewhere(*generate, workspace=empty, umask=umask)
    assert modes(empty.states) == ({0o660}, {0o770})
    record = ["record_policies.py", tables, "--env", "FrozenLake-v1", "--episodes", "2"]
    assert "2 used" in elsewhere(*record, "--jobs", "2", **options).stdout
    assert "2 used" in elsewhere(*record, "--dry-run", **options).stdout
    shutil.copytree(encoder, library.text_encoder)
    prepared = elsewhere("pi2vec_preparation.py", "--seeds", "0000,0038", **options)
    assert "Prepared" in prepared.stdout
    assert not library.lock.exists() and not library.staging.root.exists()
    elsewhere("search_faiss_policies.py", "collect gold", "--export", out, **options)
    alone = ["search_faiss_policies.py", "gold", "--seed", "0038", "--compose"]
    elsewhere(*alone, **options)
    elsewhere("search_faiss_policies.py", "--like", "gold_0038_100", **options)
    elsewhere("faiss_utils/view_faiss_db.py", "--map", out / "map.png", **options)
    elsewhere("faiss_utils/view_faiss_db.py", "--verify", **options)
    written = [library.data, library.psi_models, library.models, out]
    written += [library.states / "FrozenLake-v1", library.faiss_index / "worlds"]
    for folder in written:
        assert modes(folder) == ({0o660}, {0o770}), folder
    for path in (library.manifest, library.metadata, library.policy_index):
        assert stat.S_IMODE(path.stat().st_mode) == 0o660
    assert "Deleted" in elsewhere("reset_framework.py", "--yes", **options).stdout
    assert not library.manifest.exists() and not library.lock.exists()


def test_the_harness_catches_what_windows_would():
    rename = (
        "import os, pathlib, tempfile; folder = pathlib.Path(tempfile.mkdtemp());"
        "file = open(folder / 'a', 'w'); os.replace(folder / 'a', folder / 'b')"
    )
    opened = "import os; os.open('/tmp', os.O_RDONLY)"
    for code in (rename, opened):
        script = f"import sys; sys.path.insert(0, '.'); from tests.safety import elsewhere; {code}"
        hooked = script.replace("elsewhere; ", "elsewhere; sys.addaudithook(elsewhere.watch); ", 1)
        result = subprocess.run([sys.executable, "-c", hooked], cwd=HOME, check=False)
        assert result.returncode == CAUGHT
    assert {"fcntl", "pwd", "resource"} <= set(MODULES) and "fork" in FUNCTIONS


def with_umask(umask, name, arguments):
    before = os.umask(umask)
    try:
        return run_main(name, arguments)
    finally:
        os.umask(before)


@pytest.mark.parametrize("umask", [0o077, 0o002])
def test_all_files_of_a_library_have_the_mode_that_the_umask_gives(library, worker, umask):
    for folder in (library.data, library.psi_models, library.models):
        shutil.rmtree(folder)
    arguments = ("--seeds", "0040", "--workspace", str(library.root))
    ended = worker.call(with_umask, umask, PREPARE, arguments)
    assert ended.code == 0, ended
    files = {path for path in library.built_files() if path.parent != library.text_encoder}
    assert {stat.S_IMODE(path.stat().st_mode) for path in files} == {0o666 & ~umask}


FOREIGN = ("__MACOSX", "@eaDir", ".hidden", "$RECYCLE.BIN", "@EADIR")


def litter(folder):
    """Leave in a folder what other systems leave there."""
    before = set(folder.rglob("*"))
    for name in FOREIGN:
        (folder / name / "inner").mkdir(parents=True)
        (folder / name / "SYNOFILE").write_text("theirs")
        for file in ("episode_rewards.csv", "lake_9.npy", "agent.zip"):
            (folder / name / file).write_bytes(b"no such thing")
    for name in ("Thumbs.db", "desktop.ini", ".DS_Store", "._lake_0.npy", "._gold"):
        (folder / name).write_bytes(b"\0\5\26\7")
    left = set(folder.rglob("*")) - before
    return {path: path.read_bytes() for path in left if path.is_file()}


def test_what_other_systems_leave_is_passed_over(library, worker, tmp_path):
    assert all(map(is_foreign, (*FOREIGN, "Thumbs.db", "THUMBS.DB", ".DS_Store", "lost+found")))
    assert not any(map(is_foreign, ("gold", "seed_0001", "eaDir", "MACOSX", "thumbs")))
    before = worker.script(PREPARE, "--seeds", "0038", workspace=library)
    places = [library.states, library.states / "gold", library.states / "gold" / "seed_0038"]
    places += [next((places[-1] / "episodes").iterdir()).parent, *library.folders]
    left = [litter(folder) for folder in places]
    again = worker.script(PREPARE, "--seeds", "0038", workspace=library)
    assert again.code == 0 and "Nothing changed" in again.out and "skipped" not in again.err
    assert "Nothing changed" not in before.out
    anew = worker.script(PREPARE, "--seeds", "0038,0040", workspace=library)
    assert anew.code == 0 and "skipped" not in anew.err and "notice" not in anew.err
    assert not [name for name in json.loads(library.manifest.read_text())["files"] if "@" in name]
    tables = q_tables(tmp_path / "tables")
    litter(tables)
    record = ["--env", "FrozenLake-v1", "--dry-run"]
    ended = worker.script("record_policies", tables, *record, workspace=library)
    assert ended.out.splitlines()[-1] == "2 runs found, 2 used, 0 skipped"
    assert worker.script("reset_framework", "--yes", workspace=library).code == 0
    assert library.built_files() == []
    for files in left:
        assert {path: path.read_bytes() for path in files} == files


def test_an_empty_folder_of_another_systems_is_no_target(tmp_path):
    from pi2vec_preparation import has_targets

    assert not has_targets(tmp_path / "missing")
    (tmp_path / "@eaDir").mkdir()
    (tmp_path / ".DS_Store").write_text("")
    assert not has_targets(tmp_path)
    (tmp_path / "gold").mkdir()
    assert has_targets(tmp_path)
