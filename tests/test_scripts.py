"""The scripts as a user runs them: results on stdout, the story on stderr, errors in one line."""

import csv
import json
import shutil
import subprocess
import sys
from dataclasses import replace

import numpy as np
import pytest

from library.manifest import describe_file, read_manifest, write_manifest
from library.workspace import HOME, Workspace
from tests.conftest import run
from worlds.gridworld.generate_states import generate

pytestmark = pytest.mark.slow
SEARCH, PREPARE, RESET = "search_faiss_policies.py", "pi2vec_preparation.py", "reset_framework.py"
VIEW = "faiss_utils/view_faiss_db.py"
QUERY = "Find the fastest exit and collect as much gold as possible"
SCRIPTS = [[PREPARE], [SEARCH], [RESET], [VIEW], ["-m", "worlds.gridworld.generate_states"]]


def error_line(result):
    """Check that a run failed politely and return its one line."""
    lines = result.stderr.splitlines()
    assert result.returncode == 2, result
    assert len(lines) == 1 and lines[0].startswith("error: "), result.stderr
    assert "; " in lines[0], f"says no remedy: {lines[0]}"
    return lines[0]


def search(library, *arguments, **options):
    return run(SEARCH, *arguments, workspace=library, **options)


def search_json(library, *arguments):
    result = search(library, *arguments, "--json")
    assert result.returncode in (0, 1), result
    return json.loads(result.stdout)


def snapshot(workspace):
    return {path: path.read_bytes() for path in workspace.root.rglob("*") if path.is_file()}


@pytest.mark.parametrize("script", SCRIPTS)
def test_help_names_the_common_option_and_exits_0(script):
    result = run(*script, "--help")
    assert result.returncode == 0 and "--workspace" in result.stdout and not result.stderr


def test_every_file_of_the_contract_is_written(prepared):
    d = np.load(prepared.canonical_states).shape[1]
    assert np.load(prepared.canonical_states).shape == (64, d)
    with open(prepared.processed_states, newline="") as file:
        rows = list(csv.DictReader(file))
    assert list(rows[0]) == [
        "policy_name",
        "policy_target",
        "policy_seed",
        "snapshot_percent",
        "episode",
        "reward",
        "energy",
        "n_transitions",
        "world",
        "blocks",
        "gold",
        "hazards",
        "steps",
    ]
    assert len(rows) == 36
    training = json.loads(prepared.regressor_training_data.read_text())
    assert {name: len(column) for name, column in training.items()} == dict.fromkeys(
        ("policy_name", "policy_target", "policy_embedding", "reward"), 36
    )
    assert len(training["policy_embedding"][0]) == d
    assert prepared.regressor_plot.read_bytes().startswith(b"\x89PNG")
    models = {path.stem for path in prepared.psi_models.glob("*.pth")}
    assert models == {row["policy_name"] for row in rows}
    for path in (prepared.reward_regressor, prepared.regressor_plot, prepared.policy_index):
        assert path.stat().st_size > 0
    assert not prepared.staging.root.exists()


def test_successor_models_load_with_weights_only(prepared):
    import torch

    for path in prepared.psi_models.glob("*.pth"):
        state = torch.load(path, weights_only=True)
        assert all(torch.isfinite(tensor).all() for tensor in state.values())


def test_the_readme_query_finds_a_policy_for_each_objective(prepared):
    answer = search_json(prepared, QUERY, "--seed", "0038")
    assert answer["query"] == QUERY and answer["seed"] == "0038"
    assert answer["decomposer"] == "offline" and len(answer["sub_queries"]) == 2
    best = [part["best_policy"] for part in answer["sub_queries"]]
    assert [policy["policy_target"] for policy in best] == ["path", "gold"]
    assert all(policy["policy_name"].split("_")[1] == "0038" for policy in best)
    assert set(answer["timing_ms"]) == {"decomposition", "search", "total"}
    assert list(best[0]) == [
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
    ]


def test_the_text_output_has_the_lines_of_the_contract(prepared):
    result = search(prepared, QUERY, "--seed", "38")
    assert result.returncode == 0 and not result.stderr
    names = [line.split(":")[0].strip() for line in result.stdout.splitlines() if line]
    assert names[:11] == [
        "🔍 Sub-query 1",
        "🏆 Best Policy (highest regressor score)",
        "Name",
        "Target",
        "Cosine similarity",
        "Regressor Score (predicted reward)",
        "Description",
        "Energy",
        "Reward",
        "Q-table shape",
        "Q-table available",
    ]
    assert "Q-table shape: (256, 5)" in result.stdout


