"""The house: which room may use which, no circles, and nothing happens by importing."""

import ast
import subprocess
import sys

import pytest

from library.workspace import HOME

MAY_USE = {
    "library": set(),
    "worlds": {"library"},
    "pi2vec": {"library", "worlds"},
    "understanding": {"library", "worlds"},
    "recording": {"library", "worlds", "pi2vec"},
    "faiss_utils": {"library", "worlds", "pi2vec", "understanding"},
    "composition": {"library", "worlds", "pi2vec", "understanding", "faiss_utils"},
}
FILES = sorted(p for room in MAY_USE for p in (HOME / room).rglob("*.py"))


def module_of(path):
    parts = path.relative_to(HOME).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


MODULES = {module_of(path): path for path in FILES}


def imports_of(path, everywhere=True):
    """List the modules of the house that a file imports, within functions or not."""
    tree = ast.parse(path.read_text("utf-8"))
    nodes = ast.walk(tree) if everywhere else tree.body
    found = set()
    for node in nodes:
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            found |= {node.module} | {f"{node.module}.{alias.name}" for alias in node.names}
    return {name for name in found if name in MODULES}


@pytest.mark.parametrize("path", FILES, ids=module_of)
def test_a_room_uses_only_those_below_it(path):
    room = path.relative_to(HOME).parts[0]
    used = {name.split(".")[0] for name in imports_of(path)} - {room}
    own_scripts = {"generate_states"}  # a script that lives in its world
    if path.stem not in own_scripts:
        assert used <= MAY_USE[room], f"{path} uses {sorted(used - MAY_USE[room])}"


def test_imports_have_no_circle():
    uses = {name: imports_of(path) - {name} for name, path in MODULES.items()}
    while uses:
        free = [name for name, used in uses.items() if not used & uses.keys()]
        assert free, f"a circle among {sorted(uses)}"
        for name in free:
            del uses[name]


def test_benchmarks_import_no_scripts():
    scripts = {path.stem for path in HOME.glob("*.py")}
    for path in (HOME / "benchmarks").glob("*.py"):
        tree = ast.parse(path.read_text("utf-8"))
        froms = {n.module for n in ast.walk(tree) if isinstance(n, ast.ImportFrom)}
        assert not froms & scripts, path


def is_output(node):
    """Tell whether a piece of code writes to the terminal: print, sys.stdout or sys.stderr."""
    if isinstance(node, ast.Name):
        return node.id == "print"
    return isinstance(node, ast.Attribute) and ast.unparse(node) in {
        "sys.stdout.write",
        "sys.stderr.write",
        "sys.stdout.buffer",
        "sys.stderr.buffer",
    }


@pytest.mark.parametrize("path", [*FILES, *HOME.glob("*.py")], ids=lambda path: path.name)
def test_only_one_module_writes_to_the_terminal(path):
    """It makes control characters visible: names and texts may be a stranger's."""
    writers = ("command_line.py", "streams.py")
    if path.name not in writers:
        assert not [n.lineno for n in ast.walk(ast.parse(path.read_text("utf-8"))) if is_output(n)]


QUIET = """
import importlib, os, signal, sys
names = sys.argv[1:]
handlers = {s: signal.getsignal(s) for s in (signal.SIGINT, signal.SIGTERM)}
before = dict(os.environ), os.getcwd(), list(sys.path)
for name in names:
    importlib.import_module(name)
assert {s: signal.getsignal(s) for s in handlers} == handlers, "signals"
changed = {k for k in {*before[0], *os.environ} if before[0].get(k) != os.environ.get(k)}
others = {k for k in changed if not k.startswith(("KMP_", "TORCH", "OMP", "PYGAME"))}  # not ours
assert not others, others
assert os.getcwd() == before[1]
"""


@pytest.mark.slow
def test_importing_changes_nothing_in_the_process():
    names = [name for name in MODULES if not name.endswith("view_faiss_db")]
    result = subprocess.run(
        [sys.executable, "-c", QUIET, *names],
        cwd=HOME,
        capture_output=True,
        text=True,
        check=False,
    )
    assert result.returncode == 0 and not result.stdout, result.stderr
