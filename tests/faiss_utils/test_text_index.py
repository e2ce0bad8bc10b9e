"""The index over texts: exact where that is quick, nearly exact where it is not."""

from itertools import pairwise

import faiss
import numpy as np
import pytest

from faiss_utils.text_index import MAX_FLAT_TEXTS, build_index
from library.errors import LeverError
from tests.faiss_utils.test_setup_faiss_vdb import unit_vectors


def clustered_vectors(n, rng, dimension=64):
    """Draw unit vectors that lie together in groups, as the texts of a library do."""
    vectors = rng.normal(size=(n // 20, dimension))[rng.integers(0, n // 20, n)]
    vectors += 0.7 * rng.normal(size=vectors.shape)
    return (vectors / np.linalg.norm(vectors, axis=1, keepdims=True)).astype(np.float32)


@pytest.mark.parametrize("factory", [None, "IVF64,Flat", "HNSW32,Flat"])
def test_an_approximate_index_finds_nearly_what_brute_force_finds(factory):
    vectors = clustered_vectors(MAX_FLAT_TEXTS + 1_000, np.random.default_rng(0))
    queries = clustered_vectors(len(vectors), np.random.default_rng(0))[:200] + 0.02
    queries /= np.linalg.norm(queries, axis=1, keepdims=True)
    index = build_index(vectors, factory)
    assert not isinstance(index, faiss.IndexFlat)
    cosines = queries @ vectors.T
    similarities, texts = index.search(queries, 1)
    assert (texts[:, 0] == cosines.argmax(axis=1)).mean() >= 0.98
    np.testing.assert_allclose(
        similarities[:, 0], cosines[np.arange(len(queries)), texts[:, 0]], atol=1e-5
    )
    limits, _, found = index.range_search(queries, 0.6)
    wanted = [set(np.flatnonzero(row > 0.6).tolist()) for row in cosines]
    parts = [set(found[a:b].tolist()) for a, b in pairwise(limits.tolist())]
    assert all(part <= full for part, full in zip(parts, wanted, strict=True))
    assert sum(map(len, parts)) >= 0.95 * sum(map(len, wanted)) > 0


@pytest.mark.parametrize("factory", [None, "IVF64,Flat", "HNSW32,Flat"])
def test_the_same_vectors_give_the_same_index(factory):
    vectors = clustered_vectors(MAX_FLAT_TEXTS + 1_000, np.random.default_rng(0))
    first, second = (faiss.serialize_index(build_index(vectors, factory)) for _ in range(2))
    np.testing.assert_array_equal(first, second)


def test_a_library_of_a_few_texts_is_searched_exactly():
    vectors = clustered_vectors(MAX_FLAT_TEXTS, np.random.default_rng(0))
    assert isinstance(build_index(vectors), faiss.IndexFlat)


@pytest.mark.parametrize("factory", ["Nonsense", "IVF4096,Flat", "LSH"])
def test_an_index_that_cannot_serve_is_refused_by_name(factory):
    with pytest.raises(LeverError, match=factory):
        build_index(unit_vectors(50, np.random.default_rng(0)), factory)
