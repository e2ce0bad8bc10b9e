"""Policies in plain arrays: they act, deterministically, with numpy alone."""

import io
import itertools
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from library.arrays import parse_arrays, read_array, read_arrays
from library.errors import UnusableRecording
from library.files import atomic_write

NETWORK, TABLE = "policy.npz", "q_table.npy"  # a policy's file, by its kind
Floats = NDArray[np.float32]
LEAKY_SLOPE, SELU_ALPHA, SELU_SCALE = 0.01, 1.6732632423543772, 1.0507009873554805

# The activation functions of torch.nn, by their class names, with its default parameters.
ACTIVATIONS: dict[str, Callable[[Floats], Any]] = {
    "Identity": lambda x: x,
    "Tanh": np.tanh,
    "ReLU": lambda x: np.maximum(x, 0),
    "ReLU6": lambda x: np.clip(x, 0, 6),
    "LeakyReLU": lambda x: np.where(x > 0, x, LEAKY_SLOPE * x),
    "ELU": lambda x: np.where(x > 0, x, np.expm1(np.minimum(x, 0))),
    "SELU": lambda x: SELU_SCALE * np.where(x > 0, x, SELU_ALPHA * np.expm1(np.minimum(x, 0))),
    "Sigmoid": lambda x: _sigmoid(x),
    "SiLU": lambda x: x * _sigmoid(x),
    "Softplus": lambda x: np.logaddexp(x, 0),
    "Softsign": lambda x: x / (1 + np.abs(x)),
    "Hardtanh": lambda x: np.clip(x, -1, 1),
    "Mish": lambda x: x * np.tanh(np.logaddexp(x, 0)),
}
HEADS = ("argmax", "quantiles", "categories", "bits", "clip", "squash")


@dataclass(frozen=True)
class Normalisation:
    """What was taken off and divided out of observations in training.

    Attributes:
        mean: float64, one an input, or one for all.
        variance: likewise.
        epsilon: added to the variance.
        clip: the largest absolute value afterwards.
    """

    mean: NDArray[np.float64] = field(default_factory=lambda: np.zeros(1))
    variance: NDArray[np.float64] = field(default_factory=lambda: np.ones(1))
    epsilon: float = 0.0
    clip: float = np.inf

    def __call__(self, observations: NDArray[Any]) -> Floats:
        """Normalise observations (n, d)."""
        deviation = np.sqrt(self.variance + self.epsilon)
        return np.clip((observations - self.mean) / deviation, -self.clip, self.clip).astype("f4")


@dataclass(frozen=True)
class Head:
    """How the network's outputs (n, n_outputs) become actions.

    Attributes:
        kind: "argmax" of the outputs; "quantiles": argmax of their mean over n_quantiles values an
            action; "categories": an argmax for each of several choices; "bits": 1 where an output
            is positive; "clip" to the bounds; "squash" by tanh into the bounds.
        sizes: int64: the number of actions, or that of each choice; for continuous actions and
            bits the shape of an action.
        low: float32, the lowest action, of an action's shape or empty; only for continuous ones.
        high: likewise the highest.
        limit: outputs are clipped to it before anything else.
    """

    kind: str
    sizes: NDArray[np.int64]
    low: Floats = field(default_factory=lambda: np.zeros(0, np.float32))
    high: Floats = field(default_factory=lambda: np.zeros(0, np.float32))
    limit: float = np.inf

    @property
    def n_outputs(self) -> int:
        """The number of outputs that it takes; of quantiles any multiple is right."""
        return int(self.sizes.sum() if self.kind == "categories" else self.sizes.prod())

    def preferences(self, outputs: Floats) -> Any:
        """Compute one number an action (n, n_actions), of which the largest is chosen."""
        return outputs.reshape(len(outputs), -1, self.n_outputs).mean(axis=1)

    def __call__(self, outputs: Floats) -> Any:
        """Choose actions: int64 (n,) for argmax and quantiles, else (n, *shape of an action)."""
        outputs, n = np.clip(outputs, -self.limit, self.limit), len(outputs)
        if self.kind == "argmax":
            return outputs.argmax(axis=1)
        if self.kind == "quantiles":
            return self.preferences(outputs).argmax(axis=1)
        if self.kind == "categories":
            choices = np.split(outputs, np.cumsum(self.sizes)[:-1], axis=1)
            return np.stack([choice.argmax(axis=1) for choice in choices], axis=1)
        outputs = outputs.reshape(n, *self.sizes)
        if self.kind == "bits":
            return (outputs > 0).astype(np.int8)
        if self.kind == "clip":
            return np.clip(outputs, self.low, self.high)
        return self.low + 0.5 * (np.tanh(outputs) + 1) * (self.high - self.low)


