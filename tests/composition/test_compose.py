"""From retrieved policies to one: what is predicted holds, and what can't be done is refused."""

import subprocess
import sys
from dataclasses import replace

import numpy as np
import pytest

from composition.compose import compose
from composition.rewards import combine, fit_reward
from composition.sources import CannotCompose
from library.workspace import HOME
from tests.composition.small_library import (
    FORWARD,
    FOUR,
    answers,
    documented,
    events_of,
    forward_policies,
    four_move_policies,
    make_library,
)
from tests.worlds.published_rules import PublishedGrid
from worlds.gridworld.environment import draw_layout
from worlds.gridworld.names import EVENT_NAMES
from worlds.gridworld.optimum import optimal_return
from worlds.gridworld.rewards import DEMONSTRATION, PUBLISHED
from worlds.gridworld.rules import GridRules

BOTH = ("gold_0001_100", "path_0001_60")


@pytest.fixture(scope="module")
def policies():
    return list(forward_policies())


@pytest.fixture(scope="module")
def forward(policies):
    return make_library([(FORWARD, policies)])


@pytest.fixture(scope="module")
def four():
    targets = ("path", "gold", "hazard", "lever")
    return make_library([(FOUR, four_move_policies(targets))])


def weights_by_event(**weights):
    return np.array([float(weights.get(name, 0)) for name in EVENT_NAMES])


@pytest.mark.parametrize("support", ["tried", "policies", None])
def test_two_objectives_become_one_that_earns_what_is_predicted(forward, support):
    composed = compose(forward, answers(forward, *BOTH), support=support)
    start, table = composed.sources.start, composed.plan.q_tables[0]
    events = events_of(FORWARD, start, table)
    earned = events @ DEMONSTRATION.reward(("gold", "path"))
    said = composed.to_json()
    assert said["predicted_reward"] == pytest.approx(earned) and composed.deviation < 1e-3
    assert said["predicted_by_objective"] == {
        name: pytest.approx(events @ DEMONSTRATION.reward((name,))) for name in ("gold", "path")
    }
    assert said["best_single"]["predicted_reward"] <= earned + 1e-9
    assert set(BOTH) < set(said["sources"]) and len(said["sources"]) == 6
    assert said["n_steps"] == events[EVENT_NAMES.index("moved")]
    assert not composed.remembers and table.dtype == np.float32 and np.isfinite(table).all()
    if support != "policies":
        assert said["support"] == "tried"
        assert earned == pytest.approx(optimal_return(draw_layout(1), "combined"))


def test_a_weight_of_0_leaves_the_optimum_of_the_other_and_a_sweep_is_monotone(forward):
    gold, path = [], []
    for weight in np.linspace(0, 1, 21):
        weights = {"gold": weight, "path": 1 - weight}
        said = compose(forward, answers(forward, *BOTH), weights).predicted_by_objective
        gold.append(said["gold"])
        path.append(said["path"])
    assert (np.diff(gold) >= 0).all() and (np.diff(path) <= 0).all()
    assert gold[-1] == pytest.approx(optimal_return(draw_layout(1), "gold"))
    assert path[0] == pytest.approx(optimal_return(draw_layout(1), "path"))
    assert gold[0] < gold[-1] and path[-1] < path[0]


def test_conflicting_objectives_tell_what_each_loses(forward):
    composed = compose(forward, answers(forward, *BOTH), {"path": 0})
    for target, alone in composed.alone.items():
        assert alone == pytest.approx(optimal_return(draw_layout(1), target))
    (loss,) = [line for line in composed.to_text() if "less than alone" in line]
    lost = composed.alone["path"] - composed.predicted_by_objective["path"]
    assert f"{lost:.4f} less than alone" in loss and lost > 0


def test_one_objective_is_improved_from_its_own_policies(forward):
    composed = compose(forward, answers(forward, "gold_0002_20"))
    assert composed.predicted_reward == pytest.approx(optimal_return(draw_layout(2), "gold"))
    assert composed.sources.targets == ("gold",) and len(composed.sources.names) == 3
    followed = compose(forward, answers(forward, "gold_0002_20"), support="policies")
    assert followed.single_reward <= followed.predicted_reward <= composed.predicted_reward


