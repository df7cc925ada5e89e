"""Against Keras itself: the same rows as keras.datasets, and downloading by keras.utils.get_file.

Downloads are real, from file: addresses.
"""

import hashlib
import os
import subprocess
import sys
import tarfile
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from trainer import datasets
from trainer.datasets import images, labels, tables, texts

keras = pytest.importorskip("keras")

MODULES = {
    "boston_housing": (tables, "BOSTON_FILE"),
    "california_housing": (tables, "CALIFORNIA_FILE"),
    "cifar10": (images, "CIFAR10_FILE"),
    "cifar100": (images, "CIFAR100_FILE"),
    "fashion_mnist": (images, "FASHION_MNIST_FILES"),
    "imdb": (texts, "IMDB_FILE"),
    "mnist": (images, "MNIST_FILE"),
    "reuters": (texts, "REUTERS_FILE"),
}


@pytest.fixture
def keras_rows(published, monkeypatch):
    """What Keras's own loader makes of the same files, whose hashes it would refuse."""

    def load(name, **options):
        loader = getattr(keras.datasets, name).load_data
        folder = published.folder / ("fashion-mnist" if name == "fashion_mnist" else "")

        def find(fname, **_):
            return str(folder / fname)

        monkeypatch.setitem(loader.__globals__, "get_file", find)
        return loader(**options)

    return load


@pytest.mark.parametrize("name", ["mnist", "fashion_mnist"])
def test_images_are_those_of_keras(name, published, keras_rows):
    getattr(published, name)()
    (x_train, y_train), (x_test, y_test) = keras_rows(name)
    dataset = datasets.load(name)
    np.testing.assert_array_equal(np.concatenate([dataset.valid.x, dataset.train.x]), x_train)
    np.testing.assert_array_equal(np.concatenate([dataset.valid.y, dataset.train.y]), y_train)
    np.testing.assert_array_equal(dataset.test.x, x_test)
    np.testing.assert_array_equal(dataset.test.y, y_test)
    assert dataset.train.y.dtype == y_train.dtype


def test_cifar100_is_that_of_keras(published, keras_rows):
    published.cifar100()
    unpacked = published.folder / "cifar-100-python-target"
    with tarfile.open(published.folder / "cifar-100-python.tar.gz") as archive:
        archive.extractall(unpacked, filter="data")
    (x_train, y_train), (x_test, y_test) = keras_rows("cifar100")
    dataset = datasets.load("cifar100")
    np.testing.assert_array_equal(np.concatenate([dataset.valid.x, dataset.train.x]), x_train)
    np.testing.assert_array_equal(np.concatenate([dataset.valid.y, dataset.train.y]), y_train[:, 0])
    np.testing.assert_array_equal(dataset.test.x, x_test)
    np.testing.assert_array_equal(dataset.test.y, y_test[:, 0])


@pytest.mark.parametrize("name", ["imdb", "reuters"])
def test_texts_are_those_of_keras_padded_by_keras(name, published, keras_rows):
    getattr(published, name)()
    (x_train, _), (x_test, y_test) = keras_rows(name, num_words=10_000)
    dataset = datasets.load(name)
    np.testing.assert_array_equal(dataset.test.x, keras.utils.pad_sequences(x_test, maxlen=200))
    np.testing.assert_array_equal(dataset.test.y, y_test)
    ours = np.concatenate([dataset.train.x, dataset.valid.x])
    theirs = keras.utils.pad_sequences(x_train, maxlen=200)
    assert sorted(map(bytes, ours)) == sorted(map(bytes, theirs))
    assert ours.dtype == theirs.dtype == np.int32


def test_the_test_rows_of_boston_housing_are_those_of_keras(published, keras_rows):
    published.boston_housing()
    _, (x_test, y_test) = keras_rows("boston_housing")
    dataset = datasets.load("boston_housing")
    np.testing.assert_array_equal(dataset.test.x, x_test)
    np.testing.assert_array_equal(dataset.test.y, y_test)


def test_the_names_of_reuters_topics_are_those_of_keras():
    assert tuple(labels.REUTERS) == keras.datasets.reuters.get_label_names()


@pytest.fixture
def at_origin(published, monkeypatch, tmp_path):
    """Move a published file from the cache to a file: address that downloads come from."""

    def move(name, file_hash=None):
        module, constant = MODULES[name]
        file = getattr(module, constant)
        origin = tmp_path / "origin"
        origin.mkdir()
        here = (published.folder / file.names[0]).rename(origin / file.names[0])
        digest = file_hash or hashlib.sha256(here.read_bytes()).hexdigest()
        moved = replace(file, origin=here.as_uri(), file_hash=digest)
        monkeypatch.setattr(module, constant, moved)

    return move


