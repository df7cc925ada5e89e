"""The public data sets, read from small files in the publishers' formats; nothing is downloaded."""

import os
import pickle
import shutil
import subprocess
import sys

import numpy as np
import pandas as pd
import pytest
from patience import WORK

from trainer import datasets

KERAS_SETS = [
    "boston_housing",
    "cifar10",
    "cifar100",
    "fashion_mnist",
    "imdb",
    "mnist",
    "reuters",
]
IMAGE_SETS = ["cifar10", "cifar100", "fashion_mnist", "mnist"]
FILES = {
    "boston_housing": "boston_housing.npz",
    "california_housing": "california_housing.npz",
    "cifar10": "cifar-10-python.tar.gz",
    "cifar100": "cifar-100-python.tar.gz",
    "fashion_mnist": "fashion-mnist/train-images-idx3-ubyte.gz",
    "imdb": "imdb.npz",
    "mnist": "mnist.npz",
    "reuters": "reuters.npz",
}


def rows_of(dataset):
    return [len(part.x) for part in (dataset.train, dataset.valid, dataset.test)]


def test_names_lists_the_thirteen_sets():
    bundled = ["digits", "iris", "wine", "breast_cancer", "diabetes"]
    assert datasets.names() == sorted([*KERAS_SETS, "california_housing", *bundled])


@pytest.mark.parametrize("name", IMAGE_SETS)
def test_an_image_set_keeps_its_test_rows_and_gives_its_first_training_rows_to_validation(
    name, published
):
    x, y = getattr(published, name)()
    dataset = datasets.load(name, seed=7)
    assert rows_of(dataset) == [54, 6, 20]
    expected = {"valid": slice(0, 6), "train": slice(6, 60), "test": slice(60, 80)}
    for split, rows in expected.items():
        part = getattr(dataset, split)
        assert part.x.dtype == part.y.dtype == np.uint8
        np.testing.assert_array_equal(part.x, x[rows])
        np.testing.assert_array_equal(part.y, y[rows])
    assert dataset.task == "classification"
    assert "first 6 training rows" in dataset.description


def test_five_thousand_training_rows_of_mnist_are_for_validation(published):
    rng = np.random.default_rng(0)
    arrays = {
        "x_train": np.zeros((60_000, 28, 28), np.uint8),
        "y_train": rng.integers(0, 10, 60_000, dtype=np.uint8),
        "x_test": np.zeros((10_000, 28, 28), np.uint8),
        "y_test": rng.integers(0, 10, 10_000, dtype=np.uint8),
    }
    np.savez(published.folder / "mnist.npz", **arrays)
    dataset = datasets.load("mnist")
    assert rows_of(dataset) == [55_000, 5_000, 10_000]
    np.testing.assert_array_equal(dataset.valid.y, arrays["y_train"][:5_000])


@pytest.mark.parametrize("name", IMAGE_SETS)
def test_the_arrays_can_be_changed_in_place(name, published):
    getattr(published, name)()
    dataset = datasets.load(name)
    for part in (dataset.train, dataset.valid, dataset.test):
        assert part.x.flags.writeable
        assert part.y.flags.writeable


@pytest.mark.parametrize(
    ("name", "count", "first", "last"),
    [
        ("mnist", 10, "0", "9"),
        ("fashion_mnist", 10, "T-shirt/top", "Ankle boot"),
        ("cifar10", 10, "airplane", "truck"),
        ("cifar100", 100, "apple", "worm"),
        ("imdb", 2, "negative", "positive"),
        ("reuters", 46, "cocoa", "lead"),
    ],
)
def test_classes_have_their_real_names(name, count, first, last, published):
    getattr(published, name)()
    names = datasets.load(name).class_names
    assert (len(set(names)), names[0], names[-1]) == (count, first, last)
    names.clear()
    assert len(datasets.load(name).class_names) == count


@pytest.mark.parametrize("name", ["cifar-10-batches-py-target_archive", "cifar-10-python.tar.gz"])
def test_cifar10_is_read_from_the_archive_under_keras_name_and_the_publishers(name, published):
    x, _ = published.cifar10(name)
    np.testing.assert_array_equal(datasets.load("cifar10").test.x, x[60:])


