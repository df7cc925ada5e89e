"""One slot of a node: it answers jobs, tells of their progress, and ends with its study."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import cloudpickle
import psutil
import pytest

from search.executors import node_files, ray_worker, worker
from search.executors.ray_worker import DATA, Order, Slot

ORDER = Order(token="a" * 32, timeout=None, memory=None, recycle=0, threads=1)
OTHER = Order(token="b" * 32, timeout=None, memory=None, recycle=0, threads=1)


@pytest.fixture(autouse=True)
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """The folder of temporary files; no variable of a worker's environment stays set."""
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    for name in (node_files.VARIABLE, *worker.THREADS):
        monkeypatch.setenv(name, "1")
    yield tmp_path
    ray_worker._close()


def _work(argument: Any) -> Any:
    return 1 / argument


def _pickled() -> bytes:
    cloudpickle.register_pickle_by_value(sys.modules[__name__])
    try:
        return cloudpickle.dumps(_work)
    finally:
        cloudpickle.unregister_pickle_by_value(sys.modules[__name__])


def _slot(order: Order = ORDER, data: bytes | None = None) -> Slot:
    return ray_worker.slot(order, _pickled, lambda: None if data is None else memoryview(data))


def test_a_slot_answers_each_argument_and_leaves_nothing_when_it_closes(place: Path) -> None:
    slot = _slot(data=b"rows")
    assert node_files.NodeFile(DATA).path().read_bytes() == b"rows"
    ((kind, answers),) = slot.run([cloudpickle.dumps(4), cloudpickle.dumps(0)])
    assert kind == "answers"
    assert [answer[0] for answer in answers] == ["result", "raised"]
    assert cloudpickle.loads(answers[0][1]) == 0.25
    assert answers[1][1].startswith("ZeroDivisionError")
    slot.close()
    ray_worker._slot = None
    assert not list(place.glob("search-*"))


def test_a_worker_keeps_its_slot_for_a_study_and_makes_another_for_the_next() -> None:
    slot = _slot()
    assert _slot(Order(**vars(ORDER))) is slot
    other = _slot(OTHER)
    assert other is not slot
    assert not node_files.folder(ORDER.token).exists()
    assert node_files.folder(OTHER.token).exists()


def test_the_data_of_a_study_are_asked_for_once_on_a_machine() -> None:
    folder = node_files.SharedFolder(ORDER.token)
    folder.write_once(DATA, [b"from another worker"])
    slot = Slot(ORDER, _pickled, lambda: pytest.fail("they are here already"))
    assert node_files.NodeFile(DATA).path().read_bytes() == b"from another worker"
    slot.close()
    folder.close()


def test_of_progress_what_is_new_and_whole_is_told() -> None:
    slot, seen = _slot(), {}
    folder = node_files.NodeFile(ray_worker.PROGRESS).path()
    (folder / "3.json").write_text(json.dumps({"epoch": 1}))
    (folder / "4.json").write_text('{"epoch": ')  # half of it
    assert slot._reached(seen) == {3: {"epoch": 1}}
    assert slot._reached(seen) == {}
    (folder / "4.json").write_text(json.dumps({"epoch": 2}))
    assert slot._reached(seen) == {4: {"epoch": 2}}


def test_the_slots_of_a_study_are_ended_and_no_process_that_got_their_number() -> None:
    folder = node_files.SharedFolder(ORDER.token)
    slots = [subprocess.Popen(["cat"], stdin=subprocess.PIPE) for _ in range(3)]
    for i, process in enumerate(slots[:2]):
        started = psutil.Process(process.pid).create_time() - i
        (folder.path / f"{ray_worker._SLOT}{process.pid}-{started}").touch()
    ended = subprocess.Popen(["true"])
    (folder.path / f"{ray_worker._SLOT}{ended.pid}-1.5").touch()
    ended.wait()
    ray_worker.end(OTHER.token)
    ray_worker.end(ORDER.token)
    assert [psutil.pid_exists(process.pid) for process in slots] == [False, True, True]
    for process in slots:
        process.communicate()
    folder.close()


def test_the_slot_of_this_process_is_closed_with_its_study_alone() -> None:
    slot = _slot()
    ray_worker.end(OTHER.token)
    assert _slot() is slot
    ray_worker.end(ORDER.token)
    assert not node_files.folder(ORDER.token).exists()
    os.kill(os.getpid(), 0)  # and this process goes on