def test_best_is_the_highest_score_and_the_energy_filter_trades_5_percent(prepared):
    everything = search_json(prepared, "collect gold", "--top", "1000")["sub_queries"][0]
    scores = [policy["regressor_score"] for policy in everything["top"]]
    assert scores == sorted(scores, reverse=True) and len(scores) == everything["candidates"]
    frugal = search_json(prepared, "collect gold", "--filter-energy")["sub_queries"][0]
    near = [p for p in everything["top"] if p["regressor_score"] >= scores[0] * 0.95]
    assert frugal["best_policy"]["energy"] == min(policy["energy"] for policy in near)


def test_min_similarity_keeps_every_policy_above_it(prepared):
    low = search_json(prepared, "collect gold", "--min-similarity", "-1", "--seed", "0038")
    assert low["sub_queries"][0]["candidates"] == 6


def test_show_all_adds_every_other_field(prepared):
    answer = search_json(prepared, "collect gold", "--show-all")
    best = answer["sub_queries"][0]["best_policy"]
    assert {"episode", "n_transitions", "policy_embedding", "phrasings", "regressor_std"} <= set(
        best
    )
    text = search(prepared, "collect gold", "--show-all").stdout
    assert "Episode:" in text and "Policy embedding:" in text


def test_an_exported_policy_is_the_one_that_was_recorded(prepared, tmp_path):
    answer = search(prepared, QUERY, "--seed", "0038", "--top", "3", "--export", tmp_path / "out")
    assert answer.returncode == 0
    folders = sorted(path.name for path in (tmp_path / "out").iterdir())
    assert len(folders) == 6
    for name in folders:
        folder = tmp_path / "out" / name
        policy = json.loads((folder / "policy.json").read_text())
        assert policy["policy_name"] == name and policy["world"] == "gridworld-16x16-5"
        assert policy["source"]["folder"].startswith(f"{policy['policy_target']}/seed_0038/")
        assert (folder / "route.png").read_bytes().startswith(b"\x89PNG")
        q_table = np.load(folder / "q_table.npy")
        assert list(q_table.shape) == policy["q_table_shape"]
        recorded = prepared.states / policy["source"]["folder"] / "q_table.npy"
        np.testing.assert_array_equal(q_table, np.load(recorded))
    again = search(prepared, QUERY, "--seed", "0038", "--export", tmp_path / "out")
    assert again.returncode == 2 and "is there already" in again.stderr
    batch = search(prepared, "--batch", "-", "--export", tmp_path / "out", stdin="gold")
    assert "--batch" in error_line(batch)


def test_a_batch_answers_line_by_line_and_survives_bad_lines(prepared, tmp_path):
    queries = tmp_path / "queries.txt"
    queries.write_text(f"collect gold\n\n{'x' * 5000}\nbake a cake\n")
    from_file = search(prepared, "--batch", queries)
    from_stdin = search(prepared, "--batch", "-", stdin=queries.read_text())
    assert from_file.returncode == from_stdin.returncode == 0
    answers = [json.loads(line) for line in from_file.stdout.splitlines()]
    assert len(answers) == len(from_stdin.stdout.splitlines()) == 3
    found = [any(part["best_policy"] for part in answer["sub_queries"]) for answer in answers]
    assert found == [True, False, False]


def test_nothing_above_the_threshold_is_said_with_exit_code_1(prepared):
    result = search(prepared, "please collect some gold", "--min-similarity", "0.99")
    assert result.returncode == 1
    assert "No policies found with cosine similarity > 0.99" in result.stdout


@pytest.mark.parametrize(
    ("arguments", "named"),
    [
        ([""], "empty"),
        (["  "], "empty"),
        (["x" * 100_000], "100000 characters"),
        (["gold", "--seed", "../x"], "../x"),
        (["gold", "--seed", "9999"], "9999"),
        (["gold", "--top", "0"], "'0'"),
        (["gold", "--min-similarity", "2"], "'2'"),
        (["gold", "--decomposer", "magic"], "magic"),
        (["gold", "--decomposer", "openai"], "OPENAI_API_KEY"),
        (["gold", "--batch", "-"], "--batch"),
        (["--batch", "no-such-file"], "no-such-file"),
        ([], "description"),
        (["gold", "--colour"], "--colour"),
    ],
)
def test_wrong_usage_of_search_is_one_line(prepared, arguments, named):
    assert named in error_line(search(prepared, *arguments))


