"""From a folder of recorded episodes to its world: each kind of world reads its own."""

from pathlib import Path

from worlds import gymnasium_world
from worlds.gridworld import world as gridworld
from worlds.world import Recording, World


def read_recording(folder: Path) -> tuple[World, Recording]:
    """Read the recording of a policy and tell which world it belongs to.

    Args:
        folder: `<target>/seed_0000/episodes/episode_000000`; a `world.json` of the target names
            its environment, without one it is a grid world.

    Raises:
        UnusableRecording: a file is missing or damaged, or breaks the rules of the world.
    """
    path = folder.parents[2] / gymnasium_world.WORLD
    if path.exists():
        return gymnasium_world.read_recording(folder, gymnasium_world.read_world_name(path))
    return gridworld.read_recording(folder)
