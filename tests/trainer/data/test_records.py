"""Rows given as dicts: predictions equal those of a DataFrame, and errors name row and column."""

import datetime
from decimal import Decimal
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from trainer import Classifier, Regressor
from trainer.data import records
from trainer.data.records import WrongRow
from trainer.data.tables import Table

N = 80
RNG = np.random.default_rng(0)
FRAME = pd.DataFrame(
    {
        "age": RNG.normal(40, 10, N),
        "rooms": RNG.integers(1, 6, N),
        "city": RNG.choice(["Rome", "Oslo", "Bern"], N),
        "owner": RNG.integers(0, 2, N).astype(bool),
        "size": pd.Categorical(
            RNG.choice(["s", "m", "l"], N), categories=["s", "m", "l"], ordered=True
        ),
        "level": pd.Categorical(RNG.integers(0, 4, N)),
        "since": pd.Timestamp("2001-02-03 04:05:06.789012")
        + pd.to_timedelta(RNG.integers(0, 10**6, N), "min"),
        "seen": (pd.Timestamp("2020-01-01") + pd.to_timedelta(np.arange(N), "D")).strftime(
            "%d.%m.%Y"
        ),
        "stay": pd.to_timedelta(RNG.integers(0, 10**4, N), "s"),
        "woke": [datetime.time(6, int(minute)) for minute in RNG.integers(0, 60, N)],
        "zoned": pd.Timestamp("2020-01-01", tz="Europe/Rome")
        + pd.to_timedelta(RNG.integers(0, 10**4, N), "h"),
    }
)
FRAME.loc[::9, "age"] = np.nan
FRAME.loc[1::9, ["city", "size", "since", "stay"]] = None
LABELS = np.where(FRAME["city"] == "Rome", "warm", "cold")
ROWS: list[dict[str, Any]] = FRAME.to_dict("records")


@pytest.fixture(scope="module")
def fitted() -> Classifier:
    return Classifier(epochs=1, random_state=0, verbose=0).fit(FRAME, LABELS)


@pytest.fixture(scope="module")
def learned() -> Table:
    return Table.learn(FRAME, normalize="standard")


@pytest.mark.parametrize("normalize", ["standard", "minmax", None])
def test_rows_become_what_a_frame_of_them_becomes(normalize: str | None) -> None:
    table = Table.learn(FRAME, normalize=normalize)
    expected = table.inputs(pd.concat([FRAME] * 2))  # too many rows for the quick conversion
    found = records.inputs(table, records.Records(ROWS))
    alone = [records.inputs(table, records.Records([row], alone=True)) for row in ROWS]
    of_frame = [table.inputs(FRAME.iloc[[i]]) for i in range(N)]
    for name, values in expected.items():
        np.testing.assert_array_equal(found[name], values[:N])
        np.testing.assert_array_equal(np.concatenate([one[name] for one in alone]), values[:N])
        np.testing.assert_array_equal(np.concatenate([one[name] for one in of_frame]), values[:N])


@pytest.mark.parametrize("normalize", ["standard", None])
def test_a_few_rows_are_encoded_as_the_graph_encodes_many(normalize: str | None) -> None:
    table = Table.learn(FRAME, normalize=normalize)
    raw = table.inputs(FRAME)
    import tensorflow as tf

    graph = tf.function(table.encoder("float32"))
    expected = np.asarray(graph({name: tf.constant(values) for name, values in raw.items()}))
    np.testing.assert_array_equal(table.encoded(raw), expected)
    huge = raw | {"age": np.full((N, 1), 1e149)}  # more than float32 holds
    expected = np.asarray(graph({name: tf.constant(values) for name, values in huge.items()}))
    np.testing.assert_array_equal(table.encoded(huge), expected)
    numbers = pd.DataFrame({"a": RNG.normal(3, 7, N), "b": RNG.lognormal(0, 9, N)})
    table = Table.learn(numbers, normalize=normalize)
    raw = table.inputs(numbers)
    double = tf.function(table.encoder("float64"))
    expected = np.asarray(double({name: tf.constant(values) for name, values in raw.items()}))
    np.testing.assert_array_equal(table.encoded(raw, "float64"), expected)


