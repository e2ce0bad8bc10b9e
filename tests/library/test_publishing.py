"""What is in the way of a published file is said; the rest is in `test_manifest.py`."""

import pytest

from library.errors import PREPARE, LeverError
from library.publishing import _move


def test_a_file_that_a_search_keeps_open_is_named(tmp_path, monkeypatch):
    new, place = tmp_path / "new", tmp_path / "folder" / "old"
    new.write_text("new")

    def refused(*_):
        raise PermissionError(13, "Permission denied")

    with monkeypatch.context() as patch:
        patch.setattr(type(new), "replace", refused)
        with pytest.raises(LeverError, match="can't be replaced") as error:
            _move(new, place)
    assert str(place) in str(error.value) and error.value.command == PREPARE
    _move(new, place)
    assert place.read_text() == "new"
