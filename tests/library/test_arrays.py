"""A stranger's arrays: what is read, and what is refused before memory is taken."""

import io
import zipfile

import numpy as np
import pytest

from library import arrays
from library.arrays import parse_array, parse_arrays, read_array, read_arrays
from library.errors import UnusableRecording

GRID = np.arange(6, dtype=np.int16).reshape(2, 3)


def npy(array, **options):
    file = io.BytesIO()
    np.save(file, array, **options)
    return file.getvalue()


@pytest.mark.parametrize("array", [GRID, GRID.T, np.float32(3), np.zeros((0, 4)), np.array(["x"])])
def test_an_array_is_read_as_it_was_written(tmp_path, array):
    (tmp_path / "one.npy").write_bytes(npy(array))
    np.savez(tmp_path / "two.npz", first=array, second=GRID)
    read = read_array(tmp_path / "one.npy")
    both = read_arrays(tmp_path / "two.npz")
    assert read.dtype == np.asarray(array).dtype and list(both) == ["first", "second"]
    for found, written in ((read, array), (both["first"], array), (both["second"], GRID)):
        np.testing.assert_array_equal(found, written)


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"no array",
        npy(GRID)[:-1],
        npy(GRID) + b"\0",
        npy(np.array([{}], object), allow_pickle=True),
        npy(GRID).replace(b"(2, 3)", b"(2, 4)"),
        npy(GRID).replace(b"(2, 3)", b"(-2,3)"),
        npy(GRID).replace(b"'<i2'", b"'<i4'"),
        npy(GRID).replace(b"\x93NUMPY\x01", b"\x93NUMPY\x09"),
    ],
)
def test_a_broken_array_is_refused_by_name(content):
    with pytest.raises(UnusableRecording, match=r"table\.npy is no array"):
        parse_array(content, "table.npy")
    with pytest.raises(UnusableRecording, match=r"all\.npz"):
        parse_arrays(content, "all.npz")


def test_an_archive_of_a_broken_array_names_both():
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w") as archive:
        archive.writestr("bad.npy", b"no array")
    with pytest.raises(UnusableRecording, match=r"all\.npz: bad\.npy is no array"):
        parse_arrays(file.getvalue(), "all.npz")


def test_what_unfolds_to_more_than_a_file_may_have_is_not_unfolded(monkeypatch):
    """Together, to the byte: two arrays that would do alone are too much."""
    file = io.BytesIO()
    np.savez_compressed(file, first=np.zeros(1000), second=np.zeros(1000))
    unfolded = 2 * len(npy(np.zeros(1000)))
    monkeypatch.setattr(arrays, "MAX_FILE", unfolded)
    assert len(parse_arrays(file.getvalue(), "all.npz")) == 2
    monkeypatch.setattr(arrays, "MAX_FILE", unfolded - 1)
    with pytest.raises(UnusableRecording, match=f"{unfolded} bytes, more than"):
        parse_arrays(file.getvalue(), "all.npz")
