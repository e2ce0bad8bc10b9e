"""Tables in every form come back as they were; what fits no environment is refused by name."""

import collections
import csv
import json
import os
import pickle

import numpy as np
import pytest

from library.errors import UnusableRecording
from recording.environments import find_environment, known, make_environment
from recording.q_tables import fit_table
from recording.states import states_of
from recording.table_files import is_prose, read_table

WORLDS = {  # the states' sizes, the number of actions
    "Taxi-v3": ((500,), 6),
    "CliffWalking-v0": ((48,), 4),
    "MiniGrid-Empty-5x5-v0": ((5, 5, 4), 7),
    "Blackjack-v1": ((32, 11, 2), 2),
    "FrozenLake-v1": ((16,), 4),
}


def write_csv(path, rows):
    with open(path, "w", newline="") as file:
        csv.writer(file).writerows(rows)


def states_in(values, sizes):
    """Name the states of a table as the environment does: numbers, or tuples."""
    if len(sizes) == 1:
        return list(range(len(values)))
    return [tuple(map(int, np.unravel_index(i, sizes))) for i in range(len(values))]


def pairs(values, states):
    return {(s, a): x for s, row in zip(states, values, strict=True) for a, x in enumerate(row)}


def dump(path, content, protocol=4, old_numpy=False):
    stream = pickle.dumps(content, protocol=protocol)
    path.write_bytes(stream.replace(b"numpy._core", b"numpy.core") if old_numpy else stream)


def write_state_actions(path, values, states):
    rows = [(s, a, values[i, a]) for i, s in enumerate(states) for a in range(values.shape[1])]
    write_csv(path, [("state", "action", "q_value"), *rows])


FORMS = {  # each writes `values` below a folder: (folder, values, states) -> the file's name
    "array.npy": lambda p, v, s: np.save(p, v),
    "dictionary.npy": lambda p, v, s: np.save(p, dict(zip(s, v, strict=True)), allow_pickle=True),
    "arrays.npz": lambda p, v, s: np.savez(p, q_table=v, rewards=np.zeros(3)),
    "single.npz": lambda p, v, s: np.savez_compressed(p, v),
    "array.pkl": lambda p, v, s: dump(p, v),
    "old names.pkl": lambda p, v, s: dump(p, v, protocol=3, old_numpy=True),
    "text.pkl": lambda p, v, s: dump(p, v, protocol=0),
    "buffers.pkl": lambda p, v, s: dump(p, v, protocol=5),
    "fortran.pkl": lambda p, v, s: dump(p, np.asfortranarray(v)),
    "big end.pkl": lambda p, v, s: dump(p, v.astype(">f8")),
    "lists.pkl": lambda p, v, s: dump(p, v.tolist()),
    "course.pkl": lambda p, v, s: dump(p, {"env_id": "X-v0", "max_steps": 99, "qtable": v}),
    "dictionary.pkl": lambda p, v, s: dump(p, dict(zip(s, v, strict=True))),
    "ordered.pkl": lambda p, v, s: dump(p, collections.OrderedDict(zip(s, v, strict=True)), 2),
    "default.pkl": lambda p, v, s: dump(p, collections.defaultdict(float, pairs(v, s))),
    "nested.pkl": lambda p, v, s: dump(
        p,
        collections.defaultdict(
            dict, {k: dict(enumerate(map(np.float64, r))) for k, r in zip(s, v, strict=True)}
        ),
    ),
    "numpy keys.pkl": lambda p, v, s: dump(
        p,
        {
            tuple(map(np.int64, k)) if isinstance(k, tuple) else np.int64(k): r
            for k, r in zip(s, v, strict=True)
        },
    ),
    "lists.json": lambda p, v, s: p.write_text(json.dumps(v.tolist())),
    "named.json": lambda p, v, s: p.write_text(json.dumps({"q_table": v.tolist(), "steps": 3})),
    "dictionary.json": lambda p, v, s: p.write_text(
        json.dumps({str(k): r.tolist() for k, r in zip(s, v, strict=True)})
    ),
    "nested.json": lambda p, v, s: p.write_text(
        json.dumps({str(k): dict(enumerate(r.tolist())) for k, r in zip(s, v, strict=True)})
    ),
    "pairs.json": lambda p, v, s: p.write_text(
        json.dumps({str(key): x for key, x in pairs(v.tolist(), s).items()})
    ),
    "matrix.csv": lambda p, v, s: np.savetxt(p, v, delimiter=","),
    "columns.csv": lambda p, v, s: write_csv(p, [range(v.shape[1]), *v.tolist()]),
    "states.csv": lambda p, v, s: write_csv(
        p, [["state", *(f"action_{a}" for a in range(v.shape[1]))]]
        + [[k, *r] for k, r in zip(s, v.tolist(), strict=True)],
    ),
    "index.csv": lambda p, v, s: write_csv(
        p, [["", *range(v.shape[1])]] + [[k, *r] for k, r in zip(s, v.tolist(), strict=True)]
    ),
    "entries.csv": lambda p, v, s: write_state_actions(p, v, s),
    "matrix.txt": lambda p, v, s: np.savetxt(p, v, header="a column an action"),
    "commas.txt": lambda p, v, s: np.savetxt(p, v, delimiter=", "),
}  # fmt: skip


