"""Which language model to ask: from the environment, or from `.env` beside the scripts."""

import codecs
import io
import os
from collections.abc import Mapping
from dataclasses import dataclass

from library.errors import LeverError
from library.files import read_bounded
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
    found: Mapping[str, str | None] = {}
    notices = []
    if os.path.lexists(path):
        from dotenv import dotenv_values  # only now: it takes a while

        try:
            text = _decode(read_bounded(path, MAX_ENV_FILE))
            found = dotenv_values(stream=io.StringIO(text))
        except LeverError as error:
            notices = [f"{error} and is passed over"]
    settings = {**found, **environment}
    key = settings.get("OPENAI_API_KEY")
    if not key:
        return None, notices
    url, model = settings.get("OPENAI_BASE_URL"), settings.get("LEVER_LLM_MODEL")
    return ModelServer(key, url or None, model or DEFAULT_MODEL), notices


def _decode(content: bytes) -> str:
    """Decode what an editor wrote: UTF-8, UTF-16 with its mark, or Latin-1."""
    is_utf_16 = content.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE))
    try:
        text = content.decode("utf-16" if is_utf_16 else "utf-8-sig")
    except UnicodeDecodeError:
        text = content.decode("latin-1")
    if "\0" in text:
        raise LeverError(f"{HOME / '.env'} is no text (save it as UTF-8)")
    return text