def test_an_unusable_library_is_one_line(library, tmp_path):
    empty = Workspace(tmp_path)
    assert "Database not found" in error_line(search(empty, "gold"))
    assert "Database not found" in error_line(run(VIEW, workspace=empty))
    library.reward_regressor.unlink()
    assert "Regressor model not found" in error_line(search(library, "gold"))
    assert PREPARE in error_line(search(library, "gold"))
    library.reward_regressor.touch()
    assert "reward_regressor.pkl is damaged" in error_line(search(library, "gold"))


def test_verify_names_every_damaged_file(library):
    whole = run(VIEW, "--verify", workspace=library)
    assert whole.returncode == 0 and "are whole" in whole.stdout
    weights = library.text_encoder / "model.onnx.data"
    with open(weights, "r+b") as file:
        file.seek(10**6)
        file.write(b"x")
    shutil.rmtree(library.data)
    result = run(VIEW, "--verify", workspace=library)
    assert result.returncode == 2 and str(weights) in result.stdout
    assert "canonical_states.npy is missing" in result.stdout
    assert "model.onnx.data is damaged" in error_line(search(library, "gold"))


def test_one_at_a_time(library):
    with library.locked():
        assert "is running" in error_line(run(PREPARE, workspace=library))
        assert "is running" in error_line(run(RESET, "--yes", workspace=library))
        assert search(library, "collect gold").returncode == 0


def test_an_index_made_with_another_encoder_is_refused_with_both_names(library):
    record = library.text_encoder / "encoder.json"
    record.write_text(record.read_text().replace("all-MiniLM-L6-v2", "other"))
    manifest = read_manifest(library)
    name = str(record.relative_to(library.root))
    write_manifest(library, replace(manifest, files=manifest.files | {name: describe_file(record)}))
    line = error_line(search(library, "gold"))
    assert "'other'" in line and "'all-MiniLM-L6-v2'" in line


def test_a_second_preparation_does_nothing(library):
    before = {path: path.stat().st_mtime_ns for path in library.built_files()}
    result = run(PREPARE, "--fraction", "0.3", workspace=library)
    assert result.returncode == 0 and "Nothing changed" in result.stdout
    assert {path: path.stat().st_mtime_ns for path in library.built_files()} == before


def test_other_seeds_replace_the_library(library):
    result = run(PREPARE, "--seeds", "0034,38", workspace=library)
    assert result.returncode == 0, result
    assert {path.name.split("_")[1] for path in library.psi_models.glob("*.pth")} == {
        "0034",
        "0038",
    }
    assert "Seeds that can be searched (2): 0034, 0038" in result.stdout
    assert search(library, "collect gold", "--seed", "0034").returncode == 0
    assert "9999" in error_line(run(PREPARE, "--seeds", "9999", workspace=library))


def test_a_third_target_needs_no_code(library):
    folder = library.states / "lever"
    for seed in ("0038", "0040"):
        shutil.copytree(library.states / "gold" / f"seed_{seed}", folder / f"seed_{seed}")
    objective = {"description": "Pull the red lever.", "phrasings": ["Operate the lever."]}
    (folder / "objective.json").write_text(json.dumps(objective))
    result = run(PREPARE, "--seeds", "0038,0040", workspace=library)
    assert result.returncode == 0, result
    answer = search_json(library, "pull the lever", "--seed", "0038")
    assert answer["sub_queries"][0]["best_policy"]["policy_name"].startswith("lever_0038_")
    assert run(VIEW, "--target", "lever", workspace=library).returncode == 0


def test_a_single_seed_can_be_prepared_and_damage_is_named_skipped_and_counted(library):
    episodes = library.states / "gold" / "seed_0038" / "episodes"
    (episodes / "episode_001999" / "q_table.npy").write_bytes(b"")
    result = run(PREPARE, "--seeds", "0038", workspace=library)
    assert result.returncode == 0
    assert "episode_001999" in result.stderr and "1 skipped" in result.stderr
    assert "Prepared 5 policies" in result.stdout
    assert search(library, QUERY).returncode == 0


