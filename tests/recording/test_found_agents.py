"""Agents in rl-zoo's folders and in clones of hub repositories, with what stands beside them."""

import gymnasium
import numpy as np
import pytest

from library.parallel import HERE
from recording.objectives import Words
from recording.recorder import record_runs
from recording.snapshots import Settings
from recording.sources import find_runs
from worlds.policy import load_policy

pytestmark = pytest.mark.slow
agents = pytest.importorskip("tests.recording.agents")

ARGUMENTS = """\
!!python/object/apply:collections.OrderedDict
- - - algo
    - a2c
  - - env
    - {env}
  - - env_kwargs
    - {kwargs}
"""


def make_agent(env="CartPole-v1", algorithm="a2c", steps=0):
    agent = agents.ALGORITHMS[algorithm]("MlpPolicy", gymnasium.make(env), seed=steps)
    agent.num_timesteps = steps
    return agent


def find(folder):
    return find_runs(folder, None, Settings(n_episodes=1))


def write_zoo(folder, env="CartPole-v1", kwargs="null", normalize=""):
    (folder / env).mkdir(parents=True)
    (folder / env / "args.yml").write_text(ARGUMENTS.format(env=env, kwargs=kwargs))
    config = (
        f"!!python/object/apply:collections.OrderedDict\n- - - policy\n    - MlpPolicy\n{normalize}"
    )
    (folder / env / "config.yml").write_text(config)


def test_checkpoints_are_snapshots_of_one_run(tmp_path):
    folder = tmp_path / "a2c" / "CartPole-v1_1"
    write_zoo(folder, kwargs="{sutton_barto_reward: true}")
    for steps in (2_000, 10_000, 400):
        make_agent(steps=steps).save(folder / f"rl_model_{steps}_steps.zip")
    make_agent(steps=7_000).save(folder / "best_model.zip")
    make_agent(steps=10_000).save(folder / "CartPole-v1.zip")
    np.savez(folder / "evaluations.npz", results=np.zeros((3, 4)))
    (folder / "0.monitor.csv").write_text('#{"env_id": "CartPole-v1"}\nr,l,t\n1,2,3\n')
    (run,), (skipped,) = find(tmp_path)
    assert run.n_snapshots == 4
    assert run.environment.kwargs == {"sutton_barto_reward": True}
    assert "of the same 10,000 training steps" in skipped.reason
    assert record_runs([(tmp_path / "run", run)], HERE, Words()) == []
    assert len((tmp_path / "run" / "episode_rewards.csv").read_text().split()) == 5
    names = [p.name for p in sorted((tmp_path / "run" / "episodes").iterdir())]
    assert names == [f"episode_{n:06d}" for n in (400, 2_000, 7_000, 10_000)]


def test_agents_alone_are_runs_of_their_own(tmp_path):
    for name in ("ppo-CartPole-v1", "a2c_CartPole-v1_2", "CartPole-v0"):
        make_agent().save(tmp_path / f"{name}.zip")
    (tmp_path / "other.zip").write_bytes(b"PK")
    found, skipped = find(tmp_path)
    assert sorted(run.environment.id for run in found) == [
        "CartPole-v0",
        "CartPole-v1",
        "CartPole-v1",
    ]
    assert [s.reason for s in skipped] == ["it is no agent of Stable-Baselines3"]


def test_a_model_card_names_the_environment(tmp_path):
    make_agent("Acrobot-v1").save(tmp_path / "model.zip")
    assert "nothing says which environment" in find(tmp_path)[1][0].reason
    (tmp_path / "README.md").write_text(
        "---\nmodel-index:\n- name: A2C\n  results:\n  - dataset:\n      name: Acrobot-v1\n"
        "      type: Acrobot-v1\n---\n# A2C Agent playing Acrobot-v1\n"
    )
    assert find(tmp_path)[0][0].environment.id == "Acrobot-v1"


def test_an_agent_of_another_environment_is_refused(tmp_path):
    make_agent().save(tmp_path / "Acrobot-v1.zip")
    make_agent().save(tmp_path / "Taxi-v3.zip")
    make_agent("MountainCar-v0").save(tmp_path / "MountainCarContinuous-v0.zip")
    make_agent().save(tmp_path / "MyOwn-v3.zip")
    reasons = {s.origin.stem: s.reason for s in find(tmp_path)[1]}
    assert reasons["Acrobot-v1"] == "its observations are of size 4, those of Acrobot-v1 of 6"
    assert "of kind Box, those of Taxi-v4 Discrete" in reasons["Taxi-v3"]
    assert "actions are of kind Discrete" in reasons["MountainCarContinuous-v0"]
    assert "'MyOwn-v3' is no Gymnasium environment; give it with --env" in reasons["MyOwn-v3"]


def test_what_an_agent_is_comes_before_what_its_environment_is(tmp_path):
    from gymnasium import spaces

    camera = agents.World(spaces.Box(0, 255, (36, 36, 3), np.uint8), agents.FOUR)
    agents.ALGORITHMS["a2c"]("CnnPolicy", camera).save(tmp_path / "PongNoFrameskip-v4.zip")
    assert "its observations are images (3, 36, 36)" in find(tmp_path)[1][0].reason


def test_lost_normalisation_and_wrappers_are_refused(tmp_path):
    for name, option in {
        "lost": "  - - normalize\n    - true\n",
        "rewards": "  - - normalize\n    - \"{'norm_obs': False, 'norm_reward': True}\"\n",
        "wrapped": "  - - env_wrapper\n    - sb3_contrib.common.wrappers.TimeFeatureWrapper\n",
    }.items():
        write_zoo(tmp_path / name, normalize=option)
        make_agent().save(tmp_path / name / "CartPole-v1.zip")
    found, skipped = find(tmp_path)
    assert [run.origin.parent.name for run in found] == ["rewards"]
    reasons = {s.origin.parent.name: s.reason for s in skipped}
    assert "vecnormalize.pkl" in reasons["lost"]
    assert "TimeFeatureWrapper" in reasons["wrapped"]


def test_an_agent_of_numbered_states_becomes_a_table(tmp_path):
    lake = gymnasium.make("FrozenLake-v1")
    agent = agents.ALGORITHMS["dqn"]("MlpPolicy", lake, buffer_size=10)
    agent.save(tmp_path / "dqn-FrozenLake-v1.zip")
    (run,), _ = find(tmp_path)
    run.record(tmp_path / "run")
    policy = load_policy(next((tmp_path / "run" / "episodes").iterdir()))
    states = np.arange(16)
    expected, _ = agent.predict(states, deterministic=True)
    np.testing.assert_array_equal(policy.act(states), expected)
    assert policy.values.shape == (16, 4)
