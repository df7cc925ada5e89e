"""Files that cannot be read or written: one clear error, and nothing on disk lost."""

from __future__ import annotations

import os
import shutil
import tempfile
import zipfile
from collections.abc import Callable, Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import keras
import numpy as np
import pytest
import warm

from trainer import Classifier, Regressor
from trainer.runs.directory import RunError

Row = tuple[Callable[[Any], Any], type[Exception], tuple[str, ...]]


@pytest.fixture(scope="session")  # as its folder: a module may be entered twice in a process
def files(given: SimpleNamespace) -> SimpleNamespace:
    """A folder of files good and bad, beside what is given."""
    folder = given.folder
    whole = given.on_array.save(folder / "good.keras").read_bytes()
    (folder / "cut.keras").write_bytes(whole[: len(whole) // 2])
    damaged = bytearray(whole)
    damaged[len(whole) // 2] ^= 255
    (folder / "damaged.keras").write_bytes(damaged)
    (folder / "empty.keras").write_bytes(b"")
    (folder / "text.keras").write_text("epochs: 10", "utf-8")
    (folder / "folder.keras").mkdir()
    keras.Sequential([keras.Input((4,)), keras.layers.Dense(1)]).save(folder / "plain.keras")
    with zipfile.ZipFile(folder / "foreign.keras", "w") as archive:
        archive.writestr("trainer.json", "{}")
        archive.writestr("model.weights.h5", b"")
    return given


# what is called, the error, and what its message holds: argument, value, remedy
LOAD: dict[str, Row] = {
    "a missing file": (
        lambda g: Classifier.load(g.folder / "god.keras"),
        FileNotFoundError,
        ("path='", "god.keras'", "no such file", "did you mean 'good.keras'?"),
    ),
    "a truncated file": (
        lambda g: Classifier.load(g.folder / "cut.keras"),
        ValueError,
        ("path='", "cut.keras'", "truncated or damaged", "save it again"),
    ),
    "a damaged file": (
        lambda g: Classifier.load(g.folder / "damaged.keras"),
        ValueError,
        ("path='", "damaged.keras'", "truncated or damaged", "save it again"),
    ),
    "an empty file": (
        lambda g: Classifier.load(g.folder / "empty.keras"),
        ValueError,
        ("path='", "empty.keras'", "not a file written by Classifier.save"),
    ),
    "a file of text": (
        lambda g: Classifier.load(g.folder / "text.keras"),
        ValueError,
        ("path='", "text.keras'", "not a file written by Classifier.save"),
    ),
    "a plain Keras model": (
        lambda g: Classifier.load(g.folder / "plain.keras"),
        ValueError,
        ("path='", "plain.keras'", "without trainer.json", "keras.models.load_model"),
    ),
    "a foreign archive": (
        lambda g: Classifier.load(g.folder / "foreign.keras"),
        ValueError,
        ("path='", "foreign.keras'", "trainer.json: its content lacks 'format'"),
    ),
    "a folder": (
        lambda g: Classifier.load(g.folder / "folder.keras"),
        RunError,
        ("path='", "folder.keras'", "is a folder without a run", "name of a .keras file"),
    ),
    "the file of another class": (
        lambda g: Regressor.load(g.folder / "good.keras"),
        ValueError,
        ("path='", "saved by Classifier, not Regressor", "write Classifier.load("),
    ),
    "a number": (lambda g: Classifier.load(3), TypeError, ("path=3", "'model.keras'")),
}

SAVE: dict[str, Row] = {
    "another ending": (
        lambda g: g.on_array.save(g.folder / "a.h5"),
        ValueError,
        ("a.h5'", "must end in .keras", "a.h5.keras'"),
    ),
    "a folder that is not there": (
        lambda g: g.on_array.save(g.folder / "none" / "a.keras"),
        FileNotFoundError,
        ("none/a.keras'", "there is no folder"),
    ),
    "the name of a folder": (
        lambda g: g.on_array.save(g.folder / "folder.keras"),
        IsADirectoryError,
        ("folder.keras'", "could not be written", "write the name of a file"),
    ),
    "a number": (lambda g: g.on_array.save(3), TypeError, ("path=3", "'model.keras'")),
}


@pytest.mark.usefixtures("files")
@pytest.mark.parametrize(("call", "error", "words"), LOAD.values(), ids=LOAD.keys())
def test_load_refuses(refuses: Any, call: Any, error: Any, words: Any) -> None:
    refuses(call, error, words)


@pytest.mark.usefixtures("files")
@pytest.mark.parametrize(("call", "error", "words"), SAVE.values(), ids=SAVE.keys())
def test_save_refuses(refuses: Any, call: Any, error: Any, words: Any) -> None:
    refuses(call, error, words)


def test_a_file_cut_short_anywhere_is_refused(files: SimpleNamespace, tmp_path: Path) -> None:
    whole = (files.folder / "good.keras").read_bytes()
    cut = tmp_path / "cut.keras"
    for size in np.linspace(0, len(whole) - 1, 50).astype(int):
        cut.write_bytes(whole[:size])
        with pytest.raises(ValueError, match=r"truncated|not a file written"):
            Classifier.load(cut)


# Saves again where that cannot succeed. Root may write anywhere: it steps down first.
SCRIPT = """
import os, resource, sys
from pathlib import Path
import numpy as np
from trainer import Classifier

folder = Path(sys.argv[1])
x, y = np.random.default_rng(0).normal(size=(30, 4)), np.arange(30) % 3
trained = Classifier(epochs=1).fit(x, y)
path = trained.save(folder / "kept.keras")
before = path.read_bytes()

def save_again():
    try:
        trained.save(path)
    except OSError as error:
        print(type(error).__name__, error)
    else:
        print("saved")

unlimited = resource.RLIM_INFINITY
resource.setrlimit(resource.RLIMIT_FSIZE, (len(before) // 2, unlimited))
save_again()
print(path.read_bytes() == before, os.listdir(folder))

resource.setrlimit(resource.RLIMIT_FSIZE, (unlimited, unlimited))
os.chmod(folder, 0o555)
if os.geteuid() == 0:
    os.seteuid(65534)
save_again()
os.seteuid(os.getuid())
print(path.read_bytes() == before, os.listdir(folder))
"""

posix = pytest.mark.skipif(os.name != "posix", reason="limits and permissions are POSIX's")


@pytest.fixture(scope="module")
def troubles() -> Iterator[SimpleNamespace]:
    """What SCRIPT printed, and the folder in which it saved."""
    folder = Path(tempfile.mkdtemp())  # pytest's own only their owner may enter
    folder.chmod(0o755)
    run = warm.run(SCRIPT, folder)
    assert run.returncode == 0, run.stderr
    yield SimpleNamespace(folder=folder, said=run.stdout.splitlines())
    folder.chmod(0o755)
    shutil.rmtree(folder)


@posix
def test_a_full_disk_leaves_the_old_file_whole(troubles: SimpleNamespace) -> None:
    error, kept = troubles.said[:2]
    assert error.startswith("OSError")
    assert str(troubles.folder / "kept.keras") in error
    assert "File too large" in error
    assert "make room" in error
    assert kept == "True ['kept.keras']"


@posix
def test_an_unwritable_folder_leaves_the_old_file_whole(troubles: SimpleNamespace) -> None:
    error, kept = troubles.said[2:]
    assert error.startswith("PermissionError")
    assert str(troubles.folder / "kept.keras") in error
    assert "where you may write" in error
    assert kept == "True ['kept.keras']"
