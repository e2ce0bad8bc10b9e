"""Lists of checksums, in the format that `sha256sum` writes and checks."""

import hashlib
from collections.abc import Iterable
from pathlib import Path

from library.files import files_below

SUMS = "SHA256SUMS"


def checksum(path: Path) -> str:
    """Compute the SHA-256 of a file in hexadecimal."""
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def list_checksums(paths: Iterable[Path], folder: Path) -> str:
    """List files by their names relative to a folder, one a line."""
    return "".join(f"{checksum(path)}  {path.relative_to(folder).as_posix()}\n" for path in paths)


def write_checksums(folder: Path) -> None:
    """Write `SHA256SUMS`, as `sha256sum` does, so that damage to any file can be noticed."""
    files = [path for path in files_below(folder) if path.is_file()]
    (folder / SUMS).write_bytes(list_checksums(files, folder).encode())


def parse_checksums(text: str) -> dict[str, str]:
    """Map file names to checksums."""
    return {line[66:]: line[:64] for line in text.splitlines()}
