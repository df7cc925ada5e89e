"""Against Keras itself: the same rows as keras.datasets, and downloading by keras.utils.get_file.

Downloads are real, from file: addresses.
"""

import hashlib
import json
import os
import subprocess
import sys
import tarfile
import threading
from dataclasses import replace
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
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


@pytest.mark.parametrize("name", ["imdb", "reuters"])
def test_as_text_each_row_is_the_words_of_the_word_index(name, published, keras_rows):
    getattr(published, name)()
    index = {f"w{rank}": rank for rank in range(1, 20_000)}
    (published.folder / f"{name}_word_index.json").write_text(json.dumps(index))
    _, (x_test, y_test) = keras_rows(name, num_words=30_000)
    dataset = datasets.load(name, as_text=True)
    # Keras puts 1 before each text, and adds 3 to each rank
    assert dataset.test.x.tolist() == [" ".join(f"w{i - 3}" for i in row[1:]) for row in x_test]
    np.testing.assert_array_equal(dataset.test.y, y_test)


def test_as_text_is_refused_where_there_is_no_text():
    with pytest.raises(ValueError, match=r"as_text=True: only for imdb and reuters"):
        datasets.load("digits", as_text=True)


def test_a_word_index_without_a_word_is_told_of(published):
    published.imdb()
    (published.folder / "imdb_word_index.json").write_text('{"the": 1}')
    with pytest.raises(datasets.DataFileError, match=r"has no word of rank \d+"):
        datasets.load("imdb", as_text=True)


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

    def move(name, file_hash=None, *, mirrored=False):
        module, constant = MODULES[name]
        file = getattr(module, constant)
        origin = tmp_path / "origin"
        origin.mkdir()
        here = (published.folder / file.names[0]).rename(origin / file.names[0])
        digest = file_hash or hashlib.sha256(here.read_bytes()).hexdigest()
        # No address leads there but the mirror's, where there is one.
        address = here.with_name("elsewhere").joinpath(here.name) if mirrored else here
        moved = replace(file, origin=address.as_uri(), file_hash=digest)
        monkeypatch.setattr(module, constant, moved)
        return origin

    return move


@pytest.fixture
def served():
    """Serves folders at http: addresses of this machine."""
    servers = []

    def serve(folder):
        handler = partial(SimpleHTTPRequestHandler, directory=str(folder))
        servers.append(ThreadingHTTPServer(("127.0.0.1", 0), handler))
        threading.Thread(target=servers[-1].serve_forever, daemon=True).start()
        return f"http://127.0.0.1:{servers[-1].server_port}"

    yield serve
    for server in servers:
        server.shutdown()
        server.server_close()


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
        "(made.path / 'half.npz').write_bytes(b'1'); print(flush=True); time.sleep(3600)"
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
    with pytest.raises(datasets.DataFileError, match=r"mnist\.npz is incomplete or another.*hash"):
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
                assert file.origin == asked["got"][1]
                # Keras has none for Fashion-MNIST.
                assert asked["got"][2] in (file.file_hash, None)
                break
        else:
            pytest.fail(f"{name}: no file {asked['got'][0]}")


def write_for_mirror(served, folder, kind):
    return {"folder": str, "file": lambda f: f"{f.as_uri()}/", "http": served}[kind](folder)


@pytest.mark.parametrize("kind", ["folder", "file", "http"])
def test_a_mirror_takes_the_place_of_the_usual_host(
    kind, published, at_origin, served, monkeypatch
):
    x, _ = published.mnist()
    folder = at_origin("mnist", mirrored=True)
    with pytest.raises(datasets.DataFileError, match="set TRAINER_DATASETS_MIRROR to the address"):
        datasets.load("mnist")
    monkeypatch.setenv("TRAINER_DATASETS_MIRROR", write_for_mirror(served, folder, kind))
    np.testing.assert_array_equal(datasets.load("mnist").test.x, x[60:])


def test_a_mirror_has_fashion_mnist_in_a_folder_of_its_own(published, monkeypatch, tmp_path):
    x, _ = published.fashion_mnist()
    mirror = tmp_path / "mirror"
    mirror.mkdir()
    here = (published.folder / "fashion-mnist").rename(mirror / "fashion-mnist")
    files = [
        replace(file, file_hash=hashlib.md5((here / file.name).read_bytes()).hexdigest())
        for file in images.FASHION_MNIST_FILES
    ]
    monkeypatch.setattr(images, "FASHION_MNIST_FILES", files)
    monkeypatch.setenv("TRAINER_DATASETS_MIRROR", mirror.as_uri())
    np.testing.assert_array_equal(datasets.load("fashion_mnist").test.x, x[60:])


def test_a_file_of_a_mirror_with_another_checksum_is_refused(
    published, at_origin, served, monkeypatch
):
    published.mnist()
    address = served(at_origin("mnist", file_hash="0" * 64, mirrored=True))
    monkeypatch.setenv("TRAINER_DATASETS_MIRROR", address)
    with pytest.raises(datasets.DataFileError, match=rf"{address}/mnist\.npz is .*another mirror"):
        datasets.load("mnist")
    assert list(published.folder.iterdir()) == []
