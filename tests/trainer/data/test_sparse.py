"""SciPy's sparse matrices as x: the same numbers as from dense arrays, whole or in chunks."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest
import scipy.sparse

from trainer import Classifier, Regressor
from trainer.data import arrays
from trainer.data.sparse import SparseRows

N = 24
RNG = np.random.default_rng(0)
X = np.where(RNG.random((N, 12)) < 0.2, RNG.normal(size=(N, 12)), 0.0)
Y = X.sum(axis=1)
FIELDS: dict[str, Any] = {"epochs": 1, "batch_size": 8, "random_state": 0}


def csr(x: np.ndarray = X) -> Any:
    return scipy.sparse.csr_matrix(x)


@pytest.mark.parametrize("kind", ["csr", "csc", "coo", "dok", "lil", "bsr", "dia"])
@pytest.mark.parametrize("form", ["matrix", "array"])
def test_every_form_is_read_as_its_dense_values(kind: str, form: str) -> None:
    rows = arrays.to_arrays(getattr(scipy.sparse, f"{kind}_{form}")(X), "x")
    assert isinstance(rows, SparseRows) and rows.shape == X.shape and len(rows) == N
    np.testing.assert_array_equal(np.asarray(rows), X)
    np.testing.assert_array_equal(np.asarray(rows[[3, 1]], dtype="float32"), X[[3, 1]].astype("f4"))


@pytest.mark.parametrize("resident_bytes", [None, 0])
def test_a_sparse_matrix_trains_to_the_same_bits(resident_bytes: int | None) -> None:
    options = FIELDS | {"validation_split": 0.25}
    expected = Regressor(**options).fit(X, Y)
    found = Regressor(**options, resident_bytes=resident_bytes).fit(csr(), Y)
    assert found.history_.records[0]["val_loss"] == expected.history_.records[0]["val_loss"]
    np.testing.assert_array_equal(found.predict(csr()), expected.predict(X))
    np.testing.assert_array_equal(found.predict(X), expected.predict(X))
    assert found.evaluate(csr(), Y) == expected.evaluate(X, Y)
    assert found.n_features_in_ == 12


def test_rows_are_made_dense_chunk_by_chunk(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    sizes = []
    dense = SparseRows.__array__

    def counting(self: SparseRows, *args: Any, **kwargs: Any) -> np.ndarray:
        sizes.append(len(self))
        return dense(self, *args, **kwargs)

    x = scipy.sparse.random(4000, 10, density=0.1, format="csr", random_state=0)
    monkeypatch.setattr(SparseRows, "__array__", counting)
    monkeypatch.setattr("trainer.data.inputs._SPARSE_PER_STATISTIC", 1000)
    # at most 4 steps in a dispatch
    saving = {"run_dir": tmp_path / "run", "save_steps": 4, "batch_size": 512}
    Regressor(**FIELDS | saving, resident_bytes=0).fit(x, np.asarray(x.sum(axis=1)).ravel())
    assert max(sizes) == 4 * 512


def test_among_several_inputs_and_as_labels_of_a_classifier() -> None:
    class Two(Classifier):
        def build_model(self, spec: Any) -> keras.Model:
            inputs = {k: keras.Input(s, name=k) for k, s in spec.input_shape.items()}
            joined = keras.layers.Concatenate()(list(inputs.values()))
            return keras.Model(inputs, keras.layers.Dense(2, "softmax")(joined))

    x = {"sparse": csr(), "full": X}
    labels = np.where(Y > 0, "up", "down")
    found = Two(**FIELDS).fit(x, labels)
    expected = Two(**FIELDS).fit({"sparse": X, "full": X}, labels)
    np.testing.assert_array_equal(found.predict_proba(x), expected.predict_proba(x))


def test_a_finished_run_knows_its_sparse_rows(tmp_path: Path) -> None:
    first = Regressor(**FIELDS, run_dir=tmp_path / "run").fit(csr(), Y)
    again = Regressor(**FIELDS, run_dir=tmp_path / "run").fit(scipy.sparse.csc_matrix(X), Y)
    np.testing.assert_array_equal(again.predict(X), first.predict(X))
    with pytest.raises(ValueError, match="training x was 'sparse float64"):
        Regressor(**FIELDS, run_dir=tmp_path / "run").fit(csr(X * 2), Y)


@pytest.mark.parametrize(
    ("x", "error", "message"),
    [
        (
            csr(np.where(np.cumsum(X != 0).reshape(X.shape) == 1, np.nan, X)),
            ValueError,
            r"contains NaN, first at",
        ),
        (csr(X * 1j), ValueError, "Complex data not supported"),
        (scipy.sparse.csr_matrix((0, 3)), ValueError, "x is empty"),
        (scipy.sparse.coo_array(X[0]), ValueError, "got 1D array instead"),
    ],
)
def test_bad_values_are_refused(x: Any, error: type[Exception], message: str) -> None:
    with pytest.raises(error, match=message):
        Regressor(**FIELDS).fit(x, Y)
