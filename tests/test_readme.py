"""The README's commands work as pasted, and its tables name what there is."""

import os
import re
import shlex
import shutil
import subprocess
import sys

import numpy as np
import pytest

from library.workspace import HOME, Workspace
from tests.conftest import run
from worlds.gridworld.environment import draw_layout
from worlds.gridworld.generate_states import N_EPISODES, N_SAVED
from worlds.gridworld.sarsa import train

README = (HOME / "README.md").read_text("utf-8")
COMMANDS = [
    line for block in re.findall(r"```bash\n(.*?)```", README, re.S) for line in block.splitlines()
]
SCRIPTS = (
    "pi2vec_preparation.py",
    "record_policies.py",
    "search_faiss_policies.py",
    "reset_framework.py",
)


def write_tables(folder):
    """Write a Q-table whose name tells its environment."""
    folder.mkdir()
    np.save(folder / "q_table_Taxi-v3.npy", np.zeros((500, 6)))


@pytest.mark.slow
def test_the_commands_work_as_pasted_on_a_small_workspace(prepared, tmp_path):

    shutil.copytree(prepared.root, tmp_path / "workspace")
    workspace = Workspace(tmp_path / "workspace")
    plain = [shlex.split(line) for line in COMMANDS if line.startswith("python ")]
    quick_start = [part.strip() for line in COMMANDS for part in line.split("&&")]
    plain += [shlex.split(part) for part in quick_start if re.match(r"\.venv/bin/python \w", part)]
    assert len(plain) >= 9
    for command in plain:
        if "worlds.gridworld.generate_states" in command:
            command = [
                *command,
                "--seeds",
                "1",
                "--episodes",
                "50",
            ]  # the least that shows it works
            (tmp_path / "generated").mkdir()
            result = run(*command[1:], workspace=Workspace(tmp_path / "generated"))
        elif "record_policies.py" in command:
            write_tables(tmp_path / "rl-trained-agents")
            command = [command[1], str(tmp_path / "rl-trained-agents"), *command[3:]]
            result = run(*command, workspace=workspace)
        else:
            command = [str(tmp_path / "exported") if a == "exported" else a for a in command]
            result = run(*command[1:], workspace=workspace)
        assert result.returncode == 0, (command, result)


def test_the_example_runs_an_exported_policy(tmp_path):
    """The policy that the README's query finds, as the demonstration trains it."""
    saved = train(draw_layout(38), "path", N_EPISODES, N_SAVED, seed=38)[3]
    folder = tmp_path / "exported" / "path_0038_60"
    folder.mkdir(parents=True)
    np.save(folder / "q_table.npy", saved.q_table)
    (example,) = re.findall(r"```python\n(.*?)```", README, re.S)
    (tmp_path / "example.py").write_text(example)
    result = subprocess.run(
        [sys.executable, tmp_path / "example.py"],
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": str(HOME)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert result.returncode == 0, result.stderr
    assert float(result.stdout) == saved.reward == 128.0


@pytest.mark.slow
@pytest.mark.parametrize("script", [*SCRIPTS, "faiss_utils/view_faiss_db.py"])
def test_every_option_is_documented(script):
    options = set(re.findall(r"--[a-z-]+", run(script, "--help").stdout)) - {"--help"}
    missing = {option for option in options if option not in README}
    assert not missing


def test_every_module_has_its_line_in_the_tree():
    for path in [*HOME.glob("*.py"), *HOME.glob("[a-z]*/*.py")]:
        if path.parent.name in ("tests", "benchmarks") or path.name == "__init__.py":
            continue
        assert re.search(rf"^ *{path.name} ", README, re.M), path.name


def test_every_dependency_has_its_line_and_is_pinned():
    for line in (HOME / "requirements.txt").read_text().splitlines():
        name, version = line.split("==")
        assert version and name in README.split("## Dependencies")[1], line


def test_ci_runs_the_tests_as_the_readme_does():
    lines = [line for line in COMMANDS if line.endswith("-m pytest")]
    assert len(lines) == 1 and lines[0].startswith("python3 -m venv")
    assert "README.md" in (HOME / ".ci" / "run").read_text()
