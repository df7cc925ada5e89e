"""What fit and predict make of DataFrames: numbers, categories, missing and unseen values."""

from __future__ import annotations

from typing import Any

import keras
import numpy as np
import pandas as pd
import pytest
import tensorflow as tf

from trainer import Classifier, Regressor
from trainer.data.tables import Table

ROWS = 40
Y = np.random.default_rng(0).normal(size=ROWS)


class Linear(Regressor):
    """One dense layer on the encoded table."""

    epochs = 2
    batch_size = 20
    optimizer = "sgd"
    metrics = ()
    random_state = 0

    def build_model(self, spec: Any) -> keras.Model:
        return keras.Sequential([keras.Input(spec.input_shape), keras.layers.Dense(1)])


def encoded(train: pd.DataFrame, frame: pd.DataFrame | None = None, **options: Any) -> np.ndarray:
    """What the network would see of `frame` after training on `train`."""
    table = Table.learn(train, normalize=options.get("normalize"), weight=options.get("weight"))
    columns = table.inputs(train if frame is None else frame)
    return np.asarray(table.encoder()({k: tf.constant(v) for k, v in columns.items()}))


def mixed(rows: int = ROWS, seed: int = 1) -> pd.DataFrame:
    """One column of each kind that people have, with missing values where the kind allows them."""
    rng = np.random.default_rng(seed)
    number = rng.normal(size=rows)
    count = rng.integers(0, 9, size=rows)
    flag = rng.integers(0, 2, size=rows).astype(bool)
    word = rng.choice(["red", "green", "blue"], size=rows)
    gap = rng.random(rows) < 0.2
    gap[:2] = True, False
    return pd.DataFrame(
        {
            "float64": np.where(gap, np.nan, number),
            "float32": number.astype(np.float32),
            "int": count,
            "uint8": count.astype(np.uint8),
            "bool": flag,
            "Int64": pd.array(np.where(gap, pd.NA, count), dtype="Int64"),
            "Float64": pd.array(np.where(gap, pd.NA, number), dtype="Float64"),
            "boolean": pd.array(np.where(gap, pd.NA, flag), dtype="boolean"),
            "object numbers": pd.Series(np.where(gap, None, count), dtype=object),
            "object flags": pd.Series(np.where(gap, None, flag), dtype=object),
            "object words": pd.Series(np.where(gap, None, word), dtype=object),
            "string": pd.array(np.where(gap, pd.NA, word), dtype="string"),
            "str": pd.Series(np.where(gap, None, word), dtype="str"),
            "category": pd.Categorical(np.where(gap, None, word)),
            "category of numbers": pd.Categorical(np.where(gap, None, count)),
        }
    )


# ---- the encoding ----------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("column", "expected"),
    [
        (pd.Series([3.0, np.nan, 1.0, 8.0]), [[3, 0], [3, 1], [1, 0], [8, 0]]),
        (pd.Series([3, pd.NA, 1, 8], dtype="Int64"), [[3, 0], [3, 1], [1, 0], [8, 0]]),
        (pd.Series([True, pd.NA, True, False], dtype="boolean"), [[1, 0], [1, 1], [1, 0], [0, 0]]),
        (pd.Series([3, None, 1, 8], dtype=object), [[3, 0], [3, 1], [1, 0], [8, 0]]),
        (pd.Series([True, None, True, False], dtype=object), [[1, 0], [1, 1], [1, 0], [0, 0]]),
        (pd.Series([3, 2, 1, 8], dtype="uint8"), [[3], [2], [1], [8]]),
        (pd.Series([np.nan] * 3), [[0, 1]] * 3),
    ],
)
def test_a_missing_number_becomes_the_median_beside_an_indicator(
    column: pd.Series, expected: list[list[float]]
) -> None:
    np.testing.assert_array_equal(encoded(pd.DataFrame({"c": column})), expected)


