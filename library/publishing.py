"""Putting a library that was built in the staging folder into the place of the old one."""

import errno
import shutil
from collections.abc import Iterable
from pathlib import Path

from library.checksums import list_checksums
from library.errors import PREPARE, LeverError
from library.files import atomic_write
from library.manifest import Entry, describe_file, listed_models, read_manifest, recorded_files
from library.workspace import Workspace


def describe_library(workspace: Workspace) -> dict[str, Entry]:
    """Describe what a preparation built; write the list of the successor models."""
    with atomic_write(workspace.model_checksums) as file:
        models = sorted(workspace.psi_models.glob("*.pth"))
        file.write(list_checksums(models, workspace.psi_models).encode())
    return {
        path.relative_to(workspace.root).as_posix(): describe_file(path)
        for path in workspace.built_files()
        if path != workspace.manifest and path.parent != workspace.psi_models
    }


def publish(workspace: Workspace) -> None:
    """Move the staged library into place, delete what is left of the old; the manifest goes last.

    Interrupted at any point, it can be called again. What no preparation wrote stays.

    Raises:
        LeverError: somebody's own file is where a file of the library must be.
    """
    staged = workspace.staging
    new = {workspace.root / name for name in read_manifest(staged).files} | {workspace.manifest}
    listing = staged if staged.model_checksums.exists() else workspace  # it has moved already
    new |= {workspace.psi_models / model.name for model in listed_models(listing)}
    old = recorded_files(workspace)
    last = (staged.model_checksums, staged.manifest)  # with them the old record goes
    moves = {
        path: workspace.root / path.relative_to(staged.root)
        for path in staged.built_files()
        if path not in last
    }
    _refuse_to_overwrite(moves.values(), old)
    for path, place in moves.items():
        _move(path, place)
    for path in (old or set()) - new:
        path.unlink(missing_ok=True)
    for path in last:
        if path.exists():
            _move(path, workspace.root / path.relative_to(staged.root))
    shutil.rmtree(staged.root)


def _refuse_to_overwrite(places: Iterable[Path], recorded: set[Path] | None) -> None:
    """Refuse to take the place of a file that no preparation wrote, as far as that is on record."""
    foreign = [] if recorded is None else [p for p in places if p.exists() and p not in recorded]
    if foreign:
        raise LeverError(
            f"{foreign[0]} is in the way and was not written by a preparation; "
            "move it to another folder and prepare again"
        )


def _move(path: Path, place: Path) -> None:
    """Rename a file, or copy it where a folder of the library lies on another disk."""
    place.parent.mkdir(parents=True, exist_ok=True)
    try:
        path.replace(place)
    except PermissionError as error:  # on Windows also while a search has the old one open
        raise LeverError(
            f"{place} can't be replaced ({error.strerror}); when no search is running any more:",
            PREPARE,
        ) from None
    except OSError as error:
        if error.errno != errno.EXDEV:
            raise
        with atomic_write(place) as target, open(path, "rb") as source:
            shutil.copyfileobj(source, target)
        shutil.copystat(path, place)
        path.unlink()
