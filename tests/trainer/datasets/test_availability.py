"""What `check` says is at hand."""

import importlib.machinery
import socket
import sys
import threading

import pytest
from patience import SECONDS

from trainer import datasets
from trainer.datasets import cache, images, tables, texts


@pytest.fixture
def mirror(tmp_path, monkeypatch):
    folder = tmp_path / "mirror"
    folder.mkdir()
    monkeypatch.setenv("TRAINER_DATASETS_MIRROR", str(folder))
    return folder


def test_every_named_data_set_is_ready_downloadable_or_missing(published, mirror):
    published.imdb()
    (mirror / "mnist.npz").touch()
    (mirror / "cifar-10-python.tar.gz").touch()
    (mirror / "fashion-mnist").mkdir()
    (mirror / "fashion-mnist" / "train-images-idx3-ubyte.gz").touch()
    found = datasets.check()
    assert found.index[: len(datasets.names())].tolist() == datasets.names()
    states = found["state"].to_dict()
    assert {name for name in datasets.names() if states[name] == "downloadable"} == {
        "mnist",
        "cifar10",
    }
    assert {name for name in datasets.names() if states[name] == "ready"} == {
        "breast_cancer",
        "diabetes",
        "digits",
        "imdb",
        "iris",
        "wine",
    }
    assert found.loc["imdb", "note"] == f"in {published.folder.parent}"
    assert found.loc["mnist", "note"] == f"from {(mirror / 'mnist.npz').as_uri()}"
    note = found.loc["fashion_mnist", "note"]
    assert f"{mirror.as_uri()}/fashion-mnist/train-labels-idx1-ubyte.gz cannot be reached" in note
    assert "put train-labels-idx1-ubyte.gz into" in note
    assert "or set TRAINER_DATASETS_MIRROR" in note
    assert "No such file" in note


def test_files_in_the_cache_under_any_of_their_names_are_ready(published, mirror):
    published.cifar10("cifar-10-batches-py-target_archive")
    published.cifar100("cifar-100-python.tar.gz")
    assert datasets.check().loc[["cifar10", "cifar100"], "state"].tolist() == ["ready", "ready"]


def test_packages_for_kinds_of_files_are_named_where_they_are_missing(
    published, mirror, monkeypatch
):
    class Installed:
        """A finder to which pyarrow is installed, and openpyxl is not."""

        def find_spec(self, name, path=None, target=None):
            if name == "pyarrow":
                return importlib.machinery.ModuleSpec(name, None)
            return None

    for package in ("pyarrow", "openpyxl"):
        monkeypatch.delitem(sys.modules, package, raising=False)
    monkeypatch.setattr(sys, "meta_path", [Installed()])
    found = datasets.check()
    assert found.loc[".parquet"].tolist() == ["ready", "read with pyarrow"]
    assert found.loc[".xlsx"].tolist() == [
        "missing",
        "pip install openpyxl, or pip install 'exact-trainer[excel]'",
    ]


def test_an_address_that_is_none_is_refused(published, monkeypatch):
    monkeypatch.setenv("TRAINER_DATASETS_MIRROR", "not/a/folder")
    for call in (datasets.check, lambda: datasets.load("mnist")):
        with pytest.raises(ValueError, match=r"MIRROR='not/a/folder': is neither a folder nor an"):
            call()


def test_a_timeout_that_is_none_is_refused(published):
    with pytest.raises(ValueError, match="timeout=0: must be a finite number above 0"):
        datasets.check(timeout=0)


def test_a_mirror_that_does_not_answer_is_named(published, monkeypatch):
    monkeypatch.setenv("TRAINER_DATASETS_MIRROR", "http://127.0.0.1:1/data/")
    note = datasets.check().loc["mnist", "note"]
    assert note.startswith("http://127.0.0.1:1/data/mnist.npz cannot be reached (")


def test_a_host_that_never_answers_is_given_up(published, monkeypatch):
    monkeypatch.setattr(cache, "PATIENCE", 0.2)
    with socket.create_server(("127.0.0.1", 0)) as silent:
        address = f"http://127.0.0.1:{silent.getsockname()[1]}"
        monkeypatch.setenv("TRAINER_DATASETS_MIRROR", address)
        with pytest.raises(datasets.DataFileError, match=r"could not download mnist.npz \(.*timed"):
            datasets.load("mnist")


def test_all_files_of_published_data_sets_have_checksums():
    files = images.published() | texts.published() | tables.published()
    assert files.keys() <= set(datasets.names())
    for file in (file for parts in files.values() for file in parts):
        assert len(bytes.fromhex(file.file_hash)) in (16, 32)


def test_asking_ends_in_time_where_a_name_or_an_answer_takes_for_ever(monkeypatch):
    released = threading.Event()

    def drip(server):
        connection, _ = server.accept()
        with connection:
            while not released.wait(0.05):  # each byte starts the limit of the socket anew
                connection.sendall(b"H")

    look_up = socket.getaddrinfo

    def slow(host, *more, **named):
        if host == "slow.example":
            released.wait(SECONDS)
        return look_up(host, *more, **named)

    monkeypatch.setattr(socket, "getaddrinfo", slow)
    with socket.create_server(("127.0.0.1", 0)) as server:
        thread = threading.Thread(target=drip, args=(server,))
        thread.start()
        dripping = f"http://127.0.0.1:{server.getsockname()[1]}/"
        addresses = ["http://slow.example/", dripping, "nonsense"]
        found = cache.unreachable_each(addresses, 1.5)  # it waits for neither
        released.set()
        thread.join()
    said = "no answer within 1.5 seconds"
    assert [found[address] for address in addresses[:2]] == [said, said]
    assert "unknown url type" in found["nonsense"]
