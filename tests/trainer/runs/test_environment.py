"""environment: what a run was computed with, and what has changed when it is resumed."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from trainer.runs import environment
from trainer.utils import processor


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """A file that this process has written."""
    path = tmp_path / "environment.json"
    path.write_text(json.dumps(environment.of_training()))
    return path


def _change(path: Path, **entries: Any) -> None:
    content = {**json.loads(path.read_text()), **entries}
    path.write_text(json.dumps({k: v for k, v in content.items() if v is not None}))


def test_in_the_same_process_nothing_has_changed(path: Path) -> None:
    assert environment.changes(path) == []
    assert environment.packages(path)["keras"]


def test_packages_processor_threads_and_gpus_that_differ_are_named(path: Path) -> None:
    now = json.loads(path.read_text())
    packages = {**now["packages"], "keras": "3.1"}
    del packages["numpy"]
    _change(path, packages=packages, processor="Z80\x1b", threads=99, gpus=["Some GPU"])
    assert environment.changes(path) == [
        f"keras 3.1 is now {now['packages']['keras']}",
        f"numpy None is now {now['packages']['numpy']}",
        f"the processor was 'Z80\\x1b' and is now {processor.kind()!r}",
        f"the number of TensorFlow's threads was 99 and is now {now['threads']}",
        "the list of GPUs was ['Some GPU'] and is now []",
    ]


def test_the_file_of_a_version_that_kept_less_is_compared_in_what_it_has(path: Path) -> None:
    packages = json.loads(path.read_text())["packages"]
    packages["keras-trainer"] = packages.pop("exact-trainer")  # as 0.1.0 was called
    _change(path, packages=packages, processor=None, threads=None, gpus=None)
    assert environment.changes(path) == []


def test_the_number_of_threads_is_that_of_the_environment_or_of_the_cores(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("TF_NUM_INTRAOP_THREADS", "3")
    assert environment.of_training()["threads"] == 3
    monkeypatch.delenv("TF_NUM_INTRAOP_THREADS")
    assert environment.of_training()["threads"] == processor.usable()


@pytest.mark.parametrize(
    "entries",
    [
        {"packages": 5},
        {"packages": {"keras": 1}},
        {"packages": {}},
        {"processor": 5},
        {"threads": "2"},
        {"threads": 0},
        {"gpus": "none"},
        {"gpus": [[]]},
    ],
)
def test_what_no_run_has_written_is_not_compared(path: Path, entries: dict[str, Any]) -> None:
    _change(path, **entries)
    assert environment.changes(path) is None


def test_a_missing_file_has_no_versions_and_no_changes(tmp_path: Path) -> None:
    assert environment.changes(tmp_path / "none") is None
    assert environment.packages(tmp_path / "none") == {}
