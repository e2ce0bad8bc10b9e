"""The README and the pages of docs/: their commands work as pasted, and they name what there is."""

import os
import re
import shlex
import shutil
import subprocess
import sys

import numpy as np
import pytest
import stable_baselines3

from library.workspace import HOME, Workspace
from tests.conftest import run
from worlds.gridworld.environment import draw_layout
from worlds.gridworld.generate_states import N_EPISODES, N_SAVED
from worlds.gridworld.sarsa import train

README = HOME / "README.md"
PAGES = [README, *sorted((HOME / "docs").glob("*.md"))]
TEXTS = {page.name: page.read_text("utf-8") for page in PAGES}
WRITTEN = {name: text for name, text in TEXTS.items() if name != "benchmarks.md"}  # by people
SCRIPTS = (
    "pi2vec_preparation.py",
    "record_policies.py",
    "search_faiss_policies.py",
    "reset_framework.py",
    "faiss_utils/view_faiss_db.py",
)
LEAST = {"worlds.gridworld.generate_states": ["--seeds", "1", "--episodes", "50"]}  # of work
FEW = ("seed_0036", "seed_0037", "seed_0038")  # runs of each target to work on
N_README_LINES = 200


def blocks_of(name, language):
    return re.findall(rf"```{language}\n(.*?)```", TEXTS[name], re.S)


def commands_of(name):
    """The Python commands of a page's blocks, each as a list, without the interpreter."""
    lines = [line for block in blocks_of(name, "bash") for line in block.splitlines()]
    parts = [part.strip() for line in lines for part in line.split("&&")]
    python = re.compile(r"(\.venv/bin/)?python ([a-z0-9_/]+\.py|-m [a-z]+\.)")
    return [shlex.split(part)[1:] for part in parts if python.match(part)]


COMMANDS = commands_of("README.md")  # in their order
COMMANDS += [c for name in WRITTEN for c in commands_of(name) if c not in COMMANDS]


@pytest.fixture(scope="module")
def workspace(prepared, tmp_path_factory):
    """A library to work on, and a folder of trained policies beside it."""
    root = tmp_path_factory.mktemp("documents") / "workspace"
    shutil.copytree(prepared.root, root)
    for run_folder in root.glob("states_f/*/seed_*"):
        if run_folder.name not in FEW:
            shutil.rmtree(run_folder)
    agents = root.parent / "rl-trained-agents"
    agents.mkdir()
    np.save(agents / "q_table_Taxi-v4.npy", np.zeros((500, 6)))
    stable_baselines3.PPO("MlpPolicy", "CartPole-v1").save(agents / "ppo-CartPole-v1.zip")
    return Workspace(root)


@pytest.mark.slow
def test_the_commands_work_as_pasted_on_a_small_workspace(workspace):
    assert len(COMMANDS) >= 12
    for command in COMMANDS:
        own = workspace
        arguments = [place(argument, workspace.root.parent) for argument in command]
        if arguments[0] == "-m":
            arguments += LEAST.get(arguments[1], [])
            own = Workspace(workspace.root.parent / "generated")
            own.root.mkdir(exist_ok=True)
        result = run(*arguments, workspace=own)
        assert result.returncode == 0, (command, result)


def place(argument, folder):
    """Put what a command reads or writes beside the library below the test's folder."""
    names = {"exported", "rl-trained-agents", "library.png"}
    return str(folder / argument) if argument in names else argument


def test_the_example_runs_an_exported_policy(tmp_path):
    """The policy that the README's query finds, as the demonstration trains it."""
    saved = train(draw_layout(38), "path", N_EPISODES, N_SAVED, seed=38)[3]
    folder = tmp_path / "exported" / "path_0038_60"
    folder.mkdir(parents=True)
    np.save(folder / "q_table.npy", saved.q_table)
    (example,) = blocks_of("README.md", "python")
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


def test_the_readme_is_short():
    assert len(TEXTS["README.md"].splitlines()) <= N_README_LINES


@pytest.mark.parametrize("name", WRITTEN)
def test_links_lead_somewhere(name):
    page = README if name == "README.md" else HOME / "docs" / name
    for link in re.findall(r"\]\(([^)#]+)[^)]*\)", TEXTS[name]):
        assert "://" in link or (page.parent / link).exists(), link


def test_every_page_is_linked_from_the_readme():
    for page in PAGES[1:]:
        assert f"(docs/{page.name})" in TEXTS["README.md"], page.name


@pytest.mark.slow
@pytest.mark.parametrize("script", SCRIPTS)
def test_every_option_is_documented(script):
    options = set(re.findall(r"--[a-z-]+", run(script, "--help").stdout)) - {"--help"}
    assert not {option for option in options if option not in TEXTS["commands.md"]}


@pytest.mark.slow
def test_commands_within_sentences_exist():
    """Those that take too long for a test: the script is there and has the options."""
    inline = {c for text in WRITTEN.values() for c in re.findall(r"`python ([^`]+)`", text)}
    assert any("benchmark" in command for command in inline)
    for command in inline:
        words = ["-m", *command.split()[1:2]] if command.startswith("-m ") else command.split()[:1]
        described = run(*words, "--help")
        assert described.returncode == 0, command
        for option in re.findall(r"--[a-z-]+", command):
            assert option in described.stdout, command


def test_every_module_has_its_line_in_the_tree():
    for path in [*HOME.glob("*.py"), *HOME.glob("[a-z]*/*.py")]:
        if path.parent.name in ("tests", "benchmarks") or path.name == "__init__.py":
            continue
        assert re.search(rf"^ *{path.name} ", TEXTS["how_it_works.md"], re.M), path.name


def test_every_dependency_has_its_line_and_is_pinned():
    for line in (HOME / "requirements.txt").read_text().splitlines():
        name, version = line.split("==")
        assert version and name in TEXTS["README.md"].split("## Dependencies")[1], line


def test_ci_runs_the_tests_as_the_readme_does():
    lines = [line for block in blocks_of("README.md", "bash") for line in block.splitlines()]
    tests = [line for line in lines if line.endswith("-m pytest")]
    assert len(tests) == 1 and tests[0].startswith("python3 -m venv")
    assert "README.md" in (HOME / ".ci" / "run").read_text()


def printed_numbers():
    """What the benchmarks print, as they print it."""
    return set(re.findall(r"\d+\.\d+", TEXTS["benchmarks.md"]))


@pytest.mark.parametrize("name", ["README.md", "figures.md"])
def test_figures_are_those_that_a_benchmark_prints(name):
    prose = re.sub(r"```.*?```", "", TEXTS[name], flags=re.S)
    figures = set(re.findall(r"(?<![\w.])\d+\.\d+(?![\w.])", prose)) - {"3.11"}  # of Python
    assert not figures - printed_numbers()
