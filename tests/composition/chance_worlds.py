"""Worlds of chance with known transitions, exact yardsticks and recordings."""

import numpy as np

from composition.outcomes import count_steps


class ChanceWorld:
    """A finite world: P (S, A, S), rewards r(s'), terminal states, a start.

    Args:
        transitions: (S, A, S).
        arrival: (S,), the reward of coming to a state.
        terminal: bool (S,).
    """

    def __init__(self, transitions, arrival, terminal, start=0, horizon=60):
        self.transitions, self.arrival, self.terminal = transitions, arrival, terminal
        self.start, self.horizon = start, horizon
        self._cumulative = transitions.cumsum(axis=2)
        self._cumulative[..., -1] = 1.0

    def value(self, choice=None):
        """Compute the optimum, or the value of a stationary policy (S,), from the start."""
        q_values = self.q_values(choice)[self.start]
        return q_values.max() if choice is None else q_values[choice[self.start]]

    def q_values(self, choice=None):
        """Compute Q, (S, A), over the horizon, of the optimum or a policy."""
        values = np.zeros(len(self.arrival))
        for _ in range(self.horizon):
            q = self.transitions @ (self.arrival + np.where(self.terminal, 0, values))
            values = q.max(axis=1) if choice is None else q[np.arange(len(q)), choice]
        return q

    def record(self, choice, n_episodes, rng, epsilon=0.0):
        """Roll out a policy: lists of (state, action, next state or S, reward)."""
        episodes = []
        for _ in range(n_episodes):
            state, steps = self.start, []
            for _ in range(self.horizon):
                explores = rng.random() < epsilon
                action = rng.integers(self.transitions.shape[1]) if explores else choice[state]
                after = np.searchsorted(self._cumulative[state, action], rng.random())
                end = self.terminal[after]
                steps.append(
                    (state, action, len(self.arrival) if end else after, self.arrival[after])
                )
                state = after
                if end:
                    break
            episodes.append(steps)
        return episodes

    def count(self, episodes):
        steps = np.array([step for episode in episodes for step in episode])
        before, actions, after = steps[:, :3].astype(np.int64).T
        firsts = np.full(len(episodes), self.start)
        sizes = self.transitions.shape[:2]
        return count_steps(before, actions, after, steps[:, 3], firsts, sizes)


def slippery_grid(size=5, slip=0.2, seed=0):
    """Draw a grid with four moves, each of which slips aside: holes cost, the exit pays."""
    rng = np.random.default_rng(seed)
    moves = [(0, 1), (1, 0), (0, -1), (-1, 0)]
    cells = [(row, column) for row in range(size) for column in range(size)]

    def reached(cell, move):
        row, column = cell[0] + move[0], cell[1] + move[1]
        return (
            cells.index((row, column))
            if max(row, column) < size > min(row, column) >= 0
            else (cells.index(cell))
        )

    transitions = np.zeros((size**2, 4, size**2))
    for state, cell in enumerate(cells):
        for action in range(4):
            for turn, chance in ((0, 1 - slip), (1, slip / 2), (3, slip / 2)):
                transitions[state, action, reached(cell, moves[(action + turn) % 4])] += chance
    arrival, terminal = np.full(size**2, -0.5), np.zeros(size**2, dtype=bool)
    holes = rng.choice(np.arange(2, size**2 - 2), size // 2, replace=False)
    arrival[holes], terminal[holes] = -20, True
    arrival[-1], terminal[-1] = 50, True
    return ChanceWorld(transitions, arrival, terminal)
