"""Planning on a grid within what other policies do: the best route, as one Q-table or several.

A table knows the agent's cell, not what is left to take. So a route that a table follows greedily
never comes to a cell twice. Where moves only lead right and down that is no loss, and dynamic
programming finds the best: from the exit backwards,

    Q(s, a) = e(s, a) . w - STEP_COST + V(s'),    V(s) = max over allowed a of Q(s, a).

With other moves gold and levers, the *items*, belong to the state: gold in a dead end can't be
fetched by a table of cells, so its plan leaves dead ends out. A policy that *remembers* has a table
for every number of items taken, and never comes to a cell twice with the same table. If items are
few, V over (cell, what is left) is computed by value iteration. A beam search finds the route,
with routes ranked by V or, where items are many, by what they have earned.

Nothing is discounted, since rewards are not. Staying in place is no action of a plan.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from composition.beam_search import N_BEAMS, STEP_COST, search_beams
from composition.grid_model import (
    EVENT,
    OF_ITEMS,
    Booleans,
    Floats,
    GridModel,
    Integers,
    StepRewards,
)

MAX_PAIRS = 200_000  # of state and action for value iteration: 0.2 s


@dataclass(frozen=True)
class Plan:
    """A policy, and what it does.

    Attributes:
        q_tables: float (n_stages, n_cells, n_moves), to be used after 0, 1, ... items taken, the
            last one from then on; n_stages is 1 for a policy that remembers nothing.
        events: float64 (n_events,), of its greedy roll-out, summed.
        actions: of that roll-out.
        is_exact: whether no route on the support is better.
    """

    q_tables: NDArray[np.floating]
    events: Floats
    actions: list[int]
    is_exact: bool


@dataclass(frozen=True)
class Walk:
    """What a policy does on a layout: its actions, events float64 (n_events,), and its end."""

    actions: list[int]
    events: Floats
    arrives: bool


def tried_actions(q_tables: NDArray[np.floating]) -> Booleans:
    """Tell which actions any of n policies has tried in training.

    Args:
        q_tables: (n, n_states, n_actions), 0 before training.

    Returns:
        bool (n_states, n_actions).
    """
    return np.asarray(((q_tables != 0) & np.isfinite(q_tables)).any(axis=0))


def greedy_actions(q_tables: NDArray[np.floating]) -> Booleans:
    """Tell which actions are greedy for any of n policies: bool (n_states, n_actions)."""
    chosen = np.zeros(q_tables.shape[1:], dtype=bool)
    for greedy in q_tables.argmax(axis=2):
        chosen[np.arange(len(greedy)), greedy] = True
    return chosen


def began_at_zero(model: GridModel, q_tables: NDArray[np.floating]) -> bool:
    """Tell whether tables were 0 before training: where episodes end nothing is ever learnt."""
    return bool((q_tables[:, model.ends] == 0).all())


def plan(
    model: GridModel,
    weights: Floats,
    allowed: Booleans,
    known: Booleans,
    remembers: bool = False,
    n_beams: int = N_BEAMS,
) -> Plan | None:
    """Find the best policy among the actions allowed.

    Args:
        model: of the layout.
        weights: float64 (n_events,), what an episode earns for each event.
        allowed: bool (n_cells, n_moves).
        known: bool (n_events,); a step with an event whose weight is not known is not taken.
        remembers: whether the policy may have a table for every number of items taken.
        n_beams: routes that a beam search keeps.

    Returns:
        None when no route on allowed actions ends the episode.
    """
    cells = np.arange(model.rules.n_cells)[:, None]
    strange = (model.plain_events[..., ~known] != 0).any(axis=2)
    allowed = allowed & (model.destinations != cells) & ~model.ends[:, None] & ~strange
    if not depends_on_items(model, weights):
        q_values = _plan_forward(model, weights, allowed)
        if not np.isfinite(q_values[model.start].max()):
            return None
        return _finish(model, [(q_values, q_values.argmax(axis=1))], is_exact=True)
    return _plan_route(model, weights, allowed, remembers, n_beams)


def is_forward(model: GridModel) -> bool:
    """Tell whether no cell can be visited twice, so that there is nothing to remember."""
    return bool((model.rules.moves >= 0).all())


def depends_on_items(model: GridModel, weights: Floats) -> bool:
    """Tell whether what is the best to do in a cell depends on the items that are left."""
    return not is_forward(model) or bool(weights[[EVENT[name] for name in OF_ITEMS]].any())


def walk(model: GridModel, q_tables: NDArray[np.floating]) -> Walk:
    """Follow the greedy policy of tables until the episode ends, as `route.roll_out` does.

    Args:
        model: of the layout.
        q_tables: (n_stages, n_cells, n_moves), as in a `Plan`.
    """
    greedy, destinations = q_tables.argmax(axis=2).tolist(), model.destinations.tolist()
    ends, items = model.ends.tolist(), set(model.items.tolist())
    cells, actions, taken = [model.start], list[int](), set[int]()
    while len(actions) < model.rules.step_limit and not (actions and ends[cells[-1]]):
        stage = min(len(taken), len(greedy) - 1)
        actions.append(greedy[stage][cells[-1]])
        cells.append(destinations[cells[-1]][actions[-1]])
        taken |= items & {cells[-1]}
    before = np.array(cells[:-1])
    _, events = model.step(before, np.array(actions), _items_left(model, before))
    return Walk(actions, events.sum(axis=0), ends[cells[-1]])


def _items_left(model: GridModel, cells: Integers) -> Booleans:
    """Tell what is left in each of the n cells that a route comes through: bool (n, n_items)."""
    return np.logical_and.accumulate(cells[:, np.newaxis] != model.items, axis=0)


def _plan_forward(model: GridModel, weights: Floats, allowed: Booleans) -> Floats:
    """Compute Q where every move leads to a cell of a higher number; -inf is not allowed."""
    cells, actions = (numbers[::-1] for numbers in np.nonzero(allowed))  # the last cells first
    rewards = StepRewards(model, weights).plain[cells, actions] - STEP_COST
    values = np.where(model.ends, 0.0, -np.inf).tolist()
    found = list[float]()
    steps = (numbers.tolist() for numbers in (cells, rewards, model.destinations[cells, actions]))
    for cell, reward, after in zip(*steps, strict=True):
        value = reward + values[after]
        found.append(value)
        if value > values[cell]:
            values[cell] = value
    q_values = np.full(allowed.shape, -np.inf)
    q_values[cells, actions] = found
    return q_values


def _plan_route(
    model: GridModel, weights: Floats, allowed: Booleans, remembers: bool, n_beams: int
) -> Plan | None:
    """Find the best route where what is left matters."""
    values, route, best_value, everything = None, None, np.inf, allowed
    if not remembers:
        allowed = _leave_out_dead_ends(model, allowed)
    if model.rules.n_cells * model.rules.n_moves * 2 ** len(model.items) <= MAX_PAIRS:
        values = _state_values(model, weights, allowed)
        best_value = float(values[-1, model.start])
    if np.isfinite(best_value) or values is None:
        route = search_beams(model, weights, allowed, values, remembers, n_beams)
    if route is None:
        return None
    cells, togo, n_taken = _retrace(model, weights, route)
    stages = n_taken if remembers else np.zeros(len(route), dtype=np.intp)
    tables = _lead_along(model, weights, allowed, (stages, cells, route), togo)
    is_best = allowed is everything and togo[0] >= best_value - STEP_COST / 2
    return _finish(model, tables, is_exact=bool(is_best))


def _leave_out_dead_ends(model: GridModel, allowed: Booleans) -> Booleans:
    """Leave out the ways into cells that no way leads on from, but to a hazard.

    Returns:
        Bool (n_cells, n_moves); what was given where there is no dead end, or nothing is left.
    """
    n_cells, destinations = model.rules.n_cells, model.destinations
    goes_on = allowed & (~model.ends | (np.arange(n_cells) == model.exit_cell))[destinations]
    ways = np.sort(np.column_stack(_edges(goes_on, destinations)), axis=1)
    pairs = np.array(sorted(set(map(tuple, ways.tolist()))), dtype=np.intp).reshape(-1, 2)
    is_open = np.ones(n_cells, dtype=bool)
    while True:
        n_neighbours = np.bincount(pairs[is_open[pairs].all(axis=1)].ravel(), minlength=n_cells)
        closed = is_open & (n_neighbours < 2)
        closed[[model.start, model.exit_cell]] = closed[model.ends] = False
        if not closed.any():
            break
        is_open &= ~closed
    left = allowed & is_open[:, np.newaxis] & is_open[destinations]
    return allowed if (left == allowed).all() or not left[model.start].any() else left


def _edges(allowed: Booleans, destinations: Integers) -> tuple[Integers, Integers]:
    cells, actions = np.nonzero(allowed)
    return cells, destinations[cells, actions]


def _state_values(model: GridModel, weights: Floats, allowed: Booleans) -> Floats:
    """Compute V by value iteration: float64 (2 ** n_items, n_cells).

    Row m is for the items left that are the bits of m. Sweeps end when nothing changes, or when
    a route could have been through all cells for every item (only a cycle that pays goes on).
    """
    n_items, n_cells = len(model.items), model.rules.n_cells
    cells, actions = np.nonzero(allowed)
    shape = (2**n_items, len(cells))
    masks, steps = (numbers.ravel() for numbers in np.indices(shape))
    left = (masks[:, None] >> np.arange(n_items) & 1).astype(bool)
    _, remaining, rewards = StepRewards(model, weights)(cells[steps], actions[steps], left)
    after = model.destinations[cells, actions][steps]
    following = ((remaining @ (1 << np.arange(n_items))) * n_cells + after).reshape(shape)
    rewards = (rewards - STEP_COST).reshape(shape)
    values = np.where(model.ends, 0.0, np.tile(-np.inf, (len(following), n_cells)))
    firsts = np.flatnonzero(np.diff(cells, prepend=-1))
    for _ in range(n_cells * (n_items + 1)):
        best = np.maximum.reduceat(rewards + values.ravel()[following], firsts, axis=1)
        if (best == values[:, cells[firsts]]).all():
            break
        values[:, cells[firsts]] = best
    return values


def _retrace(
    model: GridModel, weights: Floats, route: Integers
) -> tuple[Integers, Floats, Integers]:
    """Tell of each step of a route: its cell, what is earned from it on, and items taken before."""
    passed = [model.start]
    for action in route[:-1]:
        passed.append(int(model.destinations[passed[-1], action]))
    cells = np.array(passed)
    left = _items_left(model, cells)
    _, events = model.step(cells, route, left)
    togo = np.cumsum((events @ weights - STEP_COST)[::-1])[::-1]
    return cells, togo, (~left).sum(axis=1)


def _lead_along(
    model: GridModel,
    weights: Floats,
    allowed: Booleans,
    route: tuple[Integers, Integers, Integers],
    togo: Floats,
) -> list[tuple[Floats, Integers]]:
    """Make Q-values whose greedy policy follows a route, and from elsewhere leads onto it.

    Beside the route a value is that of the shortest allowed way onto it, everything being there.

    Args:
        model: of the layout.
        weights: as `plan`.
        allowed: as `plan`.
        route: (n,) each: the stage, the cell and the action of its steps; no cell twice in a stage.
        togo: (n,), what is earned from there on.

    Returns:
        For each stage Q, float64 (n_cells, n_moves), -inf where no way leads on; and the action of
        each cell.
    """
    stages, cells, actions = route
    rewards = (StepRewards(model, weights).plain - STEP_COST).T[:, np.newaxis]
    options, onwards = allowed.T[:, np.newaxis], model.destinations.T
    values = np.tile(np.where(model.ends, 0.0, -np.inf), (stages[-1] + 1, 1))
    values[stages, cells] = togo
    choice = np.zeros(values.shape, dtype=np.intp)
    choice[stages, cells] = actions
    while True:
        following = np.moveaxis(values[:, onwards], 1, 0)
        ways = np.where(options, rewards + following, -np.inf)  # (n_moves, n_stages, n_cells)
        best = ways.max(axis=0)
        new = np.isfinite(best) & ~np.isfinite(values)
        if not new.any():
            break
        choice[new], values[new] = ways[:, new].argmax(axis=0), best[new]
    ways[actions, stages, cells] = togo
    return list(zip(np.ascontiguousarray(np.moveaxis(ways, 0, 2)), choice, strict=True))


def _finish(model: GridModel, tables: Sequence[tuple[Floats, Integers]], is_exact: bool) -> Plan:
    """Round Q-values and follow them.

    Args:
        model: of the layout.
        tables: for each stage Q, (n_cells, n_moves), and the actions to choose, (n_cells,).
        is_exact: as in `Plan`.
    """
    q_tables = np.stack([_round(q_values, choice) for q_values, choice in tables])
    path = walk(model, q_tables)
    return Plan(q_tables, path.events, path.actions, is_exact)


def _round(q_values: Floats, choice: Integers) -> NDArray[np.float32]:
    """Make a float32 table in which the chosen actions stay the only largest ones.

    What is not allowed, -inf in `q_values`, lies below all that is.
    """
    usable = np.isfinite(q_values)
    table = np.where(usable, q_values, q_values[usable].min() - 1.0).astype(np.float32)
    each = np.flatnonzero(usable.any(axis=1))
    chosen = table[each, choice[each]]
    below = np.nextafter(chosen, np.float32(-np.inf))
    table[each] = np.minimum(table[each], below[:, None])
    table[each, choice[each]] = chosen
    return table