def test_nothing_usable_is_an_error_and_keeps_the_library(library, tmp_path):
    before = snapshot(library)
    for path in library.states.rglob("q_table.npy"):
        path.write_bytes(b"")
    damaged = snapshot(library)
    result = run(PREPARE, workspace=library)
    assert result.returncode == 2 and "states_f can be used; mend what" in result.stderr
    assert "Traceback" not in result.stderr
    assert snapshot(library) == damaged and len(before) == len(damaged)
    assert "states_f does not exist" in error_line(run(PREPARE, workspace=Workspace(tmp_path)))


def test_view_lists_every_policy(prepared):
    everything = json.loads(run(VIEW, "--json", workspace=prepared).stdout)
    assert len(everything["policies"]) == everything["statistics"]["n_policies"] == 36
    some = json.loads(run(VIEW, "--json", "--seed", "38", workspace=prepared).stdout)["policies"]
    assert [policy["policy_seed"] for policy in some] == ["0038"] * 6
    text = run(VIEW, "--seed", "0038", "--target", "gold", workspace=prepared).stdout
    assert "gold_0038_100" in text and "path_0038_100" not in text and "Text encoder" in text
    assert "9999" in error_line(run(VIEW, "--seed", "9999", workspace=prepared))
    assert "tin" in error_line(run(VIEW, "--target", "tin", workspace=prepared))


def test_reset_lists_and_deletes_what_was_generated_and_nothing_else(library):
    mine = [library.models / "mine.txt", library.data / ".gitkeep", library.root / "notes.txt"]
    for path in mine:
        path.write_text("keep")
    before = snapshot(library)
    dry = run(RESET, "--dry-run", workspace=library)
    assert dry.returncode == 0 and "q_tables.npy" in dry.stdout and snapshot(library) == before
    result = run(RESET, "--yes", workspace=library)
    assert result.returncode == 0
    kept = {path for path in before if library.states in path.parents} | set(mine)
    assert set(snapshot(library)) == kept
    again = run(RESET, "--yes", workspace=library)
    assert again.returncode == 0 and "Nothing to do" in again.stdout
    assert "Database not found" in error_line(search(library, "gold"))


def test_generation_is_reproducible_resumes_and_refuses_to_mix(tmp_path):
    arguments = ("-m", "worlds.gridworld.generate_states", "--seeds", "2", "--episodes", "50")
    one, two = Workspace(tmp_path / "one"), Workspace(tmp_path / "two")
    for workspace in (one, two):
        workspace.root.mkdir()
        assert run(*arguments, workspace=workspace).returncode == 0
    whole = {p.relative_to(one.root): content for p, content in snapshot(one).items()}
    assert {p.relative_to(two.root): content for p, content in snapshot(two).items()} == whole
    shutil.rmtree(two.states / "gold" / "seed_0001")
    assert "1 runs written" in run(*arguments, workspace=two).stdout
    assert {p.relative_to(two.root): content for p, content in snapshot(two).items()} == whole
    assert "episodes" in error_line(run(*arguments[:-1], "60", workspace=two))
    error_line(run(*arguments[:-1], "x", workspace=two))


def test_only_the_heavy_stages_import_heavy_libraries(prepared):
    code = (
        "import sys, runpy; sys.argv = ['search', 'collect gold', '--workspace', sys.argv[1]]\n"
        "try: runpy.run_path('search_faiss_policies.py', run_name='__main__')\n"
        "except SystemExit: pass\n"
        "heavy = {'torch', 'transformers', 'sentence_transformers', 'sklearn', 'pandas', 'numba'}\n"
        "print(sorted(heavy & set(sys.modules)), file=sys.stderr)"
    )
    result = subprocess.run(
        [sys.executable, "-c", code, str(prepared.root)],
        cwd=HOME,
        capture_output=True,
        text=True,
        check=True,
    )
    assert result.stderr.strip() == "[]"


def test_a_generated_workspace_can_be_extended(tmp_path):
    workspace = Workspace(tmp_path)
    assert generate(workspace, seeds=(1,), n_episodes=20) == 2
    assert generate(workspace, seeds=(1, 2), n_episodes=20) == 2
