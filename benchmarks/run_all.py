#!/usr/bin/env python3
"""Run the stages of a library and all benchmarks, and write a page of what they print.

reads   benchmarks/; with --published DIR runs of the published system's grid worlds as well
writes  docs/benchmarks.md
run     python benchmarks/run_all.py
time    half an hour on two cores; nothing else should run meanwhile
"""

import os
import platform
import shlex
import subprocess
import sys
import time
from collections.abc import Iterator
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from tempfile import TemporaryDirectory

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))  # run as a script, from anywhere

from library import command_line
from library.errors import LeverError
from library.files import atomic_write
from library.workspace import HOME

PAGE = HOME / "docs" / "benchmarks.md"
PACKAGES = ("faiss-cpu", "numba", "numpy", "onnxruntime", "scikit-learn", "torch")
LIBRARIES = ("household", "warehouse", "greenhouse")
INTRODUCTION = """# What the benchmarks print

Written by `benchmarks/run_all.py` on {date}, with Python {python} on {system}, {cores} cores;
{packages}. Each command stands above its
standard output. Its time is that of the whole process; times differ between machines, so trust
the ratios.
"""


def main() -> int:
    """Run every command and write the page when all are done."""
    parser = command_line.create_parser(__doc__)
    parser.add_argument("--published", type=Path, metavar="DIR")
    arguments = parser.parse_args()
    with TemporaryDirectory() as folder:
        names = {folder + os.sep: "", str(HOME) + os.sep: ""}
        if arguments.published:
            names[str(arguments.published)] = "published_states"
        commands = [*stages(folder), *benchmarks(folder, arguments.published)]
        sections = [run(command, names) for command in commands]
    with atomic_write(PAGE) as file:
        file.write("\n".join([introduction(), *sections]).encode())
    return command_line.DONE


def introduction() -> str:
    """Say when, where and with what the page was made."""
    return INTRODUCTION.format(
        date=datetime.now(UTC).strftime("%d %B %Y"),
        python=platform.python_version(),
        system=platform.system(),
        cores=os.cpu_count(),
        packages=", ".join(f"{name} {version(name)}" for name in PACKAGES),
    )


def stages(folder: str) -> Iterator[list[str]]:
    """The way of the demonstration library: trained, prepared, prepared again, searched."""
    demonstration = ["--workspace", f"{folder}/demonstration"]
    (Path(folder) / "demonstration").mkdir()
    query = "Find the fastest exit and collect as much gold as possible"
    yield ["-m", "worlds.gridworld.generate_states", *demonstration]
    yield ["pi2vec_preparation.py", *demonstration]
    yield ["pi2vec_preparation.py", *demonstration]
    yield ["search_faiss_policies.py", query, "--seed", "0038", *demonstration]
    yield ["search_faiss_policies.py", query, "--seed", "0038", "--compose", *demonstration]
    yield ["pi2vec_preparation.py", "--all-seeds", *demonstration]


def benchmarks(folder: str, published: Path | None) -> Iterator[list[str]]:
    """The benchmarks; those of a prepared library on the demonstration."""
    demonstration = ["--workspace", f"{folder}/demonstration"]
    others = ["--published", str(published)] if published else []
    if published:
        (Path(folder) / "published").mkdir()
        yield ["record_policies.py", str(published), "--workspace", f"{folder}/published"]
        yield ["pi2vec_preparation.py", "--all-seeds", "--workspace", f"{folder}/published"]
    yield ["benchmarks/benchmark_pi2vec.py", *demonstration]
    yield ["benchmarks/benchmark_worlds.py"]
    yield ["benchmarks/benchmark_composition.py", *others]
    yield ["benchmarks/evaluate_queries.py", "benchmarks/queries.jsonl", *demonstration]
    for name in LIBRARIES:
        stem = f"benchmarks/libraries/{name}"
        texts = ["--library", f"{stem}_objectives.json", f"{stem}_queries.jsonl"]
        yield ["benchmarks/evaluate_queries.py", *texts, *demonstration]
    search = ["benchmarks/benchmark_search.py", *demonstration, "--policies"]
    yield [*search, "1000000", "--distinct", "0.01", "--sentence-transformers"]
    yield [*search, "10000000"]


def run(command: list[str], names: dict[str, str]) -> str:
    """Run a command and write its section, with short names for folders.

    Raises:
        LeverError: if it fails.
    """
    command_line.notice(shlex.join(command))
    started = time.perf_counter()
    done = subprocess.run(
        [sys.executable, *command], cwd=HOME, stdout=subprocess.PIPE, text=True, check=False
    )
    seconds = time.perf_counter() - started
    if done.returncode != command_line.DONE:
        raise LeverError(f"{shlex.join(command)} failed; mend it and run all anew")
    title, output = shlex.join(["python", *command]), done.stdout.rstrip()
    for path, name in names.items():
        title, output = title.replace(path, name), output.replace(path, name)
    return f"## `{title}`\n\n{seconds:.1f} s\n\n```\n{output}\n```\n"


if __name__ == "__main__":
    command_line.run(main)
