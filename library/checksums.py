"""Lists of checksums, in the format that `sha256sum` writes and checks."""

import hashlib
from collections.abc import Iterable
from pathlib import Path


def checksum(path: Path) -> str:
    """Compute the SHA-256 of a file in hexadecimal."""
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def list_checksums(paths: Iterable[Path], folder: Path) -> str:
    """List files by their names relative to a folder, one a line."""
    return "".join(f"{checksum(path)}  {path.relative_to(folder).as_posix()}\n" for path in paths)


def parse_checksums(text: str) -> dict[str, str]:
    """Map file names to checksums."""
    return {line[66:]: line[:64] for line in text.splitlines()}