@pytest.mark.parametrize(
    "targets", [("path", "gold", "hazard"), ("path", "gold", "hazard", "lever")]
)
@pytest.mark.parametrize("seed", ["0000", "0001", "0002"])
def test_three_and_four_objectives_earn_what_is_predicted_by_the_published_rules(
    four, targets, seed
):
    composed = compose(four, answers(four, *(f"{target}_{seed}_100" for target in targets)))
    world, total, stage, ended = PublishedGrid(composed.sources.start), 0.0, 0, False
    tables = composed.plan.q_tables
    while not ended:
        row, column = world.cell
        before = world.grid.copy()
        action = tables[min(stage, len(tables) - 1), 7 * row + column].argmax()
        reward, ended = world.step(int(action), "-".join(targets))
        stage += int((before != world.grid).any())
        total += reward
    assert total == pytest.approx(composed.predicted_reward, abs=1e-3)
    table = composed.table_plan.q_tables[0]
    by_table = events_of(FOUR, composed.sources.start, table) @ PUBLISHED.reward(targets)
    assert by_table == pytest.approx(composed.predicted_by_table, abs=1e-3)


def test_rewards_that_nobody_documented_are_fitted(policies):
    own = {
        "gold": weights_by_event(took_gold=3, stepped_on_block=-7, on_exit=55, stayed=-1),
        "path": weights_by_event(free_progress=4, stepped_on_block=-7, on_exit=55, stayed=-1),
    }
    library = make_library([(FORWARD, policies)], lambda rules, target: own[target])
    composed = compose(library, answers(library, *BOTH))
    events = events_of(FORWARD, composed.sources.start, composed.plan.q_tables[0])
    joint = weights_by_event(
        took_gold=3, free_progress=4, stepped_on_block=-7, on_exit=55, stayed=-1
    )
    assert all(reward.family is None for reward in composed.sources.rewards)
    assert composed.predicted_reward == pytest.approx(events @ joint, abs=0.01)
    assert composed.deviation < 0.1


def test_a_recorded_joint_target_shows_how_rewards_add_up(policies):
    def reward_of(rules, target):
        both = weights_by_event(stepped_on_block=-7, on_exit=110, took_gold=3, free_progress=4)
        one = weights_by_event(stepped_on_block=-7, on_exit=55)
        return {
            "gold": one + weights_by_event(took_gold=3),
            "path": one + weights_by_event(free_progress=4),
            "path-gold": both,
        }[target]

    joint = [("path-gold", *row[1:]) for row in policies if row[0] == "gold"]
    with_joint = make_library([(FORWARD, policies + joint)], reward_of)
    without = make_library([(FORWARD, policies)], reward_of)
    added, once = (compose(each, answers(each, *BOTH)) for each in (with_joint, without))
    assert added.predicted_reward == pytest.approx(once.predicted_reward + 55, abs=0.05)


def test_what_is_alike_counts_once_and_weights_scale_the_rest():
    events = np.eye(len(EVENT_NAMES))
    gold, path = (
        fit_reward(name, events, DEMONSTRATION.reward((name,))) for name in ("gold", "path")
    )
    unknown = [replace(reward, family=None) for reward in (gold, path)]
    for rewards in ((gold, path), unknown):
        joint = combine(rewards, np.array([2.0, 1.0]))
        expected = weights_by_event(took_gold=2, free_progress=2, stepped_on_block=-10, on_exit=100)
        np.testing.assert_allclose(joint, expected)
    parts = [fit_reward(p, events, PUBLISHED.reward((p,))) for p in PUBLISHED.parts]
    np.testing.assert_allclose(
        combine(parts, np.ones(4)), PUBLISHED.reward(PUBLISHED.parts), atol=1e-9
    )
    np.testing.assert_allclose(combine(parts, np.eye(4)[1]), PUBLISHED.reward(("gold",)), atol=1e-9)


def test_events_that_no_recording_tells_apart_make_the_prediction_uncertain():
    rng = np.random.default_rng(0)
    events = np.zeros((30, len(EVENT_NAMES)))
    events[:, 1] = rng.integers(0, 9, 30)
    events[:, 2] = 1
    events[:, 7] = 2 * events[:, 1]  # moved twice as often as gold was taken, always
    reward = fit_reward("mine", events, events @ weights_by_event(took_gold=3, on_exit=7))
    assert reward.deviation(events[0]) < 1e-6
    strange = events[0].copy()
    strange[7] += 5
    assert reward.deviation(strange) > 1


def nan_tables(arrays):
    arrays["q_tables"][:, 3, 1] = np.nan
    return arrays


