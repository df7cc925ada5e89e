"""The user's own IDX files."""

import gzip
import re

import numpy as np
import pytest

from trainer import datasets

RNG = np.random.default_rng(0)


def rows_of(dataset):
    return [len(part.x) for part in (dataset.train, dataset.valid, dataset.test)]


@pytest.fixture
def idx_pair(tmp_path, idx_writer):
    x = RNG.integers(0, 256, size=(40, 6, 5), dtype=np.uint8)
    y = (np.arange(40) % 4).astype(np.uint8)
    images = idx_writer(tmp_path / "t10k-images-idx3-ubyte.gz", x)
    labels = idx_writer(tmp_path / "t10k-labels-idx1-ubyte.gz", y)
    return images, labels, x, y


def test_idx_images_find_their_labels(idx_pair):
    images, _, x, y = idx_pair
    dataset = datasets.load(images)
    assert rows_of(dataset) == [24, 8, 8]
    assert np.bincount(dataset.test.y).tolist() == [2, 2, 2, 2]
    row = int(np.flatnonzero((x == dataset.test.x[0]).all(axis=(1, 2)))[0])
    assert dataset.test.y[0] == y[row]
    assert dataset.class_names == ["0", "1", "2", "3"]


@pytest.mark.parametrize("given", ["train", "t10k"])
def test_idx_training_and_test_images_are_the_splits(given, idx_pair, idx_writer):
    images, _, x, y = idx_pair
    idx_writer(images.with_name("train-images-idx3-ubyte.gz"), np.repeat(x, 3, axis=0))
    idx_writer(images.with_name("train-labels-idx1-ubyte.gz"), np.repeat(y, 3))
    dataset = datasets.load(images.with_name(f"{given}-images-idx3-ubyte.gz"))
    assert rows_of(dataset) == [108, 12, 40]
    np.testing.assert_array_equal(dataset.valid.x, np.repeat(x, 3, axis=0)[:12])
    np.testing.assert_array_equal(dataset.test.y, y)


def test_idx_labels_can_be_named_and_then_stand_alone(idx_pair, idx_writer):
    images, labels, x, _ = idx_pair
    idx_writer(images.with_name("train-images-idx3-ubyte.gz"), x)
    named = labels.rename(labels.with_name("digits.gz"))
    assert rows_of(datasets.load(images, target=named)) == [24, 8, 8]


@pytest.mark.parametrize("dtype", ["uint8", "int8", "int16", "int32", "float32", "float64"])
def test_idx_values_keep_their_type_and_byte_order(dtype, tmp_path, idx_writer):
    x = np.arange(10 * 4).reshape(10, 2, 2).astype(dtype)
    images = idx_writer(tmp_path / "train-images.idx3-ubyte", x)
    idx_writer(tmp_path / "train-labels.idx1-ubyte", np.arange(10, dtype=np.uint8) % 2)
    dataset = datasets.load(images)
    assert dataset.train.x.dtype == np.dtype(dtype)
    together = np.concatenate([part.x for part in (dataset.train, dataset.valid, dataset.test)])
    np.testing.assert_array_equal(np.sort(together[:, 0, 0]), x[:, 0, 0])


def test_unusable_idx_files_are_explained(idx_pair, idx_writer):
    images, labels, _, y = idx_pair
    with pytest.raises(ValueError, match="1-dimensional values, not images"):
        datasets.load(labels, target=labels)
    with pytest.raises(ValueError, match="labels must be 1-D"):
        datasets.load(images, target=images)
    with pytest.raises(ValueError, match="cannot guess the labels file"):
        datasets.load(labels)
    idx_writer(labels, y[:-1])
    with pytest.raises(ValueError, match=r"has 40 rows and .* has 39"):
        datasets.load(images)
    labels.unlink()
    with pytest.raises(FileNotFoundError, match=r"t10k-labels-idx1-ubyte\.gz does not exist"):
        datasets.load(images)


@pytest.mark.parametrize(
    "content",
    [b"", b"\0\0\x08", b"hello, I am text", b"\0\0\x08\x03\0\0\0\x02", b"\0\0\x08\x01\0\0\0\x02a"],
)
def test_a_broken_idx_file_is_named(content, idx_pair):
    images = idx_pair[0]
    for broken in (gzip.compress(content), content):
        images.write_bytes(broken)
        with pytest.raises(datasets.DataFileError, match=re.escape(str(images))):
            datasets.load(images)
