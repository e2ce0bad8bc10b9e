"""The Faiss index over the distinct texts of the objectives: made, and read without a copy."""

from pathlib import Path

import faiss
import numpy as np
from numpy.typing import NDArray

from faiss_utils.text_encoder import are_unit_vectors
from library.errors import REBUILD, LeverError, UnusableLibrary

# Ten pieces of a query among 100,000 generated texts (benchmarks/benchmark_search.py): 70 ms flat,
# 3.6 ms with sqrt(n) inverted lists of which 5% are probed; of 200 queries all found the same
# nearest text, and all texts within the margin. HNSW32 among 10,000 was slower and missed 1%.
MAX_FLAT_TEXTS = 5_000  # 2 ms for ten pieces; up to here search is exact
PROBED_SHARE = 0.05  # of the inverted lists
HNSW_BREADTH = 64  # Faiss's own 16 misses more


def build_index(vectors: NDArray[np.float32], factory: str | None = None) -> faiss.Index:
    """Index unit vectors by inner product; the same vectors give the same index.

    Args:
        vectors: float32 (n, dimension).
        factory: a Faiss index factory string, for instance `HNSW32,Flat`. None for exact search
            up to `MAX_FLAT_TEXTS` vectors and inverted lists above. Whatever is not flat misses
            some neighbours, and what compresses vectors reports approximate cosines.

    Raises:
        ValueError: a vector is not of unit length.
        LeverError: Faiss can't make such an index of these vectors, or it can't be searched by
            similarity.
    """
    check_unit_vectors(vectors)
    n_lists = round(np.sqrt(len(vectors)))
    factory = factory or ("Flat" if len(vectors) <= MAX_FLAT_TEXTS else f"IVF{n_lists},Flat")
    try:
        index = faiss.index_factory(vectors.shape[1], factory, faiss.METRIC_INNER_PRODUCT)
        index.train(vectors)
        index.add(vectors)
        _search_widely(index)
        index.range_search(vectors[:1], 1.0)
    except RuntimeError as error:
        reason = str(error).splitlines()[0]
        raise LeverError(
            f"Faiss can't serve {len(vectors)} texts with the index {factory!r} ({reason}); "
            "choose another, or none for a sensible one"
        ) from None
    return index


def _search_widely(index: faiss.Index) -> None:
    """Set how much of an approximate index a search visits; it is saved with the index."""
    inverted = faiss.try_extract_index_ivf(index)
    if inverted is not None:
        inverted.nprobe = max(1, round(PROBED_SHARE * inverted.nlist))
    if isinstance(index, faiss.IndexHNSW):
        index.hnsw.efSearch = HNSW_BREADTH


def read_index(path: Path) -> faiss.Index:
    """Read an index; its vectors stay on disk until they are needed.

    Raises:
        UnusableLibrary: Faiss can't read it.
    """
    # Not IO_FLAG_MMAP_IFC: in Faiss 1.15 it crashes where a file ends within a number.
    try:
        content = np.memmap(path, np.uint8, mode="r")  # pages are read when needed
        reader = faiss.ZeroCopyIOReader(faiss.swig_ptr(content), content.size)  # type: ignore[attr-defined]
        index: faiss.Index = faiss.read_index(reader)
    except (RuntimeError, ValueError) as error:
        reason = str(error).splitlines()[0]
        raise UnusableLibrary(f"{path} can't be read ({reason})", REBUILD) from None
    index.referenced_objects = [content]  # type: ignore[attr-defined]  # it lies in these pages
    return index


def check_unit_vectors(vectors: NDArray[np.float32]) -> None:
    """Refuse vectors whose inner product is no cosine (zero, NaN, not normalised).

    Args:
        vectors: float32 (n, dimension).

    Raises:
        ValueError: a length is not 1.
    """
    if not are_unit_vectors(vectors):
        lengths = np.linalg.norm(vectors, axis=1)
        raise ValueError(
            f"vectors must have length 1; found lengths {lengths.min()} to {lengths.max()}"
        )