@pytest.mark.parametrize("dtype", ["object", "str", "string", "category"])
def test_each_category_has_a_column_and_missing_is_one_of_them(dtype: str) -> None:
    train = pd.DataFrame({"c": pd.Series(["b", "a", "b", None, "b", "a"], dtype=dtype)})
    # out-of-vocabulary first, then by how often they occur: b, a, missing
    expected = [[0, 1, 0, 0], [0, 0, 1, 0], [0, 1, 0, 0], [0, 0, 0, 1], [0, 1, 0, 0], [0, 0, 1, 0]]
    np.testing.assert_array_equal(encoded(train), expected)


@pytest.mark.parametrize("dtype", ["object", "str", "string", "category"])
def test_an_unseen_category_and_an_unseen_gap_are_out_of_vocabulary(dtype: str) -> None:
    train = pd.DataFrame({"c": pd.Series(["b", "a", "b"], dtype=dtype)})
    later = pd.DataFrame({"c": pd.Series(["x", None, "a"], dtype=dtype)})
    np.testing.assert_array_equal(encoded(train, later), [[1, 0, 0], [1, 0, 0], [0, 0, 1]])


def test_a_number_missing_only_at_prediction_becomes_the_median() -> None:
    train, later = pd.DataFrame({"c": [1.0, 2.0, 9.0]}), pd.DataFrame({"c": [np.nan, 5.0]})
    np.testing.assert_array_equal(encoded(train, later), [[2], [5]])


def test_categories_that_are_numbers_are_the_same_with_and_without_missing_ones() -> None:
    train = pd.DataFrame({"c": pd.Categorical([7, 8, 7])})
    for later in (pd.Categorical([8, None, 7]), pd.array([8, None, 7], "Int64"), [8, np.nan, 7]):
        np.testing.assert_array_equal(
            encoded(train, pd.DataFrame({"c": later})), [[0, 0, 1], [1, 0, 0], [0, 1, 0]]
        )


@pytest.mark.parametrize("dtype", ["object", "str", "string", "category"])
def test_a_column_of_objects_that_are_all_missing_takes_anything_later(dtype: str) -> None:
    train = pd.DataFrame({"c": pd.Series([None, None], dtype=dtype)})
    np.testing.assert_array_equal(encoded(train), [[0, 1], [0, 1]])
    later = pd.DataFrame({"c": pd.Series(["x", None], dtype=dtype)})
    np.testing.assert_array_equal(encoded(train, later), [[1, 0], [0, 1]])


@pytest.mark.parametrize("word", ["[UNK]", "", "ä ö", "nan", "None", "a/b"])
def test_any_text_may_be_a_category(word: str) -> None:
    train = pd.DataFrame({"c": [word, "other", word]})
    np.testing.assert_array_equal(encoded(train), [[0, 1, 0], [0, 0, 1], [0, 1, 0]])


def test_of_very_many_categories_the_rare_ones_share_a_column() -> None:
    common = [f"c{i}" for i in range(255)] * 3  # with fewer rows it would be an identifier
    train = pd.DataFrame({"c": [*common, *(f"rare{i}" for i in range(50))]})
    matrix = encoded(train)
    assert matrix.shape == (815, 256)
    np.testing.assert_array_equal(matrix[765:, 0], 1)
    np.testing.assert_array_equal(matrix[:, 1:].sum(axis=0), 3)


@pytest.mark.parametrize(
    ("normalize", "expected"),
    [("standard", [-1.0, 0.0, 0.0, 1.0]), ("minmax", [0.0, 0.5, 0.5, 1.0])],
)
def test_numbers_are_scaled_after_missing_ones_are_filled(
    normalize: str, expected: list[float]
) -> None:
    column = pd.DataFrame({"c": [1.0, np.nan, 3.0, 5.0]})
    spread = np.sqrt(2) if normalize == "standard" else 1
    np.testing.assert_allclose(
        encoded(column, normalize=normalize)[:, 0], np.array(expected) * spread, rtol=1e-6
    )


