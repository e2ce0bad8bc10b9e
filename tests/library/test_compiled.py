"""Compiled functions work where nothing can be kept."""

import numba
import pytest

from library.compiled import compiled


def double(number):
    return 2 * number


@pytest.mark.parametrize("refuses", [False, True])
def test_a_function_is_compiled_wherever_it_lies(monkeypatch, refuses):
    njit = numba.njit

    def without_place(*functions, cache=False):
        if cache:
            raise RuntimeError("cannot cache function: no locator available")
        return njit(*functions)

    if refuses:
        monkeypatch.setattr(numba, "njit", without_place)
    twice = compiled(double)
    assert twice(21) == 42 and twice.signatures
