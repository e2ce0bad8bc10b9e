"""Behaviour spaces: what weights are, and that near means alike."""

import numpy as np
import pytest

from pi2vec.behaviour import N_COMPONENTS, behaviour_vectors

RNG = np.random.default_rng(0)
ONE, OTHER = RNG.normal(size=(20, 3)), RNG.normal(size=(20, 4))


def distances(vectors):
    return np.linalg.norm(vectors[:, None] - vectors, axis=2)


@pytest.mark.parametrize("weights", [(1,), (1, 2, 3), (1, 0), (1, -1), (1, np.nan), ((1, 2),)])
def test_each_description_needs_a_positive_weight(weights):
    with pytest.raises(ValueError, match="a positive weight for each of 2"):
        behaviour_vectors(ONE, OTHER, weights=weights)


def test_there_must_be_a_description():
    for descriptions in ((), (ONE[0],), (ONE[None],), (ONE, OTHER[:-1])):
        with pytest.raises(ValueError, match="matrices of n rows"):
            behaviour_vectors(*descriptions)


def test_squared_distances_add_up_by_weight():
    squared = 3 * distances(behaviour_vectors(ONE)) ** 2 + distances(behaviour_vectors(OTHER)) ** 2
    both = behaviour_vectors(ONE, OTHER, weights=(3, 1))
    np.testing.assert_allclose(distances(both) ** 2, squared, rtol=1e-3, atol=1e-4)


def test_neither_units_nor_constant_columns_nor_order_matter():
    changed = np.hstack([1e3 * ONE + 7, np.full((20, 2), 3.0)])
    np.testing.assert_allclose(behaviour_vectors(changed), behaviour_vectors(ONE), atol=1e-4)
    order = np.roll(np.arange(20), 3)
    np.testing.assert_allclose(
        behaviour_vectors(ONE[order]), behaviour_vectors(ONE)[order], atol=1e-5
    )


@pytest.mark.parametrize(("n", "columns"), [(4, 3), (20, N_COMPONENTS), (2, 1)])
def test_there_are_at_most_ten_components_and_fewer_than_policies(n, columns):
    vectors = behaviour_vectors(RNG.normal(size=(n, 50)))
    assert vectors.shape == (n, columns) and (np.diff((vectors**2).sum(axis=0)) <= 1e-6).all()
