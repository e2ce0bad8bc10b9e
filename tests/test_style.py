"""Format, lint, docstring rules and types: with the tests, one command."""

import subprocess
import sys

import pytest

from library.workspace import HOME

pytestmark = pytest.mark.slow


@pytest.mark.parametrize("command", ["ruff format --check .", "ruff check .", "mypy"])
def test_the_code_is_clean(command):
    result = subprocess.run(
        [sys.executable, "-m", *command.split()],
        cwd=HOME,
        capture_output=True,
        text=True,
        check=False,
    )
    assert result.returncode == 0, result.stdout + result.stderr
