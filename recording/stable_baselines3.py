"""Agents that Stable-Baselines3 or its contrib package saved, of any version since 1.0.

A saved agent is a zip archive. Its member `data` is JSON: what the library itself would unpickle
stands there as text as well. `policy.pth` holds the tensors, whose names and shapes tell the
layers. Nothing is unpickled, and the library that wrote it is not needed.
"""

import json
import re
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from library.errors import UnusableRecording
from recording.agent_spaces import AgentSpace, read_space
from recording.archives import Archive
from recording.tensors import read_tensors
from worlds.policy import Head, NetworkPolicy

MAX_JSON = 16 * 2**20  # bytes; a last observation of many environments is the largest entry
MEAN_LIMIT = 2.0  # the default of clip_mean of the library's actors with gSDE

LIBRARIES = ("stable_baselines3.", "sb3_contrib.")
FLATTEN = "FlattenExtractor"  # the default, which has no numbers of its own

Tensors = dict[str, NDArray[Any]]


@dataclass(frozen=True)
class Agent:
    """A trained agent.

    Attributes:
        policy: what it does.
        algorithm: one of a2c, ppo, trpo, ars, dqn, qrdqn, sac, ddpg, td3, tqc.
        training_steps: how many steps it was trained; None where the file doesn't say.
        planned_steps: how many the whole training was to have.
        observations: what it sees.
        actions: what it does.
    """

    policy: NetworkPolicy
    algorithm: str
    training_steps: int | None
    planned_steps: int | None
    observations: AgentSpace
    actions: AgentSpace


def is_agent(path: Path) -> bool:
    """Tell whether a file is an archive with an agent's members."""
    try:
        return {"data", "policy.pth"} <= set(Archive(path, path.name).names)
    except UnusableRecording:
        return False


def read_agent(path: Path) -> Agent:
    """Read a saved agent; how its observations were normalised is kept in a file of its own.

    Raises:
        UnusableRecording: it is damaged, or its policy is no perceptron for vector observations.
    """
    archive = Archive(path, path.name)
    data = _read_data(archive)
    observations = read_space(data.get("observation_space"), "observation")
    actions = read_space(data.get("action_space"), "action")
    if len(observations.shape) > 1 and "int" in observations.dtype:
        raise UnusableRecording(f"its observations are images {observations.shape}")
    _refuse_foreign_classes(data)
    tensors = read_tensors(archive.read("policy.pth"), "policy.pth", _is_of_the_actor)
    algorithm = _algorithm(data, tensors)
    policy = LAYOUTS[algorithm](tensors, data, actions)
    policy = replace(policy, categories=observations.sizes)
    _check_inputs(policy, observations)
    steps, planned = _whole(data.get("num_timesteps")), _whole(data.get("_total_timesteps"))
    return Agent(policy, algorithm, steps, planned, observations, actions)


def _read_data(archive: Archive) -> dict[str, Any]:
    try:
        data = json.loads(archive.read("data", MAX_JSON))
    except (ValueError, RecursionError):
        raise UnusableRecording(f"{archive.name}: its data is no JSON") from None
    if not isinstance(data, dict):
        raise UnusableRecording(f"{archive.name}: its data is no JSON object")
    return data


def _refuse_foreign_classes(data: dict[str, Any]) -> None:
    """Refuse policies whose code is their author's own: tensors don't tell what it does."""
    policy = data.get("policy_class")
    module = str(policy.get("__module__", LIBRARIES[0])) if isinstance(policy, dict) else ""
    if "maskable" in module:
        raise UnusableRecording("it acts under masks, which only its author's environment gives")
    if module and not module.startswith(LIBRARIES):
        raise UnusableRecording(f"its policy is of a class of its author's own, in {module[:50]}")
    extractor = str(_option(data, "features_extractor_class", FLATTEN))
    if FLATTEN not in extractor:
        raise UnusableRecording(f"its network begins with {extractor[:80]}")


