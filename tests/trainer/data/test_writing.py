"""predict(out=...): batch by batch to an array or a .npy file, equal to predict without it."""

import os
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import psutil
import pytest
import scipy.sparse
import tensorflow as tf

from trainer import Classifier, Regressor
from trainer.data import writing

N = 3_000
RNG = np.random.default_rng(0)
X = RNG.normal(size=(N, 6)).astype("float32")
Y = X[:, 0] * 2 + X[:, 1]
LABELS = np.where(Y > 0, "plus", "minus")
FRAME = pd.DataFrame(X, columns=list("abcdef")).assign(
    city=RNG.choice(["Rome", "Oslo"], N), day=pd.Timestamp("2020-01-01")
)
SHORT: dict[str, Any] = {"model": "mlp", "epochs": 1, "random_state": 0, "verbose": 0}


@pytest.fixture(scope="module")
def numbers() -> Regressor:
    return Regressor(**SHORT).fit(X[:200], Y[:200])


@pytest.fixture(scope="module")
def classes() -> Classifier:
    return Classifier(**SHORT).fit(X[:200], LABELS[:200])


def test_a_path_becomes_a_file_equal_to_predict(
    numbers: Regressor, classes: Classifier, tmp_path: Path
) -> None:
    path = tmp_path / "predictions.npy"
    path.write_bytes(b"of an earlier day")
    found = numbers.predict(X, out=path)
    assert isinstance(found, np.memmap) and not found.flags.writeable
    expected = numbers.predict(X)
    np.testing.assert_array_equal(found, expected)
    read = np.load(path, allow_pickle=False)
    assert (read.dtype, read.shape) == (expected.dtype, expected.shape)
    labels = classes.predict(X, out=str(path))
    np.testing.assert_array_equal(labels, classes.predict(X))
    given = classes.predict_proba(X, out=str(path))
    np.testing.assert_array_equal(given, classes.predict_proba(X))
    assert os.listdir(tmp_path) == ["predictions.npy"]


def test_an_array_or_memmap_is_filled_and_returned(
    numbers: Regressor, classes: Classifier, tmp_path: Path
) -> None:
    array = np.full(N, np.nan, "float32")
    assert numbers.predict(X, out=array) is array
    np.testing.assert_array_equal(array, numbers.predict(X))
    mapped = np.memmap(tmp_path / "given", "float32", "w+", shape=(N, 2))
    assert classes.predict_proba(X, out=mapped) is mapped
    again = np.memmap(tmp_path / "given", "float32", "r", shape=(N, 2))
    np.testing.assert_array_equal(again, classes.predict_proba(X))
    wide = np.empty(N, "<U20")  # texts of a longer dtype hold shorter ones
    np.testing.assert_array_equal(classes.predict(X, out=wide), classes.predict(X))


@pytest.mark.parametrize("batch_size", [1, 7, 300])
def test_batch_size_means_the_same_with_out(
    numbers: Regressor, batch_size: int, tmp_path: Path
) -> None:
    few = X[:700]
    found = numbers.predict(few, batch_size=batch_size, out=tmp_path / "p.npy")
    np.testing.assert_array_equal(found, numbers.predict(few, batch_size=batch_size))


def test_every_kind_of_x_is_taken_part_by_part(tmp_path: Path) -> None:
    out = tmp_path / "p.npy"
    table = Classifier(**SHORT).fit(FRAME[:200], LABELS[:200])
    expected = table.predict_proba(FRAME)
    rows = FRAME.to_dict("records")
    for x in (FRAME, rows):
        np.testing.assert_array_equal(table.predict_proba(x, out=out), expected)
    one = table.predict_proba(rows[0], out=out)  # some CPUs round a row alone otherwise
    np.testing.assert_array_equal(one, table.predict_proba(rows[0]))
    np.testing.assert_allclose(one, expected[:1], rtol=1e-5)
    more = FRAME.assign(more=1)
    found = table.predict_proba(more, extra_columns="ignore", out=out)
    np.testing.assert_array_equal(found, expected)
    sparse = scipy.sparse.coo_array(np.where(X > 1, X, 0))
    trained = Regressor(**SHORT).fit(sparse.tocsr()[:200], Y[:200])
    np.testing.assert_array_equal(trained.predict(sparse, out=out), trained.predict(sparse))


