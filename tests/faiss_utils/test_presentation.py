"""What is shown of an answer, as text and as JSON."""

import pytest

from faiss_utils.policy_retrieval import SearchResult, SubQueryResult
from faiss_utils.presentation import COMPACT_FIELDS, to_json, to_text
from faiss_utils.view_faiss_db import table

POLICY = {
    "policy_name": "gold_0038_60",
    "policy_target": "gold",
    "policy_seed": "0038",
    "snapshot_percent": 60,
    "cosine_similarity": 0.87654321,
    "regressor_score": 12.345678,
    "description": "Collect gold.",
    "energy": 0.256,
    "reward": 11.5,
    "q_table_shape": [256, 5],
    "phrasings": ["get rich", "take all"],
    "source": {"file": "a.zip", "steps": 3},
    "reward_std": 0.123456,
    "episode": 7,
    "n_transitions": 33,
    "policy_embedding": [0.1234] * 9,
    "few": [0.5] * 8,
}
BARE = POLICY | dict.fromkeys(("cosine_similarity", "energy", "q_table_shape", "source"))


def result_of(*policies, preferences=(), message=None, **changes):
    best = policies[0] if policies else None
    answer = SubQueryResult("gold", message, 17, best, list(policies), list(preferences))
    return SearchResult("gold", None, "offline", [answer], {"total": 1.0}, ("told",), **changes)


def lines_of(result, show_all=False):
    (block,) = to_text(result, show_all)
    return [line.strip() for line in block.splitlines()]


def test_a_policy_has_a_line_a_field():
    assert lines_of(result_of(POLICY)) == [
        "🔍 Sub-query 1: 'gold'",
        "🏆 Best Policy (highest regressor score):",
        "Name: gold_0038_60",
        "Target: gold",
        "Cosine similarity: 0.8765",
        "Regressor Score (predicted reward): 12.3457",
        "Description: Collect gold.",
        "Energy: 0.26",
        "Reward: 11.5000",
        "Q-table shape: (256, 5)",
        "Q-table available: Yes",
    ]


def test_what_is_not_known_is_a_dash():
    lines = lines_of(result_of(BARE), show_all=True)
    assert {"Cosine similarity: -", "Energy: -", "Q-table shape: -", "Source: -"} <= set(lines)
    assert "Q-table available: No" in lines


def test_every_field_is_shown_when_asked():
    shown = set(lines_of(result_of(POLICY), show_all=True)) - set(lines_of(result_of(POLICY)))
    assert shown == {
        "Phrasings: get rich; take all",
        "Source: file: a.zip; steps: 3",
        "Reward std: 0.1235",
        "Episode: 7",
        "N transitions: 33",
        "Policy embedding: 9 numbers, 0.123, 0.123, 0.123, 0.123, 0.123, 0.123, ...",
        "Few: 0.5; 0.5; 0.5; 0.5; 0.5; 0.5; 0.5; 0.5",
        "Seed: 0038",
        "Snapshot: 60%",
    }


def test_further_policies_are_counted_and_neighbours_have_a_distance():
    titles = [line for line in lines_of(result_of(POLICY, BARE)) if line.endswith(":")]
    assert titles == ["🏆 Best Policy (highest regressor score):", "Policy 2 of 17:"]
    near = POLICY | {"behaviour_distance": 0.25}
    titles = [line for line in lines_of(result_of(near, near)) if line.endswith(":")]
    assert titles == ["Policy 1, at distance 0.2500:", "Policy 2, at distance 0.2500:"]


def test_preferences_and_failures_are_told():
    wanted = [
        {"measure": "energy", "direction": "least", "text": "x"},
        {"measure": "steps", "direction": "most", "text": "y"},
    ]
    lines = lines_of(result_of(POLICY, preferences=wanted))
    assert lines[1:3] == ["⚖️ energy: least", "⚖️ steps: most"]
    assert lines[3] == "🏆 Best Policy (lowest energy, highest steps near the best score):"
    assert lines_of(result_of(message="Nothing")) == ["🔍 Sub-query 1: 'gold'", "❌ Nothing"]


@pytest.mark.parametrize("show_all", [True, False])
def test_json_has_the_fields_of_the_contract(show_all):
    near = POLICY | {"behaviour_distance": 0.25}
    content = to_json(result_of(POLICY, near), show_all)
    assert content.keys() == {"query", "seed", "decomposer", "sub_queries", "timing_ms"}
    (answer,) = content["sub_queries"]
    keys = ("message", "candidates", "best_policy", "top", "preferences")
    assert answer.keys() == {"sub_query", *keys}
    compact = {name: POLICY[name] for name in COMPACT_FIELDS}
    assert answer["best_policy"] == (POLICY if show_all else compact)
    assert answer["top"][1] == (near if show_all else compact | {"behaviour_distance": 0.25})
    assert to_json(result_of(message="Nothing"), show_all)["sub_queries"][0]["best_policy"] is None


def test_the_table_of_a_library_is_aligned():
    head, *rows = table([POLICY, BARE | {"policy_name": "x", "reward": -1000.25}])
    assert len({len(line) for line in (head, *rows)}) == 1, "all lines are of one width"
    assert rows[0].startswith("gold_0038_60  ") and rows[1].startswith("x  ")
    assert "256x5" in rows[0] and "256x5" not in rows[1]
    assert "11.50" in rows[0].split() and "-1000.25" in rows[1].split() and "-" in rows[1].split()