def test_a_dict_and_a_list_of_dicts_predict_what_a_frame_predicts(fitted: Classifier) -> None:
    expected = fitted.predict_proba(FRAME)
    np.testing.assert_array_equal(fitted.predict_proba(ROWS), expected)
    np.testing.assert_array_equal(fitted.predict(ROWS), fitted.predict(FRAME))
    one = fitted.predict(ROWS[3])
    assert one.shape == (1,) and one[0] == fitted.predict(FRAME.iloc[[3]])[0]
    np.testing.assert_array_equal(fitted.predict_proba(ROWS[3]), fitted.predict_proba(FRAME[3:4]))
    assert fitted.score(ROWS, LABELS) == fitted.score(FRAME, LABELS)
    assert fitted.evaluate(ROWS, LABELS) == fitted.evaluate(FRAME, LABELS)


def test_none_is_a_missing_value_of_every_kind_and_columns_may_be_in_any_order(
    fitted: Classifier,
) -> None:
    nothing = dict.fromkeys(FRAME.columns)
    frame = pd.DataFrame({name: FRAME[name].where(FRAME[name].isna()) for name in FRAME})
    found = fitted.predict_proba(nothing)
    np.testing.assert_array_equal(found, fitted.predict_proba(frame[:1]))
    turned = dict(reversed(ROWS[2].items()))
    np.testing.assert_array_equal(fitted.predict_proba(turned), fitted.predict_proba(ROWS[2]))


def test_values_of_numpy_and_numbers_of_other_types_count_as_themselves(
    fitted: Classifier,
) -> None:
    row = ROWS[5]
    other = row | {
        "age": np.float64(row["age"]),
        "rooms": np.array(row["rooms"]),
        "owner": np.bool_(row["owner"]),
        "level": float(row["level"]),
        "since": np.datetime64(row["since"].to_datetime64()),
        "zoned": row["zoned"].tz_convert("UTC").to_pydatetime(),
    }
    np.testing.assert_array_equal(fitted.predict_proba(other), fitted.predict_proba(row))
    whole = fitted.predict_proba(row | {"age": 31})
    for same in (31.0, Decimal(31), np.int8(31), np.float32(31)):
        np.testing.assert_array_equal(fitted.predict_proba(row | {"age": same}), whole)


@pytest.mark.parametrize(
    ("column", "value", "said"),
    [
        ("age", "31", r"x\[1\]\['age'\] is '31' \(str\): training had numbers; write a number"),
        ("age", [31], r"x\[1\]\['age'\] is \[31\] \(list\): training had numbers"),
        ("age", 1j, r"x\[1\]\['age'\] is 1j"),
        ("age", float("inf"), r"x\[1\]\['age'\] is inf \(float\): training had numbers up to 1e"),
        ("age", 10**400, r"training had numbers up to"),
        ("age", np.timedelta64(3, "s"), r"training had numbers"),
        ("city", ["Rome"], r"x\[1\]\['city'\] is \['Rome'\] \(list\): training had categories"),
        ("city", b"Rome", r"x\[1\]\['city'\] is b'Rome'"),
        ("size", {"a": 1}, r"x\[1\]\['size'\]"),
        ("since", 17, r"x\[1\]\['since'\] is 17 \(int\): training had dates"),
        ("since", "soon", r"x\[1\]\['since'\] is 'soon' \(str\): training had dates"),
        ("since", datetime.datetime(2020, 1, 1, tzinfo=datetime.UTC), r"without a time zone"),
        ("zoned", datetime.datetime(2020, 1, 1), r"time zone Europe/Rome"),
        ("zoned", datetime.datetime.fromisoformat("9999-12-31T23:59:59-14:00"), r"year 10000"),
        ("seen", "31.02.2020", r"x\[1\]\['seen'\] is '31.02.2020' \(str\): training had dates"),
        ("stay", 60, r"training had durations; write a datetime.timedelta"),
        ("woke", "06:30", r"training had times of the day; write a datetime.time"),
    ],
)
def test_a_value_of_another_type_is_named_with_its_row_and_column(
    learned: Table, column: str, value: Any, said: str
) -> None:
    rows = [ROWS[0], ROWS[2] | {column: value}]
    with pytest.raises(WrongRow, match=said) as raised:
        records.inputs(learned, records.Records(rows))
    assert (raised.value.row, raised.value.column) == (1, column)
    with pytest.raises(WrongRow, match=said.replace(r"x\[1\]", "x")):
        records.inputs(learned, records.Records(rows[1:], alone=True))


