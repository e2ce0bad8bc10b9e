"""What all tests share: nothing outside temporary folders, no network, no clock."""

import os
import shutil
import subprocess
import sys

import hypothesis
import pytest
from filelock import FileLock

from library.files import whole_folder
from library.workspace import HOME, Workspace
from worlds.gridworld.generate_states import generate

SEEDS = range(34, 54)  # a tenth of them, as preparation picks it, has 0038
N_EPISODES = 2_000  # a short training

os.environ.pop("PYTHONDONTWRITEBYTECODE", None)  # or each of many scripts compiles the suite anew

# Time-outs on a shared machine fail at random, and new examples on every run surprise newcomers.
hypothesis.settings.register_profile("lever", deadline=None, derandomize=True)
hypothesis.settings.load_profile("lever")


def pytest_collection_modifyitems(items):
    """Begin with the longest tests, so that no worker is left with one at the end."""
    longest = ("test_style.py", "test_documents.py", "test_text_encoder.py")
    items.sort(key=lambda item: item.path.name not in longest)


@pytest.fixture(autouse=True)
def no_model_server(monkeypatch):
    """Hide a developer's own key, in the environment or in .env, from every test."""
    monkeypatch.setenv("OPENAI_API_KEY", "")


def run(*arguments, workspace=None, stdin="", timeout=120, **environment):
    """Run a script of the suite as a user does, in its own process."""
    command = [sys.executable, *map(str, arguments)]
    if workspace is not None:
        command += ["--workspace", str(workspace.root)]
    return subprocess.run(
        command,
        cwd=HOME,
        input=stdin,
        env={**os.environ, **environment},
        capture_output=True,
        text=True,
        timeout=timeout,
        check=False,
    )


@pytest.fixture(scope="session")
def made_once(tmp_path_factory):
    """Make a folder once for all processes of a run of the tests: the first that needs it does."""
    base = tmp_path_factory.getbasetemp()
    run_folder = base.parent if "PYTEST_XDIST_WORKER" in os.environ else base

    def make(name, function):
        folder = run_folder / name
        with FileLock(run_folder / f"{name}.lock"):
            if not folder.exists():
                with whole_folder(folder) as new:
                    function(new)
        return folder

    return make


@pytest.fixture(scope="session")
def recorded(made_once):
    """A workspace with short training runs of 20 seeds and no library; not to be changed."""

    def record(folder):
        generate(Workspace(folder), seeds=SEEDS, n_episodes=N_EPISODES)

    return Workspace(made_once("recorded", record))


@pytest.fixture(scope="session")
def prepared(recorded, made_once):
    """A workspace with a library of a few seeds, 0038 among them; not to be changed."""

    def prepare(folder):
        shutil.copytree(recorded.root, folder, dirs_exist_ok=True)
        result = run("pi2vec_preparation.py", "--fraction", "0.3", workspace=Workspace(folder))
        assert result.returncode == 0, result.stderr

    return Workspace(made_once("prepared", prepare))


@pytest.fixture
def library(prepared, tmp_path):
    """A copy of the prepared library that a test may damage."""
    shutil.copytree(prepared.root, tmp_path / "library")
    return Workspace(tmp_path / "library")
