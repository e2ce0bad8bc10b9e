"""Whatever way a script speaks, a stranger's text gives no order to the terminal."""

import subprocess
import sys

import pytest

from library.workspace import HOME

EVIL = "\x1b]0;owned\x07\x1b[31m\r\x9b2J\u202egold"
SHOWN = r"\x1b]0;owned\x07\x1b[31m\x0d\x9b2J\x202egold"
WAYS = {
    "show(EVIL)": (0, "stdout"),
    "notice(EVIL)": (0, "stderr"),
    "run(lambda: show(EVIL) or 1)": (1, "stdout"),
    "run(lambda: fail(LeverError(EVIL)))": (2, "stderr"),
    "run(lambda: fail(OSError(2, EVIL, EVIL)))": (2, "stderr"),
    "create_parser('x').parse_args([EVIL])": (2, "stderr"),
    "create_parser('x').parse_args(['--workspace', EVIL])": (2, "stderr"),
}


def speak(code):
    program = (
        "from library.command_line import *\n"
        "from library.errors import LeverError\n"
        "def fail(error): raise error\n"
        f"EVIL = {EVIL!r}\n{code}"
    )
    return subprocess.run(
        [sys.executable, "-X", "utf8", "-c", program], cwd=HOME, capture_output=True, check=False
    )


@pytest.mark.parametrize("code", WAYS)
def test_no_way_to_speak_passes_control_characters(code):
    returncode, stream = WAYS[code]
    result = speak(code)
    said = (result.stdout + result.stderr).decode()
    assert result.returncode == returncode, said
    assert getattr(result, stream).count(b"\n") == 1, "one line"
    assert not (set(EVIL) - set("gold owned[]0;312Jm")) & set(said)
    words = SHOWN if "Error" not in code else SHOWN.replace(r"\x0d", " ")  # an error is one line
    assert words in said or "workspace" in code


def test_an_interrupt_has_its_own_code():
    result = speak("run(lambda: fail(KeyboardInterrupt()))")
    assert (result.returncode, result.stderr) == (130, b"interrupted\n")


def test_a_reader_that_has_gone_is_no_error():
    result = speak("run(lambda: fail(BrokenPipeError()))")
    assert (result.returncode, result.stderr) == (0, b"")
