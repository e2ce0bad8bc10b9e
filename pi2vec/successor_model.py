"""psi: the expected sum of features from a state on, fitted in closed form.

The successor features (Barreto et al. 2017, arXiv 1606.05312, eq. 3) of a recorded episode are

    psi_t = phi_t + gamma * psi_{t+1},    psi_T = phi_T + after.

`after` is the difference between the two ways to end. Terminated: nothing follows the last state,
after = 0. Truncated: where the world goes on, its rest follows, after = gamma * psi(s_{T+1}).
LEVER's episodes are cut by a step limit that belongs to the task, and the reward to be predicted
stops with them, so after = 0 here too. That psi then depends on the time left is no
contradiction, because phi holds the time (time-awareness, Pardo et al. 2018, arXiv 1712.00378).
The sums are finite without a discount, so gamma = 1: the reward to be predicted is undiscounted.

The model is kernel ridge regression on these exact sums, least squares in its dual form:

    psi(phi) = k(phi, centres) (K + lambda I)^-1 psi_centres,
    k(phi, phi') = exp(-|scale * (phi - phi')|^2 / 2).

The centres are the visited states; of a recording of more than `MAX_CENTRES` states evenly spaced
ones, the first of each episode among them. `scale` keeps what tells the states of an episode apart,
where the agent is and when; the rest would only make states of other episodes look foreign.
Least-squares TD (Bradtke & Barto 1996) solves a like system from one-step differences; with whole
episodes on record the sums themselves are at hand, and nothing chases its own estimate.
"""

from collections.abc import Sequence
from typing import Self

import torch
from torch import Tensor, nn
from torch.nn.utils.rnn import pad_sequence

GAMMA = 1.0
RIDGE = 1e-6
MAX_CENTRES = 512  # bounds the kernel matrix of a long recording to 2 MB


class SuccessorModel(nn.Module):  # type: ignore[misc]
    """psi as a function of phi, of one policy or of a stack of them.

    Attributes:
        visited: float32 ([policies,] n, m), the centres in the m features that count, scaled.
        weights: float32 ([policies,] n, d); of the padding in a stack they are 0.
        scale: float32 (d,), what features are multiplied by; those with 0 do not count.
    """

    visited: Tensor
    weights: Tensor
    scale: Tensor
    lengths: list[int]  # of a stack that was fitted: the centres of each policy

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
        recordings: Sequence[Sequence[Tensor]],
        scale: Tensor,
        gamma: float = GAMMA,
        ridge: float = RIDGE,
    ) -> Self:
        """Fit a stack of policies, each to the exact sums of its episodes.

        Args:
            recordings: of each policy the phi (T+1, d) of its episodes; T may differ.
            scale: (d,), what features are multiplied by; those with 0 do not count.
            gamma: discount, 0 to 1.
            ridge: lambda, above 0.
        """
        episodes = [features.double() for recording in recordings for features in recording]
        sums = discounted_sums(pad_sequence(episodes, batch_first=True), gamma)
        chosen = iter(zip(episodes, sums, strict=True))
        centres = [_choose_centres([next(chosen) for _ in r], scale) for r in recordings]
        states = pad_sequence([phi for phi, _ in centres], batch_first=True)
        targets = pad_sequence([psi for _, psi in centres], batch_first=True)
        lengths = torch.tensor([len(phi) for phi, _ in centres])
        real = torch.arange(states.shape[1]) < lengths[:, None]
        visited = _situation(states, scale)
        # A padded row is alone with itself: it neither gets nor gives any weight.
        gram = _kernel(visited, visited) * (real[:, :, None] & real[:, None, :])
        gram += torch.diag_embed(torch.where(real, ridge, 1.0).double())
        weights = torch.linalg.solve(gram, targets)
        stack = cls(visited.float(), weights.float(), scale.float())
        stack.lengths = lengths.tolist()
        return stack

    def unstack(self) -> list[Self]:
        """Split a stack that was fitted into single policies, without its padding."""
        return [
            type(self)(visited[:n].clone(), weights[:n].clone(), self.scale)
            for visited, weights, n in zip(self.visited, self.weights, self.lengths, strict=True)
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


def _choose_centres(
    episodes: Sequence[tuple[Tensor, Tensor]], scale: Tensor
) -> tuple[Tensor, Tensor]:
    """Choose the centres of one policy from phi and the sums, padded behind, of its episodes.

    Episodes that meet in a situation share a centre there, with the mean of their sums.

    Returns:
        Their phi and their sums, float64 (n, d) each.
    """
    step = -(-sum(len(phi) for phi, _ in episodes) // MAX_CENTRES)
    phi = torch.cat([phi[::step] for phi, _ in episodes])
    sums = torch.cat([sums[: len(phi) : step] for phi, sums in episodes])
    if len(episodes) == 1:
        return phi, sums
    distinct, where = torch.unique(_situation(phi, scale), dim=0, return_inverse=True)
    share = torch.nn.functional.one_hot(where, len(distinct)).double()
    share /= share.sum(dim=0)
    return share.T @ phi, share.T @ sums


def _situation(phi: Tensor, scale: Tensor) -> Tensor:
    """Pick and scale the features that count: float64 (..., m)."""
    counts = scale > 0
    return phi[..., counts].double() * scale[counts].double()


def _kernel(first: Tensor, second: Tensor) -> Tensor:
    """Compute exp(-|x - y|^2 / 2) of states (..., a, m) and (..., b, m): (..., a, b)."""
    return torch.exp(-0.5 * torch.cdist(first, second).square())