@dataclass(frozen=True)
class NetworkPolicy:
    """A multilayer perceptron.

    Attributes:
        weights: one a layer, float32 (n_outputs, n_inputs).
        biases: one a layer, float32 (n_outputs,).
        activation: a key of `ACTIVATIONS`, applied after each layer but the last.
        head: how outputs become actions.
        normalisation: of the observations.
        categories: int64: observations are so many whole numbers, each below its category's size
            and one-hot encoded; empty: observations are numbers.
    """

    weights: tuple[Floats, ...]
    biases: tuple[Floats, ...]
    activation: str
    head: Head
    normalisation: Normalisation | None = None
    categories: NDArray[np.int64] = field(default_factory=lambda: np.zeros(0, np.int64))

    def __post_init__(self) -> None:
        """Hold the layers against one another.

        Raises:
            UnusableRecording: they don't fit, or something is unknown.
        """
        sizes = [weight.shape for weight in self.weights]
        if not sizes or any(len(size) != 2 for size in sizes):
            raise UnusableRecording("the network has no layers of weights")
        if [bias.shape for bias in self.biases] != [size[:1] for size in sizes]:
            raise UnusableRecording("the network's biases don't fit its weights")
        if any(a[0] != b[1] for a, b in itertools.pairwise(sizes)):
            raise UnusableRecording(f"the network's layers {sizes} don't fit one another"[:200])
        if self.activation not in ACTIVATIONS or self.head.kind not in HEADS:
            raise UnusableRecording(f"{self.activation!r} or {self.head.kind!r} is unknown"[:200])
        self._check_ends(sizes[0][1], sizes[-1][0])

    def _check_ends(self, n_inputs: int, n_outputs: int) -> None:
        """Hold the layers against observations and actions."""
        wanted, rest = self.head.n_outputs, 0
        if wanted > 0:
            rest = n_outputs % wanted if self.head.kind == "quantiles" else n_outputs - wanted
        if wanted < 1 or rest:
            raise UnusableRecording(f"{n_outputs} outputs don't fit actions of {wanted} numbers")
        if len(self.categories) and self.categories.sum() != n_inputs:
            raise UnusableRecording(f"{n_inputs} inputs don't fit the observations")
        if self.normalisation and self.normalisation.mean.size not in (1, n_inputs):
            raise UnusableRecording(f"{n_inputs} inputs don't fit the normalisation")

    @property
    def n_inputs(self) -> int:
        """How many numbers an observation has when flat, before one-hot encoding."""
        return len(self.categories) or self.weights[0].shape[1]

    def act(self, observations: NDArray[Any]) -> NDArray[Any]:
        """Choose the action for each observation, deterministically.

        Args:
            observations: numbers (n, ...), flattened to (n, n_inputs).

        Returns:
            int64 (n,) for one choice, (n, k) for several, else float32 (n, *shape of an action).
        """
        actions: NDArray[Any] = self.head(self.outputs(observations))
        return actions

    def outputs(self, observations: NDArray[Any]) -> Any:
        """Compute the network's outputs, float32 (n, n_outputs), before the head."""
        x = np.asarray(observations).reshape(len(observations), self.n_inputs)
        x = self.normalisation(x) if self.normalisation else x
        x = _one_hot(x, self.categories) if len(self.categories) else x.astype(np.float32)
        activate = ACTIVATIONS[self.activation]
        for weight, bias in zip(self.weights[:-1], self.biases[:-1], strict=True):
            x = activate(x @ weight.T + bias)
        return x @ self.weights[-1].T + self.biases[-1]

    def save(self, path: Path) -> None:
        """Write `policy.npz`: plain arrays only."""
        norm = self.normalisation or Normalisation()
        arrays: dict[str, Any] = {
            **{f"weight_{i}": weight for i, weight in enumerate(self.weights)},
            **{f"bias_{i}": bias for i, bias in enumerate(self.biases)},
            "activation": np.array(self.activation),
            "categories": self.categories,
            **{f"head_{name}": np.array(value) for name, value in vars(self.head).items()},
            **{f"normalisation_{name}": np.array(value) for name, value in vars(norm).items()},
            "normalised": np.array(self.normalisation is not None),
        }
        content = io.BytesIO()
        np.savez_compressed(content, **arrays)
        with atomic_write(path) as file:
            file.write(content.getvalue())


