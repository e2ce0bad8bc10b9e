"""A search the published way, to compare with: copy, index, loop over dictionaries."""

from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    from faiss_utils.policy_database import PolicyDatabase

PUBLISHED_THRESHOLD = 0.5  # cosine


def list_metadata(database: "PolicyDatabase") -> list[dict[str, Any]]:
    """Make a dictionary a policy, with the place of its vector in the index."""
    columns = database.columns
    text = np.searchsorted(database.text_objective, columns["objective"])
    targets = [objective.target for objective in database.objectives]
    names = ("snapshot_percent", "regressor_score", "energy", "reward")
    fields = (columns[name].tolist() for name in ("objective", "seed", *names))
    return [
        {"policy_target": targets[o], "policy_seed": database.seeds[s], "vector": v}
        | dict(zip(names, rest, strict=True))
        for o, s, *rest, v in zip(*fields, text.tolist(), strict=True)
    ]


def search_published(
    all_vectors: Any,
    metadata: list[dict[str, Any]],
    vector: NDArray[np.float32],
    seed: str,
) -> dict[str, Any] | None:
    """Find the best policy of a seed: filter, copy, search, loop."""
    import faiss

    of_seed = [i for i, entry in enumerate(metadata) if entry["policy_seed"] == seed]
    vectors = np.stack([all_vectors.reconstruct(metadata[i]["vector"]) for i in of_seed])
    index = faiss.IndexFlatIP(vectors.shape[1])
    index.add(vectors)
    similarities, found = index.search(vector[np.newaxis], len(of_seed))
    best = None
    for similarity, position in zip(similarities[0], found[0], strict=True):
        entry = metadata[of_seed[position]]
        if similarity > PUBLISHED_THRESHOLD and (
            best is None or entry["regressor_score"] > best["regressor_score"]
        ):
            best = {**entry, "cosine_similarity": float(similarity)}
    return best
