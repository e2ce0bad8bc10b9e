"""Members of zip archives that a stranger wrote: nothing is unpacked to disk, sizes are checked."""

import io
import zipfile
import zlib
from pathlib import Path

from library.errors import UnusableRecording
from library.files import MAX_FILE, is_foreign

MAX_ARCHIVE = 2 * MAX_FILE  # bytes; agents that see images have up to 100 MB


class Archive:
    """A zip archive, of which members are read one by one.

    Args:
        source: a file, or its bytes.
        name: what an error calls it.
    """

    def __init__(self, source: Path | bytes, name: str) -> None:
        """Read the list of members.

        Raises:
            UnusableRecording: it is no zip archive, or a large one.
        """
        self.name = name
        if isinstance(source, Path):
            _check_file(source)
        try:
            self._zip = zipfile.ZipFile(io.BytesIO(source) if isinstance(source, bytes) else source)
        except Exception as error:  # damage can raise nearly anything
            reason = f"{type(error).__name__}"
            raise UnusableRecording(f"{name} is no zip archive ({reason})") from None

    @property
    def names(self) -> list[str]:
        """The names of the members, as they are written, but foreign ones."""
        names = self._zip.namelist()
        return [name for name in names if not any(map(is_foreign, name.split("/")))]

    def read(self, member: str, max_bytes: int = MAX_FILE) -> bytes:
        """Read a member, at most so many bytes, whatever its header says.

        Raises:
            UnusableRecording: it is missing, damaged or larger.
        """
        try:
            with self._zip.open(member) as file:
                content = file.read(max_bytes + 1)
        except KeyError:
            raise UnusableRecording(f"{self.name} has no member {member!r}") from None
        except (
            zipfile.BadZipFile,
            zlib.error,
            EOFError,
            OSError,
            ValueError,
            RuntimeError,
        ) as error:
            raise UnusableRecording(f"{self.name} is damaged at {member!r} ({error})") from None
        except Exception as error:  # other compressions have errors of their own
            reason = type(error).__name__
            raise UnusableRecording(f"{self.name} is damaged at {member!r} ({reason})") from None
        if len(content) > max_bytes:
            raise UnusableRecording(f"{self.name}: {member!r} has more than {max_bytes} bytes")
        return content


def _check_file(path: Path) -> None:
    if not path.is_file():
        raise UnusableRecording(f"{path} is no file")
    if path.stat().st_size > MAX_ARCHIVE:
        raise UnusableRecording(f"{path} has more than {MAX_ARCHIVE} bytes")
