"""The library and the process that the tests of safety share."""

import shutil
from pathlib import Path

import pytest

from library.workspace import Workspace
from tests.safety.tiny_library import make_library, write_tiny_encoder
from tests.safety.workers import Worker


@pytest.fixture(scope="session")
def tiny(made_once):
    """A small library with a text encoder that takes no time; not to be changed."""
    return Workspace(made_once("tiny", lambda folder: make_library(folder, write_tiny_encoder)))


@pytest.fixture
def library(tiny, tmp_path):
    """A copy that a test may change."""
    return Workspace(Path(shutil.copytree(tiny.root, tmp_path / "library")))


@pytest.fixture(scope="session")
def worker():
    with Worker() as worker:
        yield worker
