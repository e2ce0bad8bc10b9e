"""From a folder of recorded episodes to its world: each kind of world reads its own."""

from pathlib import Path

from worlds.gridworld import world as gridworld
from worlds.world import Recording, World


def read_recording(folder: Path) -> tuple[World, Recording]:
    """Read the recording of a policy and tell which world it belongs to.

    Raises:
        UnusableRecording: a file is missing or damaged, or breaks the rules of the world.
    """
    return gridworld.read_recording(folder)
