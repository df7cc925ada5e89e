"""The architecture for series: when it is chosen, what it learns, and that it stays the same."""

from __future__ import annotations

import os
import signal
import warnings
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import warm
from sklearn.linear_model import Ridge

from trainer import Classifier, Regressor
from trainer.datasets import windows
from trainer.models import ModelSpec
from trainer.models.sequence import Sequences, overlaps, ridge
from trainer.utils.forms import Malformed

RNG = np.random.default_rng(0)
STEPS = np.arange(260.0)
# a season of 12 steps on a trend, beside a column that leads nowhere
SERIES = np.stack(
    [
        RNG.normal(size=260),
        5 * np.sin(STEPS * np.pi / 6) + 0.1 * STEPS + 0.3 * RNG.normal(size=260),
    ],
    axis=1,
)
PARTS = windows(SERIES, past=24, horizon=6, target=1)


def small(**fields) -> Regressor:
    own = {"model": {"name": "sequence", "units": 4}, "epochs": 2, "verbose": 0, "random_state": 0}
    return Regressor(**own | fields)


@pytest.fixture(scope="module")
def fitted() -> Regressor:
    return small(model=None).fit(*PARTS.train)


@pytest.mark.parametrize(
    ("shape", "dtype", "name"),
    [
        ((24, 2), "float64", "sequence"),
        ((12, 1), "float32", "sequence"),
        ((50, 20), "float32", "sequence"),
        ((12, 1), "int64", "sequence"),
        ((28, 28), "float32", "cnn"),  # square: an image
        ((8, 8), "float64", "cnn"),
        ((28, 20), "float32", "mlp"),  # (height, width) of an image, or steps of many columns
        ((20, 30), "float32", "mlp"),
        ((24, 2), "uint8", "mlp"),  # pixels
        ((1, 9), "float32", "mlp"),
        ((9,), "float32", "mlp"),
        ((8, 8, 3), "float32", "cnn"),
    ],
)
def test_it_is_chosen_for_steps_of_columns_that_are_no_images(shape, dtype, name) -> None:
    x = np.zeros((30, *shape), dtype)
    chosen = Regressor().resolve(x, np.arange(30.0))
    assert chosen.name == name or (len(shape) == 1 and chosen.name == "tabular")
    assert Regressor(model="sequence").resolve(x, np.arange(30.0)).name == "sequence"


def test_the_season_and_the_column_are_found_in_the_training_rows(fitted: Regressor) -> None:
    learned = fitted.network_.architecture.learned
    assert (learned.seasons, learned.columns) == ([12], [1])
    summary = fitted.summary()
    assert "the difference from column 1, its value 12 steps before (the season)" in summary
    assert "rows of shape (24, 2) are taken for 24 steps of 2 columns" in summary


def test_forecasts_are_better_than_the_value_one_season_before(fitted: Regressor) -> None:
    naive = PARTS.test.x[:, 12:18, 1]
    ours = PARTS.scores(fitted.predict(PARTS.test.x), season=12)
    assert ours["mae"] < 0.6 * PARTS.scores(naive, season=12)["mae"]
    assert fitted.evaluate(*PARTS.test)["mae"] == pytest.approx(ours["mae"], rel=1e-4)


def test_a_level_never_seen_moves_forecasts_as_much(fitted: Regressor) -> None:
    few = PARTS.test.x[:4]
    np.testing.assert_allclose(fitted.predict(few + 1000), fitted.predict(few) + 1000, atol=0.01)


def test_the_last_rows_of_windows_are_held_out(fitted: Regressor) -> None:
    x, y = PARTS.train
    assert fitted.resolved_.last_rows
    held = int(np.ceil(0.15 * len(x)))
    given = small(model=None).fit(x[:-held], y[:-held], validation_data=(x[-held:], y[-held:]))
    assert given.history_.records[-1]["val_loss"] == fitted.history_.records[-1]["val_loss"]


def test_rows_that_do_not_overlap_are_held_out_at_random() -> None:
    x = RNG.normal(size=(40, 12, 2))
    assert not overlaps(x, RNG.normal(size=40))
    assert overlaps(*PARTS.train)
    assert not Regressor().resolve(x, RNG.normal(size=40)).values.last_rows


