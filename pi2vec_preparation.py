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

from library import command_line

if __name__ == "__main__":
    command_line.end_on_interrupt()  # before anything slow is imported

import json
import shutil
from argparse import Namespace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from library.command_line import notice
from library.errors import GENERATE, LeverError, UnusableLibrary
from library.files import atomic_write, is_foreign
from library.manifest import Entry, Manifest, read_manifest, write_manifest
from library.objective import Objective
from library.publishing import describe_library, publish
from library.verification import find_all_damage, find_damage, load_whole
from library.workspace import HOME, Workspace

if TYPE_CHECKING:
    from faiss_utils.text_encoder import TextEncoder
    from library.parallel import Engine
    from pi2vec.pi2vec_utils import Catalogue, Policy
    from pi2vec.world_library import WorldLibrary
    from understanding.meanings import Meanings


def main() -> int:
    """Read, embed, predict, index, publish."""
    arguments = parse_arguments()
    workspace: Workspace = arguments.workspace
    with command_line.open_engine(arguments) as engine, workspace.locked():
        if workspace.staging.manifest.exists():
            notice("finishing the preparation that was interrupted")
            publish(workspace)
        generate_demonstration(workspace)
        catalogue = find_policies(workspace, arguments, engine)
        plan = make_plan(catalogue, arguments)
        if not arguments.force and is_prepared(workspace, plan):
            shutil.rmtree(workspace.staging.root, ignore_errors=True)  # a killed one's leftovers
            n_policies = len(catalogue.policies)
            command_line.show(f"Nothing changed: {n_policies} policies are prepared already")
            command_line.show(describe_seeds(catalogue.policies))
            return command_line.DONE
        start_staging(workspace, plan, arguments.force)
        figures = build_library(workspace, catalogue, arguments, engine)
        files = describe_library(workspace.staging)
        if not workspace.staging.text_encoder.exists():  # the library's stays as it is
            files |= kept_encoder(workspace, plan["text_encoder"])
        write_manifest(workspace.staging, Manifest(files=files, **plan))
        publish(workspace)
    names = ", ".join(target.objective.target for target in catalogue.targets)
    command_line.show(f"Prepared {len(catalogue.policies)} policies for the targets {names}")
    command_line.show(describe_seeds(catalogue.policies))
    command_line.show("\n".join(figures))
    return command_line.DONE


def parse_arguments() -> Namespace:
    """Read the command line; wrong usage ends with one line and code 2."""
    parser = command_line.create_parser(__doc__)
    which = parser.add_mutually_exclusive_group()
    which.add_argument(
        "--fraction",
        type=command_line.share,
        metavar="F",
        help="share of each target's seeds, always the same ones (default: 0.1, but at least 20 "
        "seeds of a target that has them)",
    )
    which.add_argument("--seeds", type=seed_list, metavar="S,S", help="just these seeds")
    which.add_argument("--all-seeds", action="store_true", help="all seeds")
    parser.add_argument(
        "--text-encoder",
        metavar="NAME",
        help="a sentence-transformers model: hub id or local folder (default: the embedded one)",
    )
    parser.add_argument(
        "--index-factory",
        metavar="STRING",
        help="a Faiss index factory string, for libraries with many distinct descriptions "
        "(default: exact search, inverted lists above 5,000 texts)",
    )
    command_line.add_engine(parser, n_jobs=1)
    parser.add_argument("--force", action="store_true", help="make everything anew")
    return parser.parse_args()


def generate_demonstration(workspace: Workspace) -> None:
    """Fill an empty states_f/ beside the scripts with the demonstration library."""
    if workspace.root.resolve() != HOME or has_targets(workspace.states):
        return
    from worlds.gridworld.generate_states import N_SEEDS, generate

    notice(f"{workspace.states} is empty: generating the demonstration library, {N_SEEDS} seeds")
    generate(workspace)


def has_targets(states: Path) -> bool:
    """Tell whether a folder of recorded runs has a folder of anybody's."""
    folders = states.iterdir() if states.is_dir() else ()
    return any(path.is_dir() and not is_foreign(path.name) for path in folders)


def find_policies(workspace: Workspace, arguments: Namespace, engine: "Engine") -> "Catalogue":
    """Read what the arguments ask for, naming and counting what can't be used."""
    from pi2vec.pi2vec_utils import read_catalogue  # numpy and more, which --help does not need

    fraction = 1.0 if arguments.all_seeds else arguments.fraction
    catalogue = read_catalogue(workspace.states, fraction, arguments.seeds, engine)
    for complaint in catalogue.skipped:
        notice(f"skipped: {' '.join(complaint.split())}")
    if catalogue.skipped:
        notice(f"{len(catalogue.skipped)} skipped")
    changed = changed_objectives(workspace, [target.objective for target in catalogue.targets])
    for line in catalogue.notices + changed:
        notice(f"notice: {line}")
    if not catalogue.targets:
        raise LeverError(
            f"{workspace.states} has no usable target; put recorded runs there, or for the "
            "demonstration's:",
            GENERATE,
        )
    if not catalogue.policies:
        raise LeverError(f"no policy in {workspace.states} can be used; mend what is named above")
    return catalogue


