"""State files: what is written is read back to the bit, or is refused."""

from __future__ import annotations

import errno
import json
import os
import threading
from pathlib import Path
from typing import Any

import ml_dtypes
import numpy as np
import pytest
from patience import SECONDS

from trainer.state import state_file
from trainer.state.state_file import BadState, StateFolder, from_bytes, to_bytes

TENSORS = {
    "double": np.linspace(0, 1, 7),
    "single": np.array([[np.nan, -0.0], [np.inf, 1e-45]], "float32"),
    "half": np.array([1, 2], ml_dtypes.bfloat16),
    "bool": np.array([True, False]),
    "none": np.zeros((0, 3), "int8"),
    "one": np.array(2**63, "uint64"),
    "turned": np.arange(6).reshape(2, 3).T,
}
VALUES = {"a": [1, 2.5, None, True, "ü"], "b": {"c": float("inf")}}


def test_values_and_tensors_come_back_to_the_bit() -> None:
    values, tensors = from_bytes(to_bytes(VALUES, TENSORS))
    assert values == VALUES
    assert tensors.keys() == TENSORS.keys()
    for name, array in TENSORS.items():
        assert tensors[name].dtype == array.dtype, name
        assert tensors[name].shape == array.shape, name
        assert tensors[name].tobytes() == array.tobytes(), name


def test_a_file_cut_anywhere_is_refused() -> None:
    content = to_bytes(VALUES, TENSORS)
    for length in range(len(content)):
        with pytest.raises(BadState):
            from_bytes(content[:length])


def test_a_file_with_any_bit_turned_is_refused() -> None:
    content = to_bytes(VALUES, TENSORS)
    for place in range(len(content)):
        altered = bytearray(content)
        altered[place] ^= 1 << (place % 8)
        with pytest.raises(BadState):
            from_bytes(bytes(altered))


@pytest.mark.parametrize("content", [b"", b"\0" * 100, b"PK\x03\x04 an archive", b"[" * 5_000])
def test_a_foreign_file_is_refused(content: bytes) -> None:
    with pytest.raises(BadState):
        from_bytes(content)


def test_a_file_of_another_program_is_refused() -> None:
    from safetensors.numpy import save

    with pytest.raises(BadState, match="truncated or altered"):
        from_bytes(save({"w": np.ones(3)}))


def test_a_newer_format_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(state_file, "FORMAT", 2)
    content = to_bytes(VALUES, TENSORS)
    monkeypatch.setattr(state_file, "FORMAT", 1)
    with pytest.raises(BadState, match="newer version"):
        from_bytes(content)


POSITION = {"epoch": 1, "step": 0, "logs": {}, "seconds": 1.0, "stopped": False}
TRAINING = {"position": POSITION, "history": [], "variables": [], "callbacks": []}
ENTRY = ["path", "float32", [2], "start"]


@pytest.mark.parametrize(
    "own",
    [{}, [[]], ["path"], [ENTRY[:3]], [["path", 1, [2], "start"]], [["path", "f", [-1], "start"]]],
)
def test_variables_of_ones_own_that_are_described_in_another_form_are_refused(own: Any) -> None:
    assert from_bytes(to_bytes(TRAINING | {"own": [ENTRY]}, TENSORS))[0]["own"] == [ENTRY]
    with pytest.raises(BadState, match="it was not written by a training: own"):
        from_bytes(to_bytes(TRAINING | {"own": own}, TENSORS))


def _save(folder: StateFolder, *numbers: int) -> None:
    for number in numbers:
        folder.save({"n": number}, {"w": np.full(4, number)})
    folder.wait()


def _names(path: Path) -> list[str]:
    return sorted(p.name for p in path.iterdir())


def test_the_last_two_are_kept_and_the_newest_is_given(tmp_path: Path) -> None:
    folder = StateFolder(tmp_path, "run")
    assert folder.last() is None
    _save(folder, 1, 2, 3)
    assert _names(tmp_path) == ["state-00000002.safetensors", "state-00000003.safetensors"]
    folder.close()
    again = StateFolder(tmp_path, "run")
    found = again.last()
    assert found is not None and found[0] == {"n": 3}
    np.testing.assert_array_equal(found[1]["w"], np.full(4, 3))
    _save(again, 4)
    assert _names(tmp_path) == ["state-00000003.safetensors", "state-00000004.safetensors"]
    again.close()


def test_a_bad_state_does_not_count_as_one_of_those_kept(tmp_path: Path) -> None:
    folder = StateFolder(tmp_path, "run")
    _save(folder, 1, 2)
    (tmp_path / "state-00000002.safetensors").write_bytes(b"bad")
    with pytest.warns(UserWarning, match="state-00000002.safetensors cannot be used"):
        found = folder.last()
    assert found is not None and found[0] == {"n": 1}
    _save(folder, 3)
    assert _names(tmp_path) == ["state-00000001.safetensors", "state-00000003.safetensors"]
    folder.close()


def _unreadable(path: Path, monkeypatch: pytest.MonkeyPatch, number: int) -> None:
    read = Path.read_bytes

    def failing(file: Path) -> bytes:
        if file == path:
            raise OSError(number, os.strerror(number))
        return read(file)

    monkeypatch.setattr(Path, "read_bytes", failing)


