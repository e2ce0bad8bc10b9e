"""Agents act as Stable-Baselines3's own do; what can't be read is refused with a reason."""

import dataclasses
import json
import subprocess
import sys
import zipfile

import numpy as np
import pytest

from library.errors import UnusableRecording
from library.workspace import HOME
from recording.rl_zoo import read_normalisation
from recording.stable_baselines3 import read_agent
from worlds.policy import NetworkPolicy, load_policy

pytestmark = pytest.mark.slow
agents = pytest.importorskip("tests.recording.agents")  # Stable-Baselines3 takes seconds to import

N_OBSERVATIONS = 1_000


def draw_observations(space):
    space.seed(0)
    return np.stack([space.sample() for _ in range(N_OBSERVATIONS)])


@pytest.fixture(scope="module")
def saved(tmp_path_factory):
    """Make and save an agent by its name, once."""
    folder, made = tmp_path_factory.mktemp("agents"), {}

    def save(name):
        if name not in made:
            made[name] = agents.make_agent(name)
            made[name].save(folder / f"{name}.zip")
        return made[name], folder / f"{name}.zip"

    return save


@pytest.mark.parametrize("name", agents.AGENTS)
def test_actions_equal_those_of_the_library(name, saved, tmp_path):
    original, path = saved(name)
    agent = read_agent(path)
    assert agent.algorithm == agents.AGENTS[name][0]
    observations = draw_observations(original.observation_space)
    expected, _ = original.predict(observations, deterministic=True)
    assert len(np.unique(expected, axis=0)) > 1
    agent.policy.save(tmp_path / "policy.npz")
    for policy in (agent.policy, load_policy(tmp_path)):
        actions = policy.act(observations)
        assert actions.shape == expected.shape
        np.testing.assert_allclose(actions, expected, atol=1e-4)


@pytest.mark.parametrize("name", ["sac", "ppo", "ars, linear"])
def test_tensors_of_old_versions_of_torch_are_the_same(name, saved, tmp_path):
    _, path = saved(name)
    new = read_agent(path).policy
    old_path = tmp_path / "old.zip"
    old_path.write_bytes(path.read_bytes())
    agents.in_the_old_format(old_path)
    old = read_agent(old_path).policy
    for a, b in zip(new.weights + new.biases, old.weights + old.biases, strict=True):
        np.testing.assert_array_equal(a, b)


def test_observations_are_normalised_as_in_training(tmp_path):
    from stable_baselines3.common.vec_env import DummyVecEnv, VecNormalize

    world = DummyVecEnv([lambda: agents.World(agents.OBSERVATIONS, agents.FOUR)])
    wrapper = VecNormalize(world, clip_obs=1.5)
    wrapper.reset()
    for _ in range(50):
        wrapper.step([0])
    wrapper.save(tmp_path / "vecnormalize.pkl")
    normalisation = read_normalisation(tmp_path / "vecnormalize.pkl")
    observations = draw_observations(agents.OBSERVATIONS)
    expected = wrapper.normalize_obs(observations)
    np.testing.assert_allclose(normalisation(observations), expected, atol=1e-6)
    original = agents.make_agent("ppo")
    original.save(tmp_path / "ppo.zip")
    raw = read_agent(tmp_path / "ppo.zip").policy
    policy = dataclasses.replace(raw, normalisation=normalisation)
    actions, _ = original.predict(expected, deterministic=True)
    np.testing.assert_allclose(policy.act(observations), actions, atol=1e-4)


def test_training_steps_are_read(tmp_path):
    agent = agents.make_agent("a2c")
    agent.num_timesteps, agent._total_timesteps = 1_234, 5_000
    agent.save(tmp_path / "a.zip")
    read = read_agent(tmp_path / "a.zip")
    assert (read.training_steps, read.planned_steps) == (1_234, 5_000)


def refused(saved, tmp_path, **members):
    _, path = saved("ppo")
    (tmp_path / "agent.zip").write_bytes(path.read_bytes())
    agents.rewrite(tmp_path / "agent.zip", **members)
    with pytest.raises(UnusableRecording) as error:
        read_agent(tmp_path / "agent.zip")
    assert "\n" not in str(error.value)
    return str(error.value)