def changed_objectives(workspace: Workspace, objectives: list[Objective]) -> list[str]:
    """Name the objectives that the library was not made from: edited, or damaged."""
    try:
        known = read_manifest(workspace).objectives
    except UnusableLibrary:
        return []
    return [
        f"{workspace.states / objective.target / 'objective.json'} was changed since the last "
        "preparation"
        for objective in objectives
        if known.get(objective.target, objective.digest) != objective.digest
    ]


def make_plan(catalogue: "Catalogue", arguments: Namespace) -> dict[str, Any]:
    """Collect all that decides what the library will be."""
    from faiss_utils.text_encoder import identify_encoder
    from pi2vec.pi2vec_utils import fingerprint

    objectives = [target.objective for target in catalogue.targets]
    return {
        "fingerprint": fingerprint(objectives, catalogue.policies),
        "text_encoder": identify_encoder(encoder_name(arguments)),
        "index_factory": arguments.index_factory,
        "objectives": {objective.target: objective.digest for objective in objectives},
    }


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
    workspace: Workspace, catalogue: "Catalogue", arguments: Namespace, engine: "Engine"
) -> list[str]:
    """Make all artefacts in the staging folder; say how good they are."""
    # torch, scikit-learn, faiss: seconds that --help and a second run do not need
    from faiss_utils.setup_faiss_vdb import index_policies, save_database
    from pi2vec.pi2vec_utils import write_processed_states
    from pi2vec.train_regressor import save_predictions
    from pi2vec.train_successor import save_canonical_states
    from pi2vec.world_library import learn_world

    staging = workspace.staging
    worlds = {}
    for name, policies in catalogue.worlds.items():
        notice(f"{name}: embeddings and predicted rewards of {len(policies)} policies")
        worlds[name] = learn_world(policies[0].world, policies, staging, engine)
    save_canonical_states({name: w.canonical for name, w in worlds.items()}, staging)
    write_processed_states(staging.processed_states, catalogue.policies)
    save_predictions(worlds, staging)
    encoder = prepare_encoder(workspace, arguments)
    notice("vector database")
    objectives = [target.objective for target in catalogue.targets]
    earlier = earlier_meanings(workspace, encoder)
    factory = arguments.index_factory
    database = index_policies(encoder, objectives, worlds, staging, factory, earlier)
    save_database(database, staging)
    return [database.meanings.expectation(), *figures_of(worlds)]


def figures_of(worlds: "dict[str, WorldLibrary]") -> list[str]:
    """Say for each world how well rewards are predicted, and in which that can't be told."""
    several = len(worlds) > 1
    lines = [
        f"Rewards predicted{f' in {name}' if several else ''} on {library.prediction.summary}"
        for name, library in worlds.items()
        if library.prediction.figures
    ]
    others = [name for name, library in worlds.items() if not library.prediction.figures]
    if others:
        where = f" in {', '.join(others)}" if several else ""
        lines.append(f"Rewards predicted{where}: not enough to be measured")
    return lines


def prepare_encoder(workspace: Workspace, arguments: Namespace) -> "TextEncoder":
    """Open the exported text encoder; export it when the library has another one or none."""
    from faiss_utils.text_encoder import TextEncoder, export_encoder, identify_encoder

    name, staged = encoder_name(arguments), workspace.staging.text_encoder
    if not staged.exists():
        if not arguments.force and kept_encoder(workspace, identify_encoder(name)):
            return TextEncoder(workspace.text_encoder)
        notice(f"exporting the text encoder {name}")
        export_encoder(name, staged)
    return TextEncoder(staged)


def earlier_meanings(workspace: Workspace, encoder: "TextEncoder") -> "Meanings | None":
    """Read what the library learned of its texts; None if it has another encoder, or is damaged."""
    from faiss_utils.setup_faiss_vdb import load_database

    if encoder.folder != workspace.text_encoder:
        return None
    try:
        return load_whole(workspace, lambda: load_database(workspace)).meanings
    except UnusableLibrary:
        return None


def encoder_name(arguments: Namespace) -> str:
    """Name the text encoder that was asked for, or the embedded one."""
    from faiss_utils.text_encoder import EMBEDDED

    return arguments.text_encoder or EMBEDDED


def kept_encoder(workspace: Workspace, identity: str) -> dict[str, Entry]:
    """List the files of the library's text encoder, if it is this one and undamaged."""
    try:
        manifest = read_manifest(workspace)
    except UnusableLibrary:
        return {}
    folder = workspace.text_encoder.relative_to(workspace.root)
    files = {f: entry for f, entry in manifest.files.items() if Path(f).parent == folder}
    paths = [workspace.root / file for file in files]
    usable = manifest.text_encoder == identity and not find_damage(workspace, manifest, paths, True)
    return files if usable else {}


def describe_seeds(policies: "list[Policy]") -> str:
    """List the seeds that can be searched."""
    seeds = sorted({policy.seed for policy in policies})
    return f"Seeds that can be searched ({len(seeds)}): {', '.join(seeds)}"


def seed_list(text: str) -> list[str]:
    """Read seeds with commas between them."""
    return [command_line.seed(part.strip()) for part in text.split(",")]


if __name__ == "__main__":
    command_line.run(main)
