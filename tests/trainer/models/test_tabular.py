"""`tabular`, the default for DataFrames: what it learns, saves and resumes."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import keras
import numpy as np
import pandas as pd
import pytest
import warm

from trainer import Classifier, ModelSpec, Regressor, models

N = 300
RNG = np.random.default_rng(0)
FRAME = pd.DataFrame(
    {
        "a": RNG.normal(size=N),
        "b": np.where(np.arange(N) % 7 == 0, np.nan, RNG.normal(size=N)),
        "two": np.where(RNG.random(N) > 0.5, "yes", "no"),
        "few": RNG.choice(list("wxyz"), N),
        "some": [f"s{i}" for i in RNG.integers(12, size=N)],
        "many": [f"m{i}" for i in RNG.integers(60, size=N)],
    }
)
LABELS = np.where(FRAME["a"] + (FRAME["two"] == "yes") > 0.5, "up", "down")
NUMBERS = 100 + 50 * FRAME["a"].to_numpy() + 20 * (FRAME["two"] == "yes").to_numpy()
SMALL = {"name": "tabular", "width": 8, "depth": 1}
SHORT = {"model": SMALL, "epochs": 2, "verbose": 0, "random_state": 0}


def same(a: Any, b: Any) -> bool:
    return bool(np.array_equal(np.asarray(a), np.asarray(b)))


@pytest.mark.parametrize("value", [1, np.nan, pd.NaT, pd.Timestamp("2020-01-01")])
def test_a_table_of_constant_columns_predicts_the_same_for_every_row(
    value: Any, tmp_path: Path
) -> None:
    frame = pd.DataFrame({"a": [value] * N, "b": [value] * N})
    fitted = Regressor(**SHORT).fit(frame, NUMBERS)
    found = fitted.predict(frame)
    assert len(np.unique(found)) == 1
    loaded = Regressor.load(fitted.save(tmp_path / "constant.keras"))
    assert same(loaded.predict(frame), found)


def test_a_large_mean_of_y_costs_no_digits() -> None:
    fields = {**SHORT, "epochs": 30}
    score, far = (
        Regressor(**fields).fit(FRAME, NUMBERS + offset).score(FRAME, NUMBERS + offset)
        for offset in (0, 1e9)
    )
    assert score > 0.8 and far > score - 0.02


def test_at_predict_a_column_has_what_it_had_in_training() -> None:
    fitted = Regressor(**SHORT).fit(FRAME, NUMBERS)
    with pytest.raises(
        ValueError, match=r"x\['few'\] has categories, but \[1\] at row 0 is a list"
    ):
        fitted.predict(FRAME.assign(few=[[1]] * N))
    with pytest.raises(ValueError, match=r"x has several columns 'a'; write x.loc"):
        fitted.predict(pd.concat([FRAME, FRAME[["a"]]], axis=1))
    with pytest.warns(UserWarning, match=r"x\['few'\]: no value is one of the categories") as told:
        fitted.predict(FRAME.assign(few=FRAME["few"].str.upper()))
    assert len(told) == 1


def test_it_learns_classes_and_numbers_of_mixed_columns() -> None:
    classes = Classifier(epochs=20, verbose=0, random_state=0).fit(FRAME[:220], LABELS[:220])
    assert classes.score(FRAME[220:], LABELS[220:]) > 0.85
    numbers = Regressor(epochs=30, verbose=0, random_state=0).fit(FRAME[:220], NUMBERS[:220])
    assert numbers.score(FRAME[220:], NUMBERS[220:]) > 0.8
    found = numbers.predict(FRAME.assign(a=1e9))
    assert found.max() <= NUMBERS[:220].max() * (1 + 1e-6)  # no further than the training targets


@pytest.mark.parametrize("kind", ["classes", "numbers", "columns", "labels"])
def test_a_saved_one_predicts_the_same_from_raw_rows(kind: str, tmp_path: Path) -> None:
    y: Any = {
        "classes": LABELS,
        "numbers": NUMBERS,
        "columns": np.stack([NUMBERS, -NUMBERS], axis=1),
        "labels": np.stack([LABELS == "up", FRAME["two"] == "yes"], axis=1).astype(int),
    }[kind]
    cls = Classifier if kind in ("classes", "labels") else Regressor
    made = cls(**SHORT).fit(FRAME, y)
    loaded = cls.load(made.save(tmp_path / "m.keras"))
    odd = FRAME.assign(some="never seen", b=np.nan)
    for rows in (FRAME, odd):
        assert same(loaded.predict(rows), made.predict(rows))
    plain = keras.models.load_model(tmp_path / "m.keras")
    raw = made.network_.inputs.table.inputs(odd)
    outputs = np.asarray(plain({k: keras.ops.convert_to_tensor(v) for k, v in raw.items()}))
    np.testing.assert_allclose(outputs, np.asarray(made.model_(raw)), rtol=1e-6)


def test_equal_seeds_give_equal_numbers() -> None:
    whole = Classifier(**SHORT).fit(FRAME, LABELS)
    again = Classifier(**SHORT).fit(FRAME, LABELS)
    assert same(whole.predict_proba(FRAME), again.predict_proba(FRAME))


def test_a_killed_run_resumes_exactly(tmp_path: Path) -> None:
    whole = Classifier(**{**SHORT, "epochs": 4}).fit(FRAME, LABELS)
    data, run = tmp_path / "data.pkl", tmp_path / "run"
    FRAME.assign(y=LABELS).to_pickle(data)
    script = f"""