def test_a_stream_of_unknown_length_is_written_to_a_path(
    classes: Classifier, tmp_path: Path
) -> None:
    stream = tf.data.Dataset.from_tensor_slices(X[:100]).filter(lambda row: row[0] > 0).batch(16)
    found = classes.predict(stream, out=tmp_path / "p.npy")
    np.testing.assert_array_equal(found, classes.predict(X[:100][X[:100, 0] > 0]))
    with pytest.raises(ValueError, match="out is an array, but how many rows a stream has"):
        classes.predict(stream, out=np.empty(100, "<U5"))


@pytest.mark.parametrize(
    ("out", "error", "said"),
    [
        ("p.txt", ValueError, r"out='p.txt': must end in .npy; write out='predictions.npy'"),
        ("no/such/p.npy", FileNotFoundError, "there is no folder 'no/such'"),
        ([0.0] * N, TypeError, "out is of type list: must be an array"),
        (np.empty(N - 1, "float32"), ValueError, r"out has shape \(2999,\), but x has 3000 rows"),
        (np.empty((N, 1), "float32"), ValueError, r"predictions have shape \(3000,\) and dtype fl"),
        (np.empty(N, "float64"), ValueError, r"write np.empty\(\(3000,\), '<f4'\)"),
        (np.broadcast_to(np.float32(0), (N,)), ValueError, "out cannot be written to"),
    ],
    ids=lambda value: "array" if isinstance(value, (np.ndarray, list)) else None,
)
def test_a_wrong_out_is_refused_before_anything_is_written(
    numbers: Regressor, out: Any, error: type[Exception], said: str
) -> None:
    before = np.array(out)
    with pytest.raises(error, match=said):
        numbers.predict(X, out=out)
    assert np.array(out).tobytes() == before.tobytes()


def test_several_outputs_are_refused(tmp_path: Path) -> None:
    import keras

    class Two(Regressor):
        def build_model(self, spec: Any) -> Any:
            x = keras.Input(spec.input_shape)
            return keras.Model(x, {key: keras.layers.Dense(1, name=key)(x) for key in ("u", "v")})

    two = Two(epochs=1, random_state=0, verbose=0).fit(X[:50], {"u": Y[:50], "v": Y[:50]})
    with pytest.raises(ValueError, match="out: y has several outputs"):
        two.predict(X[:50], out=tmp_path / "p.npy")
    assert os.listdir(tmp_path) == []


def test_an_error_on_the_way_leaves_the_earlier_file(numbers: Regressor, tmp_path: Path) -> None:
    path = tmp_path / "p.npy"
    numbers.predict(X[:10], out=path)
    wrong = X.copy()
    wrong[2_999, 3] = np.nan
    with pytest.raises(ValueError, match=r"x\[\d+:3000\] contains NaN, first at x\[\d+:3000\]\["):
        numbers.predict(np.concatenate([X] * 3 + [wrong])[-3_000:], out=path, batch_size=32)
    assert len(np.load(path)) == 10
    assert os.listdir(tmp_path) == ["p.npy"]


def test_memory_does_not_grow_with_the_number_of_rows(tmp_path: Path) -> None:
    """Without out, the predictions alone would take 80 MB more."""
    process = psutil.Process()
    wide = Regressor(**SHORT).fit(X[:100], np.tile(Y[:100, None], 32))

    def peak(rows: int) -> int:
        x = np.memmap(tmp_path / "x", "float32", "w+", shape=(rows, 6))  # a file with holes: zeros
        highest = [0]
        done = threading.Event()

        def watch() -> None:
            while not done.wait(0.002):
                memory = process.memory_info()
                highest[0] = max(highest[0], memory.rss - memory.shared)

        watching = threading.Thread(target=watch)
        watching.start()
        try:
            found = wide.predict(x, out=tmp_path / "p.npy")
            assert found.nbytes == rows * 32 * 4
        finally:
            done.set()
            watching.join()
        return highest[0]

    peak(50_000)
    small = peak(50_000)
    assert peak(700_000) - small < 16 << 20


def test_parts_are_written_as_they_come(tmp_path: Path) -> None:
    written: list[int] = []

    def parts() -> Iterator[np.ndarray]:
        for i in range(4):
            written.append(sum(file.stat().st_size for file in tmp_path.iterdir()))
            yield np.full((50_000, 2), i, "float64")

    found = writing.write(tmp_path / "p.npy", None, parts())
    assert found.shape == (200_000, 2) and found[:, 0].sum() == 50_000 * 6
    assert written[3] - written[1] == 2 * 50_000 * 16
