"""Run a script of the suite as if on Windows, as far as this machine can act like it.

    python tests/safety/elsewhere.py pi2vec_preparation.py --workspace DIR

What POSIX alone has is missing, folders can't be opened, and a file that is open or mapped can't
be renamed, replaced or removed: the process then ends at once with the code `CAUGHT`.
"""

import os
import runpy
import sys
from pathlib import Path

CAUGHT = 99
MODULES = ("fcntl", "grp", "pwd", "resource", "termios")
FUNCTIONS = (
    *("fork", "forkpty", "posix_spawn", "getuid", "geteuid", "getgid", "getegid", "getppid"),
    *("link", "mkfifo", "chown", "lchown", "fchmod", "sync", "statvfs", "getpgid", "killpg"),
)
OWN = os.getpid()


def open_files():
    """List the paths of what this process has open or mapped."""
    found = set()
    for link in Path("/proc/self/fd").iterdir():
        try:
            found.add(str(link.readlink()))
        except OSError:
            continue  # it listed the folder
    for line in Path("/proc/self/maps").read_text().splitlines():
        found.add(line.split(maxsplit=5)[-1])
    return {Path(name) for name in found if name.startswith("/")}


def place_of(path, folder_descriptor):
    path = Path(os.fsdecode(path))
    if folder_descriptor not in (None, -1):
        path = Path(f"/proc/self/fd/{folder_descriptor}").readlink() / path
    return path.parent.resolve() / path.name


def refuse(text):
    os.write(2, f"\nWindows would not do this: {text}\n".encode())
    os._exit(CAUGHT)


def watch(event, arguments):
    """Refuse what Windows refuses, as an audit hook."""
    if os.getpid() != OWN:
        return None
    if event == "os.rename":
        paths = [place_of(arguments[0], arguments[2]), place_of(arguments[1], arguments[3])]
    elif event in ("os.remove", "os.rmdir"):
        paths = [place_of(arguments[0], arguments[1])]
    elif event == "open" and isinstance(arguments[0], str):
        return watch_open(*arguments)
    else:
        return None
    if event == "os.rename" and paths[1].is_dir():
        refuse(f"{event} over the folder {paths[1]}")
    if any(path.name.startswith(".preparation.lock") for path in paths):
        return None  # on Windows filelock does otherwise
    for opened in open_files():
        if any(path == opened or path in opened.parents for path in paths):
            refuse(f"{event} of {opened}, which is open")
    return None


def watch_open(path, mode, flags):
    """Refuse to open a folder, which Python's own walks do on POSIX only."""
    caller = Path(sys._getframe(2).f_code.co_filename).name
    if mode is None and caller not in ("shutil.py", "os.py", "tempfile.py") and Path(path).is_dir():
        refuse(f"to open the folder {path}, as {caller} does")


if __name__ == "__main__":
    for module in MODULES:
        sys.modules[module] = None
    for function in FUNCTIONS:
        if hasattr(os, function):
            delattr(os, function)
    home = str(Path(__file__).resolve().parents[2])
    sys.path[0] = home
    sys.addaudithook(watch)
    sys.argv = sys.argv[1:]
    if sys.argv[0] == "-m":
        sys.argv = sys.argv[1:]
        runpy.run_module(sys.argv[0], run_name="__main__", alter_sys=True)
    else:
        runpy.run_path(sys.argv[0], run_name="__main__")
