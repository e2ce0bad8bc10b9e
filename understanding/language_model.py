"""Asking a language model to split a query; its answer is untrusted.

Any OpenAI-compatible server will do; it has `TIMEOUT_S` in total, and `MAX_BYTES`.
"""

import json
import multiprocessing
import re
from contextlib import suppress
from multiprocessing.pool import ThreadPool
from typing import Any

import httpx2
import openai
from rapidfuzz.distance import JaroWinkler

from library.objective import Objective
from understanding.english import FUNCTION_WORDS
from understanding.settings import ModelServer

OPENAI_URL = "https://api.openai.com/v1"
TIMEOUT_S = 20.0
MAX_BYTES = 256 * 1024
MAX_TOKENS = 1024  # a self-hosted model may think aloud first
MAX_LISTED_OBJECTIVES = 50
MAX_SUB_QUERIES = 8
MAX_SUB_QUERY_LENGTH = 300
ALIKE = 0.85  # of words that are forms or misspellings of one: escape, escaping; find, fidn

# The length of a text is not in it: strict servers refuse `maxLength`.
TEXTS = {"type": "array", "items": {"type": "string"}, "minItems": 1, "maxItems": MAX_SUB_QUERIES}
SCHEMA = {
    "type": "object",
    "properties": {"sub_queries": TEXTS},
    "required": ["sub_queries"],
    "additionalProperties": False,
}
INSTRUCTIONS = (
    "Split the user's request into parts with one objective each, in the user's own words. Leave "
    "out what the user does not want. A request with one objective is one part."
)
# Small models follow examples rather than instructions. These are about nothing that a library of
# policies holds, so that a part copied from them shares no word with a query and is dropped.
EXAMPLES = [
    ("water the garden while humming a song", ["water the garden", "hum a song"]),
    ("never mind the dishes, sweep the floor", ["sweep the floor"]),
    ("tea & cake", ["tea", "cake"]),
    ("one that rings the bell, and cooks before sleeping", ["ring the bell", "cook", "sleep"]),
    ("an agent that repairs bicycles well", ["repair bicycles well"]),
]
SPACELESS = "\u3040-\u30ff\u3400-\u9fff"  # kana and Chinese characters: each one is a word
WORD = re.compile(rf"[{SPACELESS}]|[^\W_{SPACELESS}]+")


class UnusableAnswer(Exception):
    """The server failed, or its answer is not what it was asked for.

    The message is one line without the server's words, which may hold the key, or instructions.
    """


def ask_model(query: str, objectives: list[Objective], server: ModelServer) -> list[str]:
    """Let a model split a query to a library with these objectives.

    Returns:
        1 to `MAX_SUB_QUERIES` short printable texts, whose words are the query's or the library's.

    Raises:
        UnusableAnswer: there is no such answer within `TIMEOUT_S`.
    """
    messages = _messages(query, objectives)
    try:
        with (
            openai.OpenAI(
                api_key=server.api_key,
                base_url=server.base_url or OPENAI_URL,
                timeout=TIMEOUT_S,
                max_retries=0,
                http_client=BoundedClient(headers={"Accept-Encoding": "identity"}),
            ) as client,
            # That time-out starts anew with every byte; a waiting thread can be left behind.
            ThreadPool(1) as pool,
        ):
            body = pool.apply_async(_post, (client, server, messages)).get(TIMEOUT_S)
    except UnusableAnswer:
        raise
    except openai.APIStatusError as error:  # `from None`: the texts of errors may hold the key
        status = error.status_code
        raise UnusableAnswer(f"the server answered with HTTP status {status}") from None
    except (multiprocessing.TimeoutError, openai.APITimeoutError):
        raise UnusableAnswer(f"no answer within {TIMEOUT_S:g} s") from None
    except Exception as error:
        raise UnusableAnswer(f"the request failed with {type(error).__name__}") from None
    return _grounded(_parse(body), query, objectives)