def test_seconds_since_1970_keep_their_digits() -> None:
    seconds = 1.7e9 + np.arange(5.0)
    scaled = encoded(pd.DataFrame({"t": seconds}), normalize="standard")[:, 0]
    np.testing.assert_allclose(scaled, (seconds - seconds.mean()) / seconds.std(), rtol=1e-6)


NAMES: list[list[Any]] = [
    ["a b", "a_b", "a-b"],
    ["a", "A", "a "],
    ["x/y", "x", "y"],
    ["column_1", "größe", "column_2"],
    [0, 1, 2],
    ["", " ", "1"],
    ["c", "c_raw", "c_lookup"],
    ["a", "b", "a_X_b"],
]


@pytest.mark.parametrize("names", NAMES, ids=repr)
def test_columns_may_have_any_names(names: list[Any]) -> None:
    values = [[1.0, 2.0, 3.0], [np.nan, 5.0, 6.0], ["u", "v", "u"]]
    frame = pd.DataFrame(dict(zip(names, values, strict=True)))
    plain = pd.DataFrame(dict(zip(["p", "q", "r"], values, strict=True)))
    found, expected = encoded(frame), encoded(plain)
    assert sorted(found.T.tolist()) == sorted(expected.T.tolist())


# ---- training on it --------------------------------------------------------------------------


@pytest.mark.filterwarnings("error::UserWarning")
def test_a_frame_of_every_kind_of_column_is_fitted_evaluated_and_predicted() -> None:
    frame = mixed()
    model = Classifier(epochs=2, batch_size=20, random_state=0).fit(
        frame, Y > 0, validation_data=(mixed(seed=2), Y > 0)
    )
    assert np.isfinite(model.history_["val_loss"]).all()
    assert np.isfinite(model.evaluate(mixed(seed=3), Y > 0)["loss"])
    proba = model.predict_proba(mixed(seed=4))
    np.testing.assert_allclose(proba.sum(axis=1), 1, rtol=1e-5)
    assert len(np.unique(proba[:, 0])) > ROWS / 2
    assert list(model.feature_names_in_) == list(frame.columns)


def test_the_default_model_learns_from_numbers_categories_and_gaps() -> None:
    rng = np.random.default_rng(0)
    frame = pd.DataFrame(
        {
            "n": rng.normal(size=200),
            "c": rng.choice(["a", "b", "c"], size=200),
            "gap": np.where(rng.random(200) < 0.3, np.nan, rng.normal(size=200)),
        }
    )
    y = 10 * frame["n"] + frame["c"].map({"a": 0, "b": 30, "c": -30}) + 20 * frame["gap"].isna()
    model = Regressor(epochs=40, random_state=0).fit(frame[:160], y[:160])
    assert model.score(frame[160:], y[160:]) > 0.9


