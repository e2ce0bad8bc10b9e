"""objective.json: what is read, and each way to break it."""

import json

import pytest

from library.errors import UnusableRecording
from library.objective import MAX_PHRASINGS, MAX_TEXT, Objective, read_objective


@pytest.mark.parametrize("phrasings", [[], ["Ü" * MAX_TEXT], ["again"] * (MAX_PHRASINGS - 1)])
def test_an_objective_is_read_as_it_is_written(tmp_path, phrasings):
    content = {"description": "Do.", "phrasings": phrasings, "more": 3}
    (tmp_path / "objective.json").write_text(json.dumps(content), "utf-8")
    objective = read_objective(tmp_path)
    assert objective == Objective(tmp_path.name, "Do.", tuple(phrasings))
    assert objective.texts == ("Do.", *phrasings)


def test_phrasings_may_be_missing(tmp_path):
    (tmp_path / "objective.json").write_text('{"description": "Do."}')
    assert read_objective(tmp_path).texts == ("Do.",)


@pytest.mark.parametrize(
    ("content", "complaint"),
    [
        ("{", "can't be used"),
        ("[" * 100_000, "can't be used"),
        ("[]", "no object"),
        ('"Do."', "no object"),
        ("{}", "empty text or none"),
        ('{"description": ""}', "empty text or none"),
        ('{"description": " "}', "empty text or none"),
        ('{"description": 3}', "empty text or none"),
        ('{"description": ["Do."]}', "empty text or none"),
        ('{"description": "Do.", "phrasings": "do"}', "empty text or none"),
        ('{"description": "Do.", "phrasings": ["do", 3]}', "empty text or none"),
        ('{"description": "Do.", "phrasings": ["do", " "]}', "empty text or none"),
        ('{"description": "half of a character: \\ud83d"}', "empty text or none"),
        (json.dumps({"description": "x" * (MAX_TEXT + 1)}), "too long"),
        (json.dumps({"description": "x", "phrasings": ["y" * (MAX_TEXT + 1)]}), "too long"),
        (json.dumps({"description": "x", "phrasings": ["y"] * MAX_PHRASINGS}), "too many"),
    ],
)
def test_a_broken_objective_is_refused(tmp_path, content, complaint):
    (tmp_path / "objective.json").write_text(content)
    with pytest.raises(UnusableRecording, match=complaint) as error:
        read_objective(tmp_path)
    assert str(tmp_path / "objective.json") in str(error.value)


def test_a_missing_objective_is_refused(tmp_path):
    with pytest.raises(UnusableRecording, match="is missing"):
        read_objective(tmp_path)


def test_equal_texts_have_equal_digests():
    one = Objective("gold", "Do.", ("do", "so"))
    assert one.digest == Objective("path", "Do.", ("do", "so")).digest
    assert one.digest != Objective("gold", "Do.", ("so", "do")).digest
