"""Where the model server's settings come from, whatever editor wrote the file."""

import os

import pytest

from understanding import settings
from understanding.query_decomposition import QueryDecomposer
from understanding.settings import find_model_server

CONTENT = "# mein Schlüssel\nOPENAI_API_KEY=from-file\nLEVER_LLM_MODEL=\n"


@pytest.fixture
def env_file(tmp_path, monkeypatch):
    monkeypatch.setattr(settings, "HOME", tmp_path)
    return tmp_path / ".env"


def test_settings_come_from_the_environment_and_then_from_the_file(env_file):
    assert find_model_server({}) == (None, [])
    env_file.write_text(CONTENT, "utf-8")
    server, notices = find_model_server({})
    assert (server.api_key, server.base_url, notices) == ("from-file", None, [])
    assert server.model == settings.DEFAULT_MODEL
    assert find_model_server({"OPENAI_API_KEY": "mine"})[0].api_key == "mine"
    assert find_model_server({"OPENAI_API_KEY": ""})[0] is None


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16", "latin-1"])
@pytest.mark.parametrize("end", ["\n", "\r\n"])
def test_the_file_is_read_in_any_encoding_of_an_editor(env_file, encoding, end):
    env_file.write_bytes(CONTENT.replace("\n", end).encode(encoding))
    server, notices = find_model_server({})
    assert server.api_key == "from-file" and not notices


@pytest.mark.parametrize("order", ["little", "big"])
def test_both_byte_orders_of_utf_16_are_read(env_file, order):
    content = f"\ufeff{CONTENT}".encode(f"utf-16-{order[0]}e")
    env_file.write_bytes(content)
    assert find_model_server({})[0].api_key == "from-file"


def make_folder(path):
    path.mkdir()


def make_pipe(path):
    os.mkfifo(path)


def make_dead_link(path):
    path.symlink_to(path.parent / "nowhere")


def make_unmarked(path):
    path.write_bytes(CONTENT.encode("utf-16-le"))


@pytest.mark.parametrize("make", [make_folder, make_pipe, make_dead_link, make_unmarked])
def test_a_file_that_cant_be_read_is_named_and_passed_over(env_file, make):
    make(env_file)
    server, notices = find_model_server({"OPENAI_API_KEY": "mine"})
    assert server.api_key == "mine"
    (line,) = notices
    assert str(env_file) in line and "passed over" in line
    assert ("UTF-8" in line) == (make is make_unmarked)


def test_of_a_batch_only_the_first_query_tells_of_the_file(env_file, monkeypatch):
    monkeypatch.setenv("OPENAI_API_KEY", "")
    env_file.mkdir()
    decomposer = QueryDecomposer([], None, None)
    monkeypatch.setattr(decomposer, "_read", lambda text: [])
    told = []
    monkeypatch.setattr(decomposer, "_collect", lambda *arguments: told.append(arguments[-1]))
    decomposer.decompose("one")
    decomposer.decompose("two")
    assert [len(notices) for notices in told] == [1, 0]