class BoundedClient(httpx2.Client):
    """Goes where it was told to go, and reads at most `MAX_BYTES`: what is cut off is no JSON."""

    def send(self, request: httpx2.Request, **options: Any) -> httpx2.Response:
        """Send a request, without following redirects: the key is for this server only."""
        options |= {"stream": True, "follow_redirects": False}
        response, body = super().send(request, **options), b""
        for chunk in response.iter_raw():  # a few compressed bytes can become gigabytes
            body += chunk
            if len(body) > MAX_BYTES:
                break
        response.close()
        return httpx2.Response(response.status_code, content=body, request=request)


def _messages(query: str, objectives: list[Objective]) -> list[dict[str, str]]:
    """Lay out instructions, the library's objectives, examples and the query as a chat."""
    known = "\n".join(f"- {_printable(o.description)}" for o in objectives[:MAX_LISTED_OBJECTIVES])
    chat = [("system", f"{INSTRUCTIONS} The library serves these objectives:\n{known}")]
    for request, parts in EXAMPLES:
        chat += [("user", request), ("assistant", json.dumps({"sub_queries": parts}))]
    return [{"role": role, "content": text} for role, text in [*chat, ("user", query)]]


def _post(client: openai.OpenAI, server: ModelServer, messages: list[Any]) -> bytes:
    """Ask once; ask more plainly where a server refuses an option, as many do."""
    create: Any = client.chat.completions.with_raw_response.create
    schema = {"name": "sub_queries", "strict": True, "schema": SCHEMA}
    constrained = {"response_format": {"type": "json_schema", "json_schema": schema}}
    tuned: dict[str, Any] = {"temperature": 0, "max_tokens": MAX_TOKENS}  # quick and repeatable
    if server.base_url is None:  # OpenAI's own models refuse these
        tuned = {"reasoning_effort": "low"}
    for options in ({**constrained, **tuned}, constrained, {}):
        with suppress(openai.BadRequestError, openai.UnprocessableEntityError):
            return bytes(create(model=server.model, messages=messages, **options).content)
    raise UnusableAnswer("the server refuses the question")


def _parse(body: bytes) -> list[str]:
    """Take a short list of short texts out of a chat completion."""
    reason = "its answer is not a chat completion"
    try:
        content = json.loads(body)["choices"][0]["message"]["content"]
        reason = "the model refused, or did not follow the schema"
        texts = json.loads(content)["sub_queries"]
    except (ValueError, LookupError, TypeError, RecursionError):
        raise UnusableAnswer(reason) from None
    if not isinstance(texts, list) or not all(isinstance(text, str) for text in texts):
        raise UnusableAnswer(reason)
    if len(texts) > MAX_SUB_QUERIES or any(len(text) > MAX_SUB_QUERY_LENGTH for text in texts):
        raise UnusableAnswer("its answer is too long")
    return texts


def _printable(text: str) -> str:
    """Make one line of a text, without control characters."""
    return " ".join("".join(c if c.isprintable() else " " for c in text).split())


def _grounded(texts: list[str], query: str, objectives: list[Objective]) -> list[str]:
    """Keep, once each, the texts that repeat the query and add at most words of the library.

    A weak model invents parts, and a hostile server writes what it likes: neither gets a word
    through that the user or the library did not say first.
    """
    asked = _content_words(query)
    known = asked.union(*(_content_words(text) for o in objectives for text in o.texts))
    kept: dict[str, str] = {}
    for text in map(_printable, texts):
        words = _content_words(text)
        adds_nothing = all(_is_among(word, known) for word in words)
        if adds_nothing and any(_is_among(word, asked) for word in words):
            kept.setdefault(text.casefold(), text)
    if not kept:
        raise UnusableAnswer("none of its sub-queries is about the query")
    return list(kept.values())


def _content_words(text: str) -> set[str]:
    return set(WORD.findall(text.casefold())) - FUNCTION_WORDS


def _is_among(word: str, words: set[str]) -> bool:
    """Look a word up in any form, escape for escaping, and any spelling, find for fidn."""
    return any(JaroWinkler.similarity(word, other) >= ALIKE for other in words)
