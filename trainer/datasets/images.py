"""The public image sets that come with a test set: MNIST, Fashion-MNIST, CIFAR-10 and CIFAR-100.

Images are uint8 of shape (n, height, width), or (n, height, width, 3) for colour; labels are
uint8 of shape (n,). The first 5,000 training rows are used for validation.
"""

from __future__ import annotations

import tarfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import IO

import numpy as np

from trainer.datasets import labels
from trainer.datasets.cache import KERAS_FILES, PublishedFile, fetch, reading
from trainer.datasets.dataset import Dataset, Split
from trainer.datasets.idx import read_idx
from trainer.datasets.pickled import ArrayUnpickler, read_npz
from trainer.datasets.splits import as_dataset, check_rows, split_off_first_rows

CIFAR_FILES = "https://www.cs.toronto.edu/~kriz/"
CIFAR_SOURCE = "A. Krizhevsky (2009): Learning Multiple Layers of Features from Tiny Images"

MNIST_FILE = PublishedFile(
    name="mnist.npz",
    origin=f"{KERAS_FILES}mnist.npz",
    file_hash="731c5ac602752760c8e48fbffcf8c3b850d9dc2a2aedcf2cc48468fc17b673d1",
)
FASHION_MNIST_FILES = [
    PublishedFile(
        name=name, origin=KERAS_FILES + name, file_hash=md5, folder="datasets/fashion-mnist"
    )
    # Keras verifies none; these are the checksums that the publisher prints in its README.
    for name, md5 in (
        ("train-images-idx3-ubyte.gz", "8d4fb7e6c68d591d4c3dfef9ec88bf0d"),
        ("train-labels-idx1-ubyte.gz", "25c81989df183df01b3e8a0aad5dffbe"),
        ("t10k-images-idx3-ubyte.gz", "bef4ecab320f06d8554ea6380940ec79"),
        ("t10k-labels-idx1-ubyte.gz", "bb300cfdad3c16e7a12a480ee83cd310"),
    )
]
# Keras stores the archive under the name of the folder that it unpacks it into.
CIFAR10_FILE = PublishedFile(
    name="cifar-10-batches-py-target_archive",
    origin=f"{CIFAR_FILES}cifar-10-python.tar.gz",
    file_hash="6d958be074577803d12ecdefd02955f39262c83c16fe9348329d7fe0b5c001ce",
    by_hand=("cifar-10-python.tar.gz", "cifar-10-batches-py-target/cifar-10-batches-py"),
)
CIFAR100_FILE = PublishedFile(
    name="cifar-100-python-target_archive",
    origin=f"{CIFAR_FILES}cifar-100-python.tar.gz",
    file_hash="85cd44d02ba6437773c5bbd22e183051d648de2e7d6b014e1ef29b855ba677a7",
    by_hand=("cifar-100-python.tar.gz", "cifar-100-python-target/cifar-100-python"),
)


def mnist(_seed: int) -> Dataset:
    """Load MNIST; its split is fixed."""
    (path,) = fetch("mnist", [MNIST_FILE])
    with reading(path, "the .npz file of MNIST", cached=True):
        x_train, y_train, x_test, y_test = read_npz(
            path, ["x_train", "y_train", "x_test", "y_test"]
        )
        train, test = _checked(x_train, y_train), _checked(x_test, y_test)
    return as_dataset(
        split_off_first_rows(train, test),
        name="mnist",
        task="classification",
        class_names=labels.DIGITS,
        description="Greyscale images of handwritten digits, 28 x 28 pixels from 0 to 255.",
        source="Y. LeCun, C. Cortes, C. J. C. Burges: The MNIST database of handwritten digits",
    )


