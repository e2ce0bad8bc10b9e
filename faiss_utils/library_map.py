"""A picture of a library: its policies in two dimensions, a colour a target."""

from pathlib import Path
from typing import Any

import numpy as np

from faiss_utils.policy_database import PolicyDatabase
from library.files import atomic_write

MAX_PANELS, N_COLUMNS = 24, 4  # worlds; more would not be legible
MAX_LEGEND = 12  # targets
MAX_NAMED = 8  # policies of a world that are named; more names would cover one another


def draw_map(database: PolicyDatabase, path: Path) -> None:
    """Draw the behaviours of each world, a panel each, along their first two components.

    Large points are policies with a high predicted reward in their world.
    """
    from matplotlib.figure import Figure  # without pyplot: no window, no global state

    worlds = database.worlds[:MAX_PANELS]
    n_columns = min(N_COLUMNS, len(worlds))
    n_rows = -(-len(worlds) // n_columns)
    figure = Figure(figsize=(4.5 * n_columns, 4.0 * n_rows), layout="constrained")
    first = 0
    for number, world in enumerate(worlds, start=1):
        rows = np.arange(first, first + len(world.embeddings))
        _draw_world(figure.add_subplot(n_rows, n_columns, number), database, rows)
        first += len(rows)
    with atomic_write(path) as file:
        figure.savefig(file, format="png", dpi=110)


def _draw_world(axes: Any, database: PolicyDatabase, rows: "np.ndarray[Any, Any]") -> None:
    world, _ = database.place(int(rows[0]))
    vectors = np.zeros((len(rows), 2))
    if world.behaviours is not None:
        known = world.behaviours[:, :2]
        vectors[:, : known.shape[1]] = known
    scores = database.columns["regressor_score"][rows]
    spread = np.ptp(scores)
    sizes = 15.0 + 60.0 * ((scores - scores.min()) / spread if spread > 0 else 0.5)
    objectives = database.columns["objective"][rows]
    targets = np.unique(objectives)
    for target in targets:
        own = objectives == target
        label = database.objectives[target].target.replace("$", "")
        axes.scatter(
            *vectors[own].T, s=np.broadcast_to(sizes, own.shape)[own], alpha=0.6, label=label
        )
    axes.set(title=world.name.replace("$", ""), xticks=[], yticks=[])
    axes.margins(0.2)
    if len(rows) <= MAX_NAMED:
        _name_policies(axes, database, rows, vectors)
    if len(targets) <= MAX_LEGEND:
        axes.legend(fontsize=7)


def _name_policies(axes: Any, database: PolicyDatabase, rows: Any, vectors: Any) -> None:
    """Write below each point which policy it is, and what it is predicted to earn."""
    below = {"textcoords": "offset points", "xytext": (0, -8), "ha": "center", "va": "top"}
    for row, point in zip(rows, vectors, strict=True):
        policy = database.describe(int(row))
        text = f"{policy['policy_name']}\n{policy['regressor_score']:.4g}"
        axes.annotate(text.replace("$", ""), point, fontsize=6, **below)
