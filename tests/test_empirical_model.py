"""The pooled model three ways: in closed form, by its identities, and worked by hand."""

import numpy as np
import pytest

from pi2vec.empirical_model import (
    UNKNOWN,
    count_model,
    embed_policies,
    evaluate_policies,
    greedy_choices,
    recorded_choices,
)
from worlds.episodes import Episodes
from worlds.tabular import feature_names

N_STATES, N_ACTIONS, N_EPISODES = 5, 3, 40  # different, so that a swapped axis fails


def record(states, actions, rewards, lengths, terminated):
    ended = np.array(terminated)
    return Episodes(
        np.array(states),
        np.array(actions),
        np.array(rewards, float),
        np.array(lengths),
        ended,
        ~ended,
    )


def random_world(seed=0):
    """Draw P (S, A, S + 1), whose last column is the end, and r (S, A)."""
    rng = np.random.default_rng(seed)
    transitions = rng.dirichlet(np.ones(N_STATES + 1), (N_STATES, N_ACTIONS))
    return transitions, rng.normal(size=(N_STATES, N_ACTIONS))


def wander(seed, horizon=9, n_episodes=N_EPISODES):
    """Record random actions in the random world."""
    transitions, rewards = random_world()
    rng = np.random.default_rng(seed)
    seen, taken, earned, lengths, terminated = [], [], [], [], []
    for _ in range(n_episodes):
        state = rng.integers(N_STATES)
        seen.append(state)
        for _ in range(horizon):
            action = rng.integers(N_ACTIONS)
            after = rng.choice(N_STATES + 1, p=transitions[state, action])
            taken.append(action)
            earned.append(rewards[state, action])
            seen.append(state if after == N_STATES else after)
            state = after
            if after == N_STATES:
                break
        lengths.append(len(taken) - sum(lengths))
        terminated.append(after == N_STATES)
    return record(seen, taken, earned, lengths, terminated)


@pytest.fixture(scope="module")
def recordings():
    return [wander(seed) for seed in range(3)]


@pytest.fixture(scope="module")
def model(recordings):
    return count_model(recordings, N_ACTIONS)


def empirical_matrices(recordings):
    """Count P and r by a plain loop."""
    counts = np.zeros((N_STATES, N_ACTIONS, N_STATES + 1))
    earned = np.zeros((N_STATES, N_ACTIONS))
    for each in recordings:
        steps = zip(each.before, each.actions, each.rewards, each.terminal, strict=True)
        for row, action, reward, ended in steps:
            state, after = each.observations[row], each.observations[row + 1]
            counts[state, action, N_STATES if ended else after] += 1
            earned[state, action] += reward
    visits = counts.sum(axis=2)
    return counts / visits[:, :, None], earned / visits


CHOICE = np.array([2, 0, 1, 1, 2])
TRIES = ((1, 0, 0), (1, 1, 0), (2, 1, 10))  # where a first action leads, the action, what follows


def test_values_by_hand():
    """0 -> 1 (reward 1) or the end (reward 3), each once; 1 -> 0 (reward 2): three steps."""
    one = record([0, 1, 0, 0], [0, 0, 0], [1, 2, 3], [3], [True])
    model = count_model([one], n_actions=1)
    measured = evaluate_policies(model, np.zeros((1, 2), np.int64), horizon=3, gamma=1.0)
    # v_1 = (2, 2), v_2 = (2 + 2/2, 2 + 2) = (3, 4), v_3(0) = 2 + 4/2 = 4
    assert measured.values[0] == pytest.approx(4)
    np.testing.assert_allclose(measured.occupancies, [[1 + 0.5, 0.5]])
    assert measured.terminations[0] == pytest.approx(0.5 + 0.25)
    assert measured.unseen[0] == 0


def test_a_long_horizon_is_the_closed_form(recordings, model):
    transitions, rewards = empirical_matrices(recordings)
    rows = np.arange(N_STATES)
    moves, reward = transitions[rows, CHOICE, :N_STATES], rewards[rows, CHOICE]
    values = np.linalg.solve(np.eye(N_STATES) - moves, reward)
    measured = evaluate_policies(model, CHOICE[None], horizon=500, gamma=0.9)
    assert measured.values[0] == pytest.approx(model.starts @ values)
    visits = np.linalg.solve(np.eye(N_STATES) - 0.9 * moves.T, model.starts)
    np.testing.assert_allclose(measured.occupancies[0], visits, rtol=1e-9)


@pytest.mark.parametrize("horizon", [1, 2, 7])
def test_the_value_is_psi_times_the_reward(recordings, model, horizon):
    """Without discount the sum over visits of their rewards is the return (Barreto, eq. 3)."""
    _, rewards = empirical_matrices(recordings)
    measured = evaluate_policies(model, CHOICE[None], horizon, gamma=1.0)
    expected = measured.occupancies[0] @ rewards[np.arange(N_STATES), CHOICE]
    assert measured.values[0] == pytest.approx(expected)


def test_identities(model):
    at_once = evaluate_policies(model, CHOICE[None], horizon=6, gamma=0.0)
    np.testing.assert_allclose(at_once.occupancies[0], model.starts)
    one_step = evaluate_policies(model, CHOICE[None], horizon=1)
    np.testing.assert_allclose(one_step.occupancies[0], model.starts)


def test_scale_and_shift_of_rewards(recordings):
    """A horizon that no episode ends before: a constant a step is the horizon times it."""
    choices = CHOICE[None]
    plain = evaluate_policies(count_model(recordings, N_ACTIONS), choices, 8)
    scaled = [Episodes(**{**vars(e), "rewards": 2000 * e.rewards}) for e in recordings]
    more = evaluate_policies(count_model(scaled, N_ACTIONS), choices, 8)
    assert more.values == pytest.approx(2000 * plain.values)
    assert np.sqrt(more.variances) == pytest.approx(2000 * np.sqrt(plain.variances))
    np.testing.assert_allclose(more.occupancies, plain.occupancies)