def fashion_mnist(_seed: int) -> Dataset:
    """Load Fashion-MNIST; its split is fixed."""
    paths = fetch("fashion_mnist", FASHION_MNIST_FILES)
    x_train, y_train, x_test, y_test = (read_idx(path, cached=True) for path in paths)
    with reading(paths[0], "the file that matches its labels", cached=True):
        train = _checked(x_train, y_train)
    with reading(paths[2], "the file that matches its labels", cached=True):
        test = _checked(x_test, y_test)
    return as_dataset(
        split_off_first_rows(train, test),
        name="fashion_mnist",
        task="classification",
        class_names=labels.FASHION_MNIST,
        description="Greyscale images of articles of clothing, 28 x 28 pixels from 0 to 255.",
        source="H. Xiao, K. Rasul, R. Vollgraf (2017): Fashion-MNIST: a Novel Image Dataset for "
        "Benchmarking Machine Learning Algorithms, arXiv:1708.07747",
    )


def cifar10(_seed: int) -> Dataset:
    """Load CIFAR-10; its split is fixed."""
    train_names = [f"data_batch_{number}" for number in range(1, 6)]
    return as_dataset(
        split_off_first_rows(
            *_cifar("cifar10", CIFAR10_FILE, train_names, "test_batch", b"labels")
        ),
        name="cifar10",
        task="classification",
        class_names=labels.CIFAR10,
        description="Colour images of animals and vehicles, 32 x 32 pixels from 0 to 255.",
        source=CIFAR_SOURCE,
    )


def cifar100(_seed: int) -> Dataset:
    """Load CIFAR-100 with the fine labels; its split is fixed."""
    return as_dataset(
        split_off_first_rows(*_cifar("cifar100", CIFAR100_FILE, ["train"], "test", b"fine_labels")),
        name="cifar100",
        task="classification",
        class_names=labels.CIFAR100,
        description="Colour images of 100 kinds of objects, 32 x 32 pixels from 0 to 255, "
        "with the fine labels.",
        source=CIFAR_SOURCE,
    )


def _checked(x: np.ndarray, y: np.ndarray) -> Split:
    check_rows(x, y, x_name="x", y_name="y")
    return Split(x, y)


def _cifar(
    dataset: str, file: PublishedFile, train_names: list[str], test_name: str, label_key: bytes
) -> tuple[Split, Split]:
    (path,) = fetch(dataset, [file])
    with reading(path, "the archive of this data set", cached=True):
        batches = dict(_batches(path, {*train_names, test_name}, label_key))
        if missing := sorted({*train_names, test_name} - set(batches)):
            raise ValueError(f"it lacks {', '.join(missing)}")
    train = [batches[name] for name in train_names]
    x, y = (np.concatenate(parts) for parts in zip(*train, strict=True))
    return Split(x, y), batches[test_name]


def _batches(path: Path, names: set[str], label_key: bytes) -> Iterator[tuple[str, Split]]:
    """Yield the named batches of the archive, or of the folder it was unpacked into."""
    if path.is_dir():
        for name in names:
            with (path / name).open("rb") as stream:
                yield name, _batch(stream, label_key)
        return
    with tarfile.open(path) as archive:
        for member in archive:
            name = Path(member.name).name
            content = archive.extractfile(member)
            if content is not None and name in names:
                yield name, _batch(content, label_key)


def _batch(stream: IO[bytes], label_key: bytes) -> Split:
    content = ArrayUnpickler(stream, encoding="bytes").load()
    # Each row has all red values, then all green, then all blue.
    x = np.asarray(content[b"data"]).reshape(-1, 3, 32, 32).transpose(0, 2, 3, 1)
    return _checked(np.ascontiguousarray(x), np.asarray(content[label_key], dtype=np.uint8))


LOADERS: dict[str, Callable[[int], Dataset]] = {
    "mnist": mnist,
    "fashion_mnist": fashion_mnist,
    "cifar10": cifar10,
    "cifar100": cifar100,
}


def published() -> dict[str, list[PublishedFile]]:
    """Return the files of each data set."""
    return {
        "mnist": [MNIST_FILE],
        "fashion_mnist": FASHION_MNIST_FILES,
        "cifar10": [CIFAR10_FILE],
        "cifar100": [CIFAR100_FILE],
    }
