"""Finding policies that behave like one: the nearest in its world's space of behaviours."""

import faiss
import numpy as np

from faiss_utils.policy_database import PolicyDatabase
from library.errors import LIST_POLICIES, REBUILD, LeverError, UnusableLibrary


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
        raise UnusableLibrary(f"the library knows no behaviours of {world.name}", REBUILD)
    vectors = np.ascontiguousarray(world.behaviours, np.float32)
    if not np.isfinite(vectors).all():
        raise UnusableLibrary(f"behaviours of {world.name} are no numbers", REBUILD)
    first = row - place
    allowed = np.arange(len(vectors)) != place
    if seed is not None:
        code = database.columns["seed"][first : first + len(vectors)]
        allowed &= code == database.seed_code[seed]
    return _search(vectors, place, np.flatnonzero(allowed), first, top)


def _search(
    vectors: "np.ndarray[tuple[int, int], np.dtype[np.float32]]",
    place: int,
    allowed: "np.ndarray[tuple[int], np.dtype[np.int64]]",
    first: int,
    top: int,
) -> list[tuple[int, float]]:
    """Search the allowed vectors; where all policies behave alike there are no columns."""
    top = min(top, len(allowed))
    if not top or not vectors.shape[1]:
        return [(first + int(other), 0.0) for other in allowed[:top]]
    index = faiss.IndexFlatL2(vectors.shape[1])
    index.add(vectors[allowed])
    squared, found = index.search(vectors[place : place + 1], top)
    distances = np.sqrt(np.maximum(squared[0], 0.0))
    return [(first + int(allowed[i]), float(d)) for i, d in zip(found[0], distances, strict=True)]