def narrow_tables(arrays):
    return arrays | {"q_tables": arrays["q_tables"][:, :200]}


def no_starts(arrays):
    return {name: array for name, array in arrays.items() if name != "start_states"}


def other_starts(arrays):
    arrays["start_states"][::2, 5, 5] ^= 1
    return arrays


def no_tables(arrays):
    return {name: array for name, array in arrays.items() if name != "q_tables"}


def wide_embeddings(arrays):
    return arrays | {"embeddings": arrays["embeddings"][:, :50]}


def infinite_embeddings(arrays):
    arrays["embeddings"][:, 70] = np.inf
    return arrays


def no_exit(arrays):
    arrays["start_states"][:, 15, 15] = 0
    return arrays


def restless_tables(arrays):
    return arrays | {"q_tables": arrays["q_tables"] + 0.5}


@pytest.mark.parametrize(
    ("change", "support", "line"),
    [
        (nan_tables, None, "has NaN or infinity; record it anew"),
        (narrow_tables, None, r"is \(200, 5\), must be \(256, 5\)"),
        (no_starts, None, "does not hold the grids"),
        (other_starts, None, "different layouts under one seed"),
        (no_tables, None, "has no Q-table"),
        (wide_embeddings, None, "another version; prepare anew"),
        (infinite_embeddings, None, "not finite; prepare anew"),
        (no_exit, None, "shows no exit"),
        (restless_tables, "tried", "use --support policies"),
    ],
)
def test_hostile_and_unfit_libraries_are_refused_in_a_line(policies, change, support, line):
    library = make_library([(FORWARD, policies)], change=change)
    with pytest.raises(CannotCompose, match=line) as refusal:
        compose(library, answers(library, *BOTH), support=support)
    assert "\n" not in str(refusal.value)


@pytest.mark.parametrize(
    ("names", "weights", "line"),
    [
        (("gold_0001_100", "path_0002_100"), {}, "seeds 0001, 0002; choose one with --seed"),
        (("gold_0001_100", None), {}, "no policy was found for 'fly to the moon'"),
        ((), {}, "nothing is wanted"),
        (BOTH, {"hazard": 1}, "--weights has hazard, but what is wanted is gold, path"),
        (BOTH, {"gold": 0, "path": 0}, "all weights are 0"),
    ],
)
def test_what_can_not_be_composed_is_refused_in_a_line(forward, names, weights, line):
    with pytest.raises(CannotCompose, match=line):
        compose(forward, answers(forward, *names), weights)


def test_worlds_of_vectors_and_of_different_sizes_are_refused(policies, monkeypatch):
    library = make_library([(FORWARD, policies), (FOUR, four_move_policies(("lever",)))])
    with pytest.raises(CannotCompose, match="different worlds, gridworld-16x16-5, gridworld-6x7-4"):
        compose(library, answers(library, "gold_0001_100", "lever_0001_100"))
    library.worlds[0] = replace(library.worlds[0], name="CartPole-v1")
    with pytest.raises(CannotCompose, match="CartPole-v1 is not known; only grid worlds"):
        compose(library, answers(library, *BOTH))


def test_an_event_that_no_recording_has_is_not_planned():
    def reward_of(rules, target):
        return weights_by_event(stayed=-2)  # documented nowhere

    start = np.array([[7, 0, 1], [0, 0, 10]], np.int8)
    left = np.tile(np.array([0.1, 0.1, 1.0, 0.1], np.float32), (6, 1))  # always, at the edge
    left[5] = 0
    rules = GridRules(2, 3, 4)
    library = make_library([(rules, [("mine", "0000", 100, start, left)])], reward_of)
    with pytest.raises(CannotCompose, match=r"shows what .*on_exit.* is worth to mine"):
        compose(library, answers(library, "mine_0000_100"))


def test_composing_imports_nothing_heavy():
    heavy = "torch transformers sentence_transformers sklearn pandas gymnasium scipy numba"
    code = (
        "import sys; from composition.compose import compose;"
        f"sys.exit(', '.join(set('{heavy}'.split()) & set(sys.modules)) or None)"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=HOME, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr


def test_the_documented_rewards_are_those_of_the_worlds():
    assert documented(FORWARD, "gold")[EVENT_NAMES.index("took_gold")] == 1
    assert documented(FOUR, "path-gold")[EVENT_NAMES.index("moved")] == pytest.approx(-0.11)
