"""A library is whole or it is named what is wrong; a preparation is published whole or not."""

import json
import os
import shutil
from dataclasses import replace
from pathlib import Path

import pytest

import library.manifest as manifest_module
from library import verification
from library.errors import LeverError, UnusableLibrary
from library.manifest import Manifest, describe_file, read_manifest, write_manifest
from library.publishing import publish
from library.verification import find_damage, load_whole
from library.workspace import Workspace

NAMES = (
    "faiss_index/policy.index",
    "faiss_index/metadata.pkl",
    "faiss_index/text_encoder/model.onnx",
    "models/reward_regressor.pkl",
    "psi_models/gold_0038_20.pth",
)


def stage(workspace, content, names=NAMES):
    """Stage a library whose files all hold `content`."""
    for name in names:
        path = workspace.staging.root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(content)
    files = {name: describe_file(workspace.staging.root / name) for name in names}
    write_manifest(workspace.staging, Manifest(content, "tiny", None, files))


def read_all(workspace):
    return {(workspace.root / name).read_text() for name in NAMES if "psi" not in name}


@pytest.fixture
def library(tmp_path):
    workspace = Workspace(tmp_path)
    stage(workspace, "old")
    publish(workspace)
    return workspace


def damage(workspace, thorough=False):
    manifest = read_manifest(workspace)
    return find_damage(
        workspace, manifest, [workspace.root / name for name in manifest.files], thorough
    )


def test_a_published_library_is_whole_and_leaves_no_staging(library):
    assert not damage(library, thorough=True)
    assert load_whole(library, lambda: read_all(library)) == {"old"}
    assert not library.staging.root.exists()


@pytest.mark.parametrize("name", NAMES)
def test_every_kind_of_damage_is_named(library, name):
    path = library.root / name
    for content in (b"", b"ol", b"oldd", b"olf"):
        path.write_bytes(content)
        assert len(damage(library)) == 1 and str(path) in damage(library)[0]
    path.unlink()
    assert "is missing" in damage(library)[0]
    elsewhere = library.root / "elsewhere"
    elsewhere.write_text("old")
    path.symlink_to(elsewhere)
    assert len(damage(library)) == 1, "a link may lead anywhere"


def test_a_touched_large_file_is_checked_and_an_untouched_one_only_thoroughly(library, monkeypatch):
    monkeypatch.setattr(verification, "SMALL", 0)
    path = library.policy_index
    status = path.stat()
    path.write_text("odl")
    os.utime(path, ns=(status.st_atime_ns, status.st_mtime_ns + 5 * 10**9))
    assert damage(library)
    os.utime(path, ns=(status.st_atime_ns, status.st_mtime_ns))
    assert not damage(library)
    assert damage(library, thorough=True)


@pytest.mark.parametrize("bit", range(0, 2000, 97))
def test_a_flipped_bit_in_the_manifest_is_noticed(library, bit):
    content = bytearray(library.manifest.read_bytes())
    content[bit // 8] ^= 1 << bit % 8
    library.manifest.write_bytes(content)
    try:
        manifest = read_manifest(library)
    except UnusableLibrary as error:
        assert "manifest.json" in str(error)
    else:  # a flip in white space
        assert manifest.files and not damage(library)


def test_another_version_and_another_library_are_told(library, tmp_path):
    content = json.loads(library.manifest.read_text())
    content.pop("sha256")
    content["format"] = 10**6
    content["sha256"] = manifest_module._checksum(
        {key: content[key] for key in content if key != "sha256"}
    )
    before = library.manifest.read_text()
    library.manifest.write_text(json.dumps(content))
    with pytest.raises(UnusableLibrary, match="another version"):
        read_manifest(library)
    library.manifest.write_text(before)
    other = Workspace(tmp_path / "other")
    stage(other, "new")
    publish(other)
    shutil.copy(other.policy_index, library.policy_index)
    with pytest.raises(UnusableLibrary, match=r"policy\.index is damaged, or from another library"):
        load_whole(library, lambda: None)


def test_publishing_can_be_interrupted_anywhere_and_done_again(tmp_path, monkeypatch):
    """Break every single rename in turn: no mixture is ever loaded, and the next try completes."""
    rename, n_steps = Path.replace, len(NAMES) + 1
    for broken in range(n_steps):
        workspace = Workspace(tmp_path / str(broken))
        stage(workspace, "old")
        publish(workspace)
        stage(workspace, "new", NAMES[:-1])
        steps = iter(range(n_steps))

        def breaking(path, target, steps=steps, broken=broken):
            if next(steps) == broken:
                raise KeyboardInterrupt
            return rename(path, target)

        monkeypatch.setattr(verification, "PATIENCE_S", 0.0)
        with monkeypatch.context() as patch, pytest.raises((KeyboardInterrupt, StopIteration)):
            patch.setattr(Path, "replace", breaking)
            publish(workspace)
            raise StopIteration
        try:
            assert load_whole(workspace, lambda w=workspace: read_all(w)) in ({"old"}, {"new"})
        except UnusableLibrary as error:
            assert "pi2vec_preparation.py" in str(error)
        if workspace.staging.manifest.exists():
            publish(workspace)
        assert load_whole(workspace, lambda w=workspace: read_all(w)) == {"new"}
        assert not (workspace.root / NAMES[-1]).exists(), "what the new library lacks is gone"


def test_a_library_that_is_replaced_while_it_is_read_is_read_again(library):
    attempts = []

    def load():
        attempts.append(1)
        seen = read_all(library)
        if len(attempts) == 1:
            stage(library, "new")
            publish(library)
        return seen

    assert load_whole(library, load) == {"new"}
    assert len(attempts) == 2


def test_the_lock_keeps_others_out_and_links_inside_are_refused(library, tmp_path):
    with (
        library.locked(),
        pytest.raises(LeverError, match="is running"),
        library.locked(),
    ):
        pass
    with library.locked():
        pass
    (library.text_encoder / "model.onnx").unlink()
    library.text_encoder.rmdir()
    library.text_encoder.symlink_to(tmp_path)
    with pytest.raises(LeverError, match="symbolic link"), library.locked():
        pass


def test_entries_compare_by_value(library):
    manifest = read_manifest(library)
    assert manifest == read_manifest(library)
    assert manifest != replace(manifest, fingerprint="other")
