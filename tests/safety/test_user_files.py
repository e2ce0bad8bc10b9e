"""Nobody's own file is ever deleted, overwritten or followed to somewhere else."""

import json
import random
import shutil
from pathlib import Path

import pytest

from library.errors import UnusableLibrary
from library.manifest import _checksum, read_manifest, recorded_files
from tests.safety.tiny_library import SEED_SETS, seal, write_tiny_encoder
from tests.safety.workers import PREPARE, QUERY, SEARCH, VIEW

pytestmark = pytest.mark.slow
RESET = "reset_framework"
FOLDERS = (
    "",
    "data",
    "psi_models",
    "models",
    "faiss_index",
    "faiss_index/text_encoder",
    "states_f",
)
NAMES = ("notes.txt", "gold_0038_20.pth.bak", "README.md", "model.pkl", "figure.png", ".hidden")


def prepare(library, worker):
    ended = worker.script(PREPARE, "--seeds", SEED_SETS[1], workspace=library)
    assert ended.code == 0, ended
    return ended


def reset(library, worker):
    ended = worker.script(RESET, "--yes", workspace=library)
    assert ended.code == 0, ended


def own_files(library, rng, n_files=40):
    """Put files with random names into random places of a library."""
    written = {}
    for number in range(n_files):
        folder = library.root / rng.choice(FOLDERS) / rng.choice(("", "mine", "mine/deeper"))
        folder.mkdir(parents=True, exist_ok=True)
        path = folder / f"{number}_{rng.choice(NAMES)}"
        path.write_text(str(rng.random()))
        written[path] = path.read_text()
    return written


@pytest.mark.parametrize("seed", range(3))
def test_files_of_the_users_survive_preparation_and_reset(library, worker, seed):
    written = own_files(library, random.Random(seed))
    prepare(library, worker)
    assert {path: path.read_text() for path in written} == written
    assert worker.script(SEARCH, QUERY, workspace=library).code == 0
    reset(library, worker)
    assert {path: path.read_text() for path in written} == written
    assert worker.script(SEARCH, QUERY, workspace=library).code == 2
    assert not list(library.root.rglob("*.pth")) and not library.policy_index.exists()


def test_what_no_preparation_wrote_is_not_overwritten(library, worker):
    reset(library, worker)
    write_tiny_encoder(library.text_encoder)
    seal(library)
    library.canonical_states.write_text("mine")
    ended = worker.script(PREPARE, "--seeds", SEED_SETS[0], workspace=library)
    assert ended.code == 2 and str(library.canonical_states) in ended.err.splitlines()[-1]
    assert library.canonical_states.read_text() == "mine"
    library.canonical_states.rename(library.root / "elsewhere.npy")
    assert worker.script(PREPARE, "--seeds", SEED_SETS[0], workspace=library).code == 0
    assert worker.script(VIEW, "--verify", workspace=library).code == 0


@pytest.mark.parametrize("elsewhere", [None, Path("/dev/shm")])
def test_a_data_folder_may_be_a_link_and_only_the_librarys_files_go(
    library, worker, tmp_path, elsewhere
):
    if elsewhere is not None and not elsewhere.is_dir():
        pytest.skip("no other disk")
    other = (elsewhere or tmp_path) / f"disk_{tmp_path.name}"
    other.mkdir()
    try:
        for folder in (library.data, library.psi_models, library.faiss_index):
            shutil.move(folder, other / folder.name)
            folder.symlink_to(other / folder.name)
        (other / "data" / "thesis.txt").write_text("mine")
        prepare(library, worker)
        assert worker.script(VIEW, "--verify", workspace=library).code == 0
        assert library.data.is_symlink() and list((other / "psi_models").glob("*.pth"))
        reset(library, worker)
        left = [path.name for path in other.rglob("*") if path.is_file()]
        assert left == ["thesis.txt"] and library.data.is_symlink()
    finally:
        shutil.rmtree(other)


def add_to_record(library, name):
    """Do what a hostile author would: let the record of a preparation name another file."""
    content = json.loads(library.manifest.read_text())
    content.pop("sha256")
    content["files"][name] = next(iter(content["files"].values()))
    library.manifest.write_text(json.dumps({"sha256": _checksum(content), **content}))


def test_a_record_that_leads_elsewhere_is_not_followed(library, worker, tmp_path):
    outside = tmp_path / "outside.txt"
    outside.write_text("mine")
    (library.data / "link").symlink_to(tmp_path)
    add_to_record(library, "data/link/outside.txt")
    assert library.data / "link" / "outside.txt" not in recorded_files(library)
    reset(library, worker)
    assert outside.read_text() == "mine"


@pytest.mark.parametrize(
    "name", ["states_f/gold/objective.json", "../x", "data/../../x", "/etc/hosts", "README.md"]
)
def test_a_record_of_files_outside_the_data_folders_is_refused(library, name):
    add_to_record(library, name)
    with pytest.raises(UnusableLibrary, match="outside of the library"):
        read_manifest(library)
    assert recorded_files(library) is None


def test_a_missing_picture_stops_no_search(library, worker):
    library.regressor_plot.unlink()
    assert worker.script(SEARCH, QUERY, workspace=library).code == 0
    ended = worker.script(PREPARE, "--seeds", SEED_SETS[0], workspace=library)
    assert ended.code == 0 and "reward_regressor.png is missing" in ended.err
    assert library.regressor_plot.exists()


def test_an_interrupted_reset_can_be_done_again(library, worker):
    last = (library.model_checksums, library.manifest)
    paths = sorted(path for path in recorded_files(library) if path not in last)
    for path in paths[::2]:
        path.unlink()
    reset(library, worker)
    assert library.built_files() == []