def test_missing_and_further_columns_are_named(fitted: Classifier) -> None:
    short = {k: v for k, v in ROWS[0].items() if k not in ("age", "city")}
    with pytest.raises(ValueError, match=r"x lacks the columns 'age', 'city', which training had"):
        fitted.predict(short)
    with pytest.raises(ValueError, match=r"x\[1\] lacks the column 'city'.* did you mean 'citty'"):
        fitted.predict(
            [ROWS[0], {k if k != "city" else "citty": v for k, v in ROWS[1].items()}],
        )
    with pytest.raises(ValueError, match=r"x lacks the columns"):
        fitted.predict({})
    more = ROWS[0] | {"price": 3, "note": ["any"]}
    with pytest.raises(ValueError, match=r"x has the columns 'price', 'note'.*extra_columns="):
        fitted.predict(more)
    expected = fitted.predict_proba(ROWS[0])
    np.testing.assert_array_equal(fitted.predict_proba(more, extra_columns="ignore"), expected)
    frame = FRAME[:1].assign(price=3, note="any")
    with pytest.raises(ValueError, match="x has the column 'price'.*extra_columns='ignore'"):
        fitted.predict(frame)
    np.testing.assert_array_equal(fitted.predict_proba(frame, extra_columns="ignore"), expected)
    assert fitted.predict(frame, extra_columns="ignore")[0] == fitted.predict(ROWS[0])[0]
    with pytest.raises(ValueError, match="lacks the column 'age'"):
        fitted.predict(frame.drop(columns="age"), extra_columns="ignore")
    with pytest.raises(ValueError, match="extra_columns='drop': must be one of"):
        fitted.predict(ROWS, extra_columns="drop")


def test_what_is_no_row_gets_one_error(fitted: Classifier) -> None:
    with pytest.raises(TypeError, match=r"x is a dict: .* write pd.DataFrame\(x\)"):
        fitted.predict(FRAME.to_dict("list"))
    with pytest.raises(ValueError, match=r"x\[1\] is 5 \(int\): must be a dict"):
        fitted.predict([ROWS[0], 5])
    with pytest.raises(ValueError, match="x is empty"):
        fitted.predict([])
    with pytest.raises(TypeError, match="trained on a DataFrame; pass a DataFrame .* or rows as"):
        fitted.predict(np.zeros((2, 11)))


def test_a_dict_is_several_inputs_where_training_had_arrays() -> None:
    import keras

    class Two(Regressor):
        def build_model(self, spec: Any) -> Any:
            inputs = {
                name: keras.Input(shape, name=name) for name, shape in spec.input_shape.items()
            }
            return keras.Model(inputs, keras.layers.Dense(1)(keras.layers.add([*inputs.values()])))

    x = {"a": np.ones((8, 2), "float32"), "b": np.zeros((8, 2), "float32")}
    two = Two(epochs=1, random_state=0, verbose=0).fit(x, np.arange(8.0))
    assert two.predict(x).shape == (8,)
    for rows in ({"a": 1.0, "b": 2.0}, [{"a": 1.0, "b": 2.0}]):
        with pytest.raises(TypeError, match=r"x has rows as dicts: Two was trained on arrays"):
            two.predict(rows)
    with pytest.raises(ValueError, match="extra_columns='ignore': training had no table"):
        two.predict(x, extra_columns="ignore")


def test_left_out_columns_may_be_missing_and_text_is_read(tmp_path: Path) -> None:
    words = RNG.choice(["good", "bad", "fine", "film", "long", "dull"], (N, 6))
    frame = pd.DataFrame(
        {"id": [f"u{i}" for i in range(N)], "age": FRAME["rooms"], "said": map(" ".join, words)}
    )
    with pytest.warns(UserWarning, match=r"left out \['id'\] as identifiers"):
        made = Classifier(epochs=1, random_state=0, verbose=0).fit(frame, LABELS)
    rows = frame[["age", "said"]].to_dict("records")
    expected = made.predict_proba(frame)
    np.testing.assert_allclose(made.predict_proba(rows), expected, rtol=1e-6)
    with pytest.raises(ValueError, match=r"x\[0\]\['said'\] is 3 \(int\): training had text"):
        made.predict([rows[0] | {"said": 3}])
    with pytest.raises(ValueError, match=r"x lacks the column 'said'"):
        made.predict({"age": 3})
    assert made.score(rows, LABELS) == made.score(frame, LABELS)
    loaded = Classifier.load(made.save(tmp_path / "m.keras"))
    np.testing.assert_array_equal(loaded.predict_proba(rows[0]), made.predict_proba(rows[0]))
