"""One query -> single-objective sub-queries, by a language model or offline."""

import math
from dataclasses import dataclass, replace

from library.errors import LeverError
from library.objective import Objective
from understanding.matching import Matcher, SubQuery
from understanding.offline_decomposition import decompose_offline
from understanding.preferences import Preference
from understanding.settings import find_model_server
from understanding.spelling import Spelling

CONFIDENT = math.log(0.8)


@dataclass(frozen=True)
class Decomposition:
    """The parts of a query.

    Attributes:
        decomposer: who split it, `openai` or `offline`.
        sub_queries: at least one, each with an objective of its own; when the library has none
            of what is asked for, the whole query.
        notices: why the offline decomposer had to step in, and what was not understood.
    """

    decomposer: str
    sub_queries: list[SubQuery]
    notices: tuple[str, ...] = ()


class QueryDecomposer:
    """Splits queries to a library whose objectives it knows."""

    def __init__(self, objectives: list[Objective], matcher: Matcher, spelling: Spelling) -> None:
        """Split queries to the library with these objectives."""
        self._objectives = objectives
        self._matcher = matcher
        self._spelling = spelling
        self._told: set[str] = set()  # what is said once, not with every query of a batch

    def decompose(self, query: str, decomposer: str = "auto") -> Decomposition:
        """Split a query into single-objective sub-queries.

        Args:
            query: what the user typed.
            decomposer: `openai`, `offline`, or `auto`: a model when a key is set.

        Raises:
            LeverError: `openai` without a key.
        """
        server, notices = (None, []) if decomposer == "offline" else find_model_server()
        notices = [line for line in notices if line not in self._told]
        self._told.update(notices)
        if server is None and decomposer == "openai":
            raise LeverError(
                f"--decomposer openai needs a key{''.join(f', and {line}' for line in notices)}; "
                "set OPENAI_API_KEY in the environment or in .env"
            )
        if server is not None:
            from understanding.language_model import UnusableAnswer, ask_model  # takes a while

            try:
                # A model may leave a negation in its sentences: they go the user's way.
                pieces = self._read(*ask_model(query, self._objectives, server))
                if all(piece.objective is None for piece in pieces):
                    raise UnusableAnswer("it found no known objective")
                notices += self._left_out(query, pieces)
                return self._collect("openai", query, pieces, notices)
            except UnusableAnswer as why:
                notices.append(
                    f"the language model gave no usable answer ({why}); decomposing offline"
                )
        return self._collect("offline", query, self._read(query), notices)

    def _read(self, *sentences: str) -> list[SubQuery]:
        return decompose_offline(sentences, self._matcher, self._spelling)

    def _left_out(self, query: str, pieces: list[SubQuery]) -> list[str]:
        """Name what the model left out although the query asks for it, as far as one can tell."""
        found = {None, *(piece.objective for piece in pieces)}
        missing = [
            repr(piece.text)
            for piece in self._read(query)
            if piece.objective not in found and piece.log_probability > CONFIDENT
        ]
        return [f"the language model left out {', '.join(missing)}"] if missing else []

    def _collect(
        self, decomposer: str, query: str, pieces: list[SubQuery], notices: list[str]
    ) -> Decomposition:
        """Keep the most probable piece of each objective; name what was not understood."""
        likely_last = sorted(pieces, key=lambda piece: piece.log_probability)
        best = {piece.objective: piece for piece in likely_last}
        sub_queries = [
            replace(best[objective], preferences=tuple(wanted))
            for objective, wanted in assign_preferences(query, pieces).items()
        ]
        unknown = [repr(piece.text) for piece in pieces if piece.is_unknown]
        if not sub_queries:
            (whole,) = self._matcher.match([query.strip()], [False])
            sub_queries = [replace(whole, objective=None)]
        elif unknown:
            notices = [*notices, f"not understood, and left out: {', '.join(unknown)}"]
        return Decomposition(decomposer, sub_queries, tuple(notices))


def assign_preferences(query: str, pieces: list[SubQuery]) -> dict[int, list[Preference]]:
    """Find the objectives of a sentence, in its order, and the preferences of each.

    A preference belongs to the objective before it, or else to the first; but what a comma
    separates at the end of the sentence belongs to all.
    """
    objectives = [piece.objective for piece in pieces if piece.objective is not None]
    found: dict[int, list[Preference]] = {objective: [] for objective in objectives}
    last = objectives[:1]
    for piece in pieces:
        if piece.objective is not None:
            last = [piece.objective]
        before = query[: max(0, query.rfind(piece.text))].rstrip()
        is_apart = piece is pieces[-1] and before.endswith((",", ";", ":", "."))
        for objective in found if is_apart else last:
            found[objective] += [replace(one, text=piece.text) for one in piece.preferences]
    return found