def changed_data(saved, **changes):
    with zipfile.ZipFile(saved("ppo")[1]) as archive:
        return json.dumps(json.loads(archive.read("data")) | changes)


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"observation_space": {":type:": "<class 'gymnasium.spaces.dict.Dict'>"}}, "kind Dict"),
        ({"observation_space": None}, "kind unknown"),
        (
            {
                "observation_space": {
                    ":type:": "<class 'gymnasium.spaces.box.Box'>",
                    "dtype": "uint8",
                    "_shape": [84, 84, 3],
                    "low": "0",
                    "high": "255",
                }
            },
            "images",
        ),
        ({"policy_kwargs": {"activation_fn": "<class '__main__.Mine'>"}}, "Mine"),
        ({"policy_class": {"__module__": "__main__"}}, "author's own"),
        ({"policy_class": {"__module__": "sb3_contrib.common.maskable.policies"}}, "masks"),
        ({"policy_kwargs": {"features_extractor_class": "<class '__main__.Scale'>"}}, "Scale"),
        ({"policy_kwargs": {":type:": "x", "activation_fn": "functools.partial(...)"}}, "partial"),
    ],
)
def test_what_is_no_vector_policy_is_refused_with_the_reason(changes, reason, saved, tmp_path):
    assert reason in refused(saved, tmp_path, data=changed_data(saved, **changes))


def test_a_recurrent_and_an_image_policy_are_refused(tmp_path):
    import sb3_contrib
    import stable_baselines3
    from gymnasium import spaces

    world = agents.World(agents.OBSERVATIONS, agents.FOUR)
    sb3_contrib.RecurrentPPO("MlpLstmPolicy", world).save(tmp_path / "lstm.zip")
    with pytest.raises(UnusableRecording, match="recurrent"):
        read_agent(tmp_path / "lstm.zip")
    camera = agents.World(spaces.Box(0, 255, (36, 36, 3), np.uint8), agents.FOUR)
    stable_baselines3.A2C("CnnPolicy", camera).save(tmp_path / "cnn.zip")
    with pytest.raises(UnusableRecording, match="images"):
        read_agent(tmp_path / "cnn.zip")
    parts = agents.World(spaces.Dict({"a": agents.OBSERVATIONS}), agents.FOUR)
    stable_baselines3.A2C("MultiInputPolicy", parts).save(tmp_path / "dict.zip")
    with pytest.raises(UnusableRecording, match="Dict"):
        read_agent(tmp_path / "dict.zip")


def test_reading_needs_neither_torch_nor_the_library(saved):
    """In a process of its own: what is imported, and that it takes milliseconds."""
    program = (
        "import sys, time; from pathlib import Path; "
        "from recording.stable_baselines3 import read_agent; path = Path(sys.argv[1]); "
        "read_agent(path); start = time.process_time(); n = 10; "
        "[read_agent(path) for _ in range(n)]; print((time.process_time() - start) / n); "
        "sys.exit(not {'torch', 'stable_baselines3', 'gymnasium'}.isdisjoint(sys.modules))"
    )
    result = subprocess.run(
        [sys.executable, "-c", program, saved("tqc")[1]],
        cwd=HOME,
        capture_output=True,
        text=True,
        check=False,
    )
    assert result.returncode == 0, result.stderr
    assert float(result.stdout) < 0.01


def test_a_policy_is_what_its_numbers_say():
    """A network by hand: two inputs, one hidden unit of tanh, two actions."""
    from worlds.policy import Head

    policy = NetworkPolicy(
        (np.float32([[1, -1]]), np.float32([[2], [-2]])),
        (np.float32([0.5]), np.float32([0, 0.1])),
        "Tanh",
        Head("argmax", np.array([2])),
    )
    # tanh(1 - 0 + 0.5) > 0: the first action; tanh(0 - 1 + 0.5) < 0: the second
    np.testing.assert_array_equal(policy.act(np.float32([[1, 0], [0, 1]])), [0, 1])
