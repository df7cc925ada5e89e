"""A folder that one process holds: who is let in, and what notices that a lock did not hold."""

from __future__ import annotations

import errno
import json
import os
import shutil
from pathlib import Path
from typing import Any

import pytest

from trainer.runs.lock import CannotLock, Hold, InUse, LockLost


def test_a_second_hold_is_told_who_has_the_folder(tmp_path: Path) -> None:
    first = Hold(tmp_path)
    first.check()
    with pytest.raises(InUse, match=rf"process {os.getpid()} on .* has been using it since 20"):
        Hold(tmp_path)
    first.check()
    first.release()
    assert not (tmp_path / ".holder.json").exists()
    Hold(tmp_path).release()


def test_a_deleted_lock_is_taken_again_where_nobody_has_come(tmp_path: Path) -> None:
    first = Hold(tmp_path)
    (tmp_path / ".lock").unlink()
    first.check()
    with pytest.raises(InUse):
        Hold(tmp_path)
    first.release()
    Hold(tmp_path).release()


def test_who_came_by_a_deleted_lock_is_noticed_and_left_alone(tmp_path: Path) -> None:
    first = Hold(tmp_path)
    (tmp_path / ".lock").unlink()
    second = Hold(tmp_path)
    with pytest.raises(LockLost, match="lock file was deleted, and process .* has been using it"):
        first.check()
    first.release()
    second.check()
    second.release()
    with pytest.raises(LockLost):  # it stays lost when the other has gone
        first.check()


def test_who_came_and_went_by_a_deleted_lock_is_noticed(tmp_path: Path) -> None:
    first = Hold(tmp_path)
    (tmp_path / ".lock").unlink()
    Hold(tmp_path).release()
    with pytest.raises(LockLost, match=r"\.holder\.json was deleted"):
        first.check()
    first.release()


def test_a_lock_that_two_machines_were_granted_is_noticed_by_the_first(tmp_path: Path) -> None:
    first = Hold(tmp_path)
    other = {"process": 7, "machine": "b", "since": "noon", "token": "other"}
    (tmp_path / ".holder.json").write_text(json.dumps(other))
    with pytest.raises(
        LockLost, match="was ineffective: process 7 on b has been using it since noon"
    ):
        first.check()
    first.release()
    assert json.loads((tmp_path / ".holder.json").read_text()) == other


def test_a_removed_folder_is_noticed_and_not_made_again(tmp_path: Path) -> None:
    folder = tmp_path / "a"
    folder.mkdir()
    hold = Hold(folder)
    shutil.rmtree(folder)
    with pytest.raises(LockLost, match="it was removed"):
        hold.check()
    hold.release()
    assert not folder.exists()


def test_a_hold_outlives_a_change_of_the_current_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "a").mkdir()
    monkeypatch.chdir(tmp_path)
    hold = Hold(Path("a"))
    monkeypatch.chdir("/")
    hold.check()
    hold.release()
    assert not (tmp_path / "a" / ".holder.json").exists()


@pytest.mark.skipif(os.name != "posix", reason="flock is POSIX")
@pytest.mark.parametrize("number", [errno.ENOLCK, errno.EIO, errno.EOPNOTSUPP])
def test_a_file_system_without_locks_is_named_before_anything_is_written(
    number: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import fcntl

    def refused(*arguments: Any) -> None:
        raise OSError(number, os.strerror(number))

    with monkeypatch.context() as patched:
        patched.setattr(fcntl, "flock", refused)
        with pytest.raises(CannotLock, match=r"\.lock': cannot be locked \(.*file system with"):
            Hold(tmp_path)
    assert not (tmp_path / ".holder.json").exists()
    Hold(tmp_path).release()


def test_what_cannot_be_read_for_a_moment_is_not_lost(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    hold = Hold(tmp_path)

    def unreadable(*arguments: Any, **options: Any) -> bytes:
        raise OSError(errno.EIO, "Input/output error")

    with monkeypatch.context() as patched:
        patched.setattr(Path, "read_bytes", unreadable)
        with pytest.raises(OSError, match="Input/output error"):
            hold.check()
    hold.check()
    hold.release()


@pytest.mark.parametrize("name", [".lock", ".holder.json"])
@pytest.mark.parametrize("kind", ["link", "dangling link", "folder"])
def test_a_link_or_folder_in_the_place_of_a_file_of_the_lock_is_refused(
    name: str, kind: str, tmp_path: Path
) -> None:
    folder, outside = tmp_path / "a", tmp_path / "outside"
    folder.mkdir()
    if kind == "folder":
        (folder / name).mkdir()
    else:
        if kind == "link":
            outside.write_text("precious")
        (folder / name).symlink_to(outside)
    with pytest.raises(
        CannotLock, match=rf"{name}': is (a link|not a regular file), so it is not written to"
    ):
        Hold(folder)
    assert not outside.exists() or outside.read_text() == "precious"
