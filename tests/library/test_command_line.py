"""What the scripts say can be pasted, and names files as the user did."""

import ast
import shlex
import subprocess
import sys
from pathlib import Path

import pytest

from library.command_line import as_given, explain, paste
from library.errors import GENERATE, LIST_POLICIES, PREPARE, REBUILD, LeverError, UnusableLibrary
from library.files import absolute
from library.workspace import HOME

NAMES = ("plain", "two words", "it's", "grün & $HOME", "--odd", "a;b")


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("form", ["--workspace {}", "--workspace={}"])
def test_a_hint_repeats_the_workspace_as_it_was_given(name, form, monkeypatch):
    if name.startswith("--"):
        form = "--workspace={}"
    option = form.split(" ") if " " in form else [form]
    arguments = [part.format(name) for part in option]
    monkeypatch.setattr(sys, "argv", ["search_faiss_policies.py", "gold", *arguments, "--json"])
    monkeypatch.chdir(HOME)
    words = shlex.split(paste(REBUILD))
    assert words[:3] == ["python", "pi2vec_preparation.py", "--force"]
    dashed = name.startswith("-")
    assert words[3:] == ([f"--workspace={name}"] if dashed else ["--workspace", name])


def test_a_hint_is_quoted_as_windows_does_it(monkeypatch):
    monkeypatch.setattr(sys, "argv", ["x.py", "--workspace", "two words"])
    monkeypatch.setattr(sys, "platform", "win32")
    monkeypatch.chdir(HOME)
    assert paste(PREPARE) == 'python pi2vec_preparation.py --workspace "two words"'


def test_a_hint_without_a_workspace_names_none(monkeypatch):
    monkeypatch.chdir(HOME)
    for arguments in ([], ["--workspace"], ["--top", "3"]):
        monkeypatch.setattr(sys, "argv", ["search_faiss_policies.py", *arguments])
        assert paste(PREPARE) == "python pi2vec_preparation.py"
        assert paste(GENERATE) == "python -m worlds.gridworld.generate_states"


@pytest.mark.parametrize("command", [PREPARE, REBUILD, GENERATE, LIST_POLICIES])
def test_a_hint_can_be_pasted_wherever_the_user_is(command, monkeypatch, tmp_path):
    monkeypatch.setattr(sys, "argv", ["x.py", "--workspace", "."])
    monkeypatch.chdir(tmp_path)
    pasted = paste(command)
    assert pasted.endswith(" --workspace .")
    _, *words = shlex.split(pasted)
    result = subprocess.run(
        [sys.executable, *words, "--help"], cwd=tmp_path, capture_output=True, check=False
    )
    assert result.returncode == 0 and b"--workspace" in result.stdout


def test_an_error_says_what_is_wrong_and_then_the_command(monkeypatch):
    monkeypatch.setattr(sys, "argv", ["x.py", "--workspace", "my lib"])
    monkeypatch.chdir(HOME)
    option = "--workspace 'my lib'"
    hint = f"python pi2vec_preparation.py {option}"
    assert explain(LeverError("too long; use less")) == "too long; use less"
    assert explain(UnusableLibrary("a is missing", PREPARE)) == f"a is missing; run: {hint}"
    assert explain(LeverError("no b; for one:", PREPARE)) == f"no b; for one: {hint}"
    assert str(LeverError("no b", REBUILD)) == "no b; run: python pi2vec_preparation.py --force"


def test_only_one_place_writes_commands():
    """Every text that names a script to run has to go through `paste`."""
    files = [*HOME.glob("*.py"), *(p for room in ROOMS for p in (HOME / room).rglob("*.py"))]
    for path in files:
        tree = ast.parse(path.read_text("utf-8"))
        documented = (ast.Module, ast.ClassDef, ast.FunctionDef)
        docs = {
            ast.get_docstring(n, clean=False) for n in ast.walk(tree) if isinstance(n, documented)
        }
        texts = [n.value for n in ast.walk(tree) if isinstance(n, ast.Constant)]
        for text in texts:
            if isinstance(text, str) and text not in docs and path.name != "errors.py":
                assert "python " not in text and "_preparation.py" not in text, (path, text)


ROOMS = ("library", "worlds", "pi2vec", "understanding", "recording", "faiss_utils", "composition")


def test_files_are_written_in_the_same_way_on_every_system():
    """Text mode would take the system's encoding and ends of lines."""
    files = [*HOME.glob("*.py"), *(p for room in ROOMS for p in (HOME / room).rglob("*.py"))]
    for path in files:
        for node in ast.walk(ast.parse(path.read_text("utf-8"))):
            if not isinstance(node, ast.Call):
                continue
            name = getattr(node.func, "attr", getattr(node.func, "id", ""))
            assert name != "write_text", (path, node.lineno)
            modes = [a.value for a in node.args[:2] if isinstance(a, ast.Constant)]
            binary = any(isinstance(mode, str) and "b" in mode for mode in modes)
            if name in ("read_text", "open") and not binary and not _is_of_archive(node):
                given = {keyword.arg for keyword in node.keywords}
                assert "encoding" in given or "utf-8" in modes, (path, node.lineno)


def _is_of_archive(node):
    """Tell `os.open` and `archive.open` from those of files."""
    return isinstance(node.func, ast.Attribute) and node.func.attr == "open"


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("error: /a/lib/x.json is damaged", "error: lib/x.json is damaged"),
        ("no library in /a/lib", "no library in lib"),
        ("'/a/lib' and /a/lib2 and /a/lib.old", "'lib' and /a/lib2 and /a/lib.old"),
        ("/b/a/lib/x", "/b/a/lib/x"),
    ],
)
def test_paths_are_shown_as_the_user_wrote_the_folder(text, shown):
    assert as_given(text, Path("/a/lib"), "lib") == shown
    assert as_given(text, Path("/a/lib"), "/a/lib") == text
    assert as_given(f"{text} / and", Path("/"), ".") == f"{text} / and"


def test_a_folders_name_is_taken_as_it_is(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "real").mkdir()
    (tmp_path / "link").symlink_to("real")
    assert absolute("link") == tmp_path / "link"
    assert absolute(".") == tmp_path and absolute("real/..") == tmp_path.resolve()
    assert absolute("~nobody-of-this-name/x") == tmp_path / "~nobody-of-this-name" / "x"
    monkeypatch.setenv("HOME", str(tmp_path))
    assert absolute("~/real") == tmp_path / "real"


@pytest.mark.parametrize("name", ["it's two wörds", "x" * 200])
def test_a_workspace_of_any_name_is_used_and_named(name, tmp_path):
    (tmp_path / name).mkdir()
    script = [sys.executable, HOME / "search_faiss_policies.py", "gold", "--workspace", name]
    result = subprocess.run(script, cwd=tmp_path, capture_output=True, text=True, check=False)
    (line,) = result.stderr.splitlines()
    shown = Path(name, "faiss_index", "policy.index")
    assert result.returncode == 2 and f"({shown} is missing)" in line
    assert shlex.split(line.split("run: ")[1])[-2:] == ["--workspace", name]


def test_a_name_too_long_for_the_system_is_one_line(tmp_path):
    for script in ("search_faiss_policies.py", "record_policies.py"):
        command = [sys.executable, HOME / script, "x" * 5000, "--workspace", "y" * 5000]
        result = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)
        (line,) = result.stderr.splitlines()
        assert result.returncode == 2 and line.startswith("error: ")
