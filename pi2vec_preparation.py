#!/usr/bin/env python3
"""Prepare a library: embed every policy, build the vector database, learn to predict rewards.

reads   states_f/
writes  data/, psi_models/, models/, faiss_index/
run     python pi2vec_preparation.py
time    half a minute for 120 policies of 20 seeds

If states_f/ beside the scripts is empty, the demonstration library is generated first. A second
run with nothing changed does nothing.

Examples:
  python pi2vec_preparation.py --fraction 0.2
  python pi2vec_preparation.py --seeds 0038,0041
  python pi2vec_preparation.py --all-seeds
"""

import json
import shutil
from argparse import Namespace
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from faiss_utils.text_encoder import EMBEDDED
from library import command_line
from library.command_line import notice
from library.errors import LeverError, UnusableLibrary
from library.files import atomic_write
from library.manifest import Entry, Manifest, read_manifest, write_manifest
from library.objective import Objective
from library.publishing import describe_library, publish
from library.verification import find_all_damage, find_damage
from library.workspace import HOME, Workspace
from pi2vec.pi2vec_utils import (
    Policy,
    Target,
    find_changes,
    fingerprint,
    pick_seeds,
    read_policies,
    read_targets,
    shared_seeds,
    write_processed_states,
)

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from faiss_utils.text_encoder import TextEncoder


def main() -> int:
    """Read, embed, predict, index, publish."""
    arguments = parse_arguments()
    workspace: Workspace = arguments.workspace
    with workspace.locked():
        if workspace.staging.manifest.exists():
            notice("finishing the preparation that was interrupted")
            publish(workspace)
        generate_demonstration(workspace)
        targets = find_targets(workspace)
        policies = load_policies(targets, choose_seeds(targets, arguments))
        plan = {
            "fingerprint": fingerprint([target.objective for target in targets], policies),
            "text_encoder": arguments.text_encoder,
            "index_factory": arguments.index_factory,
            "objectives": {t.objective.target: t.objective.digest for t in targets},
        }
        if not arguments.force and is_prepared(workspace, plan):
            shutil.rmtree(workspace.staging.root, ignore_errors=True)  # a killed one's leftovers
            command_line.show(f"Nothing changed: {len(policies)} policies are prepared already")
            command_line.show(describe_seeds(policies))
            return command_line.DONE
        start_staging(workspace, plan, arguments.force)
        figures = build_library(workspace, targets, policies, arguments)
        files = describe_library(workspace.staging)
        if not workspace.staging.text_encoder.exists():  # the library's stays as it is
            files |= kept_encoder(workspace, plan["text_encoder"])
        write_manifest(workspace.staging, Manifest(files=files, **plan))
        publish(workspace)
    names = ", ".join(target.objective.target for target in targets)
    command_line.show(f"Prepared {len(policies)} policies for the targets {names}")
    command_line.show(describe_seeds(policies))
    command_line.show(figures)
    return command_line.DONE


def parse_arguments() -> Namespace:
    """Read the command line; wrong usage ends with one line and code 2."""
    parser = command_line.create_parser(__doc__)
    which = parser.add_mutually_exclusive_group()
    which.add_argument(
        "--fraction",
        type=command_line.share,
        default=0.1,
        metavar="F",
        help="share of the seeds that every target has, always the same ones (default: 0.1)",
    )
    which.add_argument("--seeds", type=seed_list, metavar="S,S", help="just these seeds")
    which.add_argument("--all-seeds", action="store_true", help="all seeds that every target has")
    parser.add_argument(
        "--text-encoder",
        default=EMBEDDED,
        metavar="NAME",
        help="a sentence-transformers model: a hub id or a local folder (default: %(default)s)",
    )
    parser.add_argument(
        "--index-factory",
        metavar="STRING",
        help="a Faiss index factory string, for libraries with many distinct descriptions "
        "(default: exact search, inverted lists above 5,000 texts)",
    )
    parser.add_argument("--force", action="store_true", help="make everything anew")
    return parser.parse_args()


def generate_demonstration(workspace: Workspace) -> None:
    """Fill an empty states_f/ beside the scripts with the demonstration library."""
    if workspace.root != HOME or any(workspace.states.glob("[!.]*/")):
        return
    from worlds.gridworld.generate_states import N_SEEDS, generate

    notice(f"{workspace.states} is empty: generating the demonstration library, {N_SEEDS} seeds")
    generate(workspace)


def find_targets(workspace: Workspace) -> list[Target]:
    """Find the targets, naming the folders that can't be used, and changed objectives."""
    targets, complaints = read_targets(workspace.states)
    report_skipped(complaints)
    report_changed_objectives(workspace, [target.objective for target in targets])
    if not targets:
        raise LeverError(
            f"{workspace.states} has no usable target; put recorded runs there, or run: "
            f"python -m worlds.gridworld.generate_states --workspace {workspace.root}"
        )
    return targets


def report_changed_objectives(workspace: Workspace, objectives: list[Objective]) -> None:
    """Name the objectives that the library was not made from: edited, or damaged."""
    try:
        known = read_manifest(workspace).objectives
    except UnusableLibrary:
        return
    for objective in objectives:
        if known.get(objective.target, objective.digest) != objective.digest:
            path = workspace.states / objective.target / "objective.json"
            notice(f"notice: {path} was changed since the last preparation")


