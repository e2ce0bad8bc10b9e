"""Files are written whole or not at all, follow the umask, and errors name them."""

import errno
import os
import resource
import signal
import stat
import subprocess
import sys

import numpy as np
import pytest

from library.errors import UnusableRecording
from library.files import atomic_write, naming, read_bounded, whole_folder
from library.workspace import HOME


@pytest.fixture
def umask(request):
    before = os.umask(request.param)
    yield request.param
    os.umask(before)


@pytest.mark.parametrize("umask", [0o077, 0o022, 0o002], indirect=True)
def test_the_umask_decides_who_may_read(tmp_path, umask):
    path = tmp_path / "new" / "file"
    with atomic_write(path) as file:
        file.write(b"content")
    with whole_folder(tmp_path / "folder") as partial:
        (partial / "file").write_bytes(b"")
    for place, most in ((path, 0o666), (path.parent, 0o777), (tmp_path / "folder", 0o777)):
        assert stat.S_IMODE(place.stat().st_mode) == most & ~umask


def test_the_file_is_closed_when_it_is_put_into_place(tmp_path, monkeypatch):
    closed = []
    replace = type(tmp_path).replace
    monkeypatch.setattr(
        type(tmp_path), "replace", lambda *paths: closed.append(file.closed) or replace(*paths)
    )
    with atomic_write(tmp_path / "file") as file:
        file.write(b"content")
    assert closed == [True] and (tmp_path / "file").read_bytes() == b"content"


def test_the_content_is_on_the_disk_before_the_file_is_put_into_place(tmp_path, monkeypatch):
    steps, replace = [], type(tmp_path).replace
    monkeypatch.setattr(os, "fsync", lambda number: steps.append(os.fstat(number).st_size))
    monkeypatch.setattr(
        type(tmp_path), "replace", lambda *paths: steps.append("replace") or replace(*paths)
    )
    with atomic_write(tmp_path / "file") as file:
        file.write(b"content")
    assert steps == [len(b"content"), "replace"]


def test_who_was_overtaken_by_another_process_is_told(tmp_path):
    folder = tmp_path / "run"
    with pytest.raises(FileNotFoundError), whole_folder(folder), whole_folder(folder) as later:
        (later / "by").write_text("the later one")
    assert (folder / "by").read_text() == "the later one" and list(tmp_path.iterdir()) == [folder]


def test_what_is_no_file_is_not_read(tmp_path):
    (tmp_path / "file").write_bytes(b"content")
    assert read_bounded(tmp_path / "file", 7) == b"content"
    for place, message in (("file", "more than 6"), ("", "no file"), ("none", "is missing")):
        with pytest.raises(UnusableRecording, match=message):
            read_bounded(tmp_path / place, 6)
    with pytest.raises(UnusableRecording, match="can't be read"):
        read_bounded(tmp_path / ("x" * 300))  # no name may be as long


@pytest.mark.parametrize("name", ["x" * 255, "ü" * 127])
def test_the_longest_name_leaves_room_for_the_temporary_one(tmp_path, name):
    with atomic_write(tmp_path / name) as file:
        file.write(b"content")
    assert [path.name for path in tmp_path.iterdir()] == [name]


def test_a_failure_names_the_file_and_leaves_the_old_one(tmp_path):
    path = tmp_path / "file"
    path.write_text("old")
    with pytest.raises(OSError, match="No space") as error, atomic_write(path) as file:
        file.write(b"new")
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
    assert error.value.filename == str(path)
    assert path.read_text() == "old" and list(tmp_path.iterdir()) == [path]


def test_a_failure_with_another_file_names_that(tmp_path):
    with pytest.raises(FileNotFoundError) as error, atomic_write(tmp_path / "file"):
        (tmp_path / "missing").read_bytes()
    assert error.value.filename == tmp_path / "missing" or error.value.filename == str(
        tmp_path / "missing"
    )


def test_a_folder_that_fails_is_named_by_what_it_would_become(tmp_path):
    with pytest.raises(OSError) as error, whole_folder(tmp_path / "run") as partial:
        (partial / "missing" / "file").write_bytes(b"")
    assert error.value.filename == str(tmp_path / "run" / "missing" / "file")
    assert not list(tmp_path.iterdir())


SCRIPT = """
import sys
from pathlib import Path
import numpy as np
from library import command_line
from library.files import atomic_write

def main():
    with atomic_write(Path(sys.argv[1])) as file:
        np.save(file, np.zeros(1_000_000))
    return 0

command_line.run(main)
"""


def allow_little():
    signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (10_000, 10_000))


def test_no_room_for_an_array_is_one_line_with_file_and_reason(tmp_path):
    command = [sys.executable, "-B", "-c", SCRIPT, tmp_path / "array.npy"]
    result = subprocess.run(
        command, cwd=HOME, preexec_fn=allow_little, capture_output=True, text=True, check=False
    )
    place, reason = tmp_path / "array.npy", os.strerror(errno.EFBIG)
    assert result.stderr == f"error: {place}: {reason}; mend it and try again\n"
    assert result.returncode == 2 and not list(tmp_path.iterdir())


def test_numpy_writes_what_it_always_writes(tmp_path):
    array = np.arange(12.0).reshape(3, 4)
    np.save(tmp_path / "one.npy", array)
    with atomic_write(tmp_path / "other.npy") as file:
        np.save(file, array)
    assert (tmp_path / "one.npy").read_bytes() == (tmp_path / "other.npy").read_bytes()


def test_an_error_without_a_file_is_given_one(tmp_path):
    for given, named in ((None, tmp_path / "file"), ("other", "other")):
        with pytest.raises(OSError, match="No space") as error, naming(tmp_path / "file"):
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), given)
        assert error.value.filename == str(named)
