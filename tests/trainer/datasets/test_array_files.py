"""The user's own NumPy files."""

import re
import zipfile

import numpy as np
import pytest

from trainer import datasets

RNG = np.random.default_rng(0)


def rows_of(dataset):
    return [len(part.x) for part in (dataset.train, dataset.valid, dataset.test)]


@pytest.mark.parametrize(
    ("y", "task"),
    [
        (np.linspace(0, 1, 100), "regression"),
        (np.arange(100) % 3, "classification"),
        (np.arange(100) % 3 * 1.0, "classification"),
        (np.arange(1000) % 51, "regression"),
        (np.arange(1020) % 51, "classification"),
        (np.arange(1000) % 50, "classification"),
        (np.array(["a", "b"] * 50), "classification"),
        (np.array([True, False] * 50), "classification"),
        (np.linspace(0, 1, 200).reshape(100, 2), "regression"),
    ],
)
def test_the_task_of_arrays_follows_from_their_targets(y, task, tmp_path):
    path = tmp_path / "data.npz"
    np.savez(path, x=np.zeros((len(y), 2)), y=y)
    dataset = datasets.load(path)
    assert dataset.task == task
    assert (dataset.class_names is None) == (task == "regression")


def test_class_names_are_the_sorted_labels_of_all_rows(tmp_path):
    path = tmp_path / "data.npz"
    np.savez(path, x=np.zeros((40, 2)), y=np.array([30.0, 4.0] * 20))
    assert datasets.load(path).class_names == ["4", "30"]


@pytest.mark.parametrize(
    ("keys", "target"),
    [
        (("x", "y"), None),
        (("images", "labels"), None),
        (("x", "sex"), "sex"),
        (("inputs", "outputs"), "outputs"),
    ],
)
def test_an_npz_file_is_split_so_that_every_row_is_in_one_split(keys, target, tmp_path):
    path = tmp_path / "data.npz"
    x, y = RNG.normal(size=(50, 3)), np.arange(50) % 2
    np.savez(path, **dict(zip(keys, (x, y), strict=True)))
    dataset = datasets.load(path, target=target)
    assert rows_of(dataset) == [30, 10, 10]
    together = np.concatenate([part.x for part in (dataset.train, dataset.valid, dataset.test)])
    labels = np.concatenate([part.y for part in (dataset.train, dataset.valid, dataset.test)])
    order, original = np.argsort(together[:, 0]), np.argsort(x[:, 0])
    np.testing.assert_array_equal(together[order], x[original])
    np.testing.assert_array_equal(labels[order], y[original])


def test_the_seed_alone_decides_the_rows(tmp_path):
    path = tmp_path / "data.npz"
    np.savez(path, x=np.arange(50), y=np.arange(50) % 2)
    first, again, other = (datasets.load(path, seed=seed).train.x for seed in (3, 3, 4))
    np.testing.assert_array_equal(first, again)
    assert not np.array_equal(first, other)


def test_an_npz_file_keeps_its_own_test_rows(tmp_path):
    path = tmp_path / "data.npz"
    x, y = np.arange(60), np.arange(60) % 2
    np.savez(path, x_train=x[:50], y_train=y[:50], x_test=x[50:], y_test=y[50:].reshape(-1, 1))
    dataset = datasets.load(path)
    assert rows_of(dataset) == [40, 10, 10]
    np.testing.assert_array_equal(dataset.test.x, x[50:])
    assert dataset.test.y.shape == (10,)
    assert sorted([*dataset.train.x, *dataset.valid.x]) == list(range(50))


@pytest.mark.parametrize("suffix", ["valid", "val"])
def test_an_npz_file_keeps_its_own_validation_rows(suffix, tmp_path):
    path = tmp_path / "data.npz"
    x, y = np.arange(30), np.arange(30) % 2
    valid = {f"x_{suffix}": x[20:25], f"y_{suffix}": y[20:25]}
    np.savez(path, x_train=x[:20], y_train=y[:20], x_test=x[25:], y_test=y[25:], **valid)
    dataset = datasets.load(path)
    np.testing.assert_array_equal(dataset.train.x, x[:20])
    np.testing.assert_array_equal(dataset.valid.x, x[20:25])
    np.testing.assert_array_equal(dataset.test.x, x[25:])


FIVE = np.arange(5)


