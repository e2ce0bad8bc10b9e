#!/usr/bin/env python3
"""Find the best policies of the library for a description in plain words.

reads   faiss_index/, models/
writes  nothing; with --export DIR a folder for each policy shown, and for the composed one
run     python search_faiss_policies.py "Find the fastest exit" --seed 0038
time    half a second

Examples:
  python search_faiss_policies.py "Find the fastest exit and collect as much gold as possible"
  python search_faiss_policies.py "collect gold" --seed 0038 --filter-energy --top 3
  python search_faiss_policies.py "find the exit, collect gold" --seed 0038 --compose --export out
  python search_faiss_policies.py "collect gold" --json | jq '.sub_queries[].best_policy'
  cat queries.txt | python search_faiss_policies.py --batch -

A query with several objectives is split: by a language model when OPENAI_API_KEY is set,
offline otherwise. Exit code 1 means that nothing matched.
"""

from library import command_line

if __name__ == "__main__":
    command_line.end_on_interrupt()  # before anything slow is imported

import json
import math
import sys
from argparse import ArgumentParser, ArgumentTypeError, Namespace
from collections.abc import Iterator
from io import TextIOWrapper
from pathlib import Path
from typing import TYPE_CHECKING, Any, TextIO

from library.errors import LeverError
from library.verification import load_whole
from understanding.preferences import Preference
from worlds.measures import LEAST, MOST

if TYPE_CHECKING:
    from composition.compose import Composition
    from composition.sources import CannotCompose
    from composition.tabular import TabularComposition
    from faiss_utils.policy_retrieval import PolicySearch, SearchOptions, SearchResult

N_ALIKE = 5
MAX_LINE = 4_000  # characters of a batch line that are read; more than any usable query has


def main() -> int:
    """Answer the query, or the queries of a batch."""
    arguments = parse_arguments()
    # faiss, onnxruntime: a quarter of a second that --help and wrong usage do not need
    from faiss_utils.policy_retrieval import SearchOptions, check_query, open_search

    if arguments.description is not None:
        check_query(arguments.description)
    queries = iter([arguments.like]) if arguments.like else open_queries(arguments)
    search = load_whole(arguments.workspace, lambda: open_search(arguments.workspace))
    search.check_seed(arguments.seed)
    search.check_preferences(arguments.prefer)
    options = SearchOptions(
        seed=arguments.seed,
        prefer=tuple(arguments.prefer),
        top=arguments.top,
        min_similarity=arguments.min_similarity,
        decomposer=arguments.decomposer,
    )
    found = False
    for query in queries:
        result = answer(search, query, options, arguments)
        found |= result.found
        composition = compose(search, result, arguments) if arguments.compose else None
        show(result, composition, arguments)
        if arguments.export:
            export(search, result, composition, arguments.export)
    return command_line.DONE if found else command_line.NOTHING_FOUND


def parse_arguments() -> Namespace:
    """Read the command line; wrong usage ends with one line and code 2."""
    parser = command_line.create_parser(__doc__)
    parser.add_argument("description", nargs="?", type=readable, help="what the policies should do")
    parser.add_argument(
        "--seed", type=command_line.seed, help="only policies of this seed, for instance 0038"
    )
    parser.add_argument(
        "--prefer",
        action="append",
        type=preference_option,
        default=[],
        metavar="MEASURE:least|most",
        help="of the policies within 5%% of the best predicted reward, the one with the least or "
        "most of a measure, for instance energy:least or steps:most (repeatable)",
    )
    parser.add_argument(
        "--filter-energy",
        action="append_const",
        dest="prefer",
        const=Preference("energy", LEAST),
        help="the same as --prefer energy:least",
    )
    parser.add_argument("--show-all", action="store_true", help="every field of a policy")
    parser.add_argument(
        "--top",
        type=command_line.positive_number,
        metavar="N",
        help=f"policies to show (default: 1; {N_ALIKE} with --like)",
    )
    parser.add_argument("--json", action="store_true", help="print one JSON object")
    parser.add_argument(
        "--min-similarity",
        type=command_line.number_between(-1.0, 1.0),
        metavar="X",
        help="keep every policy whose cosine similarity is above X, -1 to 1 "
        "(default: those of the objective that is meant)",
    )
    parser.add_argument(
        "--decomposer",
        choices=("auto", "openai", "offline"),
        default="auto",
        help="who splits the query (default: auto, openai when OPENAI_API_KEY is set)",
    )
    parser.add_argument(
        "--like", metavar="POLICY_NAME", help="the policies that behave most like this one"
    )
    parser.add_argument(
        "--batch", metavar="FILE", help="one query a line (- for standard input), JSON lines out"
    )
    parser.add_argument(
        "--export",
        metavar="DIR",
        type=Path,
        help="write a folder for each policy shown: Q-table, policy.json, a picture of its route",
    )
    add_composition_options(parser)
    arguments = parser.parse_args()
    if not arguments.compose and (arguments.weights or arguments.support):
        parser.error("--weights and --support go with --compose")
    if arguments.export and arguments.batch is not None:
        parser.error("--export goes with a description, not with --batch")
    given = (arguments.description, arguments.batch, arguments.like)
    if sum(value is not None for value in given) != 1:
        parser.error("give one of a description, --batch FILE and --like POLICY_NAME")
    if arguments.top is None:
        arguments.top = N_ALIKE if arguments.like else 1
    return arguments


