"""What is shown of the answer to a query: text for people, JSON for programs."""

from collections.abc import Iterator
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

from worlds.measures import LEAST, MOST

if TYPE_CHECKING:
    from faiss_utils.policy_retrieval import SearchResult

UNKNOWN = "-"
COMPACT_FIELDS = (
    "policy_name",
    "policy_target",
    "policy_seed",
    "snapshot_percent",
    "cosine_similarity",
    "regressor_score",
    "description",
    "energy",
    "reward",
    "q_table_shape",
)


def to_json(result: "SearchResult", show_all: bool) -> dict[str, Any]:
    """Make the JSON object of a result; every field of a policy only with `show_all`."""
    content = asdict(result)
    del content["notices"]
    if not show_all:
        for sub_query in content["sub_queries"]:
            sub_query["top"] = [_compact(policy) for policy in sub_query["top"]]
            if sub_query["best_policy"]:
                sub_query["best_policy"] = _compact(sub_query["best_policy"])
    return content


def to_text(result: "SearchResult", show_all: bool) -> Iterator[str]:
    """Write a block for every sub-query; every field of a policy only with `show_all`."""
    for number, answer in enumerate(result.sub_queries, start=1):
        rule = selection_rule(answer.preferences)
        lines = [f"🔍 Sub-query {number}: '{answer.sub_query}'"]
        if answer.best_policy is None:
            lines.append(f"   ❌ {answer.message}")
        lines += [f"   ⚖️ {one['measure']}: {one['direction']}" for one in answer.preferences]
        for place, policy in enumerate(answer.top, start=1):
            title = f"Policy {place} of {answer.candidates}"
            if "behaviour_distance" in policy:
                title = f"Policy {place}, at distance {policy['behaviour_distance']:.4f}"
            elif place == 1:
                title = f"🏆 Best Policy ({rule})"
            lines += [f"   {title}:", *policy_lines(policy, show_all)]
        yield "\n".join(lines)


def selection_rule(preferences: list[dict[str, str]]) -> str:
    """Say what makes a policy the best."""
    if not preferences:
        return "highest regressor score"
    names = {LEAST: "lowest", MOST: "highest"}
    wanted = [f"{names[one['direction']]} {one['measure']}" for one in preferences]
    return f"{', '.join(wanted)} near the best score"


def policy_lines(policy: dict[str, Any], show_all: bool) -> Iterator[str]:
    """Write a policy's fields, one a line."""
    shape = policy["q_table_shape"]
    shown = {
        "Name": policy["policy_name"],
        "Target": policy["policy_target"],
        "Cosine similarity": _number(policy["cosine_similarity"], 4),
        "Regressor Score (predicted reward)": f"{policy['regressor_score']:.4f}",
        "Description": policy["description"],
        "Energy": _number(policy["energy"], 2),
        "Reward": f"{policy['reward']:.4f}",
        "Q-table shape": UNKNOWN if shape is None else tuple(shape),
        "Q-table available": "No" if shape is None else "Yes",
    }
    if show_all:
        rest = {name: value for name, value in policy.items() if name not in COMPACT_FIELDS}
        shown |= {name.replace("_", " ").capitalize(): value for name, value in rest.items()}
        shown |= {"Seed": policy["policy_seed"], "Snapshot": f"{policy['snapshot_percent']}%"}
    for name, value in shown.items():
        yield f"      {name}: {_shortened(value)}"


def _number(value: float | None, digits: int) -> str:
    return UNKNOWN if value is None else f"{value:.{digits}f}"


def _compact(policy: dict[str, Any]) -> dict[str, Any]:
    shown = {name: policy[name] for name in COMPACT_FIELDS}
    distance = policy.get("behaviour_distance")
    return shown if distance is None else {"behaviour_distance": distance, **shown}


def _shortened(value: Any) -> str:
    """Write a value; of a long list of numbers its length and first few."""
    if isinstance(value, list) and len(value) > 8 and isinstance(value[0], float):
        return f"{len(value)} numbers, {', '.join(f'{x:.3f}' for x in value[:6])}, ..."
    if value is None:
        return UNKNOWN
    if isinstance(value, dict):
        return "; ".join(f"{name}: {item}" for name, item in value.items())
    if isinstance(value, list):
        return "; ".join(str(item) for item in value)
    return f"{value:.4f}" if isinstance(value, float) else str(value)
