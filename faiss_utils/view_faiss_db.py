#!/usr/bin/env python3
"""Show what is in the vector database: every policy, and the statistics of the index.

reads   faiss_index/, models/; with --verify everything that preparation wrote
writes  nothing; with --map FILE.png a picture
run     python faiss_utils/view_faiss_db.py --seed 0038
time    at once
"""

import json
import sys
from collections import Counter
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))  # run as a script, from anywhere

from library import command_line

if __name__ == "__main__":
    command_line.end_on_interrupt()  # before anything slow is imported

from library.errors import LeverError
from library.manifest import read_manifest
from library.verification import find_all_damage, load_whole
from library.workspace import Workspace

COLUMNS = {
    "policy_name": "Name",
    "snapshot_percent": "Percent",
    "episode": "Episode",
    "reward": "Reward",
    "regressor_score": "Predicted",
    "energy": "Energy",
    "n_transitions": "Steps",
    "q_table_shape": "Q-table",
}


def main() -> int:
    """Print the policies asked for and the statistics."""
    parser = command_line.create_parser(__doc__)
    parser.add_argument(
        "--seed", type=command_line.seed, help="only policies of this seed, for instance 0038"
    )
    parser.add_argument("--target", help="only policies of this target")
    parser.add_argument("--json", action="store_true", help="print one JSON object")
    parser.add_argument(
        "--verify", action="store_true", help="recompute the checksums of all files, and report"
    )
    parser.add_argument(
        "--map", metavar="FILE.png", type=Path, help="draw the library, a colour a target"
    )
    arguments = parser.parse_args()
    if arguments.verify:
        return verify(arguments.workspace)
    # faiss, which --help does not need
    from faiss_utils.policy_retrieval import describe_missing
    from faiss_utils.setup_faiss_vdb import load_database

    database = load_whole(arguments.workspace, lambda: load_database(arguments.workspace))
    if arguments.map:
        from faiss_utils.library_map import draw_map

        draw_map(database, arguments.map)
        command_line.notice(f"wrote {arguments.map}")
    targets = [objective.target for objective in database.objectives]
    if arguments.seed not in (None, *database.seeds):
        raise LeverError(f"seed {describe_missing(arguments.seed, database.seeds)}")
    if arguments.target not in (None, *targets):
        raise LeverError(f"target {describe_missing(arguments.target, targets)}")
    policies = [
        policy
        for policy in map(database.describe, range(database.n_policies))
        if arguments.seed in (None, policy["policy_seed"])
        and arguments.target in (None, policy["policy_target"])
    ]
    statistics = summarise(database)
    if arguments.json:
        command_line.show(json.dumps({"policies": policies, "statistics": statistics}))
    else:
        command_line.show("\n".join([*table(policies), "", *statistics_lines(statistics)]))
    return command_line.DONE if policies else command_line.NOTHING_FOUND


def verify(workspace: Workspace) -> int:
    """Hold every file against the manifest and name those that are damaged."""
    manifest = read_manifest(workspace)
    damage = find_all_damage(workspace, manifest, thorough=True)
    command_line.show("\n".join(damage) or "All files of the library are whole")
    return command_line.UNUSABLE if damage else command_line.DONE


def summarise(database: Any) -> dict[str, Any]:
    """Collect the statistics of the index."""
    targets = [database.objectives[i].target for i in database.columns["objective"]]
    return {
        "n_policies": database.n_policies,
        "policies_by_target": dict(Counter(targets)),
        "n_seeds": len(database.seeds),
        "seeds": database.seeds,
        "n_vectors": database.index.ntotal,
        "dimension": database.index.d,
        "index_type": type(database.index).__name__,
        "text_encoder": database.encoder,
        "worlds": {
            world.name: {
                "n_policies": len(world.embeddings),
                "embedding_dimension": world.embeddings.shape[1],
            }
            for world in database.worlds
        },
        "phrasings_found": database.meanings.found,
        "off_topic_refused": database.meanings.refused,
        "expectation": database.meanings.expectation(),
    }


def table(policies: list[dict[str, Any]]) -> list[str]:
    """Align the policies in columns."""
    rows = [list(COLUMNS.values())]
    rows += [[_cell(policy[name]) for name in COLUMNS] for policy in policies]
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    widths[0] = -widths[0]  # the name is flush left, numbers flush right
    return [
        "  ".join(f"{c:<{-w}}" if w < 0 else f"{c:>{w}}" for c, w in zip(row, widths, strict=True))
        for row in rows
    ]


def statistics_lines(statistics: dict[str, Any]) -> list[str]:
    """Write the statistics, one a line."""
    by_target = ", ".join(f"{t}: {n}" for t, n in statistics["policies_by_target"].items())
    return [
        f"Policies: {statistics['n_policies']} ({by_target})",
        f"Seeds: {statistics['n_seeds']} ({', '.join(statistics['seeds'])})",
        f"Index: {statistics['index_type']}, {statistics['n_vectors']} vectors of "
        f"{statistics['dimension']} dimensions",
        f"Text encoder: {statistics['text_encoder']}",
        statistics["expectation"],
        *(
            f"World {name}: {world['n_policies']} policies, embeddings of "
            f"{world['embedding_dimension']} dimensions"
            for name, world in statistics["worlds"].items()
        ),
    ]


def _cell(value: Any) -> str:
    if value is None:
        return "-"
    if isinstance(value, list):
        return "x".join(map(str, value))
    return f"{value:.2f}" if isinstance(value, float) else str(value)


if __name__ == "__main__":
    command_line.run(main)
