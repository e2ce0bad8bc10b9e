#!/usr/bin/env python3
"""Measure how often a query returns just the targets that its author meant, by kind of query.

reads   a prepared library; FILE with a JSON object a line: {"query", "targets", "kind"}
writes  nothing
run     python benchmarks/evaluate_queries.py queries.jsonl
time    20 ms a query

The targets returned are those of the best policies of all sub-queries.
"""

import json
import sys
from argparse import ArgumentTypeError
from collections import defaultdict
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))  # run as a script, from anywhere

from library import command_line
from library.verification import load_whole


def main() -> int:
    """Answer every query and print the accuracy by kind, and the mistakes."""
    parser = command_line.create_parser(__doc__)
    parser.add_argument("file", type=labelled_queries, metavar="FILE")
    parser.add_argument("--decomposer", choices=("auto", "openai", "offline"), default="offline")
    parser.add_argument("--json", action="store_true", help="print one JSON object")
    arguments = parser.parse_args()
    from faiss_utils.policy_retrieval import SearchOptions, open_search

    search = load_whole(arguments.workspace, lambda: open_search(arguments.workspace))
    options = SearchOptions(decomposer=arguments.decomposer)
    outcomes, mistakes = defaultdict(list), []
    for labelled in arguments.file:
        answers = search.search(labelled["query"], options).sub_queries
        found = sorted({a.best_policy["policy_target"] for a in answers if a.best_policy})
        right = found == sorted(labelled["targets"])
        outcomes[labelled["kind"]].append(right)
        outcomes["all"].append(right)
        if not right:
            mistakes.append({**labelled, "found": found, "parts": [a.sub_query for a in answers]})
    accuracy = {kind: sum(outcome) / len(outcome) for kind, outcome in outcomes.items()}
    if arguments.json:
        print(json.dumps({"accuracy": accuracy, "mistakes": mistakes}))
        return command_line.DONE
    for kind, outcome in outcomes.items():
        print(f"{kind:20} {sum(outcome):4} of {len(outcome):4}  {accuracy[kind]:.1%}")
    for mistake in mistakes:
        wanted, found = mistake["targets"], mistake["found"]
        print(f"wrong: {mistake['query']!r} wants {wanted}, finds {found} from {mistake['parts']}")
    return command_line.DONE


def labelled_queries(text: str) -> list[dict[str, object]]:
    """Read a file of labelled queries, an argparse type."""
    try:
        lines = Path(text).read_text("utf-8").splitlines()
        labelled = [json.loads(line) for line in lines if line.strip()]
        if all({"query", "targets", "kind"} <= entry.keys() for entry in labelled):
            return labelled
    except (OSError, ValueError, AttributeError):
        pass
    raise ArgumentTypeError(f"{text!r} can't be read as JSON lines with query, targets, kind")


if __name__ == "__main__":
    command_line.run(main)
