#!/usr/bin/env python3
"""Measure how often a query returns just the targets that its author meant, by kind of query.

reads   labelled queries, a JSON object a line: {"query", "targets", "kind"}; and either a prepared
        library or, with --library, objectives as in worlds/gridworld/objectives.json
writes  nothing, except an exported text encoder when --text-encoder is given
run     python benchmarks/evaluate_queries.py queries.jsonl
        python benchmarks/evaluate_queries.py --library objectives.json queries.jsonl
time    20 to 100 ms a query, and seconds to learn a library

The targets returned are those of the best policies of all sub-queries. A library of objectives has
one policy a target, without recordings; words are all that counts here.
"""

import json
import sys
import time
from argparse import ArgumentTypeError, Namespace
from collections import defaultdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))  # run as a script, from anywhere

from library import command_line
from library.errors import LeverError
from library.objective import Objective
from library.verification import load_whole

if TYPE_CHECKING:
    from faiss_utils.policy_retrieval import PolicySearch
    from faiss_utils.text_encoder import TextEncoder

LabelledQueries = list[dict[str, Any]]


def main() -> int:
    """Answer every query and print the accuracy by kind, and the mistakes."""
    arguments = parse_arguments()
    from faiss_utils.policy_retrieval import open_search

    reports = {}
    if arguments.file is not None:
        search = load_whole(arguments.workspace, lambda: open_search(arguments.workspace))
        reports["prepared library"] = evaluate(search, arguments.file, arguments.decomposer)
    for files in arguments.library or []:
        objectives, queries = read_library(files)
        search = library_of_texts(objectives, open_encoder(arguments))
        reports[files[-1]] = evaluate(search, queries, arguments.decomposer)
    if arguments.json:
        print(json.dumps(reports if arguments.library else reports["prepared library"]))
        return command_line.DONE
    for name, report in reports.items():
        print("\n".join([name, *report_lines(report)]))
    return command_line.DONE


def parse_arguments() -> Namespace:
    """Read the command line; wrong usage ends with one line and code 2."""
    parser = command_line.create_parser(__doc__)
    parser.add_argument(
        "file", type=labelled_queries, nargs="?", metavar="FILE", help="to the prepared library"
    )
    parser.add_argument(
        "--library",
        nargs="+",
        action="append",
        metavar="FILE",
        help="one or more files of objectives (.json), joined, and then one of queries (.jsonl)",
    )
    parser.add_argument(
        "--text-encoder", metavar="NAME", help="for --library (default: the workspace's, exported)"
    )
    parser.add_argument("--decomposer", choices=("auto", "openai", "offline"), default="offline")
    parser.add_argument("--json", action="store_true", help="print one JSON object")
    arguments = parser.parse_args()
    if arguments.file is None and not arguments.library:
        parser.error("give a file of queries, or --library OBJECTIVES QUERIES")
    return arguments


def open_encoder(arguments: Namespace) -> "TextEncoder":
    """Open the text encoder of the workspace; if it has none, or another, export it there."""
    from faiss_utils.text_encoder import EMBEDDED, TextEncoder, export_encoder, read_encoder_name

    folder = arguments.workspace.text_encoder
    found = read_encoder_name(folder)
    name = arguments.text_encoder or found or EMBEDDED
    if name != found:
        if found is not None:
            raise LeverError(
                f"{folder} holds the text encoder {found!r}; choose another --workspace"
            )
        folder.parent.mkdir(parents=True, exist_ok=True)
        export_encoder(name, folder)
    return TextEncoder(folder)


