"""Routes found by beams: near the exact optimum even where its values are not known."""

import numpy as np

from composition.beam_search import N_BEAMS, _Reached, search_beams
from composition.grid_model import GridModel
from composition.planning import plan
from tests.worlds.published_rules import draw_grid
from worlds.gridworld.rewards import PUBLISHED
from worlds.gridworld.rules import GridRules

EVERYTHING, KNOWN = np.ones((30, 4), dtype=bool), np.ones(18, dtype=bool)
INF = np.inf


def test_without_values_routes_earn_nearly_the_exact_optimum():
    weights, shares = PUBLISHED.reward(("path", "gold", "lever")), []
    for seed in range(8):
        start = draw_grid(np.random.default_rng(seed), 5, 6)
        model = GridModel.from_start(GridRules(5, 6, 4), start)
        best = plan(model, weights, EVERYTHING, KNOWN, remembers=True)
        if best is None:
            continue
        assert best.is_exact
        allowed = EVERYTHING & (model.destinations != np.arange(30)[:, None])
        route = search_beams(model, weights, allowed & ~model.ends[:, None], None, True, N_BEAMS)
        shares.append(earned_on(model, weights, route) / (best.events @ weights))
    assert len(shares) > 4 and max(shares) < 1 + 1e-9
    assert min(shares) > 0.97 and np.isclose(shares, 1).mean() > 0.5


def earned_on(model, weights, route):
    cell, left, earned = model.start, np.ones((1, len(model.items)), dtype=bool), 0.0
    for action in route:
        left, events = model.step(np.array([cell]), np.array([action]), left)
        cell, earned = int(model.destinations[cell, action]), earned + events[0] @ weights
    return earned


def test_a_route_is_kept_only_where_none_has_earned_as_much():
    reached = _Reached()
    ranks, totals = np.array([1.0, 3.0, 2.0, -INF, 4.0]), np.array([1.0, 3.0, 2.0, 9.0, 4.0])
    assert reached.choose(ranks, totals, np.array([7, 8, 8, 6, 5]), 5).tolist() == [4, 1, 0]
    assert reached.earned == {5: 4, 8: 3, 7: 1}
    assert reached.choose(np.full(3, 2.0), np.full(3, 2.0), np.array([8, 7, 6]), 5).tolist() == [
        1,
        2,
    ]
    assert reached.choose(np.full(3, 5.0), np.full(3, 5.0), np.array([8, 7, 6]), 2).tolist() == [
        0,
        1,
    ]


def test_what_is_left_has_one_number_in_whatever_order_it_was_taken():
    reached, everything = _Reached(), np.zeros(2, dtype=np.intp)
    first = np.array([[False, True], [True, False]])
    sets = reached.number(everything, np.array([True, True]), first)
    assert len({0, *sets.tolist()}) == 3
    none = np.zeros((2, 2), dtype=bool)
    one, other = reached.number(sets, np.array([True, True]), none)
    assert one == other not in sets
    assert reached.number(sets, np.array([False, False]), first).tolist() == sets.tolist()
