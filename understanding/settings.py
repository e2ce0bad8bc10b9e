"""Which language model to ask: from the environment, or from `.env` beside the scripts."""

import codecs
import io
import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from library.workspace import HOME

DEFAULT_MODEL = "gpt-5-nano"
MAX_ENV_FILE = 2**20  # bytes


@dataclass(frozen=True)
class ModelServer:
    """An OpenAI-compatible server and the model to ask."""

    api_key: str
    base_url: str | None
    model: str


def find_model_server(
    environment: Mapping[str, str] = os.environ,
) -> tuple[ModelServer | None, list[str]]:
    """Read the server's settings from the environment, or from `.env` beside the scripts.

    A variable that is set in the environment, even to nothing, counts more than `.env`.

    Returns:
        The server, None without a key; and why `.env` could not be read, if so.
    """
    path = HOME / ".env"
    try:
        found, notices = _read_env_file(path), []
    except (OSError, ValueError) as error:
        reason = error.strerror if isinstance(error, OSError) else error
        found, notices = {}, [f"{path} can't be read ({reason}) and is passed over"]
    settings = {**found, **environment}
    if not settings.get("OPENAI_API_KEY"):
        return None, notices
    server = ModelServer(
        api_key=settings["OPENAI_API_KEY"],
        base_url=settings.get("OPENAI_BASE_URL") or None,
        model=settings.get("LEVER_LLM_MODEL") or DEFAULT_MODEL,
    )
    return server, notices


def _read_env_file(path: Path) -> dict[str, str]:
    """Read the settings that have a value, in the encodings that editors write.

    Raises:
        OSError: there is such a file, and it can't be read.
        ValueError: it is no file, or no text.
    """
    if not os.path.lexists(path):
        return {}
    if path.exists() and not path.is_file():  # a pipe may have no end
        raise ValueError("it is no file")
    with open(path, "rb") as file:
        content = file.read(MAX_ENV_FILE)
    from dotenv import dotenv_values

    text = io.StringIO(_decode(content))
    return {name: value for name, value in dotenv_values(stream=text).items() if value}


def _decode(content: bytes) -> str:
    """Decode what a text editor wrote: UTF-8 and UTF-16, which Windows marks, or Latin-1.

    Raises:
        ValueError: it is none of these.
    """
    if content.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)):
        text = content.decode("utf-16", "replace")
    else:
        try:
            text = content.decode("utf-8-sig")
        except UnicodeDecodeError:
            text = content.decode("latin-1")
    if "\0" in text:
        raise ValueError("it is no text; save it as UTF-8")
    return text
