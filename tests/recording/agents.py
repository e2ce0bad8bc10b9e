"""Agents of Stable-Baselines3 and its contrib package, with random weights, as it saves them."""

import io
import zipfile

import gymnasium
import numpy as np
import sb3_contrib
import stable_baselines3
import torch
from gymnasium import spaces

OBSERVATIONS = spaces.Box(-3, 3, (5,))
BOX = spaces.Box(np.float32([-2, -1]), np.float32([1, 3]))
FOUR = spaces.Discrete(4)
SMALL = {"buffer_size": 10}
ALGORITHMS = {
    "a2c": stable_baselines3.A2C,
    "ppo": stable_baselines3.PPO,
    "dqn": stable_baselines3.DQN,
    "sac": stable_baselines3.SAC,
    "ddpg": stable_baselines3.DDPG,
    "td3": stable_baselines3.TD3,
    "trpo": sb3_contrib.TRPO,
    "ars": sb3_contrib.ARS,
    "qrdqn": sb3_contrib.QRDQN,
    "tqc": sb3_contrib.TQC,
}
# What is saved: algorithm, observations, actions, policy_kwargs and other arguments.
AGENTS = {
    "a2c": ("a2c", OBSERVATIONS, FOUR, {}, {}),
    "a2c of numbers": ("a2c", OBSERVATIONS, BOX, {}, {}),
    "a2c with gSDE": ("a2c", OBSERVATIONS, BOX, {"log_std_init": -2}, {"use_sde": True}),
    "ppo": ("ppo", OBSERVATIONS, BOX, {"activation_fn": torch.nn.ReLU, "net_arch": [7, 9]}, {}),
    "ppo, squashed": ("ppo", OBSERVATIONS, BOX, {"squash_output": True}, {"use_sde": True}),
    "ppo of several choices": ("ppo", OBSERVATIONS, spaces.MultiDiscrete([3, 2, 4]), {}, {}),
    "ppo of bits": ("ppo", OBSERVATIONS, spaces.MultiBinary(3), {}, {}),
    "ppo of states": ("ppo", spaces.Discrete(12), FOUR, {}, {}),
    "ppo of tuples": ("ppo", spaces.MultiDiscrete([3, 5]), FOUR, {}, {}),
    "ppo without layers": ("ppo", OBSERVATIONS, FOUR, {"net_arch": []}, {}),
    "ppo of a matrix": ("ppo", spaces.Box(-1, 1, (3, 4)), FOUR, {}, {}),
    "ppo of many numbers": ("ppo", spaces.Box(-1, 1, (2000,)), FOUR, {"net_arch": [4]}, {}),
    "trpo": ("trpo", OBSERVATIONS, FOUR, {"activation_fn": torch.nn.ELU}, {}),
    "ars": ("ars", OBSERVATIONS, FOUR, {"net_arch": [16]}, {}),
    "ars of numbers": ("ars", OBSERVATIONS, BOX, {}, {}),
    "ars, not squashed": ("ars", OBSERVATIONS, BOX, {"squash_output": False}, {}),
    "ars, linear": ("ars", OBSERVATIONS, BOX, {}, {"policy": "LinearPolicy"}),
    "dqn": ("dqn", OBSERVATIONS, FOUR, {"activation_fn": torch.nn.LeakyReLU}, SMALL),
    "dqn of states": ("dqn", spaces.Discrete(12), FOUR, {}, SMALL),
    "qrdqn": ("qrdqn", OBSERVATIONS, FOUR, {"n_quantiles": 7}, SMALL),
    "sac": ("sac", OBSERVATIONS, BOX, {}, SMALL),
    "sac with gSDE": ("sac", OBSERVATIONS, BOX, {"clip_mean": 1.5}, SMALL | {"use_sde": True}),
    "sac, no limit": ("sac", OBSERVATIONS, BOX, {"clip_mean": 0.0}, SMALL | {"use_sde": True}),
    "ddpg": ("ddpg", OBSERVATIONS, BOX, {}, SMALL),
    "td3": ("td3", OBSERVATIONS, BOX, {"activation_fn": torch.nn.SiLU}, SMALL),
    "tqc": ("tqc", OBSERVATIONS, BOX, {"net_arch": [8, 6], "n_critics": 3}, SMALL),
    "tqc with gSDE": ("tqc", OBSERVATIONS, BOX, {}, SMALL | {"use_sde": True}),
}


class World(gymnasium.Env):
    """An environment that has spaces and nothing else."""

    def __init__(self, observations, actions):
        self.observation_space, self.action_space = observations, actions

    def reset(self, *, seed=None, options=None):
        super().reset(seed=seed)
        return self.observation_space.sample(), {}

    def step(self, action):
        return self.observation_space.sample(), 0.0, True, False, {}


def make_agent(name):
    """Make an agent whose weights are large enough for its actions to differ."""
    algorithm, observations, actions, policy_kwargs, others = AGENTS[name]
    others = dict(others)
    policy = others.pop("policy", "MlpPolicy")
    agent = ALGORITHMS[algorithm](
        policy, World(observations, actions), policy_kwargs=policy_kwargs, seed=0, **others
    )
    generator = torch.Generator().manual_seed(1)
    with torch.no_grad():
        for parameter in agent.policy.parameters():
            n_inputs = parameter.shape[1] if parameter.ndim > 1 else 10_000
            parameter.normal_(0, 2.5 / n_inputs**0.5, generator=generator)
    return agent


def rewrite(path, **members):
    """Replace members of a zip archive; the name's last dot is written as two underscores."""
    members = {name.replace("__", "."): content for name, content in members.items()}
    with zipfile.ZipFile(path) as archive:
        old = {name: archive.read(name) for name in archive.namelist()}
    with zipfile.ZipFile(path, "w") as archive:
        for name, content in {**old, **members}.items():
            archive.writestr(name, content)


def in_the_old_format(path):
    """Write an agent's tensors as torch did before 1.6."""
    with zipfile.ZipFile(path) as archive:
        tensors = torch.load(io.BytesIO(archive.read("policy.pth")), weights_only=True)
    content = io.BytesIO()
    torch.save(tensors, content, _use_new_zipfile_serialization=False)
    rewrite(path, policy__pth=content.getvalue())