def fit(path, name="FrozenLake-v1"):
    environment = find_environment(name)
    env = make_environment(environment)
    actions = getattr(known(environment.id), "actions", ())
    table = read_table(path)
    return fit_table(table, states_of(env), int(env.action_space.n), actions, environment.id)


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("name", WORLDS)
def test_a_table_comes_back_as_it_was(form, name, tmp_path):
    sizes, n_actions = WORLDS[name]
    values = np.random.default_rng(0).normal(size=(np.prod(sizes), n_actions))
    FORMS[form](tmp_path / form, values, states_in(values, sizes))
    np.testing.assert_allclose(fit(tmp_path / form, name).values, values, rtol=1e-12)


def test_named_actions_find_their_columns(tmp_path):
    """FrozenLake's order is left, down, right, up."""
    table = {str(s): {"up": 3, "RIGHT": 2, "South": 1, "left": 0} for s in range(16)}
    (tmp_path / "t.json").write_text(json.dumps(table | {"metadata": {"N": 4}}))
    np.testing.assert_array_equal(fit(tmp_path / "t.json").values, [[0, 1, 2, 3]] * 16)


def test_the_axes_of_an_array_are_the_parts_of_a_state(tmp_path):
    values = np.random.default_rng(0).normal(size=(32, 11, 2, 2))
    np.save(tmp_path / "t.npy", values)
    policy = fit(tmp_path / "t.npy", "Blackjack-v1")
    np.testing.assert_array_equal(policy.values.reshape(values.shape), values)
    np.save(tmp_path / "t.npy", values.transpose(1, 0, 2, 3))
    with pytest.raises(UnusableRecording, match="11 x 32 x 2 states is not Blackjack-v1's 704"):
        fit(tmp_path / "t.npy", "Blackjack-v1")


def test_the_axes_of_an_array_may_be_what_the_environment_numbers(tmp_path):
    values = np.random.default_rng(0).normal(size=(500, 6))
    np.save(tmp_path / "t.npy", values.reshape(5, 5, 5, 4, 6))
    np.testing.assert_array_equal(fit(tmp_path / "t.npy", "Taxi-v4").values, values)
    np.save(tmp_path / "t.npy", values[:16, :4].reshape(4, 4, 4))
    np.testing.assert_array_equal(fit(tmp_path / "t.npy").values, values[:16, :4])
    np.save(tmp_path / "t.npy", values[:16, :4].reshape(2, 8, 4))
    with pytest.raises(UnusableRecording, match=r"the state \(0, 4\) is unknown in FrozenLake-v1"):
        fit(tmp_path / "t.npy")


@pytest.mark.parametrize("value", [-1.0, -1e300, 0.0, 2.0])
def test_actions_that_a_table_does_not_name_are_never_the_best(value, tmp_path):
    dump(tmp_path / "t.pkl", {s: {"down": value, "right": value} for s in range(15)})
    chosen = fit(tmp_path / "t.pkl").values.argmax(axis=1)
    assert set(chosen[:15]) == {1} and chosen[15] == 0
    np.save(tmp_path / "t.npy", np.zeros((16, 2)))
    with pytest.raises(UnusableRecording, match="a table of 2 actions is not FrozenLake-v1's 4"):
        fit(tmp_path / "t.npy")


def test_a_text_without_numbers_is_no_table(tmp_path):
    for name, text in {
        "prose.txt": "Trained for 3 days.\n",
        "empty.txt": "",
        "numbers.txt": "# of actions\n1 2\n3 4\n",
        "prose.csv": "a,b\n",
        "bytes.txt": "\udcff",
    }.items():
        (tmp_path / name).write_bytes(text.encode(errors="surrogateescape"))
    (tmp_path / "endless.txt").write_text("word " * 100_000)
    os.mkfifo(tmp_path / "pipe.txt")
    named = sorted(path.name for path in tmp_path.iterdir() if not is_prose(path))
    assert named == ["numbers.txt", "pipe.txt", "prose.csv"]
    with pytest.raises(UnusableRecording, match="is no file"):
        fit(tmp_path / "pipe.txt")
    (tmp_path / "ragged.txt").write_text("1 2\n3\n")
    with pytest.raises(UnusableRecording, match="no Q-table"):
        fit(tmp_path / "ragged.txt")


def test_an_environment_numbers_tuples_in_its_own_way(tmp_path):
    taxi = make_environment(find_environment("Taxi-v4")).unwrapped
    dump(tmp_path / "t.pkl", {(2, 3, 1, 0): np.arange(6.0)})
    assert fit(tmp_path / "t.pkl", "Taxi-v4").values[taxi.encode(2, 3, 1, 0)].sum() == 15
    dump(tmp_path / "t.pkl", {(3, 2): np.arange(4.0)})
    assert fit(tmp_path / "t.pkl", "FrozenLake-v1").values[14].sum() == 6