def _is_of_the_actor(name: str) -> bool:
    """Tell whether a tensor can have a part in acting."""
    return not name.startswith(("critic", "value_net", "vf_", "actor_target", "q_net_target"))


def _algorithm(data: dict[str, Any], tensors: Tensors) -> str:
    """Tell the algorithm by what only it saves, or refuse the kind of network by name."""
    names = " ".join(tensors)
    for sign, reason in REFUSED.items():
        if re.search(sign, names):
            raise UnusableRecording(reason)
    if "q_net.q_net." in names:
        return "dqn"
    if "quantile_net." in names:
        return "qrdqn"
    if "actor.mu." in names:
        return _off_policy(data, names)
    if "action_net." not in names:
        raise UnusableRecording("its tensors are of no algorithm that is known")
    for algorithm, sign in SIGNS.items():
        if sign in data:
            return algorithm
    return "a2c"


def _off_policy(data: dict[str, Any], names: str) -> str:
    if "actor.log_std" not in names and "actor.latent_pi" not in names:
        tricks = data.get("policy_delay"), data.get("target_noise_clip")
        return "ddpg" if tricks == (1, 0.0) else "td3"  # saved alike but for TD3's tricks
    return "tqc" if "top_quantiles_to_drop_per_net" in data else "sac"


def _act_on_policy(tensors: Tensors, data: dict[str, Any], actions: AgentSpace) -> NetworkPolicy:
    """Build the actor of a2c, ppo and trpo, and of old versions' shared layers before it."""
    hidden = [
        *_chain(tensors, "mlp_extractor.shared_net"),
        *_chain(tensors, "mlp_extractor.policy_net"),
    ]
    layers = [*hidden, _layer(tensors, "action_net")]
    squashed = _option(data, "squash_output", False)
    return _network(layers, data, "Tanh", _head(actions, squashed))


def _act_by_random_search(
    tensors: Tensors, data: dict[str, Any], actions: AgentSpace
) -> NetworkPolicy:
    """Build the actor of ars; a linear one has no bias and is not squashed."""
    linear = "action_net.weight" in tensors or "action_net.0.bias" not in tensors
    single = "action_net.weight" in tensors
    layers = [_layer(tensors, "action_net")] if single else _chain(tensors, "action_net")
    squashed = _option(data, "squash_output", not linear)
    return _network(layers, data, "ReLU", _head(actions, squashed))


def _act_by_values(tensors: Tensors, data: dict[str, Any], actions: AgentSpace) -> NetworkPolicy:
    """Build the network of dqn."""
    return _network(_chain(tensors, "q_net.q_net"), data, "ReLU", _head(actions, False))


def _act_by_quantiles(tensors: Tensors, data: dict[str, Any], actions: AgentSpace) -> NetworkPolicy:
    """Build the network of qrdqn: quantiles of each action's value."""
    head = replace(_head(actions, False), kind="quantiles")
    return _network(_chain(tensors, "quantile_net.quantile_net"), data, "ReLU", head)


def _act_squashed(tensors: Tensors, data: dict[str, Any], actions: AgentSpace) -> NetworkPolicy:
    """Build the actor of sac, ddpg, td3 and tqc, whose means are limited with gSDE."""
    head = _head(actions, True)
    if "actor.mu.weight" in tensors:
        mean = [_layer(tensors, "actor.mu")]
    else:
        mean = _chain(tensors, "actor.mu")
    if "actor.log_std" in tensors and "actor.mu.0.weight" in tensors:
        head = replace(head, limit=_number_option(data, "clip_mean", MEAN_LIMIT))
    return _network([*_chain(tensors, "actor.latent_pi"), *mean], data, "ReLU", head)


Layer = tuple[NDArray[np.float32], NDArray[np.float32]]  # weight and bias


def _network(
    layers: list[Layer], data: dict[str, Any], default_activation: str, head: Head
) -> NetworkPolicy:
    weights, biases = zip(*layers, strict=True) if layers else ((), ())
    return NetworkPolicy(weights, biases, _activation(data, default_activation), head)