def test_equal_seeds_give_equal_bytes_and_files_predict_the_same(
    fitted: Regressor, tmp_path: Path
) -> None:
    import keras

    x = PARTS.test.x
    again = small(model=None).fit(*PARTS.train)
    np.testing.assert_array_equal(again.predict(x), fitted.predict(x))
    file = fitted.save(tmp_path / "forecast.keras")
    loaded = Regressor.load(file)
    np.testing.assert_array_equal(loaded.predict(x), fitted.predict(x))
    assert loaded.network_.architecture.learned == fitted.network_.architecture.learned
    plain = keras.models.load_model(file)
    np.testing.assert_array_equal(plain.predict(x, verbose=0), fitted.predict(x))


@pytest.mark.parametrize("target", [None, [1]])
def test_several_targets_are_forecast_at_once(target: list[int] | None) -> None:
    parts = windows(SERIES + 100, past=24, horizon=3, target=target)
    made = small().fit(*parts.train)
    found = made.predict(parts.test.x)
    assert found.shape == parts.test.y.shape
    scale = np.abs(parts.test.y - parts.train.y.mean(axis=(0, 1))).mean()
    assert parts.scores(found)["mae"] < scale
    flat = [a.reshape(len(a), -1) for a in (parts.test.y, found)]
    from sklearn.metrics import r2_score

    assert made.score(*parts.test) == pytest.approx(r2_score(*flat))


def test_a_number_that_continues_nothing_is_learnt_too() -> None:
    x = RNG.normal(size=(120, 10, 2))
    y = 1000 + 50 * (x[:, 3, 0] - x[:, 7, 1])
    made = small(validation_split=0.0).fit(x[:100], y[:100])
    assert made.network_.architecture.learned.places == []
    assert made.score(x[100:], y[100:]) > 0.9


@pytest.mark.parametrize("network", ["conv", "gru"])
def test_classes_of_sequences_are_learnt(network: str) -> None:
    x = RNG.normal(size=(60, 12, 1)).astype("float32")
    labels = np.where(RNG.random(60) < 0.5, "falls", "rises")
    x[:, :, 0] += np.where(labels == "rises", 1, -1)[:, None] * np.arange(12) / 3
    made = Classifier(
        model={"name": "sequence", "network": network, "units": 8},
        learning_rate=0.01,
        epochs=8,
        verbose=0,
        random_state=0,
    ).fit(x, labels)
    assert made.score(x, labels) > 0.9


def test_a_stream_learns_the_same_season() -> None:
    import tensorflow as tf

    rows = tf.data.Dataset.from_tensor_slices(tuple(PARTS.train)).batch(16)
    made = small(epochs=1).fit(rows)
    assert made.network_.architecture.learned.seasons == [12]


def test_the_penalty_and_coefficients_are_those_of_ridge() -> None:
    x = RNG.normal(size=(40, 6)) * [1, 2, 3, 4, 5, 0]
    y = x[:, :2] + RNG.normal(size=(40, 2))
    for rows in (40, 5):  # more rows than columns, and fewer
        kernel, bias = ridge(x[:rows], y[:rows], [3.0])
        spread = x[:rows].std(axis=0)
        spread[5] = 1
        theirs = Ridge(3.0).fit(x[:rows] / spread, y[:rows])
        np.testing.assert_allclose(x @ kernel + bias, theirs.predict(x / spread), atol=1e-6)


@pytest.mark.parametrize(
    ("x", "options", "message"),
    [
        (np.zeros((30, 5)), {}, r"model='sequence': takes x of shape.*\(5,\).*datasets.windows"),
        (np.zeros((30, 6, 1)), {"network": "lstm"}, "network='lstm': must be one of"),
        (np.zeros((30, 6, 1)), {"units": 0}, "units=0: must be 1 or more"),
        (np.zeros((30, 6, 1)), {"dropout": 1.5}, "dropout=1.5: must be a number from 0"),
        (np.zeros((30, 6, 1)), {"unit": 3}, "did you mean 'units'"),
    ],
)
def test_bad_rows_and_options_are_refused(x, options, message) -> None:
    with pytest.raises(ValueError, match=message):
        Regressor(model={"name": "sequence", **options}, verbose=0).fit(x, np.arange(30.0))