def test_cifar10_is_read_from_the_folder_that_keras_unpacks(published):
    members, (x, y) = published.cifar10_members()
    unpacked = published.folder / "cifar-10-batches-py-target"
    for name, content in members.items():
        (unpacked / name).parent.mkdir(parents=True, exist_ok=True)
        (unpacked / name).write_bytes(content)
    dataset = datasets.load("cifar10")
    np.testing.assert_array_equal(np.concatenate([dataset.valid.x, dataset.train.x]), x[:60])
    np.testing.assert_array_equal(dataset.test.y, y[60:])

    (unpacked / "cifar-10-batches-py" / "data_batch_3").unlink()
    with pytest.raises(datasets.DataFileError, match="data_batch_3"):
        datasets.load("cifar10")


def test_a_missing_cifar_batch_is_named(published):
    members, _ = published.cifar10_members()
    del members["cifar-10-batches-py/data_batch_4"]
    published.write_tar("cifar-10-python.tar.gz", members)
    with pytest.raises(datasets.DataFileError, match="lacks data_batch_4"):
        datasets.load("cifar10")


def test_texts_are_the_last_200_words_of_the_10000_commonest(published):
    # Ranks 9,996 and 9,997 are the last index that is kept and the first that is not.
    texts = [[5, 9_996, 9_997], list(range(1, 300))] * 10
    x = np.empty(20, dtype=object)
    x[:] = texts
    y = np.array([0, 1] * 10)
    np.savez(published.folder / "imdb.npz", x_train=x, y_train=y, x_test=x, y_test=y)
    test = datasets.load("imdb").test
    assert test.x.shape == (20, 200)
    assert test.x.dtype == np.int32
    short, long = test.x[test.y == 0], test.x[test.y == 1]
    np.testing.assert_array_equal(short, [[0] * 196 + [1, 8, 9_999, 2]] * 10)
    np.testing.assert_array_equal(long, [list(range(103, 303))] * 10)


@pytest.mark.parametrize("name", ["imdb", "reuters", "boston_housing"])
def test_a_seeded_fifth_of_the_training_rows_is_for_validation(name, published):
    getattr(published, name)()
    first, again, other = (datasets.load(name, seed=seed) for seed in (0, 0, 1))
    assert rows_of(first) == ([51, 13, 16] if name != "imdb" else [48, 12, 20])
    np.testing.assert_array_equal(first.valid.x, again.valid.x)
    np.testing.assert_array_equal(first.test.x, other.test.x)
    assert not np.array_equal(first.valid.x, other.valid.x)
    if name == "imdb":
        assert np.bincount(first.valid.y).tolist() == [6, 6]


def test_boston_housing_has_named_columns(published):
    published.boston_housing()
    dataset = datasets.load("boston_housing")
    assert list(dataset.train.x.columns)[:3] == ["CRIM", "ZN", "INDUS"]
    assert dataset.train.y.name == "MEDV"
    assert (dataset.task, dataset.class_names) == ("regression", None)


def test_california_housing_is_split_60_20_20(published):
    x, y = published.california_housing()
    dataset = datasets.load("california_housing")
    assert rows_of(dataset) == [48, 16, 16]
    parts = (dataset.train, dataset.valid, dataset.test)
    prices = np.concatenate([part.y for part in parts])
    order = np.argsort(prices)
    np.testing.assert_array_equal(prices[order], np.sort(y))
    together = np.concatenate([part.x for part in parts])
    np.testing.assert_array_equal(together[order], x[np.argsort(y)])


def test_digits_are_uint8_images():
    dataset = datasets.load("digits")
    assert dataset.train.x.dtype == np.uint8
    assert dataset.train.x.shape == (1077, 8, 8)
    assert dataset.train.x.max() == 16
    assert dataset.class_names == [str(digit) for digit in range(10)]