@pytest.mark.parametrize(
    ("name", "in_cache"),
    [
        ("mnist", "mnist.npz"),
        ("cifar100", "cifar-100-python-target_archive"),
    ],
)
def test_a_missing_file_is_downloaded_to_where_keras_keeps_it(name, in_cache, published, at_origin):
    x, _ = getattr(published, name)()
    at_origin(name)
    np.testing.assert_array_equal(datasets.load(name).test.x, x[60:])
    assert [path.name for path in published.folder.iterdir()] == [in_cache]


def test_what_a_killed_download_left_is_removed_by_the_next(published, at_origin):
    published.mnist()
    at_origin("mnist")
    script = (
        "import sys, time; from pathlib import Path; from trainer.utils.scratch import Scratch\n"
        "made = Scratch('download-', Path(sys.argv[1]))\n"
        "(made.path / 'half.npz').write_bytes(b'1'); print(flush=True); time.sleep(600)"
    )
    process = subprocess.Popen(
        [sys.executable, "-c", script, str(published.folder)],
        stdout=subprocess.PIPE,
        env=os.environ | {"PYTHONPATH": str(Path(__file__).parents[3])},
    )
    process.stdout.readline()
    process.kill()
    process.communicate()
    (published.folder / "download-of-mine").mkdir()
    assert len(list(published.folder.iterdir())) == 2
    datasets.load("mnist")
    assert {p.name for p in published.folder.iterdir()} == {"download-of-mine", "mnist.npz"}


def test_a_download_with_another_hash_is_refused_and_leaves_nothing(published, at_origin):
    published.mnist()
    at_origin("mnist", file_hash="0" * 64)
    with pytest.raises(datasets.DataFileError, match=r"could not download mnist\.npz .*hash"):
        datasets.load("mnist")
    assert list(published.folder.iterdir()) == []


@pytest.mark.parametrize("name", MODULES)
def test_an_impossible_download_says_which_file_to_put_where(
    name, published, monkeypatch, tmp_path
):
    module, constant = MODULES[name]
    nowhere = (tmp_path / "nowhere").as_uri()
    files = getattr(module, constant)
    if isinstance(files, list):
        gone = [replace(file, origin=nowhere) for file in files]
        expected = [file.name for file in files]
        folder = published.folder / "fashion-mnist"
    else:
        gone = replace(files, origin=nowhere)
        expected = [files.names[0]]
        folder = published.folder
    monkeypatch.setattr(module, constant, gone)
    with pytest.raises(datasets.DataFileError) as caught:
        datasets.load(name)
    message = str(caught.value)
    assert message.startswith(f"{name}: could not download {', '.join(expected)} (")
    assert f"put it into {folder} under" in message
    assert [path for path in folder.rglob("*") if path.is_file()] == []
    getattr(published, name)()
    monkeypatch.undo()
    monkeypatch.setenv("KERAS_HOME", str(published.folder.parent))
    assert datasets.load(name).name == name


def test_a_cache_that_cannot_be_written_is_named(published, monkeypatch, tmp_path):
    blocked = tmp_path / "blocked"
    blocked.write_text("a file where the folder should be")
    monkeypatch.setenv("KERAS_HOME", str(blocked))
    with pytest.raises(datasets.DataFileError, match="set KERAS_HOME"):
        datasets.load("mnist")
    assert blocked.read_text() == "a file where the folder should be"


def test_origins_and_hashes_are_those_of_the_installed_keras(monkeypatch):
    asked = {}

    class AskedError(Exception):
        pass

    def note(fname, origin, file_hash=None, **_):
        asked["got"] = (fname, origin, file_hash)
        raise AskedError

    for name, (module, constant) in MODULES.items():
        loader = getattr(keras.datasets, name).load_data
        monkeypatch.setitem(loader.__globals__, "get_file", note)
        with pytest.raises(AskedError):
            loader()
        files = getattr(module, constant)
        for file in files if isinstance(files, list) else [files]:
            if file.name == asked["got"][0].replace("-target", "-target_archive"):
                assert (file.origin, file.file_hash) == asked["got"][1:]
                break
        else:
            pytest.fail(f"{name}: no file {asked['got'][0]}")
