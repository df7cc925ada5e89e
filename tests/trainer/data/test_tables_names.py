"""Tables whose columns have names that Keras would not take: trained, saved and loaded."""

from __future__ import annotations

import datetime
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from trainer import Classifier, Regressor, datasets
from trainer.data.tables import Table


@pytest.fixture(autouse=True)
def _user_warnings_are_errors() -> Iterator[None]:
    with warnings.catch_warnings():
        warnings.simplefilter("error", UserWarning)
        yield


def frame_of(*names: Any, rows: int = 24) -> pd.DataFrame:
    """A column of its own numbers for each name."""
    values = np.random.default_rng(0).normal(size=(rows, len(names)))
    return pd.DataFrame(values, columns=pd.Index(names, dtype=object))


def test_a_column_with_a_slash_is_trained_saved_and_loaded(tmp_path: Path) -> None:
    wine = datasets.load("wine")
    odd = "od280/od315_of_diluted_wines"
    assert odd in wine.train.x.columns
    trainer = Classifier(epochs=3, normalize="standard", random_state=0)
    trainer.fit(*wine.train, validation_data=wine.valid)
    expected = trainer.predict_proba(wine.test.x)
    assert trainer.score(*wine.test) > 0.8

    trainer.save(tmp_path / "wine.keras")
    loaded = Classifier.load(tmp_path / "wine.keras")
    np.testing.assert_array_equal(loaded.predict_proba(wine.test.x), expected)
    assert list(loaded.feature_names_in_) == list(wine.train.x.columns)

    # columns are found by name, so their order is free, and each of them counts
    np.testing.assert_array_equal(loaded.predict_proba(wine.test.x.iloc[:, ::-1]), expected)
    changed = wine.test.x.assign(**{odd: wine.test.x[odd] + 5})
    assert not np.allclose(loaded.predict_proba(changed), expected)
    with pytest.raises(ValueError, match=f"lacks the column '{odd}'"):
        loaded.predict(wine.test.x.drop(columns=odd))


def test_the_saved_file_is_a_keras_model_that_takes_the_columns_by_input_name(
    tmp_path: Path,
) -> None:
    import keras

    x, y = frame_of("a/b", "c"), np.arange(24) % 3
    trainer = Classifier(epochs=1, random_state=0).fit(x, y)
    trainer.save(tmp_path / "model.keras")
    plain = keras.models.load_model(tmp_path / "model.keras", compile=False)
    given = {"column_0": x[["a/b"]].to_numpy(), "c": x[["c"]].to_numpy()}
    np.testing.assert_allclose(plain.predict(given, verbose=0), trainer.predict_proba(x), rtol=1e-5)


@pytest.mark.parametrize(
    "names",
    [
        ("a b", "a  b", "a_b"),
        ("column_1", "a/b"),
        ("column_1", "a/b", "column_1_"),
        ("a", "a_raw", "a_encoder", "a.encoder", "a_lookup"),
        ("table", "input", "x"),
        ("sequential", "functional", "category_encoding", "tfd_concat", "tfd_concat_1"),
        ("A", "a", "é", "名", "", " ", "_a", "1a"),
        (0, 1, 2),
        (np.int64(3), 1.5, np.float32(0.1), "1"),
    ],
    ids=str,
)
def test_every_column_has_an_input_of_its_own_whatever_the_names(names: tuple[Any, ...]) -> None:
    frame = frame_of(*names)
    table = Table.learn(frame, normalize=None)
    columns = table.inputs(frame)
    assert len(columns) == len(names)
    encoded = np.asarray(table.encoder()(columns))
    # each number is one value of the row, in some order of the columns
    np.testing.assert_allclose(
        np.sort(encoded, axis=1), np.sort(frame.to_numpy(dtype=float), axis=1), rtol=1e-6
    )


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_the_encoding_does_not_depend_on_what_keras_computes_in(dtype: str) -> None:
    import keras

    frame = frame_of("a/b", "c") + 1e6
    table = Table.learn(frame, normalize="standard")
    before = keras.config.dtype_policy()
    expected = np.asarray(table.encoder(dtype)(table.inputs(frame)))
    assert expected.dtype == dtype
    for policy in ("float64", "mixed_bfloat16"):
        keras.config.set_dtype_policy(policy)
        try:
            encoder = table.encoder(dtype)
            assert keras.config.dtype_policy().name == policy
        finally:
            keras.config.set_dtype_policy(before)
        np.testing.assert_array_equal(np.asarray(encoder(table.inputs(frame))), expected)


def test_categories_with_odd_names_are_encoded_beside_numbers() -> None:
    frame = frame_of("size/m²", "size_m").assign(**{"kind of/house": ["flat", "villa", None] * 8})
    table = Table.learn(frame, normalize=None)
    encoded = np.asarray(table.encoder()(table.inputs(frame)))
    # out of vocabulary, missing, flat, villa; each row is exactly one of them
    assert encoded.shape == (24, 2 + 4)
    assert (encoded == 1).sum() == 24


@pytest.mark.parametrize("names", [("a/b", 0), (np.int64(3), 2.5)], ids=str)
def test_names_that_are_numbers_survive_the_file(names: tuple[Any, ...], tmp_path: Path) -> None:
    x = frame_of(*names)
    trainer = Regressor(epochs=1, random_state=0).fit(x, np.arange(24.0))
    trainer.save(tmp_path / "model.keras")
    loaded = Regressor.load(tmp_path / "model.keras")
    np.testing.assert_array_equal(loaded.predict(x), trainer.predict(x))


@pytest.mark.parametrize(
    ("name", "message"),
    [
        (("a", "b"), r"\('a', 'b'\) is a tuple.*write x.columns = \['_'.join\(map\(str, c\)\)"),
        (datetime.date(2026, 1, 2), r"is a date: must be text or a number; .*\[str\(c\) for c"),
        (True, "True is a bool: must be text or a number"),
        (float("inf"), "inf is a float: must be text or a number"),
    ],
)
def test_a_name_that_no_file_keeps_is_refused_before_training(name: Any, message: str) -> None:
    frame = pd.DataFrame({"a": [1.0, 2.0]})
    frame[name] = [3.0, 4.0]
    with pytest.raises(TypeError, match=message):
        Table.learn(frame, normalize=None)
