"""Finding policies that behave like one: the nearest in its world's space of behaviours."""

import faiss
import numpy as np
from numpy.typing import NDArray

from faiss_utils.policy_database import PolicyDatabase
from library.errors import LIST_POLICIES, REBUILD, LeverError, UnusableLibrary

CHUNK = 2**20  # policies that are in memory together


def find_alike(
    database: PolicyDatabase, name: str, top: int, seed: str | None = None
) -> list[tuple[int, float]]:
    """Find the policies of a policy's world that behave most like it.

    Args:
        database: the library.
        name: of the policy.
        top: how many to find.
        seed: only policies of this seed.

    Returns:
        Rows of the database and distances, 0 for the same behaviour, the nearest first; without
        the policy itself, fewer than `top` where there are no more.

    Raises:
        LeverError: there is no such policy, or its library knows no behaviours.
    """
    row = database.find(name)
    if row is None:
        raise LeverError(f"no policy is called {name!r}; the names of all:", LIST_POLICIES)
    world, place = database.place(row)
    if world.behaviours is None:
        raise LeverError(f"the library knows no behaviours of {world.name}", REBUILD)
    first = row - place
    seeds = None
    if seed is not None:
        seeds = database.columns["seed"][first : first + len(world.behaviours)]
        seeds = seeds == database.seed_code[seed]
    try:
        found = _search(world.behaviours, place, seeds, top)
    except ValueError:
        raise UnusableLibrary(f"behaviours of {world.name} are no numbers", REBUILD) from None
    return [(first + other, distance) for other, distance in found]


def _search(
    vectors: NDArray[np.float32], place: int, allowed: NDArray[np.bool_] | None, top: int
) -> list[tuple[int, float]]:
    """Search the allowed vectors, a part of them at a time, for those nearest to one of them.

    Raises:
        ValueError: a number is not finite.
    """
    query = np.ascontiguousarray(vectors[place : place + 1], np.float32)
    best: list[tuple[float, int]] = []
    for start in range(0, len(vectors), CHUNK):
        chunk = np.ascontiguousarray(vectors[start : start + CHUNK], np.float32)
        if not np.isfinite(chunk).all():
            raise ValueError("a number is not finite")
        rows = (
            np.arange(len(chunk))
            if allowed is None
            else np.flatnonzero(allowed[start : start + CHUNK])
        )
        rows = rows[rows != place - start]
        best = sorted(best + _nearest(query, chunk[rows], start + rows, top))[:top]
    return [(other, float(np.sqrt(max(squared, 0.0)))) for squared, other in best]


def _nearest(
    query: NDArray[np.float32], vectors: NDArray[np.float32], names: NDArray[np.int64], top: int
) -> list[tuple[float, int]]:
    """Find the nearest vectors: squared distances and names; all are alike without columns."""
    top = min(top, len(vectors))
    if not top or not vectors.shape[1]:
        return [(0.0, int(name)) for name in names[:top]]
    squared, found = faiss.knn(query, vectors, top)
    return [(float(d), int(names[i])) for d, i in zip(squared[0], found[0], strict=True)]
