"""Asking a language model to split a query; its answer is untrusted.

Any OpenAI-compatible server will do. It has `TIMEOUT_S` in total and `MAX_BYTES`; whatever does
not look like a short list of short, clean sentences about the query is an error, and so is a
server that fails.
"""

from __future__ import annotations

import json
import re
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import Future
from contextlib import suppress
from difflib import get_close_matches
from typing import TYPE_CHECKING, Any

from library.objective import Objective
from understanding.english import FUNCTION_WORDS
from understanding.settings import ModelServer

if TYPE_CHECKING:
    import httpx2
    import openai

OPENAI_URL = "https://api.openai.com/v1"
TIMEOUT_S = 20.0
MAX_BYTES = 256 * 1024
MAX_TOKENS = 1024  # a self-hosted model may think aloud first
MAX_LISTED_OBJECTIVES = 50
MAX_SUB_QUERIES = 8
MAX_SUB_QUERY_LENGTH = 300

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
EXAMPLES = {
    "wash the big windows and feed as many cats as you can": (
        "wash the big windows | feed as many cats as you can"
    ),
    "paint fences": "paint fences",
    "Which robot would stack the boxes highest?": "stack the boxes highest",
    "water the garden while humming a song": "water the garden | hum a song",
    "never mind the dishes, sweep the floor": "sweep the floor",
    "tea & cake": "tea | cake",
    "Show me one that rings the bell, and also one that cooks soup before closing the shop.": (
        "ring the bell | cook soup | close the shop"
    ),
    "I would like an agent that repairs the old bicycle as well as possible.": (
        "repair the old bicycle as well as possible"
    ),
}
SPACELESS = "\u3040-\u30ff\u3400-\u9fff"  # kana and Chinese characters: each one is a word
WORD = re.compile(rf"[{SPACELESS}]|[^\W_{SPACELESS}]+")


class UnusableAnswer(Exception):
    """The server failed, or its answer is not what it was asked for.

    The message is one line and says nothing in the server's words, which may hold the key, or
    instructions to whoever reads them.
    """


def ask_model(query: str, objectives: list[Objective], server: ModelServer) -> list[str]:
    """Let a model split a query.

    Args:
        query: what the user typed.
        objectives: what the library's policies are for.
        server: whom to ask.

    Returns:
        1 to `MAX_SUB_QUERIES` printable texts of at most `MAX_SUB_QUERY_LENGTH` characters, whose
        words are the query's and the library's.

    Raises:
        UnusableAnswer: there is no such answer within `TIMEOUT_S`.
    """
    import openai  # a second that the offline decomposer does not need

    with _http_client() as http_client:
        try:
            client = openai.OpenAI(
                api_key=server.api_key,
                base_url=server.base_url or OPENAI_URL,
                timeout=TIMEOUT_S,
                max_retries=0,
                http_client=http_client,
            )
            messages = _messages(query, objectives)
            body = _within(TIMEOUT_S, lambda: _post(client, server, messages))
        except UnusableAnswer:
            raise
        except Exception as error:  # `from None`: its text may hold the key
            raise UnusableAnswer(_reason(error)) from None
    texts = _clean(_parse(body))
    return _grounded(texts, query, objectives)


def _http_client() -> httpx2.Client:
    """Make a client that goes where it was told to go and reads at most `MAX_BYTES`."""
    import httpx2

    class BoundedStream(httpx2.SyncByteStream):
        def __init__(self, stream: httpx2.SyncByteStream) -> None:
            self._stream = stream

        def __iter__(self) -> Iterator[bytes]:
            n_bytes = 0
            for chunk in self._stream:
                n_bytes += len(chunk)
                if n_bytes > MAX_BYTES:
                    raise UnusableAnswer(f"its answer is longer than {MAX_BYTES} bytes")
                yield chunk

        def close(self) -> None:
            self._stream.close()

    def bound(response: httpx2.Response) -> None:
        # A few compressed bytes can become gigabytes; none were asked for.
        if response.headers.get("Content-Encoding", "identity") != "identity":
            raise UnusableAnswer("its answer is compressed")
        assert isinstance(response.stream, httpx2.SyncByteStream)
        response.stream = BoundedStream(response.stream)

    return httpx2.Client(
        headers={"Accept-Encoding": "identity"},
        follow_redirects=False,  # the key is for this server only
        timeout=TIMEOUT_S,
        event_hooks={"response": [bound]},
    )


def _within(seconds: float, function: Callable[[], bytes]) -> bytes:
    """Call a function and wait so long for its result, and no longer.

    The client's own time-outs start anew with every byte. A thread that is still waiting then is
    left behind; closing the client ends it, and it keeps no process alive.
    """
    future: Future[bytes] = Future()

    def run() -> None:
        try:
            future.set_result(function())
        except Exception as error:
            future.set_exception(error)

    threading.Thread(target=run, daemon=True).start()
    return future.result(seconds)