def _chain(tensors: Tensors, prefix: str) -> list[Layer]:
    """List the layers `prefix.0`, `prefix.2` and so on, between which is one activation each.

    Raises:
        UnusableRecording: something else is between them.
    """
    pattern = re.compile(re.escape(prefix) + r"\.(\d{1,6})\.\w+")
    places = sorted({int(match[1]) for match in map(pattern.fullmatch, tensors) if match})
    if places != list(range(0, 2 * len(places), 2)):
        raise UnusableRecording(f"{prefix} has other layers than linear ones")
    return [_layer(tensors, f"{prefix}.{place}") for place in places]


def _layer(tensors: Tensors, prefix: str) -> Layer:
    weight = tensors.get(f"{prefix}.weight")
    if weight is None or weight.ndim != 2:
        raise UnusableRecording(f"{prefix} is no linear layer")
    bias = tensors.get(f"{prefix}.bias", np.zeros(len(weight)))
    return weight.astype(np.float32), bias.astype(np.float32)


def _head(actions: AgentSpace, squashed: bool) -> Head:
    """Choose how outputs become actions of a space."""
    if actions.kind == "Discrete":
        return Head("argmax", actions.sizes)
    if actions.kind == "MultiDiscrete":
        return Head("categories", actions.sizes)
    shape = np.array(actions.shape, np.int64)
    if actions.kind == "MultiBinary":
        return Head("bits", shape)
    if actions.low is None or actions.high is None:
        raise UnusableRecording("the file leaves out bounds of its actions")
    return Head("squash" if squashed else "clip", shape, actions.low, actions.high)


def _check_inputs(policy: NetworkPolicy, observations: AgentSpace) -> None:
    n_numbers = int(np.prod(observations.shape))
    if policy.n_inputs != n_numbers:
        raise UnusableRecording(
            f"its network takes {policy.n_inputs} numbers, its observations have {n_numbers}: "
            "something else is between them"
        )


def _option(data: dict[str, Any], name: str, default: Any) -> Any:
    """Look up what the policy was built with."""
    options = data.get("policy_kwargs")
    return options.get(name, default) if isinstance(options, dict) else default


def _number_option(data: dict[str, Any], name: str, default: float) -> float:
    value = _option(data, name, default)
    if not isinstance(value, int | float) or not value > 0:
        raise UnusableRecording(f"{name} is no number above 0")
    return float(value)


def _activation(data: dict[str, Any], default: str) -> str:
    """Read the activation function: "<class 'torch.nn.modules.activation.ReLU'>"."""
    text = str(_option(data, "activation_fn", default))
    match = re.fullmatch(r"<class 'torch\.nn\.modules\.\w+\.(\w+)'>", text)
    return match[1] if match else text


def _whole(value: Any) -> int | None:
    return int(value) if isinstance(value, int | float) and 0 <= value < 2**53 else None


REFUSED = {
    r"lstm|\bgru\b|\brnn\b": "it is recurrent: what it does depends on more than one observation",
    r"\bcnn\.|features_extractor\.extractors": "its network is for images or Dict observations",
    r"features_extractor\.": "its network begins with layers of the author's own",
    r"running_mean|running_var": "its network normalises batches",
}
SIGNS = {"ppo": "clip_range", "trpo": "cg_max_steps", "ars": "delta_std_schedule"}
LAYOUTS: dict[str, Callable[[Tensors, dict[str, Any], AgentSpace], NetworkPolicy]] = {
    "a2c": _act_on_policy,
    "ppo": _act_on_policy,
    "trpo": _act_on_policy,
    "ars": _act_by_random_search,
    "dqn": _act_by_values,
    "qrdqn": _act_by_quantiles,
    "sac": _act_squashed,
    "ddpg": _act_squashed,
    "td3": _act_squashed,
    "tqc": _act_squashed,
}
