"""folders: a plugin writes to a folder of its own run, and leaves those of others alone."""

from __future__ import annotations

import json
import shutil
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from sessions import session

from trainer.callbacks.folders import OwnFolder, place

Take = Callable[..., OwnFolder]


@pytest.fixture
def take() -> Iterator[Take]:
    """Takes a folder for a session; all are released at the end."""
    taken: list[OwnFolder] = []

    def one(path: Path, of: Any, *patterns: str) -> OwnFolder:
        taken.append(OwnFolder("folder", path, of, patterns or ("*.keras",)))
        return taken[-1]

    yield one
    for each in taken:
        each.release()


def run(folder: Path, identity: str = "one") -> Any:
    folder.mkdir(exist_ok=True)
    (folder / "config.json").write_text(json.dumps({"run": identity}))
    return session(folder=folder)


def test_the_default_is_in_the_run_and_a_path_of_ones_own_is_not(tmp_path: Path) -> None:
    of = run(tmp_path / "run")
    assert place("folder", None, "images", of) == tmp_path / "run" / "images"
    assert place("folder", "mine", "images", of) == Path("mine")
    with pytest.raises(TypeError, match=r"^log_dir=b'x': must be a path, such as log_dir='logs'$"):
        place("log_dir", b"x", "logs", of)


def test_nothing_is_written_through_a_link_in_the_run(tmp_path: Path, take: Take) -> None:
    of = run(tmp_path / "run")
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    (tmp_path / "run" / "images").symlink_to(elsewhere)
    with pytest.raises(ValueError, match="^folder: '.*images' is a link to '.*elsewhere'.*remove"):
        place("folder", None, "images", of)
    inner = tmp_path / "run" / "logs"
    inner.mkdir()
    (inner / "train").symlink_to(elsewhere)
    with pytest.raises(ValueError, match="'.*train' is a link"):
        take(inner, of, "train/events.*")
    assert not list(elsewhere.iterdir())
    take(elsewhere, of)  # outside of the run a link is the user's own matter
    assert place("folder", tmp_path / "run" / "images", "images", of).is_symlink()


def test_the_same_run_takes_its_folder_again_with_its_files(tmp_path: Path, take: Take) -> None:
    folder = tmp_path / "kept"
    take(folder, run(tmp_path / "run")).release()
    for name in ("b.keras", "a.keras", "notes.txt"):
        (folder / name).write_text(name)
    again = take(folder, run(tmp_path / "run"))
    assert [file.name for file in again.files()] == ["a.keras", "b.keras"]
    assert again.held()


@pytest.mark.parametrize("owner", ['{"run": "other"}', '{"run": 3}', "{", None])
def test_files_that_are_not_known_to_be_of_this_run_are_left_alone(
    owner: str | None, tmp_path: Path, take: Take
) -> None:
    folder = tmp_path / "kept"
    folder.mkdir()
    (folder / "a.keras").write_text("theirs")
    if owner is not None:
        (folder / ".run.json").write_text(owner)
    of = run(tmp_path / "run")
    with pytest.raises(ValueError, match=r"^folder='.*kept': holds a\.keras of another run.*write"):
        take(folder, of)
    assert (folder / "a.keras").read_text() == "theirs"
    (folder / "a.keras").unlink()
    assert take(folder, of).held()  # without such files it is free, and not locked by the refusal


def test_without_a_run_every_fit_is_one_of_its_own(tmp_path: Path, take: Take) -> None:
    take(tmp_path, session()).release()
    take(tmp_path, session()).release()
    (tmp_path / "a.keras").write_text("")
    with pytest.raises(ValueError, match="of another run"):
        take(tmp_path, session())


def test_a_second_writer_is_refused_until_the_first_has_released_it(
    tmp_path: Path, take: Take
) -> None:
    of = run(tmp_path / "run")
    first = take(tmp_path / "kept", of)
    with pytest.raises(ValueError, match="another callback or process .*write another .*kept-2'"):
        take(tmp_path / "kept", of)
    first.release()
    assert take(tmp_path / "kept", of).held()


def test_a_folder_that_is_gone_or_taken_is_warned_of_once(tmp_path: Path, take: Take) -> None:
    def taken_by_another(folder: Path) -> None:
        (folder / ".run.json").write_text('{"run": "other"}')

    for lose in (shutil.rmtree, taken_by_another):
        own = take(tmp_path / "kept", session())
        lose(own.path)
        with pytest.warns(UserWarning, match="was removed, or another process uses it now"):
            assert not own.held()
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            assert not own.held()
        own.release()