@pytest.mark.parametrize(
    ("name", "rows", "columns", "task", "class_names"),
    [
        ("iris", 150, 4, "classification", ["setosa", "versicolor", "virginica"]),
        ("wine", 178, 13, "classification", ["class_0", "class_1", "class_2"]),
        ("breast_cancer", 569, 30, "classification", ["malignant", "benign"]),
        ("diabetes", 442, 10, "regression", None),
    ],
)
def test_a_bundled_set_is_a_frame_with_a_series(name, rows, columns, task, class_names):
    dataset = datasets.load(name)
    assert isinstance(dataset.train.x, pd.DataFrame)
    assert isinstance(dataset.train.y, pd.Series)
    assert sum(rows_of(dataset)) == rows
    assert dataset.test.x.shape[1] == columns
    assert (dataset.task, dataset.class_names) == (task, class_names)
    index = np.concatenate([part.x.index for part in (dataset.train, dataset.valid, dataset.test)])
    assert sorted(index) == list(range(rows))


@pytest.mark.parametrize("name", FILES)
def test_a_half_downloaded_file_is_named_with_what_to_do(name, published):
    getattr(published, name)()
    path = published.folder / FILES[name]
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    with pytest.raises(datasets.DataFileError) as caught:
        datasets.load(name)
    assert str(path) in str(caught.value)
    assert "delete it" in str(caught.value)


def test_a_file_of_another_set_is_refused(published):
    published.boston_housing()
    shutil.copy(published.folder / "boston_housing.npz", published.folder / "mnist.npz")
    shutil.copy(
        published.folder / "boston_housing.npz", published.folder / "california_housing.npz"
    )
    with pytest.raises(datasets.DataFileError, match="no array x_train, y_train, x_test, y_test"):
        datasets.load("mnist")
    with pytest.raises(datasets.DataFileError, match=r"shape \(80, 13\), not 8 columns"):
        datasets.load("california_housing")


def test_labels_of_another_file_are_refused(published):
    published.fashion_mnist()
    folder = published.folder / "fashion-mnist"
    shutil.copy(folder / "t10k-labels-idx1-ubyte.gz", folder / "train-labels-idx1-ubyte.gz")
    with pytest.raises(datasets.DataFileError, match=r"60 rows and y has 20"):
        datasets.load("fashion_mnist")


class Command:
    def __init__(self, marker):
        self.marker = marker

    def __reduce__(self):
        return os.mkdir, (str(self.marker),)


def test_a_pickle_that_would_run_code_is_refused_and_not_run(published, tmp_path):
    marker = tmp_path / "was_run"
    evil = np.empty(1, dtype=object)
    evil[0] = Command(marker)
    y = np.zeros(1, dtype=int)
    np.savez(published.folder / "imdb.npz", x_train=evil, y_train=y, x_test=evil, y_test=y)
    batch = pickle.dumps({b"data": Command(marker), b"fine_labels": [0]})
    members = {f"cifar-100-python/{name}": batch for name in ("train", "test")}
    published.write_tar("cifar-100-python.tar.gz", members)
    for name in ("imdb", "cifar100"):
        with pytest.raises(datasets.DataFileError, match=r"refers to \w+\.mkdir"):
            datasets.load(name)
    assert not marker.exists()
    pickle.loads(batch)  # the same bytes do run in an ordinary unpickler
    assert marker.exists()


def test_loading_from_the_cache_and_from_files_imports_no_tensorflow(published, tmp_path):
    for name in FILES:
        getattr(published, name)()
    x, y = np.zeros((20, 3)), np.arange(20) % 2
    np.savez(tmp_path / "file.npz", x=x, y=y)
    np.save(tmp_path / "x.npy", x)
    np.save(tmp_path / "y.npy", y)
    pd.DataFrame({"a": y, "b": y}).to_csv(tmp_path / "file.csv", index=False)
    script = """
import sys
from trainer import datasets
for heavy in ("tensorflow", "keras", "pandas", "sklearn"):
    assert heavy not in sys.modules, heavy
for name in datasets.names():
    datasets.load(name)
datasets.load("file.npz")
datasets.load("x.npy", target="y.npy")
datasets.load("file.csv", target="b")
for heavy in ("tensorflow", "keras"):
    assert heavy not in sys.modules, heavy
print("loaded", len(datasets.names()))
"""
    root = os.path.dirname(os.path.dirname(os.path.dirname(datasets.__file__)))
    done = subprocess.run(
        [sys.executable, "-c", script],
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": root},
        capture_output=True,
        text=True,
        timeout=WORK,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout == "loaded 13\n"
