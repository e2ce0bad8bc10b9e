"""Files of strangers that `recording/` reads: whole ones, damaged ones, ones with code inside."""

import base64
import json
import os
import pickle
import zipfile
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import torch

from library.errors import LeverError
from recording.environments import find_environment, make_environment, plain_options
from recording.q_tables import fit_table
from recording.rl_zoo import read_card, read_normalisation, read_options
from recording.stable_baselines3 import read_agent
from recording.states import states_of
from recording.table_files import READERS, read_table
from tests.recording.agents import OBSERVATIONS, World, in_the_old_format, make_agent, rewrite
from tests.recording.test_q_tables import FORMS
from tests.safety.damage import flipped, truncated

ACCEPTED = ("read", "one line")
HEADER = 300  # bytes
AGENTS = ("ppo", "sac with gSDE", "qrdqn", "ars, linear")
OPTIONS = """\
!!python/object/apply:collections.OrderedDict
- - - algo
    - ppo
  - - env
    - CartPole-v1
  - - env_kwargs
    - length: 1
"""


def write_whole_files(folder: Path) -> list[Path]:
    """Write agents, options, normalisations and tables that can be read."""
    folder.mkdir(parents=True, exist_ok=True)
    for name in AGENTS:
        make_agent(name).save(folder / f"{name}.zip")
    make_agent("sac").save(folder / "old.zip")
    in_the_old_format(folder / "old.zip")
    _write_normalisation(folder / "vecnormalize.pkl")
    (folder / "args.yml").write_text(OPTIONS)
    (folder / "README.md").write_text(
        "---\nmodel-index:\n- results:\n  - dataset: {name: Taxi}\n---"
    )
    values = np.random.default_rng(0).normal(size=(16, 4))
    for name, write in FORMS.items():
        write(folder / name, values, list(range(16)))
    return sorted(path for path in folder.iterdir() if path.is_file())


def read(path: Path) -> None:
    """Read a file as a recording does, by its name."""
    if path.suffix == ".zip":
        agent = read_agent(path)
        agent.policy.act(np.zeros((2, agent.policy.n_inputs)))
    elif path.name == "vecnormalize.pkl":
        read_normalisation(path)
    elif path.suffix == ".yml":
        options = read_options(path)
        find_environment(str(options.get("env")), plain_options(options.get("env_kwargs")))
    elif path.suffix == ".md":
        read_card(path.parent)
    elif path.suffix in READERS:
        lake = find_environment("FrozenLake-v1")
        fit_table(read_table(path), states_of(make_environment(lake)), 4, (), "FrozenLake-v1")


def judge(path: Path) -> tuple[str, str]:
    """Say what became of reading a file: read, one line, or how it failed."""
    try:
        read(path)
    except LeverError as error:
        said = str(error)
        return ("one line" if "\n" not in said and len(said) < 2_000 else "too long"), said
    except BaseException as error:  # a panic of a library's is none of Exception
        return f"traceback: {type(error).__name__}", str(error)
    return "read", ""


def damage_strangers(folder: Path, n: int, rng) -> Iterator[tuple[str, str, str, str]]:
    """Flip bits and cut files, and read each.

    Yields:
        What was done, the kind of file, the outcome, and what was said.
    """
    paths = write_whole_files(folder)
    for i in range(n):
        path = paths[i % len(paths)]
        size = path.stat().st_size
        near = min(HEADER, size) if rng.random() < 0.4 else size
        if rng.random() < 0.7:
            bit = rng.randrange(8 * near)
            done, damage = f"bit {bit} of {path}", flipped(path, bit)
        else:
            length = rng.choice([0, size - 1, rng.randrange(near)])
            done, damage = f"{length} bytes of {path}", truncated(path, length)
        with damage:
            yield done, path.name, *judge(path)
    yield from _damage_inside(paths, n, rng)