@dataclass(frozen=True)
class TablePolicy:
    """A Q-table: the action with the largest value, the first of equals.

    Attributes:
        values: float (n_states, n_actions).
    """

    values: NDArray[np.floating[Any]]

    def __post_init__(self) -> None:
        """Check the table.

        Raises:
            UnusableRecording: it is none.
        """
        if self.values.ndim != 2 or not self.values.size or self.values.dtype.kind != "f":
            raise UnusableRecording(f"an array {self.values.shape} is no Q-table")
        if not (np.isfinite(self.values) | np.isneginf(self.values)).all():  # -inf: forbidden
            raise UnusableRecording("the Q-table has values that are no numbers")

    def act(self, observations: NDArray[Any]) -> NDArray[np.int64]:
        """Choose the action in each state, int64 (n,) of 0 to n_states - 1."""
        states = np.asarray(observations).astype(np.int64).reshape(len(observations))
        actions: NDArray[np.int64] = self.values[states].argmax(axis=1)
        return actions

    def save(self, path: Path) -> None:
        """Write `q_table.npy`."""
        with atomic_write(path) as file:
            np.save(file, self.values, allow_pickle=False)


Policy = NetworkPolicy | TablePolicy


def file_name(policy: Policy) -> str:
    """Name the file that a policy is kept in."""
    return TABLE if isinstance(policy, TablePolicy) else NETWORK


def load_policy(folder: Path) -> Policy:
    """Read the policy that a folder holds, `q_table.npy` or `policy.npz`.

    Raises:
        UnusableRecording: it has none, or one that is damaged.
    """
    if (folder / TABLE).exists():
        return TablePolicy(read_array(folder / TABLE))
    return load_network(folder / NETWORK)


def load_network(file: Path | bytes) -> NetworkPolicy:
    """Read what `NetworkPolicy.save` wrote, a file or its content.

    Raises:
        UnusableRecording: it is missing or damaged.
    """
    arrays = read_arrays(file) if isinstance(file, Path) else parse_arrays(file, NETWORK)
    try:
        n_layers = sum(name.startswith("weight_") for name in arrays)
        head = Head(
            str(arrays["head_kind"]),
            arrays["head_sizes"],
            arrays["head_low"],
            arrays["head_high"],
            float(arrays["head_limit"]),
        )
        return NetworkPolicy(
            tuple(arrays[f"weight_{i}"] for i in range(n_layers)),
            tuple(arrays[f"bias_{i}"] for i in range(n_layers)),
            str(arrays["activation"]),
            head,
            _read_normalisation(arrays) if arrays["normalised"] else None,
            arrays["categories"],
        )
    except (KeyError, TypeError, ValueError) as error:
        name = file if isinstance(file, Path) else NETWORK
        raise UnusableRecording(f"{name} is no policy ({error})") from None


def _read_normalisation(arrays: dict[str, NDArray[Any]]) -> Normalisation:
    return Normalisation(
        arrays["normalisation_mean"],
        arrays["normalisation_variance"],
        float(arrays["normalisation_epsilon"]),
        float(arrays["normalisation_clip"]),
    )


def _sigmoid(x: Floats) -> Any:
    return np.exp(-np.logaddexp(-x, np.float32(0)))


def _one_hot(observations: NDArray[Any], sizes: NDArray[np.int64]) -> Floats:
    """Encode whole numbers (n, k) as (n, sum of sizes), a 1 for each."""
    places = observations.astype(np.int64) + np.cumsum(sizes) - sizes
    encoded = np.zeros((len(observations), int(sizes.sum())), np.float32)
    np.put_along_axis(encoded, places, 1, axis=1)
    return encoded
