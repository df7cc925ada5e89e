"""Where exported models end up: what is replaced, what is refused, and what a failure leaves."""

from __future__ import annotations

from pathlib import Path

import pytest

from trainer.exporting import places

MARK = "mark.json"


def saved_model(folder: Path, content: str) -> Path:
    """A folder as export writes it."""
    (folder / "assets.extra").mkdir(parents=True)
    (folder / "assets.extra" / MARK).write_text("{}")
    (folder / "variables").mkdir()
    (folder / "saved_model.pb").write_text(content)
    return folder


def test_a_folder_that_we_wrote_is_replaced_and_nothing_stays_beside_it(tmp_path: Path) -> None:
    target = saved_model(tmp_path / "model", "old")
    (target / "variables" / "old").touch()
    work = places.workspace(target)
    assert work.parent == tmp_path and work.name.startswith(".")
    places.move(saved_model(work / "made", "new"), target, "", MARK)
    assert (target / "saved_model.pb").read_text() == "new"
    assert not (target / "variables" / "old").exists()
    assert list(work.iterdir()) == []


@pytest.mark.parametrize(
    ("added", "said"),
    [
        ("notes.txt", r"has 'notes.txt' beside the SavedModel.*or move that away"),
        ("assets.extra/own.txt", r"has 'assets.extra/own.txt' beside the SavedModel"),
    ],
)
def test_a_file_of_the_users_in_our_folder_keeps_it(added: str, said: str, tmp_path: Path) -> None:
    target = saved_model(tmp_path / "model", "old")
    (target / added).write_text("mine")
    with pytest.raises(FileExistsError, match=said):
        places.check(target, "", MARK)
    # what came while the model was converted is found too
    with pytest.raises(FileExistsError, match=said):
        places.move(saved_model(tmp_path / "made", "new"), target, "", MARK)
    assert (target / "saved_model.pb").read_text() == "old"


def test_a_folder_of_others_is_named_with_a_few_of_its_files(tmp_path: Path) -> None:
    target = tmp_path / "photos"
    target.mkdir()
    places.check(target, "", MARK)  # empty
    for i in range(5):
        (target / f"{i}.png").touch()
    with pytest.raises(FileExistsError, match=r"'0.png', '1.png', '2.png' and 2 more in it"):
        places.check(target, "", MARK)


def test_a_place_is_refused_before_anything_is_converted(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match=r"path='.*': there is no folder '.*none'"):
        places.check(tmp_path / "none" / "model.onnx", ".onnx", MARK)
    (tmp_path / "model.bin").mkdir()
    with pytest.raises(IsADirectoryError, match=r"model.bin' is a folder; write another name"):
        places.check(tmp_path / "model.xml", ".xml", MARK)
    places.check(tmp_path / "model.onnx", ".onnx", MARK)  # which has no .bin
    (tmp_path / "file").touch()
    with pytest.raises(FileExistsError, match="is a file, and this format is a folder"):
        places.check(tmp_path / "file", "", MARK)
    (tmp_path / "link").symlink_to(tmp_path / "nothing")
    with pytest.raises(FileExistsError, match="is a file, and this format is a folder"):
        places.check(tmp_path / "link", "", MARK)


def test_both_files_of_openvino_are_moved_and_replace_the_old_ones(tmp_path: Path) -> None:
    target = tmp_path / "model.xml"
    for folder, content in ((tmp_path, "old"), (tmp_path / "work", "new")):
        folder.mkdir(exist_ok=True)
        (folder / "model.xml").write_text(content)
        (folder / "model.bin").write_text(f"{content} weights")
    places.move(tmp_path / "work" / "model.xml", target, ".xml", MARK)
    assert target.read_text() == "new"
    assert target.with_suffix(".bin").read_text() == "new weights"


def test_a_workspace_that_cannot_be_made_is_an_error_with_the_path(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    path = tmp_path / "file" / "model.onnx"
    with pytest.raises(
        OSError, match=r"path='.*model.onnx': could not be written .*; write a path"
    ):
        places.workspace(path)