def _damage_inside(paths: list[Path], n: int, rng) -> Iterator[tuple[str, str, str, str]]:
    """Damage members of archives, whose checksums are made to match."""
    archives = [path for path in paths if path.suffix == ".zip"]
    for i in range(n):
        path = archives[i % len(archives)]
        whole = path.read_bytes()
        member = rng.choice(["data", "policy.pth"])
        with zipfile.ZipFile(path) as archive:
            content = bytearray(archive.read(member))
        near = min(HEADER * 10, len(content)) if rng.random() < 0.7 else len(content)
        bit = rng.randrange(8 * near)
        content[bit // 8] ^= 1 << bit % 8
        rewrite(path, **{member.replace(".", "__"): bytes(content)})
        yield f"bit {bit} of {member} in {path}", f"{path.name}: {member}", *judge(path)
        path.write_bytes(whole)


class Call:
    """Pickles as a call of a function."""

    def __init__(self, function, *arguments):
        self.reduced = (function, arguments)

    def __reduce__(self):
        return self.reduced


def payload(marker: Path) -> bytes:
    """Write a pickle that makes a file when it is obeyed."""
    return pickle.dumps(Call(os.system, f"touch {marker}"))


def hostile_agents(folder: Path, marker: Path) -> Iterator[tuple[str, Path]]:
    """Write agents with code in each of their fields."""
    folder.mkdir(parents=True, exist_ok=True)
    whole = folder / "whole.zip"
    make_agent("ppo").save(whole)
    with zipfile.ZipFile(whole) as archive:
        data = json.loads(archive.read("data"))
    code = base64.b64encode(payload(marker)).decode()
    spoilt = {":type:": "<class 'x'>", ":serialized:": code}
    for key in data:
        inside = {**data[key], ":serialized:": code} if isinstance(data[key], dict) else spoilt
        for how, value in (("inside", inside), ("instead", spoilt), ("code", code)):
            yield f"{key}, {how}", _spoilt(whole, data=json.dumps(data | {key: value}))
    torch.save({"weight": Call(os.system, f"touch {marker}")}, folder / "t.pth")
    zipped = (folder / "t.pth").read_bytes()
    torch.save([Call(os.system, f"touch {marker}")], folder / "t.pth", **OLD)
    sequence = (folder / "t.pth").read_bytes()
    for name, content in {"bare": payload(marker), "zip": zipped, "old": sequence}.items():
        for member in ("policy__pth", "pytorch_variables__pth", "policy.optimizer__pth"):
            yield f"{member}, {name}", _spoilt(whole, **{member: content})
    yield "data as a pickle", _spoilt(whole, data=payload(marker))
    outside = {"../../escaped": b"x", "/tmp/escaped": b"x", "data": json.dumps(data)}
    yield "names that lead outside", _spoilt(whole, **outside)


OLD = {"_use_new_zipfile_serialization": False}


def _spoilt(whole: Path, **members) -> Path:
    path = whole.with_name("spoilt.zip")
    path.write_bytes(whole.read_bytes())
    rewrite(path, **members)
    return path


def _write_normalisation(path: Path):
    from gymnasium import spaces
    from stable_baselines3.common.vec_env import DummyVecEnv, VecNormalize

    world = World(OBSERVATIONS, spaces.Discrete(4))
    wrapper = VecNormalize(DummyVecEnv([lambda: world]))
    wrapper.save(path)
    return wrapper


def hostile_normalisations(folder: Path, marker: Path) -> Iterator[tuple[str, Path]]:
    """Write normalisations with code in each of their fields."""
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / "vecnormalize.pkl"
    path.write_bytes(payload(marker))
    yield "the whole", path
    wrapper = _write_normalisation(path)
    for owner in (wrapper, wrapper.obs_rms):
        for name in list(vars(owner)):
            kept = getattr(owner, name)
            setattr(owner, name, Call(os.system, f"touch {marker}"))
            try:
                path.write_bytes(pickle.dumps(wrapper))
            except AttributeError:  # what it leaves out of its own pickle
                continue
            finally:
                setattr(owner, name, kept)
            yield f"{type(owner).__name__}.{name}", path


def hostile_options(folder: Path, marker: Path) -> Iterator[tuple[str, Path]]:
    """Write options with code by every tag that PyYAML knows for it."""
    folder.mkdir(parents=True, exist_ok=True)
    path, touch = folder / "args.yml", f"touch {marker}"
    texts = [
        f"!!python/object/apply:os.system ['{touch}']",
        f"!!python/object/new:os.system ['{touch}']",
        f"!!python/object/apply:subprocess.check_output [['touch', '{marker}']]",
        f"env: !!python/object/apply:os.system ['{touch}']",
        "env: !!python/name:os.system",
        "env: !!python/module:antigravity",
        "env: !!python/object:os.DirEntry {}",
        f"!!python/object/apply:collections.OrderedDict\n- - - env\n"
        f"    - !!python/object/apply:os.system ['{touch}']",
        "!!python/object/apply:collections.OrderedDict [1, 2]",
        "!!python/object/apply:collections.OrderedDict [[[{}, 1]]]",
        "env: os:system-v0",
        "env: CartPole-v1\nenv_kwargs: {entry_point: 'os:system'}",
        "a: &a [x, x]\n"
        + "\n".join(
            f"{chr(98 + i)}: &{chr(98 + i)} [*{chr(97 + i)}, *{chr(97 + i)}]" for i in range(20)
        ),
        "[" * 5_000,
        "env: " + "x" * 100_000,
    ]
    for text in texts:
        path.write_text(text)
        yield text[:60], path


def hostile_tables(folder: Path, marker: Path) -> Iterator[tuple[str, Path]]:
    """Write tables with code in them, and bombs."""
    from tests.safety.test_code_in_data import bombs, malicious_pickles

    folder.mkdir(parents=True, exist_ok=True)
    for name, content in {**malicious_pickles(marker), **bombs()}.items():
        (folder / "table.pkl").write_bytes(content)
        yield name, folder / "table.pkl"
    deep = b"\x80\x02}N" + b"\x85" * 10**6 + b"K\x01s."
    (folder / "table.pkl").write_bytes(deep)
    yield "a deep key", folder / "table.pkl"
    objects = np.array([Call(os.system, f"touch {marker}")], dtype=object)
    np.save(folder / "table.npy", objects, allow_pickle=True)
    yield "objects in .npy", folder / "table.npy"
    np.savez(folder / "table.npz", q_table=objects)
    yield "objects in .npz", folder / "table.npz"
    (folder / "table.json").write_text("[" * 100_000)
    yield "deep JSON", folder / "table.json"
    (folder / "table.json").write_text('{"0": {"0": 1e999, "1": 123456789' + "0" * 5_000 + "}}")
    yield "huge numbers in JSON", folder / "table.json"
    (folder / "table.csv").write_text("a,b\n" + "9" * 200_000 + ",1\n")
    yield "a huge cell", folder / "table.csv"
