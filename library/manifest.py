"""The manifest of a library: which files belong together, and what they must contain.

Preparation writes it last, so its presence means a whole library. It is also the record of what a
preparation wrote: nothing else in the data folders is ever deleted.

Successor models are many, one a policy, and no search reads them: they have a list of their own,
`data/psi_models.sha256`, which the manifest holds in their place.
"""

import hashlib
import json
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath
from typing import Any

from library.checksums import checksum, parse_checksums
from library.errors import PREPARE, UnusableLibrary
from library.files import atomic_write
from library.workspace import Workspace

FORMAT = 6  # raise it when a new version writes other files: it makes old libraries stale
MAX_MANIFEST = 64 * 2**20  # bytes; half a million targets need as much


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
        text_encoder: the name of the text encoder, and what tells its weights apart.
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
    with atomic_write(workspace.manifest) as file:
        file.write(json.dumps({"sha256": _checksum(content), **content}, indent=1).encode())


def read_manifest(workspace: Workspace) -> Manifest:
    """Read the manifest of a library.

    Raises:
        UnusableLibrary: there is none, it is damaged, or it is from another version.
    """
    content = _read_content(workspace)
    path = workspace.manifest
    if content["format"] != FORMAT:
        raise UnusableLibrary(f"{path} is from another version", PREPARE)
    try:
        files = {name: Entry(**entry) for name, entry in content["files"].items()}
        rest = {name: content[name] for name in content if name not in ("format", "files")}
        return Manifest(files=files, **rest)
    except TypeError as error:
        raise UnusableLibrary(f"{path} is damaged ({error})", PREPARE) from None


def recorded_files(workspace: Workspace) -> set[Path] | None:
    """List what a preparation wrote, of this version or an older one, by its own record.

    Returns:
        Paths, the manifest among them; empty without a manifest, None when it is damaged.
    """
    if not workspace.manifest.exists():
        return set()
    try:
        names = list(_read_content(workspace)["files"])
    except UnusableLibrary:
        return None
    paths = {workspace.root / name for name in names} | {workspace.manifest}
    paths |= listed_models(workspace).keys()
    return {path for path in paths if not _is_led_away(path, workspace)}


def listed_models(workspace: Workspace) -> dict[Path, str]:
    """Map the successor models of a library to their checksums; none when the list is gone."""
    if not workspace.model_checksums.is_file():
        return {}
    sums = parse_checksums(workspace.model_checksums.read_text("utf-8", errors="replace"))
    return {workspace.psi_models / Path(name).name: digest for name, digest in sums.items()}


def _read_content(workspace: Workspace) -> dict[str, Any]:
    """Read a manifest of any version that names files in the library's own folders only."""
    path = workspace.manifest
    try:
        if path.stat().st_size > MAX_MANIFEST or not path.is_file():
            raise ValueError("it is too large, or no file")
        content = json.loads(path.read_bytes())
        if content.pop("sha256") != _checksum(content):
            raise ValueError("its checksum is wrong")
        if not isinstance(content["files"], dict):
            raise ValueError("its files are no object")
        own = {folder.name for folder in workspace.folders}
        parts = [PurePosixPath(name).parts for name in content["files"]]
        if any(p[:1] == () or p[0] not in own or ".." in p for p in parts):
            raise ValueError("it names files outside of the library")
        return {"format": None, **content}
    except FileNotFoundError:
        raise UnusableLibrary(f"the library is incomplete ({path} is missing)", PREPARE) from None
    except (AttributeError, KeyError, TypeError, ValueError, RecursionError) as error:
        raise UnusableLibrary(f"{path} is damaged ({error})", PREPARE) from None


def _is_led_away(path: Path, workspace: Workspace) -> bool:
    """Tell whether a link below a data folder (which may be one itself) leads a path elsewhere."""
    below = [folder for folder in path.parents if workspace.root in folder.parents]
    return any(folder.is_symlink() for folder in below[:-1])


def _checksum(content: dict[str, Any]) -> str:
    return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()