def read_library(files: list[str]) -> tuple[list[Objective], LabelledQueries]:
    """Read objectives from all files but the last, and queries from that.

    Raises:
        LeverError: a file can't be read as such.
    """
    try:
        contents = [json.loads(Path(file).read_text("utf-8")) for file in files[:-1]]
        objectives = [
            Objective(target, entry["description"], tuple(entry.get("phrasings", ())))
            for content in contents
            for target, entry in content.items()
        ]
        if not objectives:
            raise ValueError("no objectives")
        return objectives, labelled_queries(files[-1])
    except (OSError, ValueError, KeyError, TypeError, AttributeError, ArgumentTypeError) as error:
        raise LeverError(
            f"{' '.join(files)} can't be used ({error}); give objectives (.json), then queries"
        ) from None


def library_of_texts(objectives: list[Objective], encoder: "TextEncoder") -> "PolicySearch":
    """Make a library that has one policy a target and no recordings."""
    import numpy as np

    from faiss_utils.policy_database import WorldArrays
    from faiss_utils.policy_retrieval import PolicySearch
    from faiss_utils.setup_faiss_vdb import build_database
    from understanding.learning import learn_meanings
    from worlds.measures import GENERIC

    n = len(objectives)
    numbers = "regressor_score regressor_std energy steps reward_std reward episode n_transitions"
    columns = {name: np.zeros(n) for name in numbers.split()}
    columns["objective"] = np.arange(n, dtype=np.int32)
    columns["policy_seed"] = np.array(["0000"] * n)
    columns["snapshot_percent"] = np.full(n, 100)
    database = build_database(
        encoder.name,
        objectives,
        np.zeros(n, np.int32),
        encoder.encode([text for objective in objectives for text in objective.texts]),
        learn_meanings(objectives, encoder.encode, wordings=list(GENERIC)),
        columns,
        [WorldArrays("words", np.zeros((n, 1), np.float32))],
    )
    return PolicySearch(database, encoder)


def evaluate(search: "PolicySearch", queries: LabelledQueries, decomposer: str) -> dict[str, Any]:
    """Answer the queries, and count by kind which get exactly their targets."""
    from faiss_utils.policy_retrieval import SearchOptions

    options = SearchOptions(decomposer=decomposer)
    outcomes, mistakes = defaultdict(list), []
    started = time.perf_counter()
    for labelled in queries:
        answers = search.search(labelled["query"], options).sub_queries
        found = sorted({a.best_policy["policy_target"] for a in answers if a.best_policy})
        right = found == sorted(labelled["targets"])
        outcomes[labelled["kind"]].append(right)
        outcomes["all"].append(right)
        if not right:
            mistakes.append({**labelled, "found": found, "parts": [a.sub_query for a in answers]})
    return {
        "accuracy": {kind: sum(outcome) / len(outcome) for kind, outcome in outcomes.items()},
        "queries": {kind: len(outcome) for kind, outcome in outcomes.items()},
        "ms_a_query": 1000 * (time.perf_counter() - started) / len(queries),
        "expected": search.database.meanings.expectation(),
        "mistakes": mistakes,
    }


def report_lines(report: dict[str, Any]) -> list[str]:
    """Write a report, one line a kind and one a mistake."""
    lines = [f"{report['expected']}; {report['ms_a_query']:.0f} ms a query"]
    for kind, share in report["accuracy"].items():
        n = report["queries"][kind]
        lines.append(f"{kind:20} {round(share * n):4} of {n:4}  {share:.1%}")
    for mistake in report["mistakes"]:
        wanted, found = mistake["targets"], mistake["found"]
        lines.append(
            f"wrong: {mistake['query']!r} wants {wanted}, finds {found} from {mistake['parts']}"
        )
    return lines


def labelled_queries(text: str) -> LabelledQueries:
    """Read a file of labelled queries, an argparse type."""
    try:
        lines = Path(text).read_text("utf-8").splitlines()
        labelled = [json.loads(line) for line in lines if line.strip()]
        if labelled and all({"query", "targets", "kind"} <= entry.keys() for entry in labelled):
            return labelled
    except (OSError, ValueError, AttributeError):
        pass
    raise ArgumentTypeError(f"{text!r} can't be read as JSON lines with query, targets, kind")


if __name__ == "__main__":
    command_line.run(main)
