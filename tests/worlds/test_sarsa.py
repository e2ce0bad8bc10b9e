"""The compiled training equals SARSA as the contract has it, written plainly."""

import numpy as np
import pytest

from worlds.gridworld.environment import TARGETS, GridWorld, draw_layout
from worlds.gridworld.sarsa import train

N_EPISODES = 60


def plain_sarsa(seed, target, n_episodes):
    """Train with learning rate 0.1, discount 0.99 and an epsilon that falls from 1 to 0."""
    rng = np.random.default_rng([seed, TARGETS.index(target)])
    environment, q_table = GridWorld(target, layout_seed=seed), np.zeros((256, 5))

    def choose(cell, epsilon):
        if rng.random() < epsilon:
            return int(rng.random() * 5)
        return int(q_table[16 * cell[0] + cell[1]].argmax())

    for episode in range(n_episodes):
        epsilon = 1 - episode / (n_episodes - 1)
        _, info = environment.reset()
        cell, ended, rewards, actions = info["position"], False, [], []
        action = choose(cell, epsilon)
        while not ended:
            _, reward, terminated, truncated, info = environment.step(action)
            before, cell = cell, info["position"]
            rewards.append(reward)
            actions.append(action)
            next_action = choose(cell, epsilon)
            later = 0 if terminated else q_table[16 * cell[0] + cell[1], next_action]
            place = 16 * before[0] + before[1], action
            q_table[place] += 0.1 * (reward + 0.99 * later - q_table[place])
            action, ended = next_action, terminated or truncated
        yield episode, sum(rewards), actions, q_table.astype(np.float32)


@pytest.mark.parametrize("target", TARGETS)
def test_training_is_sarsa(target):
    expected = list(plain_sarsa(3, target, N_EPISODES))
    saved = train(draw_layout(3), target, N_EPISODES, 4, seed=3)
    assert [one.episode for one in saved] == [0, 20, 39, 59]
    for one in saved:
        episode, reward, actions, q_table = expected[one.episode]
        assert (one.episode, one.reward, one.actions.tolist()) == (episode, reward, actions)
        np.testing.assert_allclose(one.q_table, q_table, rtol=1e-6)
        assert len(one.states) == len(actions) + 1


def test_the_last_episode_is_saved_whatever_the_number():
    for n_episodes, n_saved in ((1, 1), (5, 1), (3, 6)):
        saved = train(draw_layout(0), "gold", n_episodes, n_saved, seed=0)
        assert len(saved) == n_saved and saved[-1].episode == n_episodes - 1
