"""What a worker does with a job: it answers whatever happens, and says which job it has."""

from __future__ import annotations

import os
import pickle
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import cloudpickle
import pytest

from search.executors import worker

Load = Callable[[Any], Path]


@pytest.fixture
def load(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Load]:
    """Makes this process a worker with some work; returns the mark of a running job."""
    monkeypatch.setattr(worker, "_work", None)
    monkeypatch.setattr(worker, "_number", 7)
    monkeypatch.setattr(worker, "_file", str(tmp_path / "work"))
    whole = os.dup(1)

    def loaded(work: Any) -> Path:
        output = os.open(tmp_path / "7.txt", os.O_CREAT | os.O_WRONLY | os.O_APPEND)
        os.dup2(output, 1)  # a worker's output is a file
        os.close(output)
        (tmp_path / "work").write_bytes(cloudpickle.dumps(work))
        return tmp_path / "7.job"

    yield loaded
    os.dup2(whole, 1)
    os.close(whole)


def _sent(*arguments: Any) -> list[bytes]:
    return [cloudpickle.dumps(argument) for argument in arguments]


def test_the_result_of_a_job_comes_back_pickled(load: Load) -> None:
    load(lambda x: {"twice": 2 * x})
    kind, content = worker.run(0, *_sent(4))
    assert kind == "result" and isinstance(content, bytes)
    assert pickle.loads(content) == {"twice": 8}


class _Mute(Exception):
    def __str__(self) -> str:
        raise ZeroDivisionError("an error without a text")


def _raise(error: BaseException) -> None:
    raise error


@pytest.mark.parametrize(
    ("work", "begins"),
    [
        (lambda _: 1 / 0, "ZeroDivisionError: division by zero\nTraceback"),
        (lambda _: _raise(SystemExit(3)), "SystemExit: 3\nTraceback"),
        (lambda _: threading.Lock(), "TypeError: cannot pickle"),
        (lambda _: _raise(_Mute()), "_Mute: "),
    ],
    ids=["an error", "an exit", "a result that does not pickle", "an error without a text"],
)
def test_what_cannot_be_sent_back_is_answered_as_text(load: Load, work: Any, begins: str) -> None:
    load(work)
    kind, text = worker.run(0, *_sent(None))
    assert kind == "raised" and isinstance(text, str) and text.startswith(begins)


def test_work_that_cannot_be_loaded_is_the_answer_of_each_job(load: Load, tmp_path: Path) -> None:
    load(None)
    (tmp_path / "work").write_bytes(b"no pickle")
    assert [kind for kind, _ in worker.run_many(0, _sent(1, 2))] == ["raised", "raised"]


def test_a_file_says_which_job_runs_until_it_has_ended_however_it_ends(load: Load) -> None:
    seen: list[str] = []
    mark = load(None)
    worker._work = lambda error: (seen.append(mark.read_text()), _raise(error))
    worker.run(41, *_sent(ValueError("a")))
    assert not mark.exists()
    with pytest.raises(KeyboardInterrupt):
        worker.run(42, *_sent(KeyboardInterrupt()))
    assert seen == ["41", "42"] and not mark.exists()


def test_a_batch_ends_after_its_time_but_not_before_one_answer(
    load: Load, monkeypatch: pytest.MonkeyPatch
) -> None:
    load(lambda x: x)
    assert len(worker.run_many(0, _sent(1, 2, 3))) == 3
    monkeypatch.setattr(worker, "SECONDS_OF_A_BATCH", -1)
    ((_, content),) = worker.run_many(1, _sent(1, 2, 3))
    assert isinstance(content, bytes) and pickle.loads(content) == 1
    assert worker.run_many(2, []) == []


def test_the_output_of_one_job_is_not_that_of_the_next(load: Load, tmp_path: Path) -> None:
    load(lambda text: os.write(1, text))
    worker.run(0, *_sent(b"of the first job"))
    worker.run(1, *_sent(b"second"))
    assert (tmp_path / "7.txt").read_bytes() == b"second"
