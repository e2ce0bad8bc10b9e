"""Compiled functions, kept on disk from one run to the next where there is a place for them."""

from collections.abc import Callable
from typing import Any

import numba


def compiled(function: Callable[..., Any]) -> Any:
    """Compile a function when it is first called, a decorator."""
    try:
        return numba.njit(cache=True)(function)
    except RuntimeError:  # neither the folder of the code nor the user's can be written to
        return numba.njit(function)