import os, signal, sys
import pandas as pd
from trainer import Classifier
from trainer.callbacks.callback import Callback

class Kill(Callback):
    def on_epoch_begin(self, epoch, logs=None):
        if epoch == 2 and not os.path.exists({str(tmp_path / "killed")!r}):
            self.session.run.states.wait()
            open({str(tmp_path / "killed")!r}, "w").close()
            os.kill(os.getpid(), signal.SIGKILL)

frame = pd.read_pickle({str(data)!r})
y = frame.pop("y").to_numpy()
made = Classifier(model={SMALL!r}, epochs=4, verbose=0, random_state=0, run_dir={str(run)!r},
                  save_minutes=0.001, save_steps=1, callbacks=[Kill()])
made.fit(frame, y, resume="auto")
pd.DataFrame(made.predict_proba(frame)).to_pickle({str(tmp_path / "out.pkl")!r})
"""
    assert warm.run(script).returncode != 0
    done = warm.run(script)
    assert done.returncode == 0, done.stderr
    found = pd.read_pickle(tmp_path / "out.pkl").to_numpy()
    assert same(found, whole.predict_proba(FRAME))


def test_rare_classes_stay_in_the_training_rows() -> None:
    y = np.array(["a", "b"] * (N // 2), object)
    y[7] = "once"
    made = Classifier(**{**SHORT, "epochs": 1}).fit(FRAME, y)
    assert list(made.classes_) == ["a", "b", "once"]
    many = np.array([f"c{i % 100}" for i in range(N)])
    made = Classifier(**{**SHORT, "epochs": 1}).fit(FRAME, many)
    assert len(made.classes_) == 100


@pytest.mark.parametrize("precision", ["float64", "mixed_bfloat16"])
def test_it_computes_in_other_precisions(precision: str, tmp_path: Path) -> None:
    made = Regressor(**{**SHORT, "epochs": 1}, precision=precision).fit(FRAME, NUMBERS)
    assert np.isfinite(made.predict(FRAME)).all()
    loaded = Regressor.load(made.save(tmp_path / "m.keras"))
    assert same(loaded.predict(FRAME), made.predict(FRAME))


def test_few_rows_and_odd_tables_train() -> None:
    few = FRAME[["a", "two"]][:6]
    made = Classifier(**{**SHORT, "epochs": 1}).fit(few, LABELS[:6])
    assert "val_loss" not in made.history_.records[0]  # too few to hold some out
    for frame in (FRAME[["two"]], FRAME[["many"]], FRAME[["some"]]):
        Classifier(**{**SHORT, "epochs": 1}).fit(frame, LABELS)


def test_vectors_are_taken_for_numbers_by_name() -> None:
    x = RNG.normal(size=(60, 3))
    made = Regressor(**{**SHORT, "epochs": 1}).fit(x, x[:, 0])
    assert made.predict(x).shape == (60,)
    with pytest.raises(ValueError, match="takes a DataFrame or vectors"):
        models.build("tabular", ModelSpec((3, 4), 1, "regression"))


def test_the_summary_says_how_columns_are_encoded() -> None:
    said = Classifier(**{**SHORT, "epochs": 1}).fit(FRAME, LABELS).summary()
    assert (
        "tabular; width=8; depth=1; 2 numbers, 1 pairs, 1 one-hot, 1 embedded, 1 by mean of y"
        in said
    )
