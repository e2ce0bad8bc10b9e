"""Standard streams that are closed, full or poor in characters: no traceback, a sensible code."""

import errno
import os
import subprocess
import sys
from pathlib import Path

import pytest

from library.streams import is_closed_pipe, plain_mark, plain_marks
from library.workspace import HOME

TALK = """
import sys
from library import command_line
from library.errors import UnusableLibrary

def main():
    command_line.notice("notice: \\u2696\\ufe0f Gr\\xfcn")
    command_line.show("\\U0001f50d Gr\\xfcn \\u274c \\u0438 \\xb1 \\udc80")
    if sys.argv[1:] == ["fail"]:
        raise UnusableLibrary("\\U0001f9e9 is missing; mend it")
    if sys.argv[1:] == ["ask"]:
        command_line.show(f"{sys.stdin.isatty()} {sys.stdin.read()!r}")
    return command_line.DONE

command_line.end_on_interrupt()
command_line.run(main)
"""
SCRIPTS = [
    ["pi2vec_preparation.py"],
    ["search_faiss_policies.py"],
    ["reset_framework.py"],
    ["record_policies.py"],
    ["faiss_utils/view_faiss_db.py"],
    ["-m", "worlds.gridworld.generate_states"],
]


def talk(*arguments, shell="", **environment):
    """Run a script that talks, from a shell that redirects its streams."""
    command = ["/bin/sh", "-c", f'"$@" {shell}', "sh", sys.executable, "-c", TALK, *arguments]
    base = {"PATH": "/usr/bin:/bin", "PYTHONPATH": str(HOME)}
    return subprocess.run(
        command, env=base | environment, cwd=HOME, capture_output=True, check=False, timeout=60
    )


@pytest.mark.parametrize("encoding", ["ascii", "cp1252", "ascii:strict", "latin-1", "utf-8"])
def test_what_an_encoding_lacks_becomes_a_plain_mark(encoding):
    result = talk("fail", PYTHONIOENCODING=encoding)
    assert result.returncode == 2
    name = encoding.split(":")[0]
    out, err = result.stdout.decode(name), result.stderr.decode(name)
    letter = "u" if name == "ascii" else "ü"
    assert f"Gr{letter}n" in out and "notice: " in err and f"Gr{letter}n" in err
    assert err.splitlines()[-1].endswith("is missing; mend it")
    if name == "utf-8":
        assert "🔍" in out and "🧩" in err
    else:
        assert out.startswith("* Gr") and " x " in out and "error: * is missing" in err


def test_a_locale_without_utf_8_prints_too():
    result = talk("fail", LC_ALL="C", PYTHONUTF8="0", PYTHONCOERCECLOCALE="0")
    assert result.returncode == 2 and b"Traceback" not in result.stderr
    assert result.stdout.isascii() and result.stderr.isascii()


def test_marks_are_ascii_and_say_what_they_can():
    assert [plain_mark(c) for c in "é–“€π\ufe0f🏆и"] == [
        "e",
        "-",
        '"',
        "*",
        "pi",
        "",
        "*",
        "\\u0438",
    ]
    for point in range(0x80, 0x30000, 7):
        assert plain_mark(chr(point)).isascii()


@pytest.mark.parametrize("closed", ["<&-", ">&-", "2>&-", "<&- >&-", ">&- 2>&-", "<&- >&- 2>&-"])
def test_closed_streams_are_no_failure(closed):
    result = talk("ask", shell=closed)
    assert result.returncode == 0
    assert b"Traceback" not in result.stderr and b"Exception" not in result.stderr
    assert (b"Gr" in result.stdout) == (" >&-" not in f" {closed}")
    assert talk("fail", shell=closed).returncode == 2


def test_what_is_written_to_a_closed_stream_goes_into_no_file(tmp_path):
    path = tmp_path / "file"
    code = (
        "import os, sys; from library import command_line; command_line.end_on_interrupt();"
        f"file = open({str(path)!r}, 'w'); os.write(2, b'noise'); os.write(1, b'noise');"
        "file.write('content'); file.close()"
    )
    command = ["/bin/sh", "-c", '"$@" <&- >&- 2>&-', "sh", sys.executable, "-c", code]
    assert subprocess.run(command, cwd=HOME, check=False).returncode == 0
    assert path.read_text() == "content"


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="no device that is always full")
def test_a_full_device_is_one_line():
    result = talk(shell=">/dev/full")
    assert result.returncode == 2
    (line,) = result.stderr.decode().splitlines()[1:]
    assert line.startswith("error: ") and "No space left" in line and "; " in line
    assert talk("fail", shell=">/dev/full 2>/dev/full").returncode == 2


@pytest.mark.parametrize("with_errors", [False, True])
@pytest.mark.parametrize("arguments", [(), ("fail",)])
def test_a_reader_that_goes_away_is_met_with_silence(with_errors, arguments):
    reading, writing = os.pipe()
    os.close(reading)
    result = subprocess.run(
        [sys.executable, "-c", TALK, *arguments],
        cwd=HOME,
        stdout=writing,
        stderr=writing if with_errors else subprocess.PIPE,
        check=False,
    )
    os.close(writing)
    assert result.returncode == 0  # the work ends where nobody reads on
    assert with_errors or result.stderr.decode().splitlines() == ["notice: ⚖️ Grün"]


def test_what_can_not_be_decoded_is_not_made_up():
    broken = UnicodeDecodeError("utf-8", b"\xff", 0, 1, "invalid start byte")
    with pytest.raises(UnicodeDecodeError, match="invalid start byte"):
        plain_marks(broken)
    assert plain_marks(UnicodeEncodeError("ascii", "Grün", 2, 3, "")) == ("u", 3)


def test_windows_tells_of_a_closed_pipe_in_its_own_way(monkeypatch):
    error = OSError(errno.EINVAL, "Invalid argument")
    assert not is_closed_pipe(error) and is_closed_pipe(BrokenPipeError())
    monkeypatch.setattr(sys, "platform", "win32")
    assert is_closed_pipe(error)
    assert not is_closed_pipe(OSError(errno.EINVAL, "Invalid argument", "a file"))
    assert not is_closed_pipe(OSError(errno.ENOSPC, "No space left on device"))


@pytest.mark.parametrize("script", SCRIPTS)
def test_the_help_of_every_script_is_for_any_terminal(script):
    command = [sys.executable, *script, "--help"]
    environment = {"PATH": "/usr/bin:/bin", "PYTHONIOENCODING": "ascii"}  # no HOME, TERM, COLUMNS
    plain = subprocess.run(command, cwd=HOME, env=environment, capture_output=True, check=False)
    assert plain.returncode == 0 and not plain.stderr and b"--workspace" in plain.stdout
    wrong = ["/bin/sh", "-c", '"$@" <&- >&-', "sh", *command[:-1], "--no-such-option"]
    result = subprocess.run(wrong, cwd=HOME, env=environment, capture_output=True, check=False)
    assert result.returncode == 2 and len(result.stderr.splitlines()) == 1
