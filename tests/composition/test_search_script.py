"""`--compose` as a user runs it."""

import json

import numpy as np
import pytest

from tests.conftest import run
from worlds.gridworld.environment import GridWorld

pytestmark = pytest.mark.slow
QUERY = "Find the fastest exit and collect as much gold as possible"
FIELDS = [
    *("objectives", "weights", "support", "predicted_reward", "predicted_by_objective"),
    *("best_single", "n_steps", "sources"),
]


def search(library, *arguments, query=QUERY):
    return run("search_faiss_policies.py", query, *arguments, workspace=library)


def test_json_text_and_export_say_the_same(prepared, tmp_path):
    arguments = ("--seed", "0038", "--compose", "--weights", "gold=2,path=1")
    result = search(prepared, *arguments, "--json", "--export", tmp_path)
    assert result.returncode == 0, result.stderr
    composition = json.loads(result.stdout)["composition"]
    assert list(composition) == FIELDS
    assert composition["weights"] == {"path": 1.0, "gold": 2.0}
    text = search(prepared, *arguments).stdout
    assert "🧩 Composed policy" in text
    assert f"Predicted reward: {composition['predicted_reward']:.4f}" in text
    table = np.load(tmp_path / "composed-path-gold_0038_100" / "q_table.npy")
    for target in ("gold", "path"):
        environment, total, ended = GridWorld(target), 0.0, False
        _, info = environment.reset(seed=38)
        while not ended:
            row, column = info["position"]
            action = table[16 * row + column].argmax()
            _, reward, terminated, truncated, info = environment.step(action)
            total, ended = total + reward, terminated or truncated
        assert total == pytest.approx(composition["predicted_by_objective"][target])


def test_without_a_common_layout_there_is_null_and_a_message(prepared):
    result = search(prepared, "--compose", "--json")
    answer = json.loads(result.stdout)
    names = {s["best_policy"]["policy_seed"] for s in answer["sub_queries"]}
    assert result.returncode == 0
    if len(names) > 1:
        assert answer["composition"] is None and "--seed" in answer["message"]


@pytest.mark.parametrize(
    "arguments",
    [
        ("--weights", "gold=2"),
        ("--support", "tried"),
        ("--compose", "--weights", "gold"),
        ("--compose", "--weights", "gold=-1"),
        ("--compose", "--weights", "gold=nan"),
        ("--compose", "--weights", "gold=1,gold=2"),
        ("--compose", "--support", "all"),
    ],
)
def test_wrong_usage_is_one_line(prepared, arguments):
    result = search(prepared, *arguments)
    assert result.returncode == 2 and len(result.stderr.splitlines()) == 1, result.stderr
    assert result.stderr.startswith("error: ")