@pytest.mark.parametrize("fault", ["folder", "link", "dangling link", "EIO", "EACCES"])
def test_of_a_state_that_cannot_be_read_the_one_before_is_used(
    fault: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    place, outside = tmp_path / "states", tmp_path / "outside"
    place.mkdir()
    folder = StateFolder(place, "run")
    _save(folder, 1, 2)
    newest = place / "state-00000002.safetensors"
    if fault in ("EIO", "EACCES"):
        _unreadable(newest, monkeypatch, getattr(errno, fault))
    else:
        newest.rename(outside)
        if fault == "folder":
            newest.mkdir()
        elif fault == "link":
            newest.symlink_to(outside)
        else:
            newest.symlink_to(tmp_path / "nowhere")
    before = outside.read_bytes() if outside.exists() else None
    with pytest.warns(
        UserWarning,
        match="state-00000002.safetensors cannot be used: it (is a link|cannot be read)",
    ):
        found = folder.last()
    assert found is not None and found[0] == {"n": 1}
    _save(folder, 3)
    _save(folder, 4)
    kept = {"state-00000003.safetensors", "state-00000004.safetensors"}
    assert set(_names(place)) == kept | ({newest.name} if fault == "folder" else set())
    assert not (tmp_path / "nowhere").exists()
    assert before is None or outside.read_bytes() == before
    folder.close()


def test_of_a_folder_that_is_no_longer_held_nothing_is_written_or_deleted(tmp_path: Path) -> None:
    held = [True]
    folder = StateFolder(tmp_path, "run", lambda: held[0])
    _save(folder, 1, 2)
    before = _names(tmp_path)
    held[0] = False
    _save(folder, 3, 4)
    assert _names(tmp_path) == before
    folder.close()


def test_a_folder_that_cannot_be_listed_is_not_taken_for_an_empty_one(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    for path in ("file", "absent"):
        with pytest.raises(OSError, match=path):
            StateFolder(tmp_path / path, "run")


def test_a_state_of_another_run_is_not_used(tmp_path: Path) -> None:
    mine, other = StateFolder(tmp_path, "mine"), StateFolder(tmp_path, "other")
    _save(mine, 1)
    other._number = 1
    _save(other, 2)
    with pytest.warns(UserWarning, match="belongs to another run"):
        found = mine.last()
    assert found is not None and found[0] == {"n": 1}
    for folder in (mine, other):
        folder.close()


def test_when_no_state_is_whole_it_is_said(tmp_path: Path) -> None:
    folder = StateFolder(tmp_path, "run")
    _save(folder, 1, 2)
    for path in tmp_path.iterdir():
        path.write_bytes(b"bad")
    with (
        pytest.warns(UserWarning, match="cannot be used"),
        pytest.raises(BadState, match=r"none of the states in it can be used \(2 tried\)"),
    ):
        folder.last()
    folder.close()


def test_a_failed_write_is_warned_of_and_leaves_the_earlier_state(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = StateFolder(tmp_path, "run")
    _save(folder, 1)

    def full(path: Any, content: bytes, **options: Any) -> None:
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(state_file, "write_whole", full)
        folder.save({"n": 2}, {})
        with pytest.warns(UserWarning, match="was not saved .*No space left"):
            folder.wait()
    found = folder.last()
    assert found is not None and found[0] == {"n": 1}
    _save(folder, 3)  # there is room again
    found = folder.last()
    assert found is not None and found[0] == {"n": 3}
    folder.close()


def test_a_folder_that_cannot_be_listed_for_a_moment_keeps_its_old_states(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, recwarn: pytest.WarningsRecorder
) -> None:
    folder = StateFolder(tmp_path, "run")

    def unreadable(place: Any) -> list[str]:
        raise PermissionError(13, "Permission denied")

    with monkeypatch.context() as patch:
        patch.setattr(state_file.Folder, "names", unreadable)
        for n in range(4):
            _save(folder, n)
        folder.tidy()
    assert len(list(tmp_path.glob("state-*"))) == 4
    folder.tidy()
    assert len(list(tmp_path.glob("state-*"))) == state_file.KEPT
    folder.close()
    assert not recwarn.list


def test_the_cost_is_infinite_while_a_state_is_written(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    go = threading.Event()

    def slow(path: Path, content: bytes, **options: Any) -> None:
        assert go.wait(SECONDS)

    monkeypatch.setattr(state_file, "write_whole", slow)
    folder = StateFolder(tmp_path, "run")
    assert folder.cost == 0
    folder.save({}, {})
    assert folder.cost == float("inf")
    go.set()
    folder.wait()
    assert 0 < folder.cost < 10
    folder.close()


def test_nothing_in_a_file_is_code() -> None:
    content = to_bytes(VALUES, TENSORS)
    length = int.from_bytes(content[:8], "little")
    header = json.loads(content[8 : 8 + length])
    assert json.loads(header["__metadata__"]["trainer"])["a"] == VALUES["a"]
    assert b"pickle" not in content and b"numpy" not in content
