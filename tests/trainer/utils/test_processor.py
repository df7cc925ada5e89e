"""processor: the cores that may be used, and what tells kinds of processors apart."""

from __future__ import annotations

import os
import platform
from pathlib import Path

import pytest

from trainer.utils import processor

AMD = "processor\t: 0\nmodel\t\t: 1\nmodel name\t: AMD EPYC\nflags\t\t: sse fma avx2 avx\n"
ARM = "processor\t: 0\nFeatures\t: fp asimd sve\nCPU implementer\t: 0x41\nCPU part\t: 0xd40\n"


def test_the_cores_are_those_that_this_process_may_use() -> None:
    assert 1 <= processor.usable() <= (os.cpu_count() or 1)
    if hasattr(os, "sched_setaffinity"):
        allowed = os.sched_getaffinity(0)
        os.sched_setaffinity(0, {min(allowed)})
        try:
            assert processor.usable() == 1
        finally:
            os.sched_setaffinity(0, allowed)


@pytest.mark.parametrize(
    ("said", "sets"), [(AMD, {"sse", "fma", "avx2", "avx"}), (ARM, {"fp", "asimd", "sve"})]
)
def test_instruction_sets_are_those_of_the_first_processor(
    said: str, sets: set[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "cpuinfo"
    path.write_text(f"{said}\nprocessor\t: 1\nflags\t: other\nFeatures\t: other\n")
    monkeypatch.setattr(processor, "INFORMATION", path)
    assert processor.instructions() == sets


def test_where_the_system_names_no_instruction_sets_they_are_not_known(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(processor, "INFORMATION", tmp_path / "none")
    assert processor.instructions() is None
    path = tmp_path / "cpuinfo"
    path.write_text("processor\t: 0\n\n")
    monkeypatch.setattr(processor, "INFORMATION", path)
    assert processor.instructions() is None


def test_processors_of_one_name_differ_by_what_changes_the_order_of_sums() -> None:
    first = {
        "model name": "AMD EPYC",
        "cpu family": "25",
        "model": "1",
        "flags": "sse fma avx2 avx",
    }
    kind = processor.kind_of(first, "x86_64")
    assert kind == "AMD EPYC, cpu family 25, model 1, avx avx2 fma"
    assert processor.kind_of({**first, "flags": "avx avx2 fma sse ht"}, "x86_64") == kind
    assert processor.kind_of({**first, "flags": "sse fma avx2 avx avx512f"}, "x86_64") != kind
    assert processor.kind_of({**first, "model": "17"}, "x86_64") != kind
    arm = {"Features": "fp asimd sve", "CPU implementer": "0x41", "CPU part": "0xd40"}
    assert processor.kind_of(arm, "aarch64") == "CPU implementer 0x41, CPU part 0xd40, asimd sve"
    assert processor.kind_of({}, "arm") == "arm"


def test_the_kind_of_this_processor_has_its_name() -> None:
    assert processor.kind()
    if platform.system() == "Linux" and platform.machine() == "x86_64":
        assert "avx" in processor.kind().split()
