"""All damage is named, patience has an end, and nothing of somebody else's is overwritten."""

import errno
import json
import time
from dataclasses import replace
from pathlib import Path

import pytest

from library import manifest as manifest_module
from library import publishing, verification
from library.errors import LeverError, UnusableLibrary
from library.manifest import Manifest, describe_file, read_manifest, recorded_files, write_manifest
from library.publishing import describe_library, publish
from library.verification import find_all_damage, load_whole
from library.workspace import Workspace

FILES = ("faiss_index/policy.index", "faiss_index/metadata.pkl", "models/reward_regressor.pkl")
MODELS = ("gold_0038_20.pth", "path_0038_20.pth")


def stage(workspace, content="old", models=MODELS):
    """Stage a library as a preparation does: successor models have a list of their own."""
    staged = workspace.staging
    for path in [*(staged.root / f for f in FILES), *(staged.psi_models / m for m in models)]:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(content)
    files = describe_library(staged)
    write_manifest(staged, Manifest(content, "tiny", None, files))


@pytest.fixture
def library(tmp_path):
    workspace = Workspace(tmp_path / "library")
    stage(workspace)
    publish(workspace)
    return workspace


def damage(workspace, **options):
    return find_all_damage(workspace, read_manifest(workspace), **options)


def test_models_are_held_against_their_own_list(library):
    assert not damage(library)
    first, second = (library.psi_models / name for name in MODELS)
    assert not {f"psi_models/{name}" for name in MODELS} & read_manifest(library).files.keys()
    first.write_text("odl")
    second.unlink()
    assert [line.split(" ", 1)[0] for line in damage(library)] == [str(first), str(second)]
    assert "checksum" in damage(library)[0] and "is missing" in damage(library)[1]
    second.symlink_to(library.policy_index)  # equal content, but it may lead anywhere
    assert "is missing" in damage(library)[1]


def test_a_damaged_list_says_nothing_of_the_models(library):
    library.model_checksums.write_text(f"{'0' * 64}  {MODELS[0]}\n")
    assert [line.split(" ", 1)[0] for line in damage(library)] == [str(library.model_checksums)]


@pytest.mark.parametrize(
    ("name", "message"), [(FILES[0], "Database"), (FILES[1], "Database"), (FILES[2], "Regressor")]
)
def test_what_a_search_cannot_do_without_is_named(library, name, message, monkeypatch):
    monkeypatch.setattr(verification, "PATIENCE_S", 0.0)
    (library.root / name).unlink()
    with pytest.raises(UnusableLibrary, match=f"{message}.* not found .*is missing"):
        load_whole(library, lambda: None)


def test_a_search_does_not_hold_what_it_does_not_read_against_the_manifest(library):
    """Models and lists are for --verify; the index, its neighbours and the regressor are read."""
    library.model_checksums.write_text("odl")
    assert load_whole(library, lambda: 3) == 3
    library.reward_regressor.write_text("odl")
    with pytest.raises(UnusableLibrary, match=r"reward_regressor\.pkl is damaged"):
        load_whole(library, lambda: 3)


@pytest.mark.parametrize("preparing", [True, False])
def test_patience_is_for_preparations_and_has_an_end(library, monkeypatch, preparing):
    monkeypatch.setattr(verification, "PATIENCE_S", 0.3)
    if preparing:
        library.staging.root.mkdir()
    attempts, begin = [], time.monotonic()

    def load():
        attempts.append(1)
        raise UnusableLibrary("half")

    with pytest.raises(UnusableLibrary, match="half"):
        load_whole(library, load)
    assert (len(attempts) > 2) == preparing
    assert (time.monotonic() - begin >= 0.3) == preparing


def test_a_file_in_the_way_is_not_overwritten(library):
    stage(library, "new", [*MODELS, "mine_0001_20.pth"])
    own = library.psi_models / "mine_0001_20.pth"
    own.write_text("mine")
    with pytest.raises(LeverError, match=r"mine_0001_20\.pth is in the way"):
        publish(library)
    assert own.read_text() == "mine" and library.policy_index.read_text() == "old"
    own.unlink()
    publish(library)
    assert own.read_text() == library.policy_index.read_text() == "new"
    assert not damage(library, thorough=True)


