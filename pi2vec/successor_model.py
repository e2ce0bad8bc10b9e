"""psi: the expected discounted sum of features from a state, fitted in closed form.

The successor features (Barreto et al. 2017, arXiv 1606.05312, eq. 3) of a recorded episode are

    psi_t = phi_t + gamma * psi_{t+1},    psi_T = phi_T + after.

`after` is the difference between the two ways to end. Terminated: nothing follows the exit,
after = 0. Truncated: where the world goes on, its rest follows, after = gamma * psi(s_{T+1}).
LEVER's episodes are cut by a step limit that belongs to the task, and the reward to be predicted
stops with them, so after = 0 here too. That psi then depends on the time left is no
contradiction, because phi holds the time (time-awareness, Pardo et al. 2018, arXiv 1712.00378).

The model is kernel ridge regression on these exact sums, least squares in its dual form:

    psi(phi) = k(phi, visited) (K + lambda I)^-1 psi_visited,
    k(phi, phi') = exp(-|scale * (phi - phi')|^2 / 2).

`scale` keeps what tells the states of an episode apart, where the agent is and when; the rest of
the grid would only make states of other grids look foreign. Least-squares TD (Bradtke & Barto
1996) solves a like system from one-step differences; with the whole episode on record the sums
themselves are at hand, and nothing chases its own estimate.
"""

from collections.abc import Sequence
from typing import Self

import torch
from torch import Tensor, nn
from torch.nn.utils.rnn import pad_sequence

from worlds.gridworld.features import FEATURE_NAMES

GAMMA = 0.999  # the reward to predict is undiscounted; 0.99 would weigh the 33rd step by 0.72
RIDGE = 1e-6
SCALES = {"agent_row": 10.0, "agent_column": 10.0, "elapsed": 10.0}  # 1 / length scale


class SuccessorModel(nn.Module):
    """psi as a function of phi, of one policy or of a stack of them.

    Attributes:
        visited: float32 ([policies,] n, m), the visited states in the m features that count,
            scaled.
        weights: float32 ([policies,] n, d); beyond the end of an episode in a stack they are 0.
        scale: float32 (d,), what features are multiplied by; those with 0 do not count.
    """

    visited: Tensor
    weights: Tensor
    scale: Tensor

    def __init__(self, visited: Tensor, weights: Tensor, scale: Tensor) -> None:
        """Wrap a solution; `fit` finds one, and `SuccessorModel(**state_dict)` loads one."""
        super().__init__()
        self.register_buffer("visited", visited)
        self.register_buffer("weights", weights)
        self.register_buffer("scale", scale)

    def forward(self, phi: Tensor) -> Tensor:
        """Predict psi.

        Args:
            phi: (n_states, d), the same states for every policy of a stack.

        Returns:
            float64 ([policies,] n_states, d).

        Raises:
            ValueError: phi has another shape.
        """
        if phi.ndim != 2 or phi.shape[1] != len(self.scale):
            raise ValueError(
                f"phi must have shape (n_states, {len(self.scale)}), not {tuple(phi.shape)}"
            )
        psi: Tensor = _kernel(_situation(phi, self.scale), self.visited.double()) @ (
            self.weights.double()
        )
        return psi

    @classmethod
    def fit(
        cls,
        episodes: Sequence[Tensor],
        gamma: float = GAMMA,
        ridge: float = RIDGE,
        scale: Tensor | None = None,
    ) -> Self:
        """Fit a stack of policies, each to the exact discounted sums of its episode.

        Args:
            episodes: phi (T+1, d) of each policy; T may differ.
            gamma: discount, 0 to 1.
            ridge: lambda, above 0.
            scale: (d,), by default that of `SCALES` for the columns of `FEATURE_NAMES`.
        """
        scale = default_scale() if scale is None else scale
        phi = pad_sequence([features.double() for features in episodes], batch_first=True)
        lengths = torch.tensor([len(features) for features in episodes])
        real = torch.arange(phi.shape[1]) < lengths[:, None]
        visited = _situation(phi, scale)
        # A padded row is alone with itself: it neither gets nor gives any weight.
        gram = _kernel(visited, visited) * (real[:, :, None] & real[:, None, :])
        gram += torch.diag_embed(torch.where(real, ridge, 1.0).double())
        weights = torch.linalg.solve(gram, discounted_sums(phi, gamma))
        return cls(visited.float(), weights.float(), scale.float())

    def unstack(self, lengths: Sequence[int]) -> list[Self]:
        """Split a stack into single policies, without the padding behind `lengths` states."""
        return [
            type(self)(visited[:n].clone(), weights[:n].clone(), self.scale)
            for visited, weights, n in zip(self.visited, self.weights, lengths, strict=True)
        ]


def discounted_sums(phi: Tensor, gamma: float, after: Tensor | None = None) -> Tensor:
    """Compute psi_t = sum over k >= 0 of gamma^k phi_{t+k}, from the last state backwards.

    Args:
        phi: (..., T+1, d); rows of zeros behind the end of a shorter episode change nothing.
        gamma: discount, 0 to 1.
        after: (..., d), the discounted sum of what follows the last row; nothing by default.

    Returns:
        (..., T+1, d).
    """
    psi = phi.clone()
    if after is not None:
        psi[..., -1, :] += after
    for t in range(phi.shape[-2] - 2, -1, -1):
        psi[..., t, :] += gamma * psi[..., t + 1, :]
    return psi


def relative_errors(model: SuccessorModel, episodes: Sequence[Tensor], gamma: float) -> Tensor:
    """Compare psi with the exact sums on the visited states, policy by policy of a stack.

    Returns:
        float64 (policies,): root of (summed squared error / summed squared exact sums).
    """
    errors = []
    for i, phi in enumerate(episodes):
        exact = discounted_sums(phi.double(), gamma)
        error = model(phi)[i] - exact
        errors.append((error.square().sum() / exact.square().sum()).sqrt())
    return torch.stack(errors)


def default_scale() -> Tensor:
    """Lay `SCALES` out over the features: float32 (d,)."""
    return torch.tensor([SCALES.get(name, 0.0) for name in FEATURE_NAMES])


def _situation(phi: Tensor, scale: Tensor) -> Tensor:
    """Pick and scale the features that count: float64 (..., m)."""
    counts = scale > 0
    return phi[..., counts].double() * scale[counts].double()


def _kernel(first: Tensor, second: Tensor) -> Tensor:
    """Compute exp(-|x - y|^2 / 2) of states (..., a, m) and (..., b, m): (..., a, b)."""
    return torch.exp(-0.5 * torch.cdist(first, second).square())