def test_a_damaged_form_is_refused(fitted: Regressor) -> None:
    form = fitted.network_.architecture.learned.to_dict()
    assert Sequences.from_dict(form) == fitted.network_.architecture.learned
    columns = len(form["floor"])
    for change in (
        {"places": [1, 2]},
        {"gain": []},
        {"mean": [0.0]},
        {"floor": "x"},
        {"shape": [-1]},
        {"columns": [columns]},
        {"variance": [-1.0] * columns},
        {"more": 1},
    ):
        with pytest.raises(Malformed):
            Sequences.from_dict(form | change)
    chosen = fitted.network_.architecture
    other = replace(chosen, learned=Sequences.from_dict(form | {"places": [24 * 2] * 6}))
    with pytest.raises(Malformed, match="does not belong to rows of shape"):
        other.build(ModelSpec((24, 2), 6, "regression"))


def test_a_constant_series_is_forecast_without_a_warning() -> None:
    parts = windows(np.full(80, 5.0), past=6, horizon=2)
    with warnings.catch_warnings():
        warnings.simplefilter("error", RuntimeWarning)
        made = small(epochs=1).fit(*parts.train)
    np.testing.assert_allclose(made.predict(parts.test.x), 5.0, atol=1e-3)


def test_a_forecast_is_plotted_of_its_row_and_column(fitted: Regressor) -> None:
    x, y = PARTS.test
    ax = fitted.plot_forecast(x, y, row=3, column=1, times=PARTS.times.test)
    past, true, forecast = ax.lines
    np.testing.assert_array_equal(past.get_ydata(), x[3, :, 1])
    np.testing.assert_array_equal(true.get_ydata()[1:], y[3])
    np.testing.assert_allclose(forecast.get_ydata()[1:], fitted.predict(x[3:4])[0])
    with pytest.raises(ValueError, match=r"row=99: x has \d+; write row=0"):
        fitted.plot_forecast(x, row=99)
    with pytest.raises(ValueError, match=r"x has shape \(24, 2\): must be windows"):
        fitted.plot_forecast(x[0])
    n, more = len(x), len(PARTS.times.train)
    with pytest.raises(ValueError, match=f"times has {more} rows and x has {n}: write the times"):
        fitted.plot_forecast(x, y, times=PARTS.times.train)
    with pytest.raises(ValueError, match=f"times has no rows and x has {n}"):
        fitted.plot_forecast(x, y, times=3)
    with pytest.raises(ValueError, match=f"y has {n - 1} rows and x has {n}"):
        fitted.plot_forecast(x, y[1:])


KILLED = """
import os, signal, sys
import keras, numpy as np
from trainer import Regressor
from trainer.datasets import windows

class Kill(keras.callbacks.Callback):
    def on_epoch_begin(self, epoch, logs=None):
        if epoch == 2 and "DIE" in os.environ:
            os.kill(os.getpid(), signal.SIGKILL)

series = np.random.default_rng(0).normal(size=(80, 2)).cumsum(axis=0)
x, y = windows(series, past=6, horizon=2, target=0).train
made = Regressor(
    random_state=0, epochs=4, verbose=0, run_dir=sys.argv[1], save_steps=1, callbacks=(Kill(),)
).fit(x, y)
np.save(sys.argv[2], made.predict(x))
"""


def test_a_killed_training_ends_with_the_same_forecasts(tmp_path: Path) -> None:
    alive = {k: v for k, v in os.environ.items() if k != "DIE"}
    done = warm.run(KILLED, "killed", "a.npy", cwd=tmp_path, env=alive | {"DIE": "1"})
    assert done.returncode == -signal.SIGKILL and not (tmp_path / "a.npy").exists()
    for run, file in (("killed", "a.npy"), ("whole", "b.npy")):
        done = warm.run(KILLED, run, file, cwd=tmp_path, env=alive)
        assert done.returncode == 0, done.stderr
    np.testing.assert_array_equal(np.load(tmp_path / "a.npy"), np.load(tmp_path / "b.npy"))
