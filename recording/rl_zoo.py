"""What stands beside an agent: the options and the normalisation that rl-zoo saves, model cards."""

import json
import re
from pathlib import Path
from typing import Any

import numpy as np
import yaml
from numpy.typing import NDArray

from library.errors import UnusableRecording
from library.files import read_bounded
from recording.pickle_trees import Call, Named, items_of, read_tree
from recording.plain_data import build
from worlds.policy import Normalisation

MAX_TEXT = 2**20  # bytes of a YAML or text file
NORMALISATIONS = ("vecnormalize.pkl", "vec_normalize.pkl")
ORDERED = "tag:yaml.org,2002:python/object/apply:collections.OrderedDict"
TUPLE = "tag:yaml.org,2002:python/tuple"


class _OptionsLoader(yaml.SafeLoader):  # type: ignore[misc]
    """YAML of data only, with the two tags of Python's that rl-zoo's options have."""


def _ordered(loader: yaml.SafeLoader, node: yaml.Node) -> dict[Any, Any]:
    (pairs,) = loader.construct_sequence(node, deep=True)
    return dict(pairs)


def _tuple(loader: yaml.SafeLoader, node: yaml.Node) -> tuple[Any, ...]:
    return tuple(loader.construct_sequence(node, deep=True))


_OptionsLoader.add_constructor(ORDERED, _ordered)
_OptionsLoader.add_constructor(TUPLE, _tuple)


def read_options(path: Path) -> dict[str, Any]:
    """Read `args.yml`, `config.yml` or `env_kwargs.yml`.

    Raises:
        UnusableRecording: it is damaged, or asks for anything but data.
    """
    content = read_bounded(path, MAX_TEXT)
    try:
        options = yaml.load(content, _OptionsLoader)  # a SafeLoader of two more tags
    except yaml.constructor.ConstructorError as error:
        raise UnusableRecording(f"{path.name} holds more than data ({error.problem})") from None
    except Exception as error:  # damage can raise nearly anything
        raise UnusableRecording(f"{path.name} can't be read ({type(error).__name__})") from None
    if options is not None and not isinstance(options, dict):
        raise UnusableRecording(f"{path.name} is no list of options")
    return options or {}


def read_normalisation(path: Path) -> Normalisation | None:
    """Read how observations were normalised, from `vecnormalize.pkl`; None when they weren't.

    The pickle of a VecNormalize is read as a tree, of which only numbers are built.

    Raises:
        UnusableRecording: it is damaged, or something else.
    """
    try:
        root = read_tree(read_bounded(path)).root
        wrapper = _attributes(root, "VecNormalize")
        if not build(wrapper.get("norm_obs", True)):
            return None
        statistics = _attributes(wrapper["obs_rms"], "RunningMeanStd")
        return Normalisation(
            _numbers(build(statistics["mean"])),
            _numbers(build(statistics["var"]), least=0.0),
            float(build(wrapper["epsilon"])),
            float(build(wrapper["clip_obs"])),
        )
    except UnusableRecording as error:
        raise UnusableRecording(f"{path.name} can't be used: {error}") from None
    except (KeyError, TypeError, ValueError) as error:
        raise UnusableRecording(f"{path.name} can't be used ({error!s:.100})") from None


def _attributes(node: Any, name: str) -> dict[str, Any]:
    """List the attributes of an object of Stable-Baselines3's, by its class's name."""
    function = node.function if isinstance(node, Call) else node
    if not isinstance(function, Named):
        raise UnusableRecording(f"it has no {name}; are the observations dictionaries?")
    if function.name != name or not function.module.startswith("stable_baselines3."):
        raise UnusableRecording(f"it asks for {str(function)[:100]}, which is no {name}")
    return {key: value for key, value in items_of(node.state) if isinstance(key, str)}


def _numbers(value: Any, least: float = -np.inf) -> NDArray[np.float64]:
    numbers = np.asarray(value, dtype=np.float64).reshape(-1)
    if not np.isfinite(numbers).all() or (numbers < least).any():
        raise UnusableRecording("its statistics are no numbers")
    return numbers


def read_card(folder: Path) -> str | None:
    """Read which environment a hub repository is about, from its results or its model card."""
    for name in ("results.json", "config.json"):
        found = _environment_in_json(folder / name)
        if found:
            return found
    return _environment_in_card(folder / "README.md")


def _environment_in_json(path: Path) -> str | None:
    try:
        content = json.loads(read_bounded(path, MAX_TEXT))
    except (UnusableRecording, ValueError, RecursionError):
        return None  # a card is a hint; what is missing is asked for later
    name = content.get("env_id") if isinstance(content, dict) else None
    return name if isinstance(name, str) else None


def _environment_in_card(path: Path) -> str | None:
    """Find the data set of the model index in the front matter of a model card."""
    try:
        text = read_bounded(path, MAX_TEXT).decode("utf-8", "replace")
        front = re.match(r"---\s*\n(.*?)\n---", text, re.DOTALL)
        card = yaml.load(front[1], _OptionsLoader) if front else {}
        dataset = card["model-index"][0]["results"][0]["dataset"]
        name = dataset.get("type") or dataset.get("name")
    except Exception:  # a card is anyone's text, and only a hint
        return None
    return name if isinstance(name, str) else None