def _post(client: openai.OpenAI, server: ModelServer, messages: list[Any]) -> bytes:
    """Ask once; ask more plainly where a server refuses an option, as many do."""
    import openai

    create: Any = client.chat.completions.with_raw_response.create
    schema = {"name": "sub_queries", "strict": True, "schema": SCHEMA}
    constrained = {"response_format": {"type": "json_schema", "json_schema": schema}}
    refused = (openai.BadRequestError, openai.UnprocessableEntityError)
    for options in ({**constrained, **_tuning(server)}, constrained, {}):
        with suppress(*refused):
            return bytes(create(model=server.model, messages=messages, **options).content)
    raise UnusableAnswer("the server refuses the question")


def _tuning(server: ModelServer) -> dict[str, Any]:
    """Choose what makes answers quick and repeatable; OpenAI's models of today take no seed."""
    if server.base_url is None:
        return {"reasoning_effort": "low"}
    return {"temperature": 0, "max_tokens": MAX_TOKENS}


def _messages(query: str, objectives: list[Objective]) -> list[dict[str, str]]:
    """Lay out instructions, the library's objectives, examples and the query as a chat."""
    known = "\n".join(f"- {_printable(o.description)}" for o in objectives[:MAX_LISTED_OBJECTIVES])
    system = f"{INSTRUCTIONS} The library serves these objectives:\n{known}"
    messages = [{"role": "system", "content": system}]
    for request, parts in EXAMPLES.items():
        messages.append({"role": "user", "content": request})
        messages.append(
            {"role": "assistant", "content": json.dumps({"sub_queries": parts.split(" | ")})}
        )
    return [*messages, {"role": "user", "content": query}]


def _reason(error: Exception) -> str:
    """Say what went wrong, without a word of the server's."""
    import openai

    if isinstance(error, openai.APIStatusError):
        return f"the server answered with HTTP status {error.status_code}"
    if isinstance(error, openai.APITimeoutError | TimeoutError):
        return f"no answer within {TIMEOUT_S:g} s"
    if isinstance(error, openai.APIConnectionError):
        return "the connection to the server failed"
    return f"the request failed with {type(error).__name__}"


def _parse(body: bytes) -> list[str]:
    """Take the texts out of a chat completion."""
    try:
        content = json.loads(body)["choices"][0]["message"]["content"]
    except (ValueError, LookupError, TypeError, RecursionError):
        raise UnusableAnswer("its answer is not a chat completion") from None
    if not isinstance(content, str):
        raise UnusableAnswer("the model refused or said nothing")
    try:
        texts = json.loads(content)["sub_queries"]
    except (ValueError, LookupError, TypeError, RecursionError):
        texts = None
    if not isinstance(texts, list) or not all(isinstance(text, str) for text in texts):
        raise UnusableAnswer("its answer does not follow the schema")
    return texts


def _clean(texts: list[str]) -> list[str]:
    """Take nothing but a short list of short lines, each once."""
    if len(texts) > MAX_SUB_QUERIES:
        raise UnusableAnswer(f"its answer has {len(texts)} sub-queries")
    lines: dict[str, str] = {}
    for line in map(_printable, texts):
        lines.setdefault(line.casefold(), line)
    lines.pop("", None)
    if any(len(line) > MAX_SUB_QUERY_LENGTH for line in lines):
        raise UnusableAnswer("a sub-query of its answer is too long")
    return list(lines.values())


def _printable(text: str) -> str:
    """Make one line of a text, without control characters."""
    return " ".join("".join(c if c.isprintable() else " " for c in text).split())


def _grounded(texts: list[str], query: str, objectives: list[Objective]) -> list[str]:
    """Keep the texts that repeat the query, and add at most words of the library.

    A weak model invents parts, and a hostile server writes what it likes: neither gets a word
    through that the user or the library did not say first.
    """
    asked = _content_words(query)
    known = asked.union(*(_content_words(text) for o in objectives for text in o.texts))
    kept = [text for text in texts if _is_grounded(_content_words(text), asked, known)]
    if not kept:
        raise UnusableAnswer("none of its sub-queries is about the query")
    return kept


def _is_grounded(words: set[str], asked: set[str], known: set[str]) -> bool:
    return any(_is_among(word, asked) for word in words) and all(
        _is_among(word, known) for word in words
    )


def _content_words(text: str) -> set[str]:
    return set(WORD.findall(text.casefold())) - FUNCTION_WORDS


def _is_among(word: str, words: set[str]) -> bool:
    """Look a word up in any form, escape for escaping, and any spelling, find for fidn."""
    return (
        word in words
        or any(_same_stem(word, other) for other in words)
        or bool(get_close_matches(word, words, n=1, cutoff=0.75))
    )


def _same_stem(word: str, other: str) -> bool:
    """Tell whether two words begin alike and differ only in an ending of up to four letters."""
    pairs = enumerate(zip(word, other, strict=False))
    shorter, longer = sorted((len(word), len(other)))
    n_common = next((i for i, (a, b) in pairs if a != b), shorter)
    return n_common >= 3 and longer - n_common <= min(4, n_common)
