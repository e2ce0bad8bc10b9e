"""The rewards of the published system's grid world, by its rules: a yardstick, written apart."""

from collections import deque

import numpy as np

NEIGHBOURS = ((0, 1), (1, 0), (0, -1), (-1, 0))


class PublishedGrid:
    """A grid with four moves, and the rewards of its targets."""

    def __init__(self, start):
        """Begin on a grid, int8 (H, W), that shows the agent."""
        self.cell = tuple(map(int, np.argwhere(start == 7)[0]))
        self.grid = start.copy()
        self.grid[self.cell] = 5
        self.exit = tuple(map(int, np.argwhere(start == 10)[0]))
        self.n_gold = int((start == 1).sum())
        self.lever_taken = False

    def distance(self, goals):
        """Count the steps to the nearest goal around blocks and hazards, from every cell."""
        far = self.grid.size
        steps = dict.fromkeys(map(tuple, goals), 0)
        queue = deque(steps)
        while queue:
            cell = queue.popleft()
            for row, column in NEIGHBOURS:
                other = (cell[0] + row, cell[1] + column)
                if self._on_grid(other) and self.grid[other] not in (-1, -2) and other not in steps:
                    steps[other] = steps[cell] + 1
                    queue.append(other)
        return lambda cell: steps.get(cell, far)

    def step(self, action, target):
        """Move once; return the reward and whether the episode has ended."""
        before, parts = self.cell, target.split("-")
        after = tuple(int(n) for n in np.add(before, NEIGHBOURS[action]))
        if not self._on_grid(after) or self.grid[after] == -1:
            return -0.1, False
        if self.grid[after] == -2:
            self.cell = after
            return -100.0, True
        reward = sum(getattr(self, f"_{part}")(before, after, parts) for part in parts)
        self.lever_taken |= bool(self.grid[after] == 2)
        if self.grid[after] in (1, 2):
            self.grid[after] = 0
        self.cell = after
        return reward, after == self.exit

    def _on_grid(self, cell):
        return 0 <= cell[0] < self.grid.shape[0] and 0 <= cell[1] < self.grid.shape[1]

    def _nearer(self, goals, before, after):
        distance = self.distance(goals)
        return distance(before) - distance(after)

    def _lever_is_no_matter(self, after, parts):
        return "lever" not in parts or self.lever_taken or self.grid[after] == 2

    def _path(self, before, after, parts):
        return self._nearer([self.exit], before, after) + 100 * (after == self.exit) - 0.1

    def _gold(self, before, after, parts):
        gold = np.argwhere(self.grid == 1)
        taken = self.grid[after] == 1
        left, reward = len(gold) - taken, -0.01
        if len(gold):
            reward += self._nearer(gold, before, after) + 5 * taken
        elif "path" not in parts and self._lever_is_no_matter(after, parts):
            reward += self._nearer([self.exit], before, after)
        if after == self.exit:
            reward += 100 if left == 0 else -10 * left / self.n_gold
        return reward

    def _hazard(self, before, after, parts):
        beside = [
            sum(
                self._on_grid(other) and self.grid[other] == -2
                for other in ((cell[0] + row, cell[1] + column) for row, column in NEIGHBOURS)
            )
            for cell in (before, after)
        ]
        reward = 2 * (beside[0] - beside[1]) + 100 * (after == self.exit) - 0.1
        gold_is_no_matter = "gold" not in parts or not (self.grid == 1).any()
        if "path" not in parts and gold_is_no_matter and self._lever_is_no_matter(after, parts):
            reward += self._nearer([self.exit], before, after)
        return reward

    def _lever(self, before, after, parts):
        taken_now = self.grid[after] == 2
        reward = 20 * taken_now - 0.1
        if not (self.lever_taken or taken_now):
            reward += self._nearer(np.argwhere(self.grid == 2), before, after)
        elif "path" not in parts:
            reward += self._nearer([self.exit], before, after)
        if after == self.exit:
            reward += 80 if self.lever_taken else 20
        return reward


def draw_grid(rng, height=6, width=7):
    """Draw a grid with three gold, two blocks, two hazards and a lever: int8 (H, W)."""
    cells = rng.permutation(height * width)
    grid = np.zeros(height * width, np.int8)
    for value, places in zip(
        (7, 10, 2, 1, -1, -2), np.split(cells[:10], [1, 2, 3, 6, 8]), strict=True
    ):
        grid[places] = value
    return grid.reshape(height, width)