def choose_seeds(targets: list[Target], arguments: Namespace) -> list[str]:
    """Choose the seeds that the arguments ask for."""
    shared = shared_seeds(targets)
    if arguments.seeds is None:
        return shared if arguments.all_seeds else pick_seeds(shared, arguments.fraction)
    known = {seed for target in targets for seed in target.runs}
    unknown = sorted(set(arguments.seeds) - known)
    if unknown:
        raise LeverError(f"no target has the seeds {', '.join(unknown)}; look into states_f/")
    return sorted(set(arguments.seeds))


def load_policies(targets: list[Target], seeds: list[str]) -> list[Policy]:
    """Read the policies, naming and counting those that can't be used."""
    policies, complaints = [], []
    for target in targets:
        usable, unusable = read_policies(target, seeds)
        policies += usable
        complaints += unusable
    report_skipped(complaints)
    for change in find_changes(policies):
        notice(f"notice: {change}")
    if not policies:
        raise LeverError("no policy in states_f/ can be used; mend what is named above")
    return policies


def is_prepared(workspace: Workspace, plan: dict[str, Any]) -> bool:
    """Tell whether a whole library on disk was made from just this."""
    try:
        manifest = read_manifest(workspace)
    except UnusableLibrary:
        return False
    same = all(getattr(manifest, name) == value for name, value in plan.items())
    damage = find_all_damage(workspace, manifest) if same else []
    for line in damage:
        notice(f"to be made anew: {line}")
    return same and not damage


def start_staging(workspace: Workspace, plan: dict[str, Any], force: bool) -> None:
    """Clear the staging folder, unless an interrupted run of the same plan left its work there."""
    path = workspace.staging.root / "plan.json"
    try:
        same = json.loads(path.read_text("utf-8")) == plan
    except (OSError, ValueError):
        same = False
    if force or not same:
        shutil.rmtree(workspace.staging.root, ignore_errors=True)
    with atomic_write(path) as file:
        file.write(json.dumps(plan).encode())


def build_library(
    workspace: Workspace, targets: list[Target], policies: list[Policy], arguments: Namespace
) -> str:
    """Make all artefacts in the staging folder; return how well the regressor predicts."""
    # torch, scikit-learn, faiss: seconds that --help and a second run do not need
    from faiss_utils.setup_faiss_vdb import index_policies, save_database
    from pi2vec.train_regressor import train_regressor
    from pi2vec.train_successor import train_successors

    staging = workspace.staging
    notice(f"{len(policies)} policies: successor models and embeddings")
    embeddings = resumed(
        staging.root / "embeddings.npy", lambda: train_successors(policies, staging)
    )
    write_processed_states(staging.processed_states, policies)
    notice("reward regressor and its cross-validation")
    regressor, figures = train_regressor(policies, embeddings, staging)
    encoder = prepare_encoder(workspace, arguments)
    notice("vector database")
    predictions = regressor.predict(embeddings, [policy.target for policy in policies])
    objectives = [target.objective for target in targets]
    scratch = staging.root / "q_tables.npy"
    database = index_policies(
        encoder, objectives, policies, embeddings, *predictions, scratch, arguments.index_factory
    )
    save_database(database, staging)
    return f"Rewards predicted on held-out seeds: {figures or 'needs a second seed to be measured'}"


def resumed(path: Path, make: "Callable[[], NDArray[np.float32]]") -> "NDArray[np.float32]":
    """Take what an interrupted run of the same plan has finished, or make and keep it."""
    import numpy as np

    if not path.exists():
        made = make()
        with atomic_write(path) as file:
            np.save(file, made)
    array: NDArray[np.float32] = np.load(path, allow_pickle=False)
    return array


def prepare_encoder(workspace: Workspace, arguments: Namespace) -> "TextEncoder":
    """Open the exported text encoder; export it when the library has another one or none."""
    from faiss_utils.text_encoder import TextEncoder, export_encoder

    name, staged = arguments.text_encoder, workspace.staging.text_encoder
    if not staged.exists():
        if not arguments.force and kept_encoder(workspace, name):
            return TextEncoder(workspace.text_encoder)
        notice(f"exporting the text encoder {name}")
        export_encoder(name, staged)
    return TextEncoder(staged)


def kept_encoder(workspace: Workspace, name: str) -> dict[str, Entry]:
    """List the files of the library's text encoder, if it is this one and undamaged."""
    try:
        manifest = read_manifest(workspace)
    except UnusableLibrary:
        return {}
    folder = workspace.text_encoder.relative_to(workspace.root)
    files = {f: entry for f, entry in manifest.files.items() if Path(f).parent == folder}
    paths = [workspace.root / file for file in files]
    usable = manifest.text_encoder == name and not find_damage(workspace, manifest, paths, True)
    return files if usable else {}


def describe_seeds(policies: list[Policy]) -> str:
    """List the seeds that can be searched."""
    seeds = sorted({policy.seed for policy in policies})
    return f"Seeds that can be searched ({len(seeds)}): {', '.join(seeds)}"


def report_skipped(complaints: list[str]) -> None:
    """Name what is left out, one a line, and count it."""
    for complaint in complaints:
        notice(f"skipped: {' '.join(complaint.split())}")
    if complaints:
        notice(f"{len(complaints)} skipped")


def seed_list(text: str) -> list[str]:
    """Read seeds with commas between them."""
    return [command_line.seed(part.strip()) for part in text.split(",")]


if __name__ == "__main__":
    command_line.run(main)
