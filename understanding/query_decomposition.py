"""One query -> single-objective sub-queries, by a language model or offline."""

from dataclasses import dataclass

from library.errors import LeverError
from library.objective import Objective
from understanding.language_model import ask_model, find_model_server
from understanding.matching import Matcher, SubQuery
from understanding.offline_decomposition import decompose_offline, distinct
from understanding.spelling import Spelling

MAX_REASON_LENGTH = 200


@dataclass(frozen=True)
class Decomposition:
    """The parts of a query.

    Attributes:
        decomposer: who split it, `openai` or `offline`.
        sub_queries: at least one, each with a single objective or none.
        notice: why the offline decomposer had to step in, or None.
    """

    decomposer: str
    sub_queries: list[SubQuery]
    notice: str | None = None


class QueryDecomposer:
    """Splits queries to a library whose objectives it knows."""

    def __init__(self, objectives: list[Objective], matcher: Matcher, spelling: Spelling) -> None:
        """Split queries to the library with these objectives."""
        self._objectives = objectives
        self._matcher = matcher
        self._spelling = spelling

    def decompose(self, query: str, decomposer: str = "auto") -> Decomposition:
        """Split a query into single-objective sub-queries.

        Args:
            query: what the user typed.
            decomposer: `openai`, `offline`, or `auto`: a model when a key is set.

        Raises:
            LeverError: `openai` without a key.
        """
        server = None if decomposer == "offline" else find_model_server()
        if server is None:
            if decomposer == "openai":
                raise LeverError(
                    "--decomposer openai needs a key; "
                    "set OPENAI_API_KEY in the environment or in .env"
                )
            return self._decompose_offline(query)
        try:
            texts = ask_model(query, self._objectives, server)
        except Exception as error:  # whatever goes wrong out there must not stop a search
            reason = " ".join((str(error) or type(error).__name__).split())
            reason = reason.replace(server.api_key, "***")[:MAX_REASON_LENGTH]
            return self._decompose_offline(query, f"the language model gave no answer ({reason})")
        # The model's sentences go the same way as the user's: it may leave a negation in them.
        pieces = distinct([p for text in texts for p in self._split_offline(text)])
        if all(piece.objective is None for piece in pieces):
            return self._decompose_offline(query, "the language model found no known objective")
        return Decomposition("openai", pieces)

    def _decompose_offline(self, query: str, reason: str | None = None) -> Decomposition:
        notice = reason and f"{reason}; decomposing offline"
        return Decomposition("offline", self._split_offline(query), notice)

    def _split_offline(self, text: str) -> list[SubQuery]:
        return decompose_offline(text, self._matcher, self._spelling)
