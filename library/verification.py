"""Holding the files of a library against its manifest, and loading one that is whole.

A search checks every file before numpy, Faiss or onnxruntime see a byte: its size always, its
checksum if it is small or if it was touched since preparation (another modification time). Silent
decay of a large file that nothing touched is for `view_faiss_db.py --verify`, which recomputes all
checksums.
"""

import itertools
import time
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import TypeVar

from library.checksums import checksum
from library.errors import PREPARE, UnusableLibrary
from library.manifest import Entry, Manifest, describe_file, listed_models, read_manifest
from library.workspace import Workspace

SMALL = 4 * 2**20  # bytes; files up to this size are always read whole anyway
PATIENCE_S = 3.0  # putting a library into place takes milliseconds; a killed preparation never ends
RETRY_S = 0.05
WRONG_CHECKSUM = "is damaged, or from another library: its checksum is wrong"

Loaded = TypeVar("Loaded")


def load_whole(workspace: Workspace, load: Callable[[], Loaded]) -> Loaded:
    """Load a library, never a mixture of two, while preparations may come and go.

    Files are verified, loaded, and found unmoved afterwards. When that fails while a preparation
    puts its files into place, it is tried again until `PATIENCE_S` is over.

    Args:
        workspace: the library.
        load: opens the files; what it returns is returned.

    Raises:
        UnusableLibrary: the library is missing, incomplete, damaged or from another version.
    """
    deadline = time.monotonic() + PATIENCE_S
    for attempt in itertools.count():
        try:
            return _load_once(workspace, load)
        except (UnusableLibrary, OSError):  # a file can be gone, or Windows keeps it for a moment
            waiting = workspace.staging.root.exists() and time.monotonic() < deadline
            if attempt > 0 and not waiting:
                raise
        time.sleep(RETRY_S)
    raise AssertionError("unreachable")


def find_damage(
    workspace: Workspace, manifest: Manifest, paths: Iterable[Path], thorough: bool = False
) -> list[str]:
    """Compare files with the manifest.

    Args:
        workspace: the library.
        manifest: its manifest.
        paths: the files to compare.
        thorough: recompute every checksum, also of large files that nothing touched.

    Returns:
        One line for each file that is missing, damaged or foreign.
    """
    damage = []
    for path in paths:
        entry = manifest.files.get(path.relative_to(workspace.root).as_posix())
        complaint = _compare(path, entry, thorough)
        if complaint:
            damage.append(f"{path} {complaint}")
    return damage


def find_all_damage(workspace: Workspace, manifest: Manifest, thorough: bool = False) -> list[str]:
    """Compare all files of a library with its manifest, as `find_damage` does."""
    paths = [workspace.root / name for name in manifest.files]
    damage = find_damage(workspace, manifest, paths, thorough)
    if find_damage(workspace, manifest, [workspace.model_checksums], thorough):
        return damage  # what the list says of the models is worth nothing
    for path, expected in listed_models(workspace).items():
        if path.is_symlink() or not path.is_file():
            damage.append(f"{path} is missing")
        elif checksum(path) != expected:
            damage.append(f"{path} {WRONG_CHECKSUM}")
    return damage


def _load_once(workspace: Workspace, load: Callable[[], Loaded]) -> Loaded:
    for path, message in (
        (workspace.policy_index, "Database not found"),
        (workspace.metadata, "Database not found"),
        (workspace.reward_regressor, "Regressor model not found"),
    ):
        if not path.is_file():
            raise UnusableLibrary(f"{message} ({path} is missing)", PREPARE)
    manifest = read_manifest(workspace)
    paths = [workspace.root / name for name in manifest.files]
    paths = [
        p for p in paths if workspace.faiss_index in p.parents or p == workspace.reward_regressor
    ]
    before = _identify(paths)
    damage = find_damage(workspace, manifest, paths)
    if damage:
        raise UnusableLibrary(damage[0], PREPARE)
    loaded = load()
    if _identify(paths) != before or read_manifest(workspace) != manifest:
        raise UnusableLibrary("the library was replaced while it was read; try again")
    return loaded


def _identify(paths: Iterable[Path]) -> list[tuple[int, int, int] | None]:
    """Tell files apart, also those that take the place of others under the same name."""
    statuses = [path.stat() if path.exists() else None for path in paths]
    return [s and (s.st_ino, s.st_size, s.st_mtime_ns) for s in statuses]


def _compare(path: Path, entry: Entry | None, thorough: bool) -> str | None:
    """Say what is wrong with a file; None when nothing is."""
    if entry is None:
        return "does not belong to this library"
    if path.is_symlink() or not path.is_file():
        return "is missing"
    status = path.stat()
    if status.st_size != entry.size:
        return f"is damaged: it has {status.st_size} bytes instead of {entry.size}"
    touched = int(status.st_mtime) != entry.modified  # archives keep no fractions of it
    if (thorough or touched or entry.size <= SMALL) and describe_file(path).sha256 != entry.sha256:
        return WRONG_CHECKSUM
    return None