def test_what_a_wrapper_shows_of_a_minigrid_counts(tmp_path, monkeypatch):
    (tmp_path / "wrapped_grids.py").write_text(
        "import gymnasium, minigrid\n"
        "class Places(gymnasium.ObservationWrapper):\n"
        "    def __init__(self, env):\n"
        "        super().__init__(env)\n"
        "        self.observation_space = gymnasium.spaces.Discrete(25)\n"
        "    def observation(self, _):\n"
        "        x, y = self.unwrapped.agent_pos\n"
        "        return int(5 * y + x)\n"
        "gymnasium.register('Places-v0', lambda **kwargs: Places(\n"
        "    gymnasium.make('MiniGrid-Empty-5x5-v0', **kwargs)))\n"
    )
    monkeypatch.syspath_prepend(tmp_path)
    env = make_environment(find_environment("wrapped_grids:Places-v0", trusted=True))
    states = states_of(env)
    assert states.n_states == 25
    assert states.index(states.observe(env.reset(seed=0)[0])) == 6


def test_states_that_training_never_met_are_zero(tmp_path):
    dump(tmp_path / "t.pkl", {5: np.ones(4), 15: np.ones(4), 0: np.ones(4)})
    values = fit(tmp_path / "t.pkl").values
    np.testing.assert_array_equal(np.flatnonzero(values.any(axis=1)), [0, 5, 15])


@pytest.mark.parametrize(
    ("content", "name", "reason"),
    [
        (np.zeros((1080, 6)), "Taxi-v3", "a table of 1,080 states is not Taxi-v4's 500"),
        (np.zeros((500, 5)), "Taxi-v3", "a table of 5 actions is not Taxi-v4's 6"),
        (np.zeros((16, 4)), "Taxi-v3", "a table of 16 states is not Taxi-v4's 500"),
        ({i: [0.0] * 6 for i in range(100)}, "Taxi-v3", "a table of 100 states is not Taxi-v4's"),
        (
            {99: [0.0] * 4},
            "FrozenLake-v1",
            r"the state 99 is unknown in .*: its states are 0 to 15",
        ),
        ({(1, 2, 3): [0.0] * 4}, "FrozenLake-v1", r"the state \(1, 2, 3\) is unknown"),
        ({(40, 0, 0): [0.0] * 2}, "Blackjack-v1", r"\(40, 0, 0\) is unknown .* \(0 to 31, 0 to 10"),
        ({"start": [0.0] * 4}, "FrozenLake-v1", "the state 'start' is no whole number"),
        ({5: {"a": 1, "b": 1, "jump": 1, "up": 1}}, "FrozenLake-v1", "the action 'a' is unknown"),
        ({5: {0: 1, 1: 1, 2: 1, 9: 1}}, "FrozenLake-v1", "the action '9' is unknown"),
        ({5: {0: 1, "left": 1, 2: 1, 1: 1}}, "FrozenLake-v1", "two columns .* same action"),
        ({0: [0.0] * 4, "0": [0.0] * 4, 7: [1.0] * 4}, "FrozenLake-v1", "two rows .* same state"),
        (np.zeros((16, 4)), "CartPole-v1", "kind Box, not whole numbers"),
        (np.zeros(16), "FrozenLake-v1", "no Q-table"),
        (np.full((16, 4), np.nan), "FrozenLake-v1", "no numbers"),
        ({}, "FrozenLake-v1", "the dictionary is empty"),
        ("text", "FrozenLake-v1", "no Q-table"),
        ([[1, 2], [3]], "FrozenLake-v1", "no Q-table"),
        ({0: {0: "x"}}, "FrozenLake-v1", "is no number"),
    ],
)
def test_what_does_not_fit_is_named(content, name, reason, tmp_path):
    dump(tmp_path / "t.pkl", content)
    with pytest.raises(UnusableRecording, match=reason):
        fit(tmp_path / "t.pkl", name)


def test_bare_numbers_are_no_archive(tmp_path):
    (tmp_path / "t.npz").write_bytes(np.zeros((72, 4)).tobytes())
    with pytest.raises(UnusableRecording, match=r"t\.npz is no archive"):
        fit(tmp_path / "t.npz")


def test_the_course_says_which_environment_a_table_is_for(tmp_path):
    content = {"env_id": "FrozenLake-v1", "map_name": "4x4", "slippery": False, "epsilon": 1.0}
    dump(tmp_path / "t.pkl", content | {"qtable": np.zeros((16, 4)), "n_training_episodes": 9})
    table = read_table(tmp_path / "t.pkl")
    assert (table.environment, table.training_episodes) == ("FrozenLake-v1", 9)
    assert table.options == {"map_name": "4x4", "is_slippery": False}
