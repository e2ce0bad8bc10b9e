"""Damage every file and kill preparation at any moment: the long form of tests/safety/.

reads   nothing
writes  a temporary folder
run     python -m tests.fuzz --flips 2000 --truncations 200 --kills 100
time    ten minutes for flips and truncations, five seconds a kill

Equal arguments damage the same bits. It prints the counts by outcome, every failure with what to
look at, and ends with code 1 when there is any.
"""

import argparse
import random
import shutil
import sys
import tempfile
from collections import Counter
from pathlib import Path

from library.workspace import Workspace
from tests.safety.damage import ACCEPTED, HARMLESS, damage_files, forge_files
from tests.safety.kills import KILLED_WELL, kill_preparations, search_while_preparing
from tests.safety.tiny_library import SEED_SETS, make_library, write_tiny_encoder


def tally(cases, accepted):
    """Count the outcomes by kind; print and count the failures."""
    counts, failures = Counter(), 0
    for done, kind, outcome, said in cases:
        counts[kind, outcome] += 1
        if outcome not in accepted:
            failures += 1
            print(f"FAILED {outcome}: {done}\n    {said.strip()[-1500:]}", flush=True)
    for (kind, outcome), n in sorted(counts.items()):
        print(f"{n:6}  {kind:40} {outcome}")
    for outcome, n in Counter(
        {o: sum(c for (_, p), c in counts.items() if p == o) for _, o in counts}
    ).items():
        print(f"{n:6}  {'all':40} {outcome}", flush=True)
    return failures


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--flips", type=int, default=0)
    parser.add_argument("--truncations", type=int, default=0)
    parser.add_argument("--forgeries", type=int, default=0, help="damage with a matching manifest")
    parser.add_argument("--kills", type=int, default=0)
    parser.add_argument("--searches", type=int, default=0, help="preparations to search during")
    parser.add_argument("--strangers", type=int, default=0, help="damaged files to record from")
    parser.add_argument("--seed", type=int, default=0, help="of the random damage")
    parser.add_argument("--tiny", action="store_true", help="with a tiny text encoder: quicker")
    parser.add_argument("--library", type=Path, help="copy this one instead of making one")
    arguments = parser.parse_args()
    rng = random.Random(arguments.seed)
    failures = 0
    if arguments.strangers:
        from tests.safety import strangers  # Stable-Baselines3 takes seconds to import

        with tempfile.TemporaryDirectory() as folder:
            damaged = strangers.damage_strangers(Path(folder), arguments.strangers, rng)
            failures += tally(damaged, strangers.ACCEPTED)
    if (
        not any((arguments.flips, arguments.truncations, arguments.forgeries, arguments.kills))
        and not arguments.searches
    ):
        print(f"{failures} failures")
        return 1 if failures else 0
    with tempfile.TemporaryDirectory() as folder:
        if arguments.library:
            workspace = Workspace(Path(shutil.copytree(arguments.library, f"{folder}/library")))
        else:
            workspace = make_library(folder, write_tiny_encoder if arguments.tiny else None)
        if arguments.flips or arguments.truncations:
            failures += tally(
                damage_files(
                    workspace,
                    SEED_SETS[0].split(","),
                    arguments.flips,
                    arguments.truncations,
                    rng,
                ),
                ACCEPTED,
            )
        if arguments.forgeries:
            failures += tally(forge_files(workspace, arguments.forgeries, rng), HARMLESS)
        if arguments.kills:
            failures += tally(kill_preparations(workspace, arguments.kills, rng), KILLED_WELL)
        if arguments.searches:
            failures += tally(
                search_while_preparing(workspace, arguments.searches),
                ("one library or the other",),
            )
    print(f"{failures} failures")
    return 1 if failures else 0


if __name__ == "__main__":
    sys.exit(main())
