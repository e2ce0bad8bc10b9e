"""The dynamics of a grid world, for planning: what every action leads to, and its events.

The same rules and events as `worlds.gridworld.rules` and `.events`, for many states at once and
with numpy alone. A state is the agent's cell and which *items*, gold and levers, are left.
"""

from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from worlds.gridworld.names import EVENT_NAMES
from worlds.gridworld.rules import (
    BLOCK,
    BLOCKS_STOP,
    EMPTY,
    EXIT,
    GOLD,
    HAZARD,
    LEVER,
    Grid,
    GridRules,
    without_agent,
)

Floats = NDArray[np.float64]
Integers = NDArray[np.intp]
Booleans = NDArray[np.bool_]
EVENT = {name: number for number, name in enumerate(EVENT_NAMES)}
TAKEN = ("took_gold", "took_lever")
OF_ITEMS = (  # events that depend on what is left, beyond whether an item is where it was
    *("exit_with_all_gold", "exit_gold_missing", "exit_with_lever"),
    *("exit_progress_after_gold", "exit_progress_after_lever", "exit_progress_after_both"),
    *("gold_progress", "lever_progress"),
)


@dataclass(frozen=True)
class GridModel:
    """What actions do on one layout; cells are numbered row by row.

    Attributes:
        rules: of the world: n_cells cells, n_moves actions.
        layout: int8 (height, width), the first grid without the agent.
        start: the agent's first cell.
    """

    rules: GridRules
    layout: Grid
    start: int

    @classmethod
    def from_start(cls, rules: GridRules, start: Grid) -> "GridModel":
        """Make the model of the layout that a first grid, int8 (height, width), shows."""
        layout, (row, column) = without_agent(start)
        return cls(rules, layout, row * rules.width + column)

    def without_items_of_no_worth(self, weights: Floats) -> "GridModel":
        """Take away gold or levers if no event that has to do with them counts.

        Args:
            weights: float64 (n_events,), what each event is worth.
        """
        layout = self.layout.copy()
        for item, word in ((GOLD, "gold"), (LEVER, "lever")):
            events = [n for name, n in EVENT.items() if word in name or name.endswith("_both")]
            if not weights[events].any():
                layout[layout == item] = EMPTY
        return replace(self, layout=layout)

    @cached_property
    def contents(self) -> NDArray[np.int8]:
        """int8 (n_cells,), what each cell holds at first."""
        return self.layout.ravel()

    @cached_property
    def exit_cell(self) -> int:
        """The exit: where the layout shows it, else the bottom right cell, as phi has it."""
        shown = np.flatnonzero(self.contents == EXIT)
        return int(shown[0]) if len(shown) else self.rules.n_cells - 1

    @cached_property
    def destinations(self) -> Integers:
        """Int (n_cells, n_moves), where each action leads, as `GridRules.destination` says."""
        height, width = self.layout.shape
        cells = np.indices((height, width)).reshape(2, -1).T[:, None]
        rows, columns = np.moveaxis(cells + self.rules.moves, 2, 0)
        inside = (rows >= 0) & (rows < height) & (columns >= 0) & (columns < width)
        reached = np.where(inside, rows * width + columns, 0)
        if BLOCKS_STOP[self.rules.n_moves]:
            inside &= self.contents[reached] != BLOCK
        return np.where(inside, reached, np.arange(self.rules.n_cells)[:, None])

    @cached_property
    def ends(self) -> Booleans:
        """Bool (n_cells,), where an episode ends."""
        return np.isin(self.contents, (EXIT, HAZARD))

    @cached_property
    def items(self) -> Integers:
        """Int (n_items,), the cells of gold, then those of levers."""
        return np.concatenate([np.flatnonzero(self.contents == v) for v in (GOLD, LEVER)])

    @cached_property
    def n_gold(self) -> int:
        """How many of the items are gold."""
        return int((self.contents == GOLD).sum())

    @cached_property
    def item_at(self) -> Integers:
        """Int (n_cells,), the item in each cell; n_items where there is none."""
        at = np.full(self.rules.n_cells, len(self.items))
        at[self.items] = np.arange(len(self.items))
        return at

    @cached_property
    def _item_lengths(self) -> Floats:
        """float64 (n_cells, n_items), path lengths to each item."""
        return path_lengths(self.layout, self.items).reshape(len(self.items), -1).T

    @cached_property
    def plain_events(self) -> Floats:
        """float64 (n_cells, n_moves, n_events): of each step when every item is still there.

        Of the events `OF_ITEMS`, none.
        """
        cells = np.arange(self.rules.n_cells)[:, None]
        after, covered = self.destinations, self.contents[self.destinations]
        stayed = after == cells
        on_hazard = ~stayed & (covered == HAZARD)
        on_block = ~stayed & (covered == BLOCK)
        moved, arrived = ~stayed & ~on_hazard, after == self.exit_cell
        row, column = np.divmod(np.arange(self.rules.n_cells), self.rules.width)
        manhattan = sum(abs(n - n[self.exit_cell]) for n in (row, column))
        hazards = _beside(self.layout == HAZARD).ravel()
        to_exit = path_lengths(self.layout, np.array([self.exit_cell])).ravel()
        events = np.zeros((*after.shape, len(EVENT_NAMES)))
        for name, values in {
            "stepped_on_block": on_block,
            "took_gold": covered == GOLD,
            "on_exit": arrived,
            "free_progress": (moved & ~on_block & ~arrived)
            * (manhattan[cells] - manhattan[after])
            / 2,
            "stayed": stayed,
            "entered_hazard": on_hazard,
            "took_lever": covered == LEVER,
            "moved": moved,
            "exit_progress": moved * (to_exit[cells] - to_exit[after]),
            "hazards_passed": moved * (hazards[cells] - hazards[after]),
        }.items():
            events[..., EVENT[name]] = values
        return events

    def step(self, cells: Integers, actions: Integers, left: Booleans) -> tuple[Booleans, Floats]:
        """Take a step in each of n states.

        Args:
            cells: (n,), the agent's.
            actions: (n,).
            left: bool (n, n_items), which items are still there.

        Returns:
            The items left afterwards, bool (n, n_items), and the events, float64 (n, n_events).
        """
        remaining = self._take(cells, actions, left)
        events = self.plain_events[cells, actions].copy()
        took = (left & ~remaining).any(axis=1)
        for name in TAKEN:
            events[:, EVENT[name]] *= took
        for name, values in self._item_events(cells, actions, left, remaining).items():
            events[:, EVENT[name]] = values()
        return remaining, events

    def earn(
        self, cells: Integers, actions: Integers, left: Booleans, weights: Floats
    ) -> tuple[Booleans, Floats]:
        """Take a step as `step` does, but compute of the events only what they are worth.

        Args:
            cells: (n,).
            actions: (n,).
            left: bool (n, n_items).
            weights: float64 (n_events,), what each event is worth.

        Returns:
            The items left afterwards, bool (n, n_items), and the rewards, float64 (n,).
        """
        remaining = self._take(cells, actions, left)
        rewards = (self.plain_events @ weights)[cells, actions]
        took_none = (left == remaining).all(axis=1)
        for name in TAKEN:
            of_all = weights[EVENT[name]] * self.plain_events[cells, actions, EVENT[name]]
            rewards -= of_all * took_none
        for name, values in self._item_events(cells, actions, left, remaining).items():
            if weights[EVENT[name]]:
                rewards += weights[EVENT[name]] * values()
        return remaining, rewards

    def _take(self, cells: Integers, actions: Integers, left: Booleans) -> Booleans:
        """Tell what is left after a step: bool (n, n_items)."""
        taken = self.item_at[self.destinations[cells, actions]]
        there = np.append(left, np.zeros((len(left), 1), dtype=bool), axis=1)
        there[np.arange(len(left)), taken] = False
        return there[:, :-1]

    def _item_events(
        self, cells: Integers, actions: Integers, left: Booleans, remaining: Booleans
    ) -> dict[str, Callable[[], Floats]]:
        """Give what computes each of the events `OF_ITEMS`, (n,)."""
        k = self.n_gold
        gold, lever = slice(0, k), slice(k, len(self.items))
        after = self.destinations[cells, actions]
        gold_gone, has_lever = ~left[:, gold].any(axis=1), remaining[:, lever].any(axis=1)
        lever_taken = ~has_lever & (k < len(self.items))
        arrived, to_exit, moved = (
            self.plain_events[cells, actions, EVENT[name]]
            for name in ("on_exit", "exit_progress", "moved")
        )
        return {
            "exit_with_all_gold": lambda: arrived * ~remaining[:, gold].any(axis=1),
            "exit_gold_missing": lambda: arrived * remaining[:, gold].sum(axis=1) / max(1, k),
            "exit_with_lever": lambda: arrived * lever_taken,
            "exit_progress_after_gold": lambda: to_exit * gold_gone,
            "exit_progress_after_lever": lambda: to_exit * lever_taken,
            "exit_progress_after_both": lambda: to_exit * (gold_gone & lever_taken),
            "gold_progress": lambda: moved * self._nearer(cells, after, left, gold),
            "lever_progress": lambda: moved * has_lever * self._nearer(cells, after, left, lever),
        }

    def _nearer(self, cells: Integers, after: Integers, left: Booleans, kind: slice) -> Floats:
        """Tell by how much each step comes nearer to the nearest item of a kind: (n,)."""
        if kind.stop == kind.start:
            return np.zeros(len(cells))
        lengths = self._item_lengths[:, kind]
        before, behind = (
            np.where(left[:, kind], lengths[c], self.rules.n_cells).min(axis=1)
            for c in (cells, after)
        )
        return np.asarray(before - behind)