def add_composition_options(parser: ArgumentParser) -> None:
    """Add the options that say what becomes of several policies."""
    parser.add_argument(
        "--compose", action="store_true", help="make one policy of the best of all sub-queries"
    )
    parser.add_argument(
        "--weights",
        type=weights_of_targets,
        metavar="gold=2,path=1",
        help="how much each target counts in the composed policy (default: 1 each)",
    )
    parser.add_argument(
        "--support",
        choices=("tried", "policies"),
        help="what the composed policy may do: what its sources tried in training, or only what "
        "they do (default: tried, if their Q-tables were 0 before training; in worlds of chance "
        "whichever promises more)",
    )


def weights_of_targets(text: str) -> dict[str, float]:
    """Read weights like gold=2,path=1, an argparse type."""
    weights = {}
    for part in text.split(","):
        name, _, number = part.strip().rpartition("=")
        try:
            weight = float(number)
        except ValueError:
            weight = math.nan
        if not name or name in weights or not 0 <= weight < math.inf:
            raise ArgumentTypeError(f"{text!r} is no list of weights such as gold=2,path=1")
        weights[name] = weight
    return weights


def open_queries(arguments: Namespace) -> Iterator[str]:
    """Give the queries one by one, as they come; of a line too long to be one only its start."""
    if arguments.batch is None:
        return iter([arguments.description])
    if arguments.batch == "-":
        if isinstance(sys.stdin, TextIOWrapper):
            sys.stdin.reconfigure(encoding="utf-8", errors="replace")
        return read_lines(sys.stdin)
    try:
        return read_lines(open(arguments.batch, encoding="utf-8", errors="replace"))
    except OSError as error:
        raise LeverError(
            f"the batch file {arguments.batch} can't be read ({error.strerror}); "
            "give a text file, or - for standard input"
        ) from None


def read_lines(file: TextIO) -> Iterator[str]:
    """Give the lines that are not blank, at most `MAX_LINE` characters of each."""
    while line := file.readline(MAX_LINE):
        end = line
        while len(end) == MAX_LINE and not end.endswith("\n"):
            end = file.readline(MAX_LINE)
        if query := readable(line):
            yield query


def readable(text: str) -> str:
    """Replace bytes that are not UTF-8, and take off what frames a line: white space and a BOM."""
    try:
        content = text.encode("utf-8", "surrogateescape")  # as it was typed
    except UnicodeEncodeError:  # halves of characters, which Windows lets pass
        content = text.encode("utf-8", "replace")
    return content.decode("utf-8", "replace").strip("\ufeff \t\r\n")


def answer(
    search: "PolicySearch", query: str, options: "SearchOptions", arguments: Namespace
) -> "SearchResult":
    """Answer one query; in a batch a query that can't be used is answered with the reason."""
    if arguments.like:
        return search.like(query, options)
    try:
        return search.search(query, options)
    except LeverError as error:
        if arguments.batch is None:
            raise
        return search.refuse(query, options, command_line.explain(error))


def compose(
    search: "PolicySearch", result: "SearchResult", arguments: Namespace
) -> "Composition | TabularComposition | CannotCompose":
    """Make one policy of the best ones, or say why that can't be."""
    from composition.compose import compose as compose_answers
    from composition.sources import CannotCompose

    try:
        return compose_answers(
            search.database,
            result.sub_queries,
            arguments.weights,
            arguments.support,
            arguments.seed,
        )
    except CannotCompose as reason:
        return reason


def export(
    search: "PolicySearch",
    result: "SearchResult",
    composition: "Composition | TabularComposition | CannotCompose | None",
    folder: Path,
) -> None:
    """Write a folder for each policy shown, and for the composed one."""
    from faiss_utils.export import export_policy

    policies = {p["policy_name"]: p for answer in result.sub_queries for p in answer.top}
    written = [
        path
        for policy in policies.values()
        for path in export_policy(search.database, policy, folder)
    ]
    if composition is not None and not isinstance(composition, Exception):
        from composition.export import export_composition

        written += export_composition(search.database, composition, folder)
    for path in written:
        command_line.notice(f"wrote {path}")


def show(
    result: "SearchResult",
    composition: "Composition | TabularComposition | CannotCompose | None",
    arguments: Namespace,
) -> None:
    """Print a result, as JSON when asked or in a batch."""
    from faiss_utils.presentation import to_json, to_text

    for notice in result.notices:
        command_line.notice(f"notice: {notice}")
    if arguments.json or arguments.batch is not None:
        content = to_json(result, arguments.show_all) | composition_json(composition)
        command_line.show(json.dumps(content))
    else:
        blocks = [*to_text(result, arguments.show_all), *composition_text(composition)]
        command_line.show("\n\n".join(blocks))


def composition_json(
    composition: "Composition | TabularComposition | CannotCompose | None",
) -> dict[str, Any]:
    """Make what JSON says of a composed policy: null and a message when there is none."""
    if composition is None:
        return {}
    if isinstance(composition, Exception):
        return {"composition": None, "message": str(composition)}
    return {"composition": composition.to_json()}


def composition_text(
    composition: "Composition | TabularComposition | CannotCompose | None",
) -> Iterator[str]:
    """Write the block of a composed policy, or why there is none."""
    if composition is None:
        return
    yield "\n   ".join(
        [f"🧩 Composed policy: ❌ {composition}"]
        if isinstance(composition, Exception)
        else [f"🧩 Composed policy: {composition.name}", *composition.to_text()]
    )


def preference_option(text: str) -> Preference:
    """Read MEASURE:least or MEASURE:most, an argparse type."""
    measure, _, direction = text.partition(":")
    if not measure or direction not in (LEAST, MOST):
        raise ArgumentTypeError(f"{text!r} is not MEASURE:{LEAST} or MEASURE:{MOST}")
    return Preference(measure, direction)


if __name__ == "__main__":
    command_line.run(main)
