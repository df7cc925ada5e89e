"""The folder that the workers of a study share on a machine: written once, deleted by the last."""

from __future__ import annotations

import os
import stat
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from search.executors import node_files
from search.executors.node_files import NodeFile, SharedFolder

TOKEN, OTHER = "a" * 32, "b" * 32


@pytest.fixture(autouse=True)
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The folder of temporary files."""
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    return tmp_path


def test_a_file_is_found_where_the_machine_that_reads_it_has_it(
    place: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = NodeFile("data")
    for folder in ("here", "there"):
        monkeypatch.setenv(node_files.VARIABLE, str(place / folder))
        assert file.path() == place / folder / "data"


def test_all_who_know_a_token_share_one_folder_that_nobody_else_may_read() -> None:
    first, second = SharedFolder(TOKEN), SharedFolder(TOKEN)
    other = SharedFolder(OTHER)
    assert first.path == second.path == node_files.folder(TOKEN) != other.path
    assert stat.S_IMODE(first.path.stat().st_mode) == 0o700
    for folder in (first, second, other):
        folder.close()


def test_the_folder_is_there_until_the_last_user_leaves_and_may_be_made_again() -> None:
    first, second = SharedFolder(TOKEN), SharedFolder(TOKEN)
    first.write_once("data", [b"1"])
    first.close()
    assert (second.path / "data").read_bytes() == b"1"
    second.close()
    assert not second.path.exists()
    third = SharedFolder(TOKEN)
    assert not (third.path / "data").exists()
    third.close()


def test_one_who_joins_while_the_last_leaves_keeps_what_it_writes(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    names = [str(i) for i in range(20)]

    def joined() -> SharedFolder:
        made = SharedFolder(TOKEN)
        for name in names:
            made.write_once(name, [b"1"])
        return made

    unlink, late = os.unlink, []

    def join_then(path: Any, **options: Any) -> None:
        unlink(path, **options)
        if os.fspath(path).endswith(node_files.USERS):
            monkeypatch.setattr(os, "unlink", unlink)
            late.append(joined())

    last = joined()
    monkeypatch.setattr(os, "unlink", join_then)
    last.close()
    (folder,) = late
    assert all((folder.path / name).read_bytes() == b"1" for name in names)
    folder.close()
    assert not list(folder.path.parent.glob(f"{node_files.PREFIX}*"))


@pytest.mark.parametrize("kept", range(4))
def test_a_sweep_ends_a_deletion_that_was_interrupted(
    kept: int, place: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    unlink, left = os.unlink, [0] * kept

    def interrupted(path: Any, **options: Any) -> None:
        if not left:
            raise KeyboardInterrupt
        left.pop()
        unlink(path, **options)

    used = SharedFolder(TOKEN)
    for name in ("one", "two", "three"):
        used.write_once(name, [b"1"])
    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr(os, "unlink", interrupted)
        used.close()
    assert list(place.iterdir())
    node_files.sweep()
    assert not list(place.iterdir())


def test_a_file_has_the_content_of_whoever_wrote_it_first() -> None:
    folder = SharedFolder(TOKEN)
    path = folder.write_once("data", [b"one, ", memoryview(b"two")])
    assert folder.write_once("data", [b"three"]) == path
    assert path.read_bytes() == b"one, two"
    folder.close()


def test_a_file_whose_writer_fails_is_not_there_and_the_next_writes_it_whole() -> None:
    def broken() -> Iterator[bytes]:
        yield b"much of the content"
        raise ConnectionError("the node is gone")

    folder = SharedFolder(TOKEN)
    with pytest.raises(ConnectionError):
        folder.write_once("data", broken())
    assert not (folder.path / "data").exists()
    assert folder.write_once("data", [b"all"]).read_bytes() == b"all"
    folder.close()


def test_a_sweep_deletes_what_no_process_uses_and_nothing_else(place: Path) -> None:
    used = SharedFolder(TOKEN)
    left = node_files.folder(OTHER)
    strangers = [place / "search-node-mine", place / f"search-node-{'c' * 32}", place / "file"]
    for path in (left, *strangers):
        path.mkdir()
    for path in (left, strangers[0], strangers[2]):
        (path / node_files.USERS).touch()
    link = node_files.folder("d" * 32)
    link.symlink_to(strangers[2], target_is_directory=True)
    node_files.sweep()
    assert not left.exists(), "its users have ended"
    assert all(path.exists() for path in (used.path, link, *strangers))
    used.close()


def test_a_system_without_locks_is_told_so(monkeypatch: pytest.MonkeyPatch, place: Path) -> None:
    monkeypatch.setattr(node_files, "fcntl", None)
    with pytest.raises(OSError, match="search.executors.Ray: needs locks of files"):
        SharedFolder(TOKEN)
    node_files.sweep()
    assert not list(place.iterdir())
