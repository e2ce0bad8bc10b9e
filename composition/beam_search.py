"""The best route on a grid, found by keeping the best of all routes of equal length.

A route is kept if it ranks high and has earned more than every other one that was kept in its
*state*, the cell and what is left: of this length, or, for a policy that remembers, of any. (Such
a policy may go on from a state as any route there did, unless going in circles pays.)
"""

from dataclasses import dataclass, field

import numpy as np

from composition.grid_model import Booleans, Floats, GridModel, Integers, StepRewards

STEP_COST = 1e-6  # of two routes that earn the same, the shorter one
N_BEAMS = 200


@dataclass(frozen=True)
class _Beams:
    """n routes of one length.

    Attributes:
        cells: (n,), where they are.
        left: bool (n, n_items), what they have not taken.
        sets: (n,), a number for what is left, of `_Reached`.
        visited: bool (n, n_cells), cells that they must not come to again.
        earned: float64 (n,).
    """

    cells: Integers
    left: Booleans
    sets: Integers
    visited: Booleans
    earned: Floats

    @classmethod
    def at_start(cls, model: GridModel) -> "_Beams":
        """Begin with the one route that has no step."""
        visited = np.zeros((1, model.rules.n_cells), dtype=bool)
        visited[0, model.start] = True
        left = np.ones((1, len(model.items)), dtype=bool)
        return cls(np.array([model.start]), left, np.zeros(1, dtype=np.intp), visited, np.zeros(1))

    def ways_on(self, model: GridModel, allowed: Booleans) -> tuple[Integers, Integers]:
        """List the steps that lead on: the positions of the routes, and the actions."""
        each = np.arange(len(self.cells))[:, np.newaxis]
        is_new = ~self.visited[each, model.destinations[self.cells]]
        beams, actions = np.nonzero(allowed[self.cells] & is_new)
        return beams, actions


@dataclass
class _Reached:
    """The states that routes have come to, and the most that any has earned up to there.

    Attributes:
        sets: a number for each set of items left; 0 is for all of them.
        earned: by the number of the state.
    """

    sets: dict[bytes, int] = field(default_factory=dict)
    earned: dict[int, float] = field(default_factory=dict)

    def number(self, before: Integers, took: Booleans, left: Booleans) -> Integers:
        """Number what is left after n steps: (n,), as `before` where nothing was taken."""
        sets = before.copy()
        for step in np.flatnonzero(took):
            sets[step] = self.sets.setdefault(left[step].tobytes(), len(self.sets) + 1)
        return sets

    def choose(self, ranks: Floats, totals: Floats, states: Integers, n_beams: int) -> Integers:
        """Pick the routes of highest rank, each the best one so far that comes to its state.

        Args:
            ranks: (n,), -inf for what is not picked.
            totals: (n,), what the routes have earned.
            states: (n,), a number for each cell and set of items left.
            n_beams: how many are picked.

        Returns:
            Their positions.
        """
        kept = list[int]()
        order = np.argsort(-ranks, kind="stable")
        order = order[np.isfinite(ranks[order])]
        listed = (values.tolist() for values in (order, states[order], totals[order]))
        for place, state, total in zip(*listed, strict=True):
            if total > self.earned.get(state, -np.inf) + STEP_COST / 2:
                self.earned[state] = total
                kept.append(place)
                if len(kept) == n_beams:
                    break
        return np.array(kept, dtype=np.intp)


def search_beams(
    model: GridModel,
    weights: Floats,
    allowed: Booleans,
    values: Floats | None,
    remembers: bool,
    n_beams: int,
) -> Integers | None:
    """Search for the best route; the routes of a length are ranked by value and what may follow.

    Args:
        model: of the layout.
        weights: float64 (n_events,), what an episode earns for each event.
        allowed: bool (n_cells, n_moves).
        values: float64 (2 ** n_items, n_cells), for each set of items left, which no route to come
            exceeds; None to rank by what the routes have earned.
        remembers: whether a route may come to a cell again after taking an item.
        n_beams: how many are kept.

    Returns:
        Its actions; None when no route was found.
    """
    beams, earn, reached = _Beams.at_start(model), StepRewards(model, weights), _Reached()
    history: list[tuple[Integers, Integers]] = []
    best, end = -np.inf, None
    while len(beams.cells) and len(history) < model.rules.step_limit:
        which, actions = beams.ways_on(model, allowed)
        took, left, rewards = earn(beams.cells[which], actions, beams.left.take(which, axis=0))
        totals = beams.earned[which] + rewards - STEP_COST
        cells = model.destinations[beams.cells[which], actions]
        arrived = np.flatnonzero(model.ends[cells])
        if len(arrived) and totals[arrived].max() > best:
            winner = int(arrived[totals[arrived].argmax()])
            best, end = totals[winner], (len(history), which[winner], actions[winner])
        ranks = _rank(totals, values, left, cells, best)
        ranks[arrived] = -np.inf
        sets = reached.number(beams.sets[which], took, left)
        if not remembers:
            reached.earned.clear()  # how a route may go on depends on all cells that it visited
        kept = reached.choose(ranks, totals, sets * model.rules.n_cells + cells, n_beams)
        history.append((which[kept], actions[kept]))
        visited = beams.visited[which[kept]]
        visited[took[kept] & remembers] = False
        visited[np.arange(len(kept)), cells[kept]] = True
        beams = _Beams(cells[kept], left[kept], sets[kept], visited, totals[kept])
    return None if end is None else _trace(history[: end[0]], *end[1:])


def _rank(
    totals: Floats, values: Floats | None, left: Booleans, cells: Integers, best: float
) -> Floats:
    """Rank routes by what they may earn in the end, -inf if it is no more than the best one has."""
    if values is None:
        return totals.copy()
    ranks = totals + values[left @ (1 << np.arange(left.shape[1])), cells]
    ranks[ranks <= best] = -np.inf
    return np.asarray(ranks)


def _trace(history: list[tuple[Integers, Integers]], last: int, action: int) -> Integers:
    """List the actions of the route that is entry `last` of the last level, and then an action."""
    route = [action]
    for beams, actions in reversed(history):
        route.append(actions[last])
        last = beams[last]
    return np.array(route[::-1])