def test_a_folder_on_another_disk_is_copied_to(library, monkeypatch):
    rename = Path.replace

    def cannot_cross(path, target):
        if path.parent != Path(target).parent:
            raise OSError(errno.EXDEV, "another disk")
        return rename(path, target)

    stage(library, "new", MODELS[:1])
    with monkeypatch.context() as patch:
        patch.setattr(Path, "replace", cannot_cross)
        publish(library)
    assert not damage(library, thorough=True) and not library.staging.root.exists()
    assert library.policy_index.read_text() == "new"
    assert not (library.psi_models / MODELS[1]).exists()


def test_another_failure_to_move_is_told(library, monkeypatch):
    def refuse(path, target):
        raise OSError(errno.EACCES, "no")

    stage(library, "new")
    monkeypatch.setattr(publishing.Path, "replace", refuse)
    with pytest.raises(LeverError, match=r"can't be replaced \(no\)"):
        publish(library)


def seal(workspace, **changes):
    """Write a manifest with other content and a checksum that fits."""
    content = json.loads(workspace.manifest.read_text()) | changes
    del content["sha256"]
    content = {"sha256": manifest_module._checksum(content), **content}
    workspace.manifest.write_text(json.dumps(content))


ENTRY = {"size": 3, "sha256": "0" * 64, "modified": 0}


@pytest.mark.parametrize("name", ["", "/", "other/x", "faiss_index/../x", "../x", "states_f/x"])
def test_a_record_of_files_that_are_not_the_librarys_is_refused(library, name):
    seal(library, files={"faiss_index/policy.index": ENTRY, name: ENTRY})
    with pytest.raises(UnusableLibrary, match="outside of the library"):
        read_manifest(library)
    assert recorded_files(library) is None


@pytest.mark.parametrize("changes", [{"files": []}, {"files": {"data/x": {}}}, {"more": 3}])
def test_a_record_of_another_form_is_refused(library, changes):
    seal(library, **changes)
    with pytest.raises(UnusableLibrary, match="is damaged"):
        read_manifest(library)


def test_a_record_that_is_too_large_or_no_file_is_not_read(library, monkeypatch):
    monkeypatch.setattr(manifest_module, "MAX_MANIFEST", library.manifest.stat().st_size)
    read_manifest(library)
    monkeypatch.setattr(manifest_module, "MAX_MANIFEST", library.manifest.stat().st_size - 1)
    with pytest.raises(UnusableLibrary, match="too large"):
        read_manifest(library)
    library.manifest.unlink()
    library.manifest.mkdir()
    monkeypatch.setattr(manifest_module, "MAX_MANIFEST", 10**9)
    with pytest.raises(UnusableLibrary, match="no file"):
        read_manifest(library)


def test_what_was_written_is_on_record(library):
    written = {library.root / name for name in FILES} | {library.manifest, library.model_checksums}
    assert recorded_files(library) == written | {library.psi_models / name for name in MODELS}
    library.model_checksums.unlink()
    assert recorded_files(library) == written
    library.manifest.unlink()
    assert recorded_files(library) == set()


def test_a_record_leads_through_no_link_but_that_of_a_data_folder(library, tmp_path):
    (library.faiss_index / "worlds").symlink_to(tmp_path, target_is_directory=True)
    files = read_manifest(library).files
    manifest = replace(
        read_manifest(library), files={**files, "faiss_index/worlds/x": files[FILES[0]]}
    )
    write_manifest(library, manifest)
    assert library.root / "faiss_index/worlds/x" not in recorded_files(library)
    library.models.rename(tmp_path / "elsewhere")
    library.models.symlink_to(tmp_path / "elsewhere", target_is_directory=True)
    assert library.reward_regressor in recorded_files(library)


def test_a_file_is_known_by_size_checksum_and_second(library):
    entry = describe_file(library.policy_index)
    assert (entry.size, entry.modified) == (3, int(library.policy_index.stat().st_mtime))
