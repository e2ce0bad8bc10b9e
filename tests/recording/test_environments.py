"""Names of environments: today's, retired ones, the user's own, and none at all."""

import sys

import gymnasium
import pytest

from library.errors import UnusableRecording
from recording.environments import find_environment, known, make_environment, plain_options


@pytest.mark.parametrize(
    ("name", "found"),
    [
        ("Taxi-v3", "Taxi-v4"),
        ("CliffWalking-v0", "CliffWalking-v1"),
        ("LunarLander-v2", "LunarLander-v3"),
        ("LunarLanderContinuous-v2", "LunarLanderContinuous-v3"),
        ("Pendulum-v0", "Pendulum-v1"),
        ("BipedalWalker-v2", "BipedalWalker-v3"),
        ("Hopper-v3", "Hopper-v5"),
        ("HalfCheetah-v2", "HalfCheetah-v5"),
    ],
)
def test_a_retired_environment_gets_its_successor_and_a_line(name, found):
    environment = find_environment(name)
    assert environment.id == found
    assert environment.notes == (f"{name} is retired: its successor {found} is used",)


@pytest.mark.parametrize("name", ["CartPole-v1", "CartPole-v0", "FrozenLake-v1", "taxi-v4"])
def test_what_can_be_made_is_taken_as_it_is(name):
    environment = find_environment(name)
    assert environment.id.lower() == name.lower()
    assert not environment.notes


def test_hub_names_tell_the_map():
    environment = find_environment("FrozenLake-v1-8x8-noSlippery")
    assert environment.kwargs == {"map_name": "8x8", "is_slippery": False}
    assert make_environment(environment).observation_space.n == 64
    assert find_environment("CartPole-v1_1").kwargs == {}


def test_arguments_are_part_of_the_name():
    environment = find_environment("FrozenLake-v1", {"map_name": "4x4", "is_slippery": False})
    assert environment.name == "FrozenLake-v1-is_slippery-False-4x4"
    assert environment.world == "FrozenLake-v1(is_slippery=False,map_name=4x4)"
    maps = [find_environment("FrozenLake-v1", {"desc": ["S" + c * 90, "G" * 91]}) for c in "FH"]
    assert maps[0].world != maps[1].world
    assert len(maps[0].world) < 100


@pytest.mark.parametrize(
    ("name", "options"),
    [
        ("NoSuchWorld-v1", {}),
        ("my house", {}),
        ("", {}),
        ("../../etc-v1", {}),
        ("CartPole-v1", {"no_such_argument": 1}),
        ("GymV26Environment-v0", {"env_id": "os:Evil-v0"}),
    ],
)
def test_what_is_no_environment_is_refused_in_a_line(name, options):
    with pytest.raises(UnusableRecording) as error:
        find_environment(name, options)
    assert "\n" not in str(error.value)


def test_only_the_user_imports_a_module(tmp_path, monkeypatch):
    (tmp_path / "my_worlds_of_test.py").write_text(
        "import gymnasium\n"
        "gymnasium.register('Mine-v0', 'gymnasium.envs.classic_control:CartPoleEnv')\n"
    )
    monkeypatch.syspath_prepend(tmp_path)
    with pytest.raises(UnusableRecording, match="would import a module; give it with --env"):
        find_environment("my_worlds_of_test:Mine-v0")
    assert "my_worlds_of_test" not in sys.modules
    environment = find_environment("my_worlds_of_test:Mine-v0", trusted=True)
    assert isinstance(make_environment(environment), gymnasium.Env)
    assert environment.name == "Mine-v0"


@pytest.mark.parametrize(
    "options",
    [
        {"xml_file": "/etc/passwd"},
        {"entry_point": "os:system"},
        {"desc": [["S"], object()]},
        {"a b": 1},
        {1: 2},
        {"long": "x" * 2_000},
        ["list"],
    ],
)
def test_arguments_of_strangers_are_plain_values(options):
    with pytest.raises(UnusableRecording):
        plain_options(options)


def test_plain_arguments_stay():
    assert plain_options({"desc": ["SF", "FG"], "slip": 0.5, "render_mode": "human"}) == {
        "desc": ["SF", "FG"],
        "slip": 0.5,
    }
    assert plain_options(None) == {}


def test_every_well_known_environment_is_one():
    from recording import environments

    for name, entry in environments._read_well_known().items():
        versions = [s for s in gymnasium.registry.values() if (s.namespace, s.name) == (None, name)]
        assert versions, name
        if entry.actions:
            env = make_environment(find_environment(versions[-1].id))
            assert env.action_space.n == len(entry.actions)
    assert known("Taxi-v3").actions == known("my_module:Taxi-v9").actions
