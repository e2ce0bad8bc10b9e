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
Lengths = NDArray[np.int32]
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
    def _lengths(self) -> Integers:
        """Int (n_cells, n_items + 1), path lengths to each item and to the exit."""
        goals = np.append(self.items, self.exit_cell)
        return path_lengths(self.layout, goals).reshape(-1, len(goals))

    @cached_property
    def _item_lengths(self) -> tuple[Lengths, Lengths]:
        """int32 (n_cells, .) each, path lengths to gold and to levers; small, so they are fast."""
        gold, lever = np.split(self._lengths[:, :-1].astype(np.int32), [self.n_gold], axis=1)
        return np.ascontiguousarray(gold), np.ascontiguousarray(lever)

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
        to_exit = self._lengths[:, -1]
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

    @cached_property
    def _plain_event(self) -> dict[str, Floats]:
        """float64 (n_cells, n_moves) each, `plain_events` by name."""
        by_event = np.ascontiguousarray(np.moveaxis(self.plain_events, 2, 0))
        return dict(zip(EVENT_NAMES, by_event, strict=True))

    def step(self, cells: Integers, actions: Integers, left: Booleans) -> tuple[Booleans, Floats]:
        """Take a step in each of n states.

        Args:
            cells: (n,), the agent's.
            actions: (n,).
            left: bool (n, n_items), which items are still there.

        Returns:
            The items left afterwards, bool (n, n_items), and the events, float64 (n, n_events).
        """
        took, remaining = self.take(cells, actions, left)
        events = self.plain_events[cells, actions]
        for name in TAKEN:
            events[:, EVENT[name]] *= took
        for name, values in self.item_events(cells, actions, left, remaining).items():
            events[:, EVENT[name]] = values()
        return remaining, events

    def take(self, cells: Integers, actions: Integers, left: Booleans) -> tuple[Booleans, Booleans]:
        """Tell which of n steps take an item, bool (n,), and what is left then, (n, n_items)."""
        items = self.item_at[self.destinations[cells, actions]]
        rows = np.flatnonzero(items < len(self.items))
        rows = rows[left[rows, items[rows]]]
        took, remaining = np.zeros(len(cells), dtype=bool), left.copy()
        took[rows], remaining[rows, items[rows]] = True, False
        return took, remaining

    def item_events(
        self, cells: Integers, actions: Integers, left: Booleans, remaining: Booleans
    ) -> dict[str, Callable[[], Floats]]:
        """Give what computes each of the events `OF_ITEMS` for n steps, (n,).

        Args:
            cells: (n,), the agent's.
            actions: (n,).
            left: bool (n, n_items), what is there before.
            remaining: bool (n, n_items), what is there afterwards.
        """
        k, n_items = self.n_gold, len(self.items)
        gold, lever = slice(0, k), slice(k, n_items)

        def event(name: str) -> Floats:
            return self._plain_event[name][cells, actions]

        def gold_gone() -> Booleans:
            return np.asarray(~left[:, gold].any(axis=1))

        def has_lever() -> Booleans:
            return np.asarray(remaining[:, lever].any(axis=1))

        def lever_taken() -> Booleans:
            return ~has_lever() & (k < n_items)

        def nearer(kind: slice, lengths: Lengths) -> Floats:
            there, after = left[:, kind], self.destinations[cells, actions]
            return event("moved") * (
                _nearest(lengths, cells, there) - _nearest(lengths, after, there)
            )

        to_gold, to_lever = self._item_lengths
        return {
            "exit_with_all_gold": lambda: event("on_exit") * ~remaining[:, gold].any(axis=1),
            "exit_gold_missing": lambda: (
                event("on_exit") * remaining[:, gold].sum(axis=1) / max(1, k)
            ),
            "exit_with_lever": lambda: event("on_exit") * lever_taken(),
            "exit_progress_after_gold": lambda: event("exit_progress") * gold_gone(),
            "exit_progress_after_lever": lambda: event("exit_progress") * lever_taken(),
            "exit_progress_after_both": lambda: (
                event("exit_progress") * (gold_gone() & lever_taken())
            ),
            "gold_progress": lambda: nearer(gold, to_gold),
            "lever_progress": lambda: has_lever() * nearer(lever, to_lever),
        }


@dataclass(frozen=True)
class StepRewards:
    """What steps earn: of the events only what they are worth is computed.

    Attributes:
        model: of the layout.
        weights: float64 (n_events,), what each event is worth.
    """

    model: GridModel
    weights: Floats

    @cached_property
    def plain(self) -> Floats:
        """float64 (n_cells, n_moves), of each step by `plain_events`."""
        return np.asarray(self.model.plain_events @ self.weights)

    @cached_property
    def _of_taking(self) -> Floats:
        """float64 (n_cells, n_moves), what of `plain` is for the item that is taken."""
        columns = [EVENT[name] for name in TAKEN]
        return np.asarray(self.model.plain_events[..., columns] @ self.weights[columns])

    def __call__(
        self, cells: Integers, actions: Integers, left: Booleans
    ) -> tuple[Booleans, Booleans, Floats]:
        """Take a step in each of n states; arguments as `GridModel.step`.

        Returns:
            Which steps take an item, bool (n,); the items left afterwards, bool (n, n_items); and
            the rewards, float64 (n,).
        """
        took, remaining = self.model.take(cells, actions, left)
        rewards = self.plain[cells, actions] - self._of_taking[cells, actions] * ~took
        for name, values in self.model.item_events(cells, actions, left, remaining).items():
            if weight := self.weights[EVENT[name]]:
                rewards += weight * values()
        return took, remaining, rewards


def _nearest(lengths: Lengths, cells: Integers, there: Booleans) -> Lengths | int:
    """Count the steps from each of n cells to the nearest item of those there, bool (n, .)."""
    if not lengths.shape[1]:
        return 0
    farthest = np.int32(len(lengths))
    return np.asarray(np.maximum(lengths.take(cells, axis=0), ~there * farthest).min(axis=1))


def path_lengths(layout: Grid, goals: Integers) -> Integers:
    """Count the steps to each goal, from neighbour to neighbour around blocks and hazards.

    Args:
        layout: int8 (height, width).
        goals: (n,), cells.

    Returns:
        Int (height, width, n); n_cells where no path leads. A path may begin in a block or
        hazard, but not lead through one or to one.
    """
    is_open = ((layout != BLOCK) & (layout != HAZARD))[..., np.newaxis]
    reached = np.zeros((*layout.shape, len(goals)), dtype=bool)
    reached.reshape(layout.size, -1)[goals, np.arange(len(goals))] = True
    lengths, before = np.zeros(reached.shape, dtype=np.intp), np.zeros_like(reached)
    while (reached != before).any():
        lengths += ~reached
        before, reached = reached, reached | _neighbours(reached & is_open)
    return np.where(reached, lengths, layout.size)


def _neighbours(cells: Booleans) -> Booleans:
    """Mark the cells above, below, left and right of marked ones: bool (height, width, n)."""
    marked = np.zeros_like(cells)
    marked[1:] |= cells[:-1]
    marked[:-1] |= cells[1:]
    marked[:, 1:] |= cells[:, :-1]
    marked[:, :-1] |= cells[:, 1:]
    return marked


def _beside(marked: Booleans) -> NDArray[np.int64]:
    """Count the marked cells above, below, left and right of each: (height, width)."""
    padded = np.pad(marked, 1).astype(np.int64)
    counts: NDArray[np.int64] = (
        padded[:-2, 1:-1] + padded[2:, 1:-1] + padded[1:-1, :-2] + padded[1:-1, 2:]
    )
    return counts