def test_what_is_never_recorded_is_a_guess_that_counts_as_doubt():
    """State 1 is never left: from there it goes on as from a recorded step."""
    stays = record([0, 0, 0, 1], [0, 0, 1], [1, 1, 1], [3], [False])
    model = count_model([stays], n_actions=2)
    known, lost = evaluate_policies(model, np.array([[0, 0], [1, 0]]), horizon=4).unseen
    assert (known, lost) == (0, 1)
    measured = evaluate_policies(model, np.array([[1, 1], [UNKNOWN, 1]]), horizon=4)
    assert measured.values == pytest.approx([4, 0])
    assert np.isfinite(measured.variances).all()


def test_a_pair_recorded_once_is_doubted_for_what_follows_it():
    """From 0 action 1 leads to 1 (worth 0) or 2 (worth 10); action 0, tried once, to 1."""
    walks = [record([0, s, s], [a, 0], [0, r], [2], [True]) for s, a, r in TRIES]
    model = count_model(walks, n_actions=2)
    once = np.zeros((1, 3), np.int64)
    # Two pairs have two records: one of them always goes on alike, the other did not.
    assert model.randomness == pytest.approx(0.5)
    # Of six steps three began in 0, two in 1, one in 2: the variance of what a state is worth.
    spread = 10**2 / 6 - (10 / 6) ** 2
    assert evaluate_policies(model, once, horizon=2).variances == pytest.approx([0.5 * spread / 2])
    assert evaluate_policies(model, once, horizon=1).variances == pytest.approx([0])


def test_guesses_are_corrected_by_what_was_recorded_only_once():
    """Eight runs walk from 0 to 1 for +1; what each tries alone in 2, 3, ... ends it for -5."""
    walks = [
        record([0, 1, 2 + run, 0, 1, 1], [0, run, 0, 0], [1, -5, 1, 1], [2, 2], [True, False])
        for run in range(1, 9)
    ]
    model = count_model(walks, n_actions=10)
    assert len(model.departures.returns) == 8 and set(model.departures.returns) == {-5.0}
    guessed = evaluate_policies(model, np.full((1, len(model.states)), UNKNOWN), horizon=2)
    assert guessed.unseen[0] == 1
    tries = np.zeros((8, len(model.states)), np.int64)
    tries[:, 1] = 9  # nobody did that
    measured = evaluate_policies(model, tries, horizon=2)
    np.testing.assert_allclose(measured.values, 1 - 5, atol=0.5)


def test_deviations_are_those_of_repeated_recordings():
    """The delta method against 200 worlds recorded anew."""
    values, claimed = [], []
    for seed in range(200):
        model = count_model([wander(1000 + seed)], N_ACTIONS)
        measured = evaluate_policies(model, CHOICE[None, : len(model.states)], horizon=6)
        values.append(measured.values[0])
        claimed.append(measured.variances[0])
    assert 0.7 < np.sqrt(np.mean(claimed)) / np.std(values) < 1.4


def test_greedy_and_recorded_choices(recordings, model):
    tables = np.random.default_rng(0).normal(size=(2, N_STATES, N_ACTIONS))
    np.testing.assert_array_equal(greedy_choices(tables, model.states), tables.argmax(axis=2))
    short = greedy_choices(tables[:, :3], model.states)
    np.testing.assert_array_equal(short[:, 3:], UNKNOWN)
    one = record([0, 1, 0], [2, 1], [0, 0], [2], [False])
    np.testing.assert_array_equal(
        recorded_choices([one], model), [[2, 1, UNKNOWN, UNKNOWN, UNKNOWN]]
    )


def test_far_apart_state_numbers():
    one = record([7, 10**9, 7], [0, 0], [1, 2], [2], [False])
    model = count_model([one], 1)
    np.testing.assert_array_equal(model.states, [7, 10**9])
    assert evaluate_policies(model, np.zeros((1, 2), np.int64), 3).values[0] == 4
    with pytest.raises(ValueError, match="does not occur"):
        model.index(np.array([8]))


def test_psi_has_the_columns_of_phi(model):
    psi = embed_policies(model, np.stack([CHOICE, CHOICE * 0]), 7, N_STATES, gamma=1.0)
    assert psi.shape == (2, len(feature_names(N_STATES, N_ACTIONS))) and psi.dtype == np.float32
    states, actions = psi[:, :N_STATES], psi[:, N_STATES:-1]
    np.testing.assert_allclose(states.sum(axis=1), actions.sum(axis=1), rtol=1e-5)
    np.testing.assert_allclose(actions[1, 1:], 0)
    assert ((psi[:, -1] > 0) & (psi[:, -1] <= 1)).all()


@pytest.mark.parametrize(
    ("choices", "horizon", "message"),
    [
        (np.zeros((1, 4), np.int64), 3, r"\(n, 5\)"),
        (np.full((1, 5), 3), 3, "-1 to 2"),
        (np.zeros((1, 5), np.int64), 0, "at least 1"),
    ],
)
def test_what_does_not_fit_is_refused(model, choices, horizon, message):
    with pytest.raises(ValueError, match=message):
        evaluate_policies(model, choices, horizon)


def test_what_is_not_discrete_is_refused(recordings):
    with pytest.raises(ValueError, match="0 to 1, not 0 to 2"):
        count_model(recordings, 2)
    with pytest.raises(ValueError, match="needs recordings"):
        count_model([], 2)
    vectors = record(np.zeros((2, 3)), [0], [0], [1], [True])
    with pytest.raises(ValueError, match="observations must be integers"):
        count_model([vectors], 2)
