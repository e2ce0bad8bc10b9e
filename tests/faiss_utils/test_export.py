"""A policy that is handed over, and the picture of a library."""

import json
from dataclasses import replace

import matplotlib.image
import numpy as np
import pytest
from matplotlib.figure import Figure

from faiss_utils.export import export_policy
from faiss_utils.library_map import _draw_world, draw_map
from library.errors import LeverError
from tests.faiss_utils.test_behaviour_index import name_of, unique_rows
from tests.faiss_utils.test_setup_faiss_vdb import make_database
from worlds.gridworld.environment import draw_layout
from worlds.gridworld.route import draw_route
from worlds.gridworld.rules import AGENT


@pytest.fixture
def database():
    """A grid world with tables and starts, and a world of networks."""
    database = make_database()[0]
    grid, other = database.worlds
    starts = np.repeat(draw_layout(3)[np.newaxis], len(grid.embeddings), axis=0)
    starts[:, 0, 0] = AGENT
    n = len(other.embeddings)
    ends = np.arange(n) // 2 * 5 + 5  # every second one is empty
    database.worlds = [
        replace(grid, name="gridworld-16x16-5", start_states=starts),
        replace(other, networks=np.arange(ends[-1], dtype=np.uint8), network_ends=ends),
    ]
    return database


def row_in(database, world, number=0):
    rows = [r for r in unique_rows(database) if database.place(r)[0] is database.worlds[world]]
    return rows[number]


def test_a_table_comes_with_its_description_and_route(database, tmp_path):
    row = row_in(database, 0)
    policy, (world, place) = database.describe(row), database.place(row)
    written = export_policy(database, policy, tmp_path / "new")
    own = tmp_path / "new" / name_of(database, row)
    assert written == [own / "q_table.npy", own / "route.png", own / "policy.json"]
    np.testing.assert_array_equal(np.load(own / "q_table.npy"), world.q_tables[place])
    assert json.loads((own / "policy.json").read_text("utf-8")) == policy
    assert len(np.unique(matplotlib.image.imread(own / "route.png").reshape(-1, 4), axis=0)) > 5
    with pytest.raises(LeverError, match="is there already"):
        export_policy(database, policy, tmp_path / "new")


def test_of_several_routes_the_last_one_is_thick_and_black(tmp_path, monkeypatch):
    drawn = []
    monkeypatch.setattr("matplotlib.axes.Axes.plot", lambda *_, **style: drawn.append(style))
    grids = np.repeat(draw_layout(3)[np.newaxis], 2, axis=0)
    grids[0, 0, 0] = grids[1, 0, 1] = AGENT
    draw_route(tmp_path / "route.png", grids[0], [grids, grids.copy(), grids.copy()], "three")
    assert [style["color"] for style in drawn] == ["gray", "gray", "black"]
    assert drawn[0]["lw"] == drawn[1]["lw"] < drawn[2]["lw"]


@pytest.mark.parametrize("lacking", ["start_states", "name"])
def test_without_a_grid_to_draw_there_is_no_route(database, tmp_path, lacking):
    value = "Taxi-v4" if lacking == "name" else None
    database.worlds[0] = replace(database.worlds[0], **{lacking: value})
    written = export_policy(database, database.describe(row_in(database, 0)), tmp_path)
    assert [path.name for path in written] == ["q_table.npy", "policy.json"]


def test_a_network_is_handed_over_as_it_was(database, tmp_path):
    for number in range(4):
        row = row_in(database, 1, number)
        place = database.place(row)[1]
        written = export_policy(database, database.describe(row), tmp_path)
        content = bytes(range(place // 2 * 5, place // 2 * 5 + 5)) if place % 2 == 0 else b""
        assert [path.name for path in written] == ["policy.npz"] * bool(content) + ["policy.json"]
        assert not content or written[0].read_bytes() == content


def colours(path):
    """Count the colours of a picture that are no grey, faint ones aside."""
    pixels = (matplotlib.image.imread(path)[..., :3] * 255).astype(int).reshape(-1, 3)
    vivid = pixels[np.ptp(pixels, axis=1) > 60] // 32
    found, counts = np.unique(vivid, axis=0, return_counts=True)
    return len(found[counts > 50])


def test_a_map_has_a_panel_a_world_and_a_colour_a_target(database, tmp_path):
    database.worlds = [replace(w, behaviours=w.embeddings[:, :2]) for w in database.worlds]
    draw_map(database, tmp_path / "map.png")
    height, width = matplotlib.image.imread(tmp_path / "map.png").shape[:2]
    assert width > 1.8 * height, "two panels side by side"
    assert colours(tmp_path / "map.png") >= 2


def test_the_points_of_a_target_bear_its_name(database):
    first = database.worlds[0]
    database.worlds[0] = replace(first, behaviours=first.embeddings[:, :2])
    rows, axes = np.arange(len(first.embeddings)), Figure().add_subplot()
    _draw_world(axes, database, rows)
    owners = database.columns["objective"][rows]
    targets = [objective.target for objective in database.objectives]
    assert len(axes.collections) == len(set(owners)) > 1
    for points in axes.collections:
        own = owners == targets.index(points.get_label())
        np.testing.assert_allclose(points.get_offsets(), first.embeddings[own, :2])


@pytest.mark.parametrize("n_columns", [None, 0, 1])
def test_a_map_of_policies_without_two_components_is_drawn(database, tmp_path, n_columns):
    database.columns["regressor_score"][:] = 1.0  # and of equal rewards
    database.worlds = [
        replace(w, behaviours=None if n_columns is None else w.embeddings[:, :n_columns])
        for w in database.worlds
    ]
    draw_map(database, tmp_path / "map.png")
    assert colours(tmp_path / "map.png") >= 2
