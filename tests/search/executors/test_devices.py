"""Each worker sees its own GPUs, and who replaces a worker sees the same."""

from __future__ import annotations

import contextlib
import os
import sys
import time
from pathlib import Path
from typing import Any

import psutil
import pytest
from patience import SECONDS

from search.executors import Crashed, devices
from search.executors.devices import VISIBLE, shares
from search.executors.processes import Processes

LISTED = """\
GPU 0: NVIDIA A100-SXM4-40GB (UUID: GPU-aaaa-0)
GPU 1: NVIDIA A100-SXM4-40GB (UUID: GPU-bbbb-1)
GPU 2: NVIDIA A100-SXM4-40GB (UUID: GPU-cccc-2)
"""
PARTITIONED = """\
GPU 0: NVIDIA A100-SXM4-40GB (UUID: GPU-aaaa-0)
  MIG 1g.5gb      Device  0: (UUID: MIG-0000-7)
  MIG 1g.5gb      Device  1: (UUID: MIG-GPU-aaaa-0/8/0)
GPU 1: NVIDIA A100-SXM4-40GB (UUID: GPU-bbbb-1)
"""


def _seen(*arguments: Any) -> list[str | None]:
    return [share.get(VISIBLE) for share in shares(*arguments)]


@pytest.mark.parametrize(
    ("named", "workers", "seen"),
    [
        ("0,1", 2, ["0", "1"]),
        ("3, 5 ,7", 3, ["3", "5", "7"]),
        ("GPU-aa,MIG-GPU-bb/1/0", 2, ["GPU-aa", "MIG-GPU-bb/1/0"]),
        ("0,1", 5, ["0", "1", "0", "1", "0"]),
        ("0,1,2,3", 2, ["0,1", "2,3"]),
        ("0,1,2,3,4", 2, ["0,1,2", "3,4"]),
        ("0,1,2", 1, [None]),  # it sees what this process sees
        ("0,-1,2", 2, ["0", "0"]),  # CUDA sees none after the first that is none
        ("-1", 2, [None, None]),
        ("", 2, [None, None]),
        ("NoDevFiles", 2, [None, None]),
    ],
)
def test_the_gpus_that_are_named_are_divided(
    named: str, workers: int, seen: list[str | None]
) -> None:
    assert _seen(workers, {VISIBLE: named}) == seen


def _fake(folder: Path, body: str, monkeypatch: pytest.MonkeyPatch) -> None:
    program = folder / "nvidia-smi"
    program.write_text(f'#!/bin/sh\n[ "$1" = -L ] || exit 9\n{body}\n')
    program.chmod(0o755)
    monkeypatch.setenv("PATH", str(folder), prepend=os.pathsep)
    monkeypatch.delenv(VISIBLE, raising=False)


@pytest.mark.parametrize(
    ("listed", "seen"),
    [
        (LISTED, ["GPU-aaaa-0", "GPU-bbbb-1", "GPU-cccc-2"]),
        (PARTITIONED, ["MIG-0000-7", "MIG-GPU-aaaa-0/8/0", "GPU-bbbb-1"]),
        ("No devices found.\n", [None, None, None]),
    ],
)
def test_the_gpus_of_the_machine_are_divided_where_none_are_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, listed: str, seen: list[str | None]
) -> None:
    _fake(tmp_path, f"cat <<'END'\n{listed}END", monkeypatch)
    assert _seen(3) == seen


def test_a_machine_without_a_driver_has_none(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    _fake(tmp_path, "echo 'NVIDIA-SMI has failed' >&2; exit 9", monkeypatch)
    assert shares(2) == [{}, {}]
    _fake(tmp_path, "exec sleep 3600", monkeypatch)
    monkeypatch.setattr(devices, "SECONDS_TO_LIST", 0.2)
    assert shares(2) == [{}, {}]
    monkeypatch.setenv("PATH", str(tmp_path / "empty"))
    assert shares(2) == [{}, {}]


def look(argument: Any) -> Any:
    if argument == "die":
        os._exit(1)
    time.sleep(0.5)  # so that each worker gets one of two jobs
    growth = os.environ["TF_FORCE_GPU_ALLOW_GROWTH"]
    return os.getpid(), os.environ.get("CUDA_VISIBLE_DEVICES"), growth


def test_workers_see_their_share_and_a_replaced_one_sees_the_same(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import cloudpickle

    cloudpickle.register_pickle_by_value(sys.modules[__name__])
    _fake(tmp_path, f"cat <<'END'\n{LISTED}END", monkeypatch)
    made = Processes(look, workers=2)
    whole = {"GPU-aaaa-0,GPU-bbbb-1", "GPU-cccc-2"}

    def seen() -> dict[int, str]:
        found: dict[int, str] = {}
        until = time.monotonic() + SECONDS
        while len(found) < 2:
            assert time.monotonic() < until, "one worker has taken all jobs"
            for job in [made.submit("look") for _ in range(2)]:
                try:
                    process, share, growth = job.result(SECONDS)
                except Crashed:  # it was sent to the killed worker; a search tries it again, too
                    continue
                assert growth == "true"
                found[process] = share
        return found

    try:
        workers = seen()
        assert set(workers.values()) == whole
        for share in sorted(whole):
            # the latest: a pool that is idle when it notices a death replaces all its workers
            process = next(n for n, its in reversed(workers.items()) if its == share)
            with contextlib.suppress(psutil.NoSuchProcess):
                killed = psutil.Process(process)
                killed.kill()
                killed.wait(SECONDS)
            workers = seen()
            assert set(workers.values()) == whole
            assert process not in workers
        with pytest.raises(Crashed):
            made.submit("die").result(SECONDS)
        assert set(seen().values()) == whole
    finally:
        made.close()
    assert VISIBLE not in os.environ
