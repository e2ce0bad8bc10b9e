"""Damage is named and a kill loses nothing: the short form of `python -m tests.fuzz`."""

import random

import pytest

from tests.safety.damage import ACCEPTED, HARMLESS, damage_files, forge_files
from tests.safety.kills import KILLED_WELL, kill_preparations, search_while_preparing
from tests.safety.tiny_library import SEED_SETS

pytestmark = pytest.mark.slow


def failures(cases, accepted):
    return [case for case in cases if case[2] not in accepted]


def test_damage_is_named(library):
    cases = damage_files(library, SEED_SETS[0].split(","), 20, 6, random.Random(1))
    assert not failures(cases, ACCEPTED)


def test_damage_that_the_manifest_hides_is_harmless(library):
    assert not failures(forge_files(library, 20, random.Random(1)), HARMLESS)


def test_killed_preparations_lose_nothing(library):
    assert not failures(kill_preparations(library, 1, random.Random(1)), KILLED_WELL)


def test_a_search_during_preparation_sees_one_library(library):
    cases = search_while_preparing(library, 1)
    assert not failures(cases, ("one library or the other",))