@pytest.mark.parametrize(
    ("arrays", "target", "message"),
    [
        ({"a": FIVE, "b": FIVE}, None, "target=None: data.npz contains the arrays a, b; call them"),
        ({"x": FIVE, "label": FIVE}, "labels", r"has no such array; did you mean 'label'\?"),
        ({"x": FIVE, "b": FIVE}, "qqq", "has no such array; choose one of 'b', 'x'$"),
        ({"a": FIVE, "b": FIVE, "c": FIVE}, "c", "which array of data.npz is x"),
        ({"x": FIVE, "y": FIVE[:4]}, None, "x has 5 rows and data.npz: y has 4"),
        ({"x": FIVE[:0], "y": FIVE[:0]}, None, "has no rows"),
        ({"x": FIVE[:4], "y": FIVE[:4]}, None, "4 rows are too few to split"),
        ({"x": np.array(3), "y": FIVE}, None, "x: is a single value"),
        ({"x": FIVE.astype(str), "y": FIVE}, None, "x must be numeric or boolean"),
        ({"x": FIVE, "y": FIVE * 1j}, None, "targets must be numbers, strings or booleans"),
        ({"x": FIVE, "y": np.full(5, np.nan)}, None, "5 values that are NaN or infinite"),
        (
            {"x_train": np.ones((9, 2)), "y_train": np.arange(9), "x_test": FIVE, "y_test": FIVE},
            None,
            r"shape \(2,\) in the training",
        ),
    ],
)
def test_an_unusable_npz_file_is_explained(arrays, target, message, tmp_path):
    np.savez(tmp_path / "data.npz", **arrays)
    with pytest.raises(ValueError, match=message):
        datasets.load(tmp_path / "data.npz", target=target)


def test_pickled_objects_in_an_npz_file_are_refused(tmp_path):
    path = tmp_path / "data.npz"
    np.savez(path, x=np.array([{}] * 9, dtype=object), y=np.arange(9))
    with pytest.raises(datasets.DataFileError, match=r"data.npz.* plain numbers"):
        datasets.load(path)


def test_a_broken_npz_file_is_named(tmp_path):
    whole, cut, damaged = (tmp_path / f"{name}.npz" for name in ("whole", "cut", "damaged"))
    np.savez(whole, x=np.arange(1000), y=np.arange(1000) % 2)
    content = bytearray(whole.read_bytes())
    cut.write_bytes(content[:3000])
    with zipfile.ZipFile(whole) as archive:
        content[archive.getinfo("x.npy").header_offset + 500] ^= 0xFF
    damaged.write_bytes(content)
    assert rows_of(datasets.load(whole)) == [600, 200, 200]
    for path in (cut, damaged):
        with pytest.raises(datasets.DataFileError, match=re.escape(str(path))):
            datasets.load(path)


def test_npy_files_are_read_as_a_pair(tmp_path):
    x, y = RNG.normal(size=(20, 4, 4)), RNG.normal(size=20)
    np.save(tmp_path / "x.npy", x)
    np.save(tmp_path / "y.npy", y)
    dataset = datasets.load(tmp_path / "x.npy", target=tmp_path / "y.npy")
    assert rows_of(dataset) == [12, 4, 4]
    assert dataset.task == "regression"
    row = int(np.flatnonzero(y == dataset.test.y[0])[0])
    np.testing.assert_array_equal(dataset.test.x[0], x[row])


def test_unusable_npy_files_are_explained(tmp_path):
    x, y = tmp_path / "x.npy", tmp_path / "y.npy"
    np.save(x, np.zeros((9, 2)))
    with pytest.raises(ValueError, match=r"target=None: x.npy contains only x.*target='y.npy'"):
        datasets.load(x)
    with pytest.raises(FileNotFoundError, match=r"target='.*y.npy': no such file"):
        datasets.load(x, target=y)
    y.write_bytes(b"not an array")
    with pytest.raises(datasets.DataFileError, match=r"y\.npy is incomplete or not an \.npy file"):
        datasets.load(x, target=y)
    np.save(y, np.zeros(8))
    with pytest.raises(ValueError, match=r"x.npy has 9 rows and .*y.npy has 8"):
        datasets.load(x, target=y)


def test_the_mnist_images_are_split_by_class(shared_data):
    dataset = datasets.load(shared_data / "mnist_10k.npz")
    assert rows_of(dataset) == [6_000, 2_000, 2_000]
    assert dataset.train.x.shape[1:] == (28, 28)
    counts = np.bincount(dataset.valid.y) - np.bincount(dataset.test.y)
    assert np.abs(counts).max() <= 1