def path_lengths(layout: Grid, goals: Integers) -> Floats:
    """Count the steps to each goal, from neighbour to neighbour around blocks and hazards.

    Args:
        layout: int8 (height, width).
        goals: (n,), cells.

    Returns:
        float64 (n, height, width); n_cells where no path leads. A path may begin in a block or
        hazard, but not lead through one or to one.
    """
    height, width = layout.shape
    is_open = (layout != BLOCK) & (layout != HAZARD)
    lengths = np.full((len(goals), height, width), float(layout.size))
    lengths[np.arange(len(goals)), goals // width, goals % width] = 0
    front = lengths == 0
    for n in range(1, layout.size):
        front = _neighbours(front & is_open) & (lengths == layout.size)
        if not front.any():
            break
        lengths[front] = n
    return lengths


def _neighbours(cells: Booleans) -> Booleans:
    """Mark the cells above, below, left and right of marked ones: bool (n, height, width)."""
    marked = np.zeros_like(cells)
    marked[:, 1:] |= cells[:, :-1]
    marked[:, :-1] |= cells[:, 1:]
    marked[:, :, 1:] |= cells[:, :, :-1]
    marked[:, :, :-1] |= cells[:, :, 1:]
    return marked


def _beside(marked: Booleans) -> NDArray[np.int64]:
    """Count the marked cells above, below, left and right of each: (height, width)."""
    padded = np.pad(marked, 1).astype(np.int64)
    counts: NDArray[np.int64] = (
        padded[:-2, 1:-1] + padded[2:, 1:-1] + padded[1:-1, :-2] + padded[1:-1, 2:]
    )
    return counts
