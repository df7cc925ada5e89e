"""The folders of trials on storage that other machines reach."""

from __future__ import annotations

from pathlib import Path

import pytest

from search.study.remote import Storage
from search.study.trial_folders import TrialFolders

pytest.importorskip("fsspec", reason="the extra [ray] is not installed")


@pytest.fixture(params=["memory://studies", "{}"])
def url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    return str(request.param).format(tmp_path / "shared")


def test_a_folder_comes_back_as_it_was_and_can_be_deleted(url: str, tmp_path: Path) -> None:
    storage = Storage(url, "identity")
    ours = TrialFolders(tmp_path / "trials", "identity")
    theirs = TrialFolders(tmp_path / "elsewhere" / "trials", "identity")
    assert not storage.get("trials", 3, theirs)
    assert storage.numbers("trials") == []
    folder = ours.make(3)
    (folder / "0-0").mkdir()
    for content in (b"first", b"second"):
        (folder / "0-0" / "state").write_bytes(content)
        storage.put("trials", 3, folder)
    assert storage.get("trials", 3, theirs)
    found = theirs.find(3)
    assert found is not None and (found / "0-0" / "state").read_bytes() == b"second"
    assert storage.numbers("trials") == [3] and storage.numbers("models") == []
    storage.delete("trials", 3)
    storage.delete("trials", 3)
    assert storage.numbers("trials") == []


def test_storage_that_cannot_be_used_is_named(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="storage='nonsense://x': "):
        Storage("nonsense://x", "identity")
    (tmp_path / "file").touch()
    folder = TrialFolders(tmp_path / "trials", "identity").make(0)
    with pytest.raises(OSError, match=r"storage='.*file/x': cannot be written \("):
        Storage(str(tmp_path / "file" / "x"), "identity").put("trials", 0, folder)
