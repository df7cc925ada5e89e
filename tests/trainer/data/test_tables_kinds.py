"""What becomes of dates, ordered categories, identifiers and text, from fit to a served model."""

from __future__ import annotations

import json
import warnings
from pathlib import Path
from typing import Any

import keras
import numpy as np
import pandas as pd
import pytest
import tensorflow as tf
import warm
from sklearn.inspection import permutation_importance

from trainer import Classifier, Regressor
from trainer.data import columns
from trainer.data.tables import Table
from trainer.utils import forms

ROOT = Path(__file__).parents[3]
N = 40


def people(rows: int = N, seed: int = 0, missing: float = 0.05) -> pd.DataFrame:
    """A table as people bring it: numbers, categories, dates, text, an id, and gaps."""
    rng = np.random.default_rng(seed)
    frame = pd.DataFrame(
        {
            "id": np.arange(rows) + 1000,
            "age": rng.integers(18, 90, rows).astype(float),
            "income": rng.lognormal(10, 1, rows),
            "town": rng.choice(["York", "Bath", "Ely", "Hull"], rows),
            "size": pd.Categorical(
                rng.choice(["small", "middle", "large"], rows),
                ["small", "middle", "large"],
                ordered=True,
            ),
            "since": pd.Timestamp("2015-03-01") + pd.to_timedelta(rng.integers(0, 3e4, rows), "h"),
            "born": [f"{d:02}.{m:02}.19{y}" for d, m, y in rng.integers(10, 13, (rows, 3))],
            "note": [" ".join(words) for words in rng.choice(["a", "b", "c", "dd"], (rows, 9))],
        }
    )
    return frame.mask(rng.random(frame.shape) < missing)


def quietly(call: Any) -> Any:
    """The result of a call whose warnings another test is about."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)
        return call()


class Linear(Regressor):
    epochs = 1
    batch_size = 20
    normalize = "standard"
    metrics = ()
    random_state = 0

    def build_model(self, spec: Any) -> keras.Model:
        return keras.Sequential([keras.Input(spec.input_shape), keras.layers.Dense(1)])


def encoded(train: pd.DataFrame, later: pd.DataFrame | None = None) -> np.ndarray:
    """What a network would see of `later` after training on `train`, not normalised."""
    table = Table.learn(train, normalize=None)
    found = table.inputs(train if later is None else later)
    return np.asarray(table.encoder()({k: tf.constant(v) for k, v in found.items()}))


# ---- one table from fit to serving ---------------------------------------------------------------


def test_one_call_of_fit_takes_a_table_as_it_comes_and_finds_what_matters() -> None:
    frame = people(300)
    since = frame["since"].fillna(pd.Timestamp("2016-06-01"))
    levels = frame["size"].cat.codes
    y = (levels == 2) * 1.5 + (since.dt.year >= 2017) * 2.0 + (frame["town"] == "Ely") * 1.0
    y = y.mask(np.random.default_rng(1).random(300) < 0.05)
    with pytest.warns(UserWarning) as told:
        fitted = Regressor(random_state=0).fit(frame, y)
    said = " ".join(str(w.message) for w in told)
    assert "left out ['id'] as identifiers" in said
    assert "rows have no target" in said
    known = y.notna()
    with np.errstate(all="ignore"):
        found = permutation_importance(fitted, frame[known], y[known], n_repeats=2, random_state=0)
    importance = dict(zip(frame.columns, found.importances_mean, strict=True))
    ranked = sorted(importance, key=lambda name: importance[name], reverse=True)
    assert set(ranked[:3]) == {"size", "since", "town"}, importance
    assert importance["id"] == 0


LOAD = """
import json, sys
import numpy as np, pandas as pd
from trainer import Classifier
path, table, result = sys.argv[1:]
frame = pd.read_pickle(table)
loaded = Classifier.load(path)
import keras, tensorflow as tf
served = keras.models.load_model(path)
raw = {
    "age": frame["age"].to_numpy(float), "income": frame["income"].to_numpy(float),
    "town": frame["town"].fillna("[missing]").to_numpy(object),
    "size": frame["size"].astype(object).fillna("[missing]").to_numpy(object),
    "note": frame["note"].fillna("").to_numpy(object),
    "since": frame["since"].to_numpy("datetime64[s]").astype(np.int64).astype(float),
    "born": pd.to_datetime(frame["born"], format="%d.%m.%Y").to_numpy("datetime64[s]")
        .astype(np.int64).astype(float),
}
for name in ("since", "born"):
    raw[name][frame[name].isna()] = np.nan
