"""Searches over Trainers: logs as scores, rungs, budgets of epochs, callbacks, inputs, streams."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import keras
import numpy as np
import pandas as pd
import pytest
import tensorflow as tf
from light_estimators import Tiny
from sklearn.model_selection import KFold
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from search import SklearnSearch, TunerSearch
from search.study.coordinator import trial_seed
from search.study.data import Data, holdout
from search.study.scoring import measure
from trainer import Choice, Float, Int, Regressor
from trainer.callbacks import EarlyStopping, Plateau
from trainer.data import arrays

GENERATOR = np.random.default_rng(0)
X = GENERATOR.normal(size=(96, 4)).astype("float32")
Y = (X[:, 0] > 0) + (X[:, 1] > 1).astype(int)
VALID = (X[:32] + 0.1, Y[:32])
RATE = ["learning_rate"]  # trials that differ in it alone share a graph


def tuner_search(estimator: Any = None, space: Any = None, **options: Any) -> TunerSearch:
    given: dict[str, Any] = {"executor": "serial", "verbose": 0, "seed": 0, "max_trials": 3}
    given["tuner"] = "random"
    return TunerSearch(estimator or Tiny(), space or RATE, **(given | options))


def sklearn_search(estimator: Any = None, space: Any = None, **options: Any) -> SklearnSearch:
    given: dict[str, Any] = {"executor": "serial", "verbose": 0, "seed": 0, "n_iter": 3, "cv": 2}
    return SklearnSearch(estimator or Tiny(), space or RATE, **(given | options))


def seed_of_best(search: Any) -> int:
    return trial_seed(search.seed_, int(search.results_.trial[search.best_index_]))


# ---- what the score is -----------------------------------------------------------------------


def test_the_validation_loss_is_minimised_by_itself() -> None:
    search = tuner_search().fit(X, Y, validation_data=VALID)
    table = search.results_
    assert search.best_score_ == table.score.min()
    assert table.score.tolist() == table.val_loss.tolist()
    assert {"loss", "accuracy", "val_accuracy", "metric learning_rate"} <= set(table)
    assert table.epochs.tolist() == [2, 2, 2]
    assert len(search.epochs_) == 6
    assert search.cv_results_["rank_test_score"][search.best_index_] == 1


@pytest.mark.parametrize(
    ("objective", "column", "best"),
    [
        ("val_accuracy", "val_accuracy", max),
        ("loss", "loss", min),
        (("val_loss", "max"), "val_loss", max),
    ],
)
def test_a_log_is_minimised_or_maximised(objective: Any, column: str, best: Any) -> None:
    search = tuner_search(objective=objective, refit=False).fit(X, Y, validation_data=VALID)
    assert search.results_.score.tolist() == search.results_[column].tolist()
    assert search.best_score_ == best(search.results_[column])


def test_a_log_may_be_cross_validated() -> None:
    search = sklearn_search(objective="val_accuracy", cv=3, n_iter=2, refit=False).fit(X, Y)
    splits = np.column_stack([search.cv_results_[f"split{i}_test_score"] for i in range(3)])
    np.testing.assert_allclose(search.results_.score, splits.mean(axis=1))
    assert search.n_splits_ == 3 and len(search.epochs_) == 2 * 3 * 2
    assert search.results_.score.tolist() == search.results_.val_accuracy.tolist()


def test_a_trial_is_the_training_that_its_seed_and_parameters_give() -> None:
    search = tuner_search().fit(X, Y, validation_data=VALID)
    again = Tiny(**search.best_params_, random_state=seed_of_best(search))
    again.fit(X, Y, validation_data=VALID)
    assert again.history_["val_loss"][-1] == search.best_score_
    np.testing.assert_array_equal(again.predict_proba(X), search.predict_proba(X))
    assert search.evaluate(X, Y)["loss"] == again.evaluate(X, Y)["loss"]
    assert search.score(X, Y) == again.score(X, Y)


def test_the_share_held_out_is_the_trainers_own() -> None:
    search = tuner_search(Tiny(validation_split=0.5), max_trials=1).fit(X, Y)
    train, test = holdout(Data(X, Y), 0.5, search.seed_, classifier=True)
    again = Tiny(**search.best_params_, random_state=seed_of_best(search))
    again.fit(X[train], Y[train], validation_data=(X[test], Y[test]))
    assert again.history_["val_loss"][-1] == search.best_score_


def test_weights_count_in_training_and_in_logs() -> None:
    weight = np.where(Y == 0, 5.0, 0.1)
    plain, weighted = (
        tuner_search(max_trials=1, refit=False).fit(X, Y, sample_weight=w).best_score_
        for w in (None, weight)
    )
    train, test = holdout(Data(X, Y), 0.2, 0, classifier=True)
    search = tuner_search(max_trials=1, refit=False).fit(X, Y, sample_weight=weight)
    again = Tiny(**search.best_params_, random_state=seed_of_best(search))
    again.fit(
        X[train],
        Y[train],
        sample_weight=weight[train],
        validation_data=(X[test], Y[test], weight[test]),
    )
    assert weighted == search.best_score_ == again.history_["val_loss"][-1] != plain


# ---- callbacks and steps ---------------------------------------------------------------------


def test_the_score_is_that_of_the_weights_that_early_stopping_puts_back() -> None:
    stopping = EarlyStopping(patience=2)
    trainer = Tiny(epochs=40, learning_rate=0.5, callbacks=(stopping,))
    search = tuner_search(trainer, {"batch_size": [4, 8]}, tuner="grid", refit=False)
    search.fit(X, Y, validation_data=VALID)
    assert (search.results_.epochs < 40).all()
    for row in search.results_.itertuples():
        own = search.epochs_[search.epochs_.trial == row.trial]
        assert row.score == pytest.approx(own.val_loss.min(), rel=1e-5)
        assert row.val_loss == pytest.approx(row.score, rel=1e-5)  # a row describes one model


def test_a_callback_that_the_refit_cannot_serve_is_told_before_the_first_trial(
    tmp_path: Path,
) -> None:
    trainer = Tiny(callbacks=(Plateau(monitor="val_loss"),))
    for options in ({"cv": None}, {"cv": 2}):
        search = sklearn_search(
            trainer, ["units"], objective="val_loss", directory=tmp_path, **options
        )
        with pytest.raises(ValueError, match=r"validation.*\n.*before the first trial"):
            search.fit(X, Y)
    search.set_params(estimator__validation_split=0.25, refit=True).fit(X, Y)
    assert search.best_estimator_.history_["val_loss"]


def test_the_space_reaches_callbacks_and_steps() -> None:
    stopping = EarlyStopping(patience=1)
    trainer = Tiny(epochs=3, callbacks=(stopping,), validation_split=0.25)
    space = {"callbacks__early_stopping__patience": [1, 2], "units": Int(2, 3)}
    search = tuner_search(trainer, space, tuner="grid", max_trials=None).fit(X, Y)
    assert len(search.results_) == 4
    (kept,) = search.best_estimator_.callbacks
    assert kept.patience == search.best_params_["callbacks__early_stopping__patience"]
    assert stopping.patience == 1

    pipeline = make_pipeline(StandardScaler(), Tiny())
    search = tuner_search(
        pipeline, {"standardscaler__with_mean": [True, False], "tiny__units": [2]}, tuner="grid"
    ).fit(X, Y, validation_data=VALID)
    assert search.results_.val_loss.nunique() == 2
    assert search.predict(X).shape == (96,)


def test_the_annotated_fields_of_a_pipeline_are_its_space() -> None:
    search = tuner_search(make_pipeline(StandardScaler(), Tiny()), max_trials=1)
    search.set_params(space=None).fit(X, Y)
    assert set(search.best_params_) == {"tiny__units", "tiny__learning_rate"}


def test_a_trainers_own_run_directory_is_for_the_refit_alone(tmp_path: Path) -> None:
    trainer = Tiny(run_dir=tmp_path / "run")
    search = tuner_search(trainer, {"units": [2, 3]}, tuner="grid").fit(X, Y)
    assert search.results_.state.tolist() == ["completed", "completed"]
    config = json.loads((tmp_path / "run" / "config.json").read_text())
    assert config["status"] == "finished"
    assert config["fields"]["units"] == search.best_params_["units"]


# ---- epochs and rungs ------------------------------------------------------------------------


def test_the_epochs_of_all_fits_stay_within_max_epochs() -> None:
    search = sklearn_search(cv=2, n_iter=50, max_epochs=21, refit=False).fit(X, Y)
    assert len(search.results_) == 5  # of 2 x 2 epochs each
    assert len(search.epochs_) == 20
    space = {"epochs": [1, 3, 2]}
    search = tuner_search(Tiny(), space, max_trials=None, tuner="grid", max_epochs=5).fit(X, Y)
    assert search.results_.epochs.sum() <= 5


@pytest.mark.parametrize(
    ("make", "options"),
    [
        (sklearn_search, {"method": "halving", "cv": None}),
        (tuner_search, {"tuner": "hyperband", "max_trials": None}),
    ],
)
def test_rungs_count_without_their_parents_epochs(make: Any, options: Any) -> None:
    options = {"objective": "val_loss", "refit": False} | options
    whole = make(Tiny(epochs=3), **options).fit(X, Y, validation_data=VALID)
    table = whole.results_
    before = table.parent.map(lambda p: 0 if np.isnan(p) else table.epochs[int(p)])
    trained = int((table.epochs - before).sum())
    assert (before > 0).any()
    exact = make(Tiny(epochs=3), max_epochs=trained, **options).fit(X, Y, validation_data=VALID)
    assert exact.results_.score.tolist() == table.score.tolist()
    cut = make(Tiny(epochs=3), max_epochs=trained - 1, **options).fit(X, Y, validation_data=VALID)
    assert len(cut.results_) < len(table)


def test_the_refit_of_a_rungs_winner_has_its_epochs() -> None:
    search = sklearn_search(
        Tiny(epochs=3), method="halving", n_iter=3, objective="val_loss", cv=None
    ).fit(X, Y, validation_data=VALID)
    best = search.results_.loc[search.best_index_]
    assert best.rung == search.results_.rung.max() and best.epochs == 3
    assert len(search.best_estimator_.history_) == 3
    search = tuner_search(Tiny(epochs=3), tuner="hyperband", max_trials=None, max_epochs=6)
    search.fit(X, Y, validation_data=VALID)
    best = search.results_.loc[search.best_index_]
    assert len(search.best_estimator_.history_) == best.epochs


def test_a_promoted_trial_is_the_same_training_without_a_break() -> None:
    search = sklearn_search(
        Tiny(epochs=3), method="halving", n_iter=3, objective="val_loss", cv=None
    ).fit(X, Y, validation_data=VALID)
    first = int(search.results_.parent[search.best_index_])
    seed = trial_seed(search.seed_, first)
    again = Tiny(epochs=3, **search.best_params_, random_state=seed)
    again.fit(X, Y, validation_data=VALID)
    assert again.history_["val_loss"][-1] == search.best_score_


# ---- inputs ----------------------------------------------------------------------------------


class Pair(Regressor):
    """Two inputs, one output."""

    units: int = 2
    epochs = 1
    verbose = 0

    def build_model(self, spec: Any) -> keras.Model:
        inputs = {name: keras.Input(shape, name=name) for name, shape in spec.input_shape.items()}
        joined = keras.layers.Concatenate()(list(inputs.values()))
        return keras.Model(inputs, keras.layers.Dense(1)(keras.layers.Dense(self.units)(joined)))


@pytest.mark.parametrize("cv", [None, KFold(2)])
def test_several_inputs_are_cut_together(cv: Any) -> None:
    x = {"a": X, "b": X[:, :2]}
    search = sklearn_search(Pair(), {"units": [2, 3]}, method="grid", cv=cv).fit(x, X[:, 0])
    assert (search.results_.state == "completed").all()
    assert search.predict(x).shape == (96,)


class TwoOutputs(Regressor):
    units: int = 2
    epochs = 1
    batch_size = 16
    verbose = 0

    def build_model(self, spec: Any) -> keras.Model:
        inputs = keras.Input(spec.input_shape)
        hidden = keras.layers.Dense(self.units)(inputs)
        heads = {name: keras.layers.Dense(1, name=name)(hidden) for name in spec.n_outputs}
        return keras.Model(inputs, heads)


def test_weights_of_each_output_are_cut_with_their_rows() -> None:
    y = {"first": X[:, 0], "second": X[:, 1]}
    weight = {"first": np.ones(96), "second": np.linspace(0.1, 5, 96)}
    search = tuner_search(TwoOutputs(), {"units": [2, 3]}, max_trials=1, refit=False)
    search.fit(X, y, sample_weight=weight)
    rows = holdout(Data(X, y), 0.2, 0, classifier=False)
    (train, test) = ([arrays.take(part, i) for part in (X, y, weight)] for i in rows)
    again = TwoOutputs(**search.best_params_, random_state=seed_of_best(search))
    again.fit(*train[:2], sample_weight=train[2], validation_data=tuple(test))
    assert search.best_score_ == again.history_["val_loss"][-1]


def test_a_frame_with_text_is_searched_on() -> None:
    frame = pd.DataFrame({"size": X[:, 0], "town": np.array(["a", "b", "c"])[Y]})
    for search in (sklearn_search(n_iter=1), tuner_search(max_trials=1)):
        search.fit(frame, np.array(["no", "yes", "so"])[Y])
        assert set(search.predict(frame)) <= {"no", "yes", "so"}
        assert list(search.classes_) == ["no", "so", "yes"]


def test_a_stream_is_searched_on_in_this_process() -> None:
    stream = tf.data.Dataset.from_tensor_slices((X, Y)).batch(16)
    search = tuner_search(Tiny(random_state=0), {"units": Int(2, 4)}, max_trials=2)
    search.fit(stream, validation_data=stream.take(2))
    assert (search.results_.state == "completed").all()
    assert search.best_score_ == search.results_.val_loss.min()
    assert search.predict(X).shape == (96,)


# ---- processes -------------------------------------------------------------------------------


def test_processes_give_what_this_process_gives(tmp_path: Path) -> None:
    space = {"units": Int(2, 4), "learning_rate": Choice(0.01, 0.1), "batch_size": [16, 32]}
    here = tuner_search(Tiny(), space, max_trials=4).fit(X, Y, validation_data=VALID)
    there = tuner_search(
        Tiny(), space, max_trials=4, executor="processes", workers=2, directory=tmp_path
    ).fit(X, Y, validation_data=VALID)
    assert there.results_.score.tolist() == pytest.approx(here.results_.score.tolist(), rel=1e-5)
    assert there.best_params_ == here.best_params_
    assert [p.name for p in (tmp_path / "trials").iterdir()] == [str(there.best_index_)]


def test_hyperband_in_processes_goes_on_from_exact_states(tmp_path: Path) -> None:
    search = tuner_search(
        Tiny(epochs=3),
        {"learning_rate": Float(1e-3, 1e-1, log=True)},
        tuner="hyperband",
        max_trials=None,
        executor="processes",
        workers=2,
        directory=tmp_path,
    ).fit(X, Y, validation_data=VALID)
    table = search.results_
    assert (table.state == "completed").all() and table.parent.notna().any()
    states = (tmp_path / "trials").iterdir()
    assert len(list(states)) == 1


def test_an_objective_of_keras_tuner_is_taken() -> None:
    import keras_tuner

    def found(objective: Any, **options: Any) -> Any:
        return measure(Tiny(), objective, options.get("scoring"), refit=True, by_log=True)

    assert found(keras_tuner.Objective("val_accuracy", "max")) == found(("val_accuracy", "max"))
    assert found(keras_tuner.Objective("score", "max")) == found("score")
    with pytest.raises(ValueError, match="better the higher"):
        found(keras_tuner.Objective("accuracy", "min"), scoring=["accuracy", "f1"])


# ---- a threshold that is tuned ---------------------------------------------------------------


RARE = (X[:, 0] > 0.8).astype(int)


def test_a_tuned_threshold_needs_validation_rows_in_the_refit_too_and_says_so_first() -> None:
    for search in (
        tuner_search(Tiny(decision_threshold="f1")),
        tuner_search(Tiny(), {"decision_threshold": Choice(0.5, "f1")}),
    ):
        with pytest.raises(ValueError, match=r"='f1'.*write validation_split=0\.2"):
            search.fit(X, RARE)
        assert not hasattr(search, "results_")


def test_trials_are_scored_with_their_threshold_and_the_best_one_has_one() -> None:
    space = {"decision_threshold": Choice(0.999, "balanced_accuracy")}
    search = sklearn_search(
        Tiny(validation_split=0.25, epochs=15, learning_rate=0.05),
        space,
        n_iter=2,
        scoring="balanced_accuracy",
    ).fit(X, RARE)
    assert search.best_params_ == {"decision_threshold": "balanced_accuracy"}
    assert search.results_.score.min() == 0.5
    assert 0 < search.best_estimator_.decision_threshold_ < 1
