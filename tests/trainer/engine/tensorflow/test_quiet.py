"""TensorFlow starts without a word; what it says as it fails, and what others say, is passed on."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
from patience import WORK

ROOT = Path(__file__).parents[4]
LINES = """\
WARNING: All log messages before absl::InitializeLog() is called are written to STDERR
I0000 00:00:1795762426.060183    7313 port.cc:153] oneDNN custom operations are on.
W0000 00:00:1795762426.119639    7313 cpu_feature_guard.cc:227] This TensorFlow binary is optimized
To enable the following instructions: AVX2 FMA, in other operations, rebuild TensorFlow with flags.
2024-01-02 03:04:05.678901: I tensorflow/core/util/port.cc:113] oneDNN custom operations are on.
2024-01-02 03:04:05.678901: W external/local_tsl/cuda.cc:1] Could not find it.
"""
OTHERS = """\
E0000 00:00:1795762426.060183    7313 cuda_platform.cc:52] a driver that does not fit
I am no line of log
"""
# a library that writes to stderr as TensorFlow's do, below Python
FAKE = f"""
import os

how = os.environ.get("HOW")
if how != "silent":
    os.write(2, {LINES + OTHERS!r}.encode())
if how == "raise":
    raise ImportError("a reason")
if how == "abort":
    os.abort()
"""


def _said(folder: Path, script: str, **environment: str) -> tuple[int, str]:
    package = folder / "tensorflow"
    package.mkdir(exist_ok=True)
    (package / "__init__.py").write_text(FAKE)
    own = {k: v for k, v in os.environ.items() if k != "TF_CPP_MIN_LOG_LEVEL"}
    path = f"{folder}{os.pathsep}{ROOT}"
    done = subprocess.run(
        [sys.executable, "-c", script],
        capture_output=True,
        text=True,
        timeout=WORK,
        env=own | {"PYTHONPATH": path} | environment,
    )
    return done.returncode, done.stderr


def test_lines_of_log_are_held_back_and_all_others_are_not(tmp_path: Path) -> None:
    script = "import importlib.util as u, trainer; u.find_spec('tensorflow'); import tensorflow"
    assert _said(tmp_path, script) == (0, OTHERS)
    assert _said(tmp_path, script, TF_CPP_MIN_LOG_LEVEL="3") == (0, OTHERS)


def test_an_import_that_fails_says_all(tmp_path: Path) -> None:
    code, said = _said(tmp_path, "import trainer, tensorflow", HOW="raise")
    assert code == 1
    assert all(line in said for line in (LINES + OTHERS).splitlines())
    assert "ImportError: a reason" in said


def test_an_import_that_ends_the_process_says_all(tmp_path: Path) -> None:
    code, said = _said(tmp_path, "import trainer, tensorflow", HOW="abort")
    assert code < 0
    assert all(line in said for line in (LINES + OTHERS).splitlines())


@pytest.mark.parametrize("level", ["0", "1", "2"])
def test_who_asks_for_lines_gets_them(tmp_path: Path, level: str) -> None:
    script = "import trainer, tensorflow"
    assert _said(tmp_path, script, TF_CPP_MIN_LOG_LEVEL=level) == (0, LINES + OTHERS)


def test_nothing_is_changed_where_tensorflow_was_there_before(tmp_path: Path) -> None:
    script = """
import os, sys
import tensorflow
before = list(sys.meta_path)
import trainer
assert sys.meta_path == before and "TF_CPP_MIN_LOG_LEVEL" not in os.environ
"""
    assert _said(tmp_path, script) == (0, LINES + OTHERS)


def test_stderr_is_as_it_was_after_the_import(tmp_path: Path) -> None:
    script = f"""
import os, subprocess, sys
import trainer, tensorflow
os.write(2, {LINES!r}.encode())
print("in order", file=sys.stderr, flush=True)
subprocess.run(["sh", "-c", "echo of a child >&2"])
assert not any(type(f).__module__ == "trainer.engine.tensorflow.quiet" for f in sys.meta_path)
"""
    assert _said(tmp_path, script) == (0, f"{OTHERS}{LINES}in order\nof a child\n")


def test_a_process_without_stderr_imports_it_too(tmp_path: Path) -> None:
    script = "import os; os.close(2); import trainer, tensorflow; print(tensorflow.__name__)"
    assert _said(tmp_path, script, HOW="silent") == (0, "")


def test_a_training_with_verbose_0_prints_nothing() -> None:
    script = """
import numpy as np
from trainer import Regressor

Regressor(epochs=1, verbose=0).fit(np.ones((8, 2), "float32"), np.ones(8, "float32"))
"""
    own = {k: v for k, v in os.environ.items() if k != "TF_CPP_MIN_LOG_LEVEL"}
    done = subprocess.run(
        [sys.executable, "-c", script],
        capture_output=True,
        text=True,
        timeout=WORK,
        env=own | {"PYTHONPATH": str(ROOT)},
    )
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