served = served({k: tf.constant(v[:, None]) for k, v in raw.items()})
json.dump([loaded.predict_proba(frame).tolist(), np.asarray(served).tolist()], open(result, "w"))
"""


def test_a_new_process_predicts_the_same_and_plain_keras_takes_dates_as_seconds(
    tmp_path: Path,
) -> None:
    frame = people()
    y = np.where(frame["age"].fillna(50) > 50, "old", "young")
    fitted = quietly(lambda: Classifier(epochs=1, random_state=0).fit(frame, y))
    fitted.save(tmp_path / "people.keras")
    frame.to_pickle(tmp_path / "people.pickle")
    files = (tmp_path / "people.keras", tmp_path / "people.pickle", tmp_path / "found.json")
    done = warm.run(LOAD, *files)
    assert done.returncode == 0, done.stderr
    again, served = json.loads(files[-1].read_text())
    np.testing.assert_array_equal(again, fitted.predict_proba(frame))
    np.testing.assert_allclose(
        np.reshape(served, (N, -1))[:, -1], np.array(again)[:, -1], rtol=1e-5
    )


def test_an_interrupted_run_resumes_exactly_and_other_dates_are_another_table(
    tmp_path: Path,
) -> None:
    frame, y = people(), np.arange(N) / N

    class Stopping(keras.callbacks.Callback):
        armed = True

        def on_epoch_end(self, epoch: int, logs: Any = None) -> None:
            if Stopping.armed:
                raise KeyboardInterrupt

    whole = quietly(lambda: Linear(epochs=2).fit(frame, y))
    run = Linear(epochs=2, run_dir=tmp_path / "run", callbacks=[Stopping()])
    with pytest.raises(KeyboardInterrupt):
        quietly(lambda: run.fit(frame, y))
    Stopping.armed = False
    quietly(lambda: run.fit(frame, y))
    assert run.history_.records[0]["epoch"] == 1 and len(run.history_) == 2
    np.testing.assert_array_equal(run.predict(frame), whole.predict(frame))
    later = frame.assign(since=frame["since"] + pd.Timedelta(1, "h"))
    with pytest.raises(ValueError, match="training x was 'table of 40 rows"):
        quietly(lambda: run.fit(later, y))


# ---- dates ---------------------------------------------------------------------------------------


def test_a_date_becomes_its_parts_that_vary_and_an_indicator() -> None:
    day = pd.to_datetime(["2020-01-06 12:00", None, "2021-03-02 18:00"])  # a Monday, a Tuesday
    found = encoded(pd.DataFrame({"c": day}))
    assert found.shape == (3, 1 + 12 + 7 + 1 + 1 + 1)
    year, month, weekday, hour, elapsed, missing = np.split(found, [1, 13, 20, 21, 22], axis=1)
    np.testing.assert_array_equal(year[:, 0], [2020, 2020.5, 2021])  # the median for a missing one
    np.testing.assert_array_equal(month[[0, 2]].argmax(axis=1), [0, 2])
    np.testing.assert_array_equal(weekday[[0, 2]].argmax(axis=1), [0, 1])
    assert not month[1].any() and not weekday[1].any()
    np.testing.assert_array_equal(hour[:, 0], [12, 15, 18])
    np.testing.assert_array_equal(elapsed[[0, 2], 0], [0, 421.25])
    np.testing.assert_array_equal(missing[:, 0], [0, 1, 0])


def test_days_of_one_month_have_no_year_month_and_hour() -> None:
    table = Table.learn(
        pd.DataFrame({"c": pd.date_range("2020-05-01", periods=9)}), normalize="standard"
    )
    assert [f["name"] for f in table.features()] == ["c:weekday", "c:elapsed"]


def test_the_same_moments_are_the_same_in_every_form() -> None:
    days = pd.Series(pd.date_range("2020-01-01", periods=30, freq="31h"))
    expected = encoded(pd.DataFrame({"c": days}))
    forms_of_it = {
        "objects": days.dt.to_pydatetime(),
        "text": days.dt.strftime("%Y-%m-%d %H:%M:%S"),
        "seconds": days.astype("datetime64[s]"),
        "a time zone": days.dt.tz_localize("Asia/Tokyo"),
    }
    for form, values in forms_of_it.items():
        found = encoded(pd.DataFrame({"c": pd.Series(values)}))
        np.testing.assert_array_equal(found, expected, err_msg=form)


def test_text_that_is_no_date_counts_as_missing_at_prediction() -> None:
    days = pd.date_range("2020-01-01", periods=30)
    train = pd.DataFrame({"c": days.strftime("%d/%m/%Y")})
    later = pd.DataFrame({"c": ["15/01/2020", "soon", None, "2020-01-15"]})
    with pytest.warns(UserWarning, match=r"x\['c'\]: 2 of 4 values are not dates.*'soon' at row 1"):
        found = encoded(train, later)
    np.testing.assert_array_equal(found[1:], found[[1, 1, 1]])
    assert (found[0] != found[1]).any()
    np.testing.assert_array_equal(  # datetimes instead of text
        encoded(train, pd.DataFrame({"c": pd.to_datetime(["2020-01-15"])})), found[:1]
    )


# ---- ordered categories, identifiers, and columns at prediction ----------------------------------


def test_ordered_categories_are_ranks_and_unseen_ones_are_missing() -> None:
    levels = ["low", "mid", "high"]
    train = pd.DataFrame({"c": pd.Categorical(["high", "low", None], levels, ordered=True)})
    np.testing.assert_array_equal(encoded(train), [[2, 0], [0, 0], [1, 1]])
    later = pd.DataFrame({"c": ["mid", "unheard of", "high"]})  # as text, as from a file
    np.testing.assert_array_equal(encoded(train, later), [[1, 0], [1, 1], [2, 0]])


def test_columns_may_be_in_another_order_and_left_out_ones_missing() -> None:
    frame = people()
    fitted = quietly(lambda: Linear().fit(frame, np.arange(N) / N))
    expected = fitted.predict(frame)
    np.testing.assert_array_equal(fitted.predict(frame[frame.columns[::-1]]), expected)
    np.testing.assert_array_equal(fitted.predict(frame.drop(columns=["id", "note"])), expected)
    assert fitted.feature_names_in_.tolist() == frame.columns.tolist()
    new = frame.assign(town="Oslo", size="giant")
    assert np.isfinite(fitted.predict(new)).all()
    with pytest.raises(ValueError, match=r"x lacks the column 'town'"):
        fitted.predict(frame.drop(columns="town"))
    with pytest.raises(ValueError, match=r"x has the column 'extra', which training did not have"):
        fitted.predict(frame.assign(extra=1))


def test_single_rows_are_encoded_like_many() -> None:
    frame = people(25, missing=0.2)
    fitted = quietly(lambda: Linear().fit(frame, np.arange(25) / 25))
    table = fitted.network_.inputs.table
    assert table is not None
    found = table.inputs(pd.concat([frame] * 3))  # more rows than the quick conversion takes
    for i in range(25):
        one = table.inputs(frame.iloc[i : i + 1])
        assert {k: v[0, 0] for k, v in one.items()} == pytest.approx(
            {k: v[i, 0] for k, v in found.items()}, abs=0, nan_ok=True
        )
    whole = fitted.predict(frame)
    alone = [fitted.predict(frame.iloc[i : i + 1])[0] for i in range(3)]
    np.testing.assert_allclose(alone, whole[:3], rtol=1e-5)


def test_features_are_numbers_and_categories_in_numpy_and_in_keras() -> None:
    frame = people(missing=0.2)
    table = quietly(lambda: Table.learn(frame, normalize="standard"))
    found = table.inputs(frame, quiet=True)
    raw = {
        k: keras.Input((1,), dtype="float64" if v.dtype.kind == "f" else "string", name=k)
        for k, v in found.items()
    }
    model = keras.Model(raw, [table.tensor(feature, raw) for feature in table.features()])
    tensors = model({k: tf.constant(v) for k, v in found.items()})
    for feature, values, tensor in zip(table.features(), table.values(frame), tensors, strict=True):
        seen = np.asarray(tensor)[:, 0]
        if feature["kind"] == "category":
            seen = np.char.decode(seen.astype(bytes))
        np.testing.assert_array_equal(values, seen, err_msg=feature["name"])
    assert [f["name"] for f in table.features()][:4] == ["age", "income", "town", "size"]
    texts = table.texts(frame)
    assert list(texts) == ["note"] and texts["note"].shape == (N, 1)
    assert (texts["note"][:, 0] == frame["note"].fillna("")).all()


# ---- files ---------------------------------------------------------------------------------------


def test_a_table_is_restored_from_its_form() -> None:
    table = quietly(lambda: Table.learn(people(), normalize="standard"))
    form = json.loads(json.dumps(table.to_dict()))
    assert Table.from_dict(form).columns == table.columns
    assert {c["kind"] for c in table.columns} == set(columns.KINDS)


@pytest.mark.parametrize(
    ("name", "key", "value", "message"),
    [
        ("since", "zone", 3, "zone"),
        ("since", "earliest", "then", "earliest"),
        ("since", "parts", {}, "at least one part"),
        ("since", "parts", {"minute": {}}, "minute"),
        ("since", "parts", {"year": {"median": 1.0, "offset": 0.0, "scale": 0.0}}, "scale"),
        ("born", "formats", ["%c"], "formats"),
        ("size", "levels", ["a", "a"], "levels"),
        ("size", "indicator", 1, "indicator"),
        ("age", "kind", "image", "kind"),
        ("age", "unit", "miles", "unit"),
    ],
)
def test_a_damaged_form_is_refused(name: str, key: str, value: Any, message: str) -> None:
    form = json.loads(json.dumps(quietly(lambda: Table.learn(people(), normalize=None)).to_dict()))
    next(c for c in form["columns"] if c["name"] == name)[key] = value
    with pytest.raises(forms.Malformed, match=message):
        Table.from_dict(form)


def test_a_run_of_version_0_1_keeps_its_encoding(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, recwarn: pytest.WarningsRecorder
) -> None:
    frame = pd.DataFrame({"code": [f"K{i}" for i in range(N)], "number": np.arange(N) / 7})
    y = np.arange(N) / N
    with monkeypatch.context() as earlier:
        earlier.setattr(columns, "find", columns.find_as_0_1)
        first = Linear(run_dir=tmp_path / "run").fit(frame, y)
    assert first.network_.inputs.shapes == (N + 2,)
    path = tmp_path / "run" / "config.json"
    config = json.loads(path.read_text())
    assert config.pop("tables") == 2
    path.write_text(json.dumps(config))
    again = Linear(run_dir=tmp_path / "run").fit(frame, y)
    np.testing.assert_array_equal(again.predict(frame), first.predict(frame))
    longer = Linear(epochs=2, run_dir=tmp_path / "run").fit(frame, y, resume=True)
    assert longer.network_.inputs.shapes == (N + 2,)
    assert json.loads(path.read_text())["tables"] == 1
    assert [w for w in recwarn if "left out" in str(w.message)] == []
