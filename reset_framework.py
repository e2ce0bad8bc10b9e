#!/usr/bin/env python3
"""Delete what preparation wrote, so that the next one starts afresh.

deletes  what preparation wrote to data/, faiss_index/, psi_models/ and models/, by its own record
keeps    everything else
run      python reset_framework.py --dry-run
time     at once

At a terminal it asks first, unless --yes is given.
"""

from library import command_line

if __name__ == "__main__":
    command_line.end_on_interrupt()  # before anything slow is imported

import sys
from argparse import Namespace
from pathlib import Path

from library.errors import PREPARE, LeverError
from library.manifest import recorded_files
from library.workspace import Workspace

LISTED = 10


def main() -> int:
    """Read the arguments and reset."""
    parser = command_line.create_parser(__doc__)
    parser.add_argument("--yes", action="store_true", help="do not ask")
    parser.add_argument("--dry-run", action="store_true", help="list only, delete nothing")
    arguments = parser.parse_args()
    workspace: Workspace = arguments.workspace
    with workspace.locked():
        return reset(workspace, arguments)


def reset(workspace: Workspace, arguments: Namespace) -> int:
    """List, ask, delete, while nothing else changes the library."""
    recorded = recorded_files(workspace)
    if recorded is None:
        raise LeverError(
            f"{workspace.manifest}, the record of what was written, is damaged; "
            f"{PREPARE}, then reset again"
        )
    paths = sorted(path for path in recorded if path.exists() or path.is_symlink())
    paths += list_files(workspace.staging.root)
    if not paths:
        command_line.show(f"Nothing to do: no prepared library in {workspace.root}")
        return command_line.DONE
    command_line.show(describe(workspace, paths))
    if arguments.dry_run:
        command_line.show("Dry run: nothing was deleted")
        return command_line.DONE
    if not (arguments.yes or confirmed()):
        command_line.show("Nothing was deleted")
        return command_line.DONE
    delete(workspace, paths)
    command_line.show(
        f"Deleted {len(paths)} files; python pi2vec_preparation.py makes a new library"
    )
    return command_line.DONE


def describe(workspace: Workspace, paths: list[Path]) -> str:
    """List the folders with their number of files and size, and single files."""
    groups: dict[Path, list[Path]] = {}
    for path in paths:
        groups.setdefault(path.parent, []).append(path)
    lines = ["To be deleted:"]
    for folder, files in groups.items():
        size = sum(path.lstat().st_size for path in files) / 1e6
        shown = ", ".join(path.name for path in files[:LISTED])
        more = f" and {len(files) - LISTED} more" if len(files) > LISTED else ""
        name = folder.relative_to(workspace.root)
        lines.append(f"  {name}/  {len(files)} files, {size:.1f} MB: {shown}{more}")
    return "\n".join(lines)


def confirmed() -> bool:
    """Ask the person at the terminal; without a terminal there is nobody to ask."""
    if not sys.stdin.isatty():
        return True
    return input("Delete these files? [y/N] ").strip().lower() in ("y", "yes")


def list_files(folder: Path) -> list[Path]:
    """List everything in a folder that is no folder."""
    return [path for path in sorted(folder.rglob("*")) if path.is_symlink() or not path.is_dir()]


def delete(workspace: Workspace, paths: list[Path]) -> None:
    """Delete the files, and the folders below the library's own that this leaves empty.

    The list of the models and the manifest, which say what may be deleted, go last.
    """
    last = (workspace.model_checksums, workspace.manifest)
    for path in sorted(paths, key=lambda path: last.index(path) if path in last else -1):
        path.unlink()
    below = {
        folder for path in paths for folder in path.parents if workspace.root in folder.parents
    }
    for folder in sorted(below - set(workspace.folders), key=lambda folder: -len(folder.parts)):
        if not any(folder.iterdir()):
            folder.rmdir()


if __name__ == "__main__":
    command_line.run(main)
