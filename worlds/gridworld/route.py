"""What a greedy policy does on a grid, and a picture of it."""

from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from library.files import atomic_write
from worlds.gridworld.rules import (
    AGENT,
    BLOCK,
    EMPTY,
    EXIT,
    GOLD,
    HAZARD,
    LEVER,
    START,
    Grid,
    GridRules,
    without_agent,
)

COLOURS = {
    EMPTY: "white",
    START: "lightskyblue",
    BLOCK: "dimgray",
    GOLD: "gold",
    HAZARD: "tomato",
    LEVER: "mediumpurple",
    EXIT: "limegreen",
}
NAMES = {
    START: "start",
    BLOCK: "block",
    GOLD: "gold",
    HAZARD: "hazard",
    LEVER: "lever",
    EXIT: "exit",
}
INCHES_A_CELL = 0.35


def roll_out(
    rules: GridRules, start: Grid, q_table: NDArray[np.floating]
) -> tuple[Grid, NDArray[np.int8]]:
    """Follow the greedy policy of a Q-table until the episode ends.

    Args:
        rules: of the world.
        start: int8 (height, width), the first grid that the agent sees.
        q_table: float (height * width, n_moves); of equal values the first action counts.

    Returns:
        The grids that the agent sees, int8 (T+1, height, width), and its actions, int8 (T,).
    """
    grid, cell = without_agent(start)
    seen, actions = [start], list[int]()
    while len(actions) < rules.step_limit:
        action = int(q_table[cell[0] * rules.width + cell[1]].argmax())
        cell = rules.destination(grid, cell, action)
        covered = grid[cell]
        if covered in (GOLD, LEVER):
            grid[cell] = EMPTY
        shown = grid.copy()
        shown[cell] = AGENT
        seen.append(shown)
        actions.append(action)
        if covered in (EXIT, HAZARD):
            break
    return np.stack(seen), np.array(actions, dtype=np.int8)


def draw_route(path: Path, start: Grid, routes: list[Grid], title: str) -> None:
    """Draw a grid and walks on it, the last one thick.

    Args:
        path: where the picture goes, a PNG.
        start: int8 (height, width), the first grid.
        routes: int8 (T+1, height, width) each, the grids of an episode.
        title: above the picture.
    """
    from matplotlib.figure import Figure  # without pyplot: no window, no global state

    grid, _ = without_agent(start)
    height, width = grid.shape
    size = (max(4.0, INCHES_A_CELL * width + 1.5), max(3.0, INCHES_A_CELL * height + 0.6))
    figure = Figure(figsize=size, layout="constrained")
    axes = figure.subplots()
    axes.set(title=title, xticks=range(width), yticks=range(height), aspect="equal")
    axes.tick_params(labelsize=6)
    _draw_cells(axes, grid)
    for route in routes:
        cells = np.argwhere(route == AGENT)[:, 1:]
        thick = route is routes[-1]
        style: dict[str, Any] = {"color": "black" if thick else "gray", "marker": "o", "ms": 3}
        axes.plot(cells[:, 1], cells[:, 0], lw=2.5 if thick else 1.0, alpha=0.8, **style)
    with atomic_write(path) as file:
        figure.savefig(file, format="png", dpi=120)


def _draw_cells(axes: Any, grid: Grid) -> None:
    """Colour the cells by what they hold, with a legend of what there is."""
    from matplotlib.colors import to_rgb
    from matplotlib.patches import Patch

    image = np.ones((*grid.shape, 3))
    for value, colour in COLOURS.items():
        image[grid == value] = to_rgb(colour)
    axes.imshow(image)
    shown = [Patch(color=COLOURS[v], label=name) for v, name in NAMES.items() if (grid == v).any()]
    axes.legend(handles=shown, loc="upper left", bbox_to_anchor=(1.0, 1.0), fontsize=7)
