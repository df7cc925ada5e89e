"""What trainer.files promises: the old content or the new, and an error that names the file."""

from __future__ import annotations

import os
import stat
from pathlib import Path

import numpy as np
import pytest

from trainer import Regressor
from trainer.utils.files import write_whole

posix = pytest.mark.skipif(os.name != "posix", reason="POSIX modes, links and folders")


@pytest.mark.parametrize("form", [str, Path])
def test_the_content_is_written_to_the_byte_and_replaces_the_old(
    tmp_path: Path, form: type[str] | type[Path]
) -> None:
    path = tmp_path / "file"
    path.write_bytes(b"older and longer")
    write_whole(form(path), b"a\r\nb\x00\xff")
    assert path.read_bytes() == b"a\r\nb\x00\xff"
    assert os.listdir(tmp_path) == ["file"]


def test_a_name_without_a_folder_is_in_the_present_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    write_whole("file", b"new")
    assert (tmp_path / "file").read_bytes() == b"new"


def test_a_write_that_fails_names_the_file_and_leaves_nothing_behind(tmp_path: Path) -> None:
    (tmp_path / "taken").mkdir()
    with pytest.raises(OSError, match=r"path='.*taken': could not be written .* is unchanged"):
        write_whole(tmp_path / "taken", b"new")
    with pytest.raises(FileNotFoundError, match=r"path='.*absent/file': could not be written"):
        write_whole(tmp_path / "absent" / "file", b"new")
    assert os.listdir(tmp_path) == ["taken"]


@pytest.mark.parametrize("error", [KeyboardInterrupt, OSError(28, "No space left on device")])
def test_an_interruption_before_the_rename_leaves_the_old_file_alone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, error: BaseException
) -> None:
    path = tmp_path / "file"
    write_whole(path, b"old")

    def interrupted(descriptor: int) -> None:
        raise error

    monkeypatch.setattr(os, "fsync", interrupted)
    with pytest.raises((KeyboardInterrupt, OSError)) as caught:
        write_whole(path, b"new")
    if not isinstance(caught.value, KeyboardInterrupt):
        assert caught.value.errno == 28
        assert "could not be written (No space left on device)" in str(caught.value)
    assert path.read_bytes() == b"old"
    assert os.listdir(tmp_path) == ["file"]


@posix
def test_content_is_synced_before_the_rename_and_the_folder_after_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "file"
    seen = []

    def watched(descriptor: int) -> None:
        kind = "folder" if stat.S_ISDIR(os.fstat(descriptor).st_mode) else "file"
        seen.append((kind, path.exists()))

    monkeypatch.setattr(os, "fsync", watched)
    write_whole(path, b"new")
    assert seen == [("file", False), ("folder", True)]


@posix
def test_a_link_stays_a_link_and_the_mode_is_the_usual_one(tmp_path: Path) -> None:
    (tmp_path / "usual").touch()
    (tmp_path / "elsewhere").mkdir()
    real, link = tmp_path / "elsewhere" / "real", tmp_path / "link"
    link.symlink_to(real)
    write_whole(link, b"new")
    assert link.is_symlink()
    assert real.read_bytes() == b"new"
    assert real.stat().st_mode == (tmp_path / "usual").stat().st_mode


@posix
def test_a_saved_trainer_can_be_read_by_whom_the_umask_lets(tmp_path: Path) -> None:
    (tmp_path / "usual").touch()
    trainer = Regressor(epochs=1, random_state=0).fit(np.ones((8, 2)), np.arange(8.0))
    trainer.save(tmp_path / "model.keras")
    assert (tmp_path / "model.keras").stat().st_mode == (tmp_path / "usual").stat().st_mode


def test_a_trainer_that_does_not_fit_on_the_disk_leaves_the_old_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "model.keras"
    trainer = Regressor(epochs=1, random_state=0).fit(np.ones((8, 2)), np.arange(8.0))
    trainer.save(path)
    before = path.read_bytes()

    def full(descriptor: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(OSError, match=r"path='.*model\.keras': could not be written"):
        trainer.save(path)
    assert path.read_bytes() == before
    assert os.listdir(tmp_path) == ["model.keras"]
