"""The manifest of a library: which files belong together, and what they must contain.

Preparation writes it last, so its presence means a whole library. A search checks every file
against it before numpy, Faiss or onnxruntime see a byte: its size always, its checksum if it is
small or if it was touched since preparation (another modification time). Silent decay of a large
file that nothing touched is for `view_faiss_db.py --verify`, which recomputes all checksums.

Successor models are many, one a policy, and no search reads them: they have a list of their own,
`data/psi_models.sha256`, which the manifest holds in their place.
"""

import hashlib
import itertools
import json
import shutil
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar

from checksums import checksum, list_checksums, parse_checksums
from errors import PREPARE, UnusableLibrary
from workspace import Workspace, replaced

FORMAT = 2  # raise it when a new version writes other files: it makes old libraries stale
SMALL = 4 * 2**20  # bytes; files up to this size are always read whole anyway
MAX_MANIFEST = 64 * 2**20  # bytes; half a million targets need as much
PATIENCE_S = 3.0  # putting a library into place takes milliseconds; a killed preparation never ends
RETRY_S = 0.05
WRONG_CHECKSUM = "is damaged, or from another library: its checksum is wrong"

Loaded = TypeVar("Loaded")


@dataclass(frozen=True)
class Entry:
    """What is known of a file: its size in bytes, SHA-256, and modification time in seconds."""

    size: int
    sha256: str
    modified: int


@dataclass(frozen=True)
class Manifest:
    """The files of one preparation.

    Attributes:
        fingerprint: SHA-256 of all that was read.
        text_encoder: the name of the text encoder.
        index_factory: the Faiss index that was asked for; None for a sensible one.
        files: an entry for each path, relative to the workspace.
        objectives: SHA-256 of the texts of each target.
    """

    fingerprint: str
    text_encoder: str
    index_factory: str | None
    files: dict[str, Entry]
    objectives: dict[str, str] = field(default_factory=dict)


def describe_file(path: Path) -> Entry:
    """Read a file's size, checksum and modification time."""
    status = path.stat()
    return Entry(status.st_size, checksum(path), int(status.st_mtime))


def describe_library(workspace: Workspace) -> dict[str, Entry]:
    """Describe what a preparation wrote; write the list of the successor models."""
    with replaced(workspace.model_checksums) as file:
        models = sorted(workspace.psi_models.glob("*.pth"))
        file.write(list_checksums(models, workspace.psi_models).encode())
    return {
        str(path.relative_to(workspace.root)): describe_file(path)
        for path in workspace.generated()
        if path != workspace.manifest and path.parent != workspace.psi_models
    }


def write_manifest(workspace: Workspace, manifest: Manifest) -> None:
    """Write the manifest, with a checksum of its own."""
    content = {
        "format": FORMAT,
        "fingerprint": manifest.fingerprint,
        "text_encoder": manifest.text_encoder,
        "index_factory": manifest.index_factory,
        "objectives": manifest.objectives,
        "files": {name: vars(entry) for name, entry in sorted(manifest.files.items())},
    }
    with replaced(workspace.manifest) as file:
        file.write(json.dumps({"sha256": _checksum(content), **content}, indent=1).encode())


def read_manifest(workspace: Workspace) -> Manifest:
    """Read the manifest of a library.

    Raises:
        UnusableLibrary: there is none, it is damaged, or it is from another version.
    """
    path = workspace.manifest
    try:
        if path.stat().st_size > MAX_MANIFEST or not path.is_file():
            raise ValueError("it is too large, or no file")
        content = json.loads(path.read_bytes())
        if content.pop("sha256") != _checksum(content):
            raise ValueError("its checksum is wrong")
        if content["format"] != FORMAT:
            raise UnusableLibrary(f"{path} is from another version; {PREPARE}")
        files = {name: Entry(**entry) for name, entry in content["files"].items()}
        if any(Path(name).is_absolute() or ".." in Path(name).parts for name in files):
            raise ValueError("it names files outside of the library")
        del content["format"], content["files"]
        return Manifest(files=files, **content)
    except FileNotFoundError:
        raise UnusableLibrary(f"the library is incomplete ({path} is missing); {PREPARE}") from None
    except (AttributeError, KeyError, TypeError, ValueError, RecursionError) as error:
        raise UnusableLibrary(f"{path} is damaged ({error}); {PREPARE}") from None


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
        except UnusableLibrary:
            waiting = workspace.staging.root.exists() and time.monotonic() < deadline
            if attempt > 0 and not waiting:
                raise
        time.sleep(RETRY_S)
    raise AssertionError("unreachable")


def publish(workspace: Workspace) -> None:
    """Move the staged library into place, delete what is left of the old; the manifest goes last.

    Interrupted at any point, it can be called again.
    """
    staged = workspace.staging
    manifest = read_manifest(staged)
    for path in staged.generated():
        if path != staged.manifest:
            place = workspace.root / path.relative_to(staged.root)
            place.parent.mkdir(parents=True, exist_ok=True)
            path.replace(place)
    belonging = {workspace.root / name for name in manifest.files} | {workspace.manifest}
    belonging |= _list_models(workspace).keys()
    for path in set(workspace.generated()) - belonging:
        path.unlink()
    staged.manifest.replace(workspace.manifest)
    shutil.rmtree(staged.root)


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
        entry = manifest.files.get(str(path.relative_to(workspace.root)))
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
    for path, expected in _list_models(workspace).items():
        if path.is_symlink() or not path.is_file():
            damage.append(f"{path} is missing")
        elif checksum(path) != expected:
            damage.append(f"{path} {WRONG_CHECKSUM}")
    return damage


def _list_models(workspace: Workspace) -> dict[Path, str]:
    """Map the successor models of a library to their checksums; none when the list is gone."""
    if not workspace.model_checksums.is_file():
        return {}
    sums = parse_checksums(workspace.model_checksums.read_text("utf-8", errors="replace"))
    return {workspace.psi_models / Path(name).name: digest for name, digest in sums.items()}


def _load_once(workspace: Workspace, load: Callable[[], Loaded]) -> Loaded:
    for path, message in (
        (workspace.policy_index, "Database not found"),
        (workspace.metadata, "Database not found"),
        (workspace.reward_regressor, "Regressor model not found"),
    ):
        if not path.is_file():
            raise UnusableLibrary(f"{message} ({path} is missing); {PREPARE}")
    manifest = read_manifest(workspace)
    searched = (workspace.faiss_index, workspace.models)
    paths = [workspace.root / name for name in manifest.files]
    paths = [path for path in paths if any(folder in path.parents for folder in searched)]
    before = _identify(paths)
    damage = find_damage(workspace, manifest, paths)
    if damage:
        raise UnusableLibrary(f"{damage[0]}; {PREPARE}")
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


def _checksum(content: dict[str, Any]) -> str:
    return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()