def test_every_unseen_category_gives_one_prediction_that_is_not_a_known_ones() -> None:
    frame = pd.DataFrame({"n": np.zeros(ROWS), "c": ["a", "b"] * (ROWS // 2)})
    model = Linear(epochs=5).fit(frame, frame["c"] == "a")
    later = pd.DataFrame({"n": 0.0, "c": ["x", "y", None, "a", "b"]})
    unseen, other, missing, a, b = model.predict(later)
    assert unseen == other == missing
    assert len({unseen, a, b}) == 3


def test_validation_rows_are_not_used_for_statistics() -> None:
    frame = mixed()[["string"]].assign(level=np.r_[np.nan, np.arange(1, ROWS) / 2])
    held = frame.assign(level=1e6, string="only in validation")
    alone = Linear(normalize="standard").fit(frame, Y)
    beside = Linear(normalize="standard").fit(frame, Y, validation_data=(held, Y))
    np.testing.assert_array_equal(alone.predict(frame), beside.predict(frame))


def test_rows_held_out_by_validation_split_are_not_used_for_statistics() -> None:
    frame = pd.DataFrame(
        {"n": np.r_[np.arange(20.0), np.full(20, 1e6)], "c": ["a"] * 20 + ["z"] * 20}
    )
    split = Linear(normalize="standard", validation_split=0.5, shuffle=False).fit(frame, Y)
    half = Linear(normalize="standard", shuffle=False).fit(frame[:20], Y[:20])
    np.testing.assert_array_equal(split.predict(frame), half.predict(frame))


def test_rows_and_targets_belong_together_by_position_not_by_index() -> None:
    frame = pd.DataFrame({"n": Y})
    turned = pd.Series(Y, index=np.arange(ROWS)[::-1])
    weight = pd.Series(np.abs(Y), index=np.arange(ROWS)[::-1])
    by_series = Linear().fit(frame, turned, sample_weight=weight).predict(frame)
    by_array = Linear().fit(frame.to_numpy(), Y, sample_weight=np.abs(Y)).predict(Y[:, None])
    np.testing.assert_array_equal(by_series, by_array)


def test_the_index_of_a_frame_may_be_anything() -> None:
    plain = mixed()[["float64", "object flags", "str", "category"]]
    frame = plain.set_index(np.repeat(["same", "label"], ROWS // 2))
    expected = Linear().fit(plain, Y).predict(plain)
    np.testing.assert_array_equal(Linear().fit(frame, Y).predict(frame), expected)


def test_the_frame_is_left_as_it_is() -> None:
    frame = mixed()
    Linear().fit(frame, Y).predict(frame)
    pd.testing.assert_frame_equal(frame, mixed())


def test_the_model_serves_raw_columns() -> None:
    frame = mixed()[["float64", "string"]]
    model = Linear().fit(frame, Y)
    raw = {
        "float64": tf.constant(frame[["float64"]].to_numpy()),
        "string": tf.constant(frame[["string"]].fillna("[missing]").to_numpy().astype(str)),
    }
    np.testing.assert_array_equal(model.model_.predict(raw, verbose=0)[:, 0], model.predict(frame))


# ---- what is refused -------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("column", "error", "message"),
    [
        ([1.0, np.inf, 2.0], ValueError, r"x\['c'\] contains infinity \(inf\) at row 1"),
        (["a", 1, 2], ValueError, r"x\['c'\] contains both numbers and text \('a' at row 0\)"),
        (pd.interval_range(0, 3), TypeError, r"x\['c'\] contains intervals .*\.mid"),
        ([[1], [2], [3]], TypeError, r"x\['c'\] contains list objects"),
        ([1j, 2j, 3j], ValueError, r"Complex data not supported: x\['c'\]"),
    ],
)
def test_a_column_that_is_neither_numbers_nor_text_is_named(
    column: Any, error: type[Exception], message: str
) -> None:
    with pytest.raises(error, match=message):
        Linear().fit(pd.DataFrame({"n": [1.0, 2.0, 3.0], "c": column}), Y[:3])


def test_columns_that_differ_from_training_are_named() -> None:
    frame = pd.DataFrame({"age": Y, "income": Y})
    model = Linear().fit(frame, Y)
    with pytest.raises(ValueError, match=r"x lacks the column 'income'.*did you mean 'incom'"):
        model.predict(frame.rename(columns={"income": "incom"}))
    with pytest.raises(ValueError, match=r"x\.drop\(columns=\['z'\]\)"):
        model.predict(frame.assign(z=0))
    with pytest.raises(ValueError, match=r"x\['age'\] is a column of numbers.*'old' at row 3"):
        model.predict(frame.astype(object).assign(age=[*Y[:3], "old", *Y[4:]]))
    with pytest.raises(ValueError, match=r"validation_data: x lacks the column 'age'"):
        Linear().fit(frame, Y, validation_data=(frame[["income"]], Y))
