"""A Trainer within scikit-learn: pipelines, searches, ensembles, inspection, clones and pickles."""

from __future__ import annotations

import pickle
from pathlib import Path
from typing import Annotated, Any

import joblib
import keras
import numpy as np
import pytest
import warm
from sklearn.base import clone
from sklearn.calibration import CalibratedClassifierCV
from sklearn.compose import TransformedTargetRegressor
from sklearn.datasets import load_diabetes, load_iris
from sklearn.ensemble import BaggingClassifier, StackingClassifier, VotingClassifier
from sklearn.experimental import enable_halving_search_cv  # noqa: F401 (allows the import below)
from sklearn.inspection import permutation_importance
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import (
    GridSearchCV,
    HalvingGridSearchCV,
    RandomizedSearchCV,
    cross_val_predict,
    cross_val_score,
    cross_validate,
    learning_curve,
)
from sklearn.multiclass import OneVsRestClassifier
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.utils.validation import check_is_fitted

from trainer import Classifier, Int, Regressor

X, Y = load_iris(return_X_y=True)
NAMES = np.array(["setosa", "versicolor", "virginica"])[Y]
CHANCE = 1 / 3


class Small(Classifier):
    """One hidden layer: quick to train, and good enough on iris to tell from chance."""

    units: Annotated[int, Int(2, 64)] = 16
    epochs = 30
    learning_rate = 0.02
    normalize = "standard"
    random_state = 0

    def build_model(self, spec: Any) -> keras.Model:
        return keras.Sequential(
            [
                keras.Input(spec.input_shape),
                keras.layers.Dense(self.units, "relu"),
                keras.layers.Dense(spec.n_outputs, "softmax"),
            ]
        )


class SmallRegressor(Regressor):
    epochs = 5
    learning_rate = 0.01
    random_state = 0


# ---- composition ----------------------------------------------------------------------------


def test_a_trainer_ends_a_pipeline() -> None:
    pipeline = make_pipeline(StandardScaler(), Small(normalize=None)).fit(X, NAMES)
    assert pipeline.score(X, NAMES) > 0.9
    assert list(pipeline.classes_) == ["setosa", "versicolor", "virginica"]
    assert pipeline.predict_proba(X).shape == (150, 3)


def test_a_pipeline_sets_its_trainers_fields_and_passes_weights_to_its_fit() -> None:
    pipeline = make_pipeline(StandardScaler(), Small()).set_params(small__units=4)
    pipeline.fit(X, Y, small__sample_weight=(Y != 2) * 1.0)
    assert pipeline[-1].model_.count_params() == 4 * 4 + 4 + 4 * 3 + 3
    assert not (pipeline.predict(X) == 2).any(), "rows of class 2 had no weight"


def test_a_trainer_stacks_with_other_classifiers() -> None:
    stack = StackingClassifier(
        [("net", Small()), ("linear", LogisticRegression())], cv=2, final_estimator=None
    ).fit(X, NAMES)
    assert stack.score(X, NAMES) > 0.9
    assert isinstance(stack.named_estimators_["net"], Small)


def test_trainers_vote_softly() -> None:
    vote = VotingClassifier([("a", Small()), ("b", Small(random_state=1))], voting="soft")
    assert vote.fit(X, Y).score(X, Y) > 0.9


def test_bags_of_trainers_draw_their_own_seeds() -> None:
    bag = BaggingClassifier(Small(random_state=None), n_estimators=2, random_state=0).fit(X, Y)
    first, second = (net.get_params()["random_state"] for net in bag.estimators_)
    assert first != second
    assert bag.score(X, Y) > 0.9


def test_one_trainer_a_class_tells_three_classes_apart() -> None:
    assert OneVsRestClassifier(Small()).fit(X, Y).score(X, Y) > 0.9


def test_a_trainers_probabilities_can_be_calibrated() -> None:
    calibrated = CalibratedClassifierCV(Small(), cv=2).fit(X, NAMES)
    probabilities = calibrated.predict_proba(X)
    np.testing.assert_allclose(probabilities.sum(axis=1), 1, rtol=1e-6)
    assert calibrated.score(X, NAMES) > 0.9


def test_a_regressors_targets_can_be_transformed() -> None:
    x, y = load_diabetes(return_X_y=True)
    model = TransformedTargetRegressor(SmallRegressor(epochs=20), func=np.log, inverse_func=np.exp)
    assert model.fit(x, y).score(x, y) > 0.3


# ---- selection ------------------------------------------------------------------------------


def test_cross_validation_scores_every_fold_well_above_chance() -> None:
    scores = cross_val_score(Small(), X, NAMES, cv=3)
    assert scores.shape == (3,)
    assert scores.min() > 0.8


def test_cross_validation_takes_several_scorers_and_reports_times() -> None:
    found = cross_validate(Small(), X, Y, cv=2, scoring=["accuracy", "neg_log_loss", "roc_auc_ovr"])
    assert found["test_accuracy"].min() > 0.8
    assert found["test_roc_auc_ovr"].min() > 0.9
    assert (found["test_neg_log_loss"] > np.log(CHANCE)).all()


def test_predictions_out_of_fold_are_labels() -> None:
    predicted = cross_val_predict(Small(), X, NAMES, cv=2)
    assert (predicted == NAMES).mean() > 0.8


def test_a_search_in_two_processes_finds_the_better_value_and_scores_as_one_in_this() -> None:
    grid = {"learning_rate": [1e-7, 0.02]}
    here, there = (
        GridSearchCV(
            Small(), grid, cv=2, scoring=["neg_log_loss", "accuracy"], refit="accuracy", n_jobs=jobs
        ).fit(X, NAMES)
        for jobs in (1, 2)
    )
    assert there.best_params_ == {"learning_rate": 0.02}
    assert there.best_score_ > 0.8
    assert there.best_estimator_.score(X, NAMES) > 0.9
    for name in ("mean_test_neg_log_loss", "mean_test_accuracy"):
        np.testing.assert_allclose(here.cv_results_[name], there.cv_results_[name], rtol=1e-6)


def test_a_randomized_search_over_arrays_of_values_sets_fields() -> None:
    space = {
        "units": np.array([4, 16]),
        "normalize": np.array(["standard", "minmax"]),
        "shuffle": np.array([True, False]),
    }
    search = RandomizedSearchCV(Small(), space, n_iter=3, cv=2, random_state=0).fit(X, Y)
    assert isinstance(search.best_estimator_.units, np.integer), "left as it was set"
    assert search.best_score_ > 0.8


def test_a_halving_search_gives_more_epochs_to_fewer_candidates() -> None:
    grid = {"learning_rate": [1e-7, 0.02]}
    resources = {"resource": "epochs", "min_resources": 15, "max_resources": 30, "factor": 2}
    search = HalvingGridSearchCV(Small(), grid, cv=2, random_state=0, **resources).fit(X, Y)
    assert search.n_resources_ == [15, 30]
    assert search.best_params_ == {"learning_rate": 0.02, "epochs": 30}


def test_a_learning_curve_rises_with_the_number_of_rows() -> None:
    sizes, train, test = learning_curve(
        Small(), X, Y, train_sizes=[12, 75], cv=2, shuffle=True, random_state=0
    )
    assert sizes.tolist() == [12, 75]
    assert train.shape == test.shape == (2, 2)
    assert test[1].mean() > max(test[0].mean(), 0.8)


def test_permutation_importance_finds_the_columns_that_matter() -> None:
    noise = np.random.default_rng(0).normal(size=(150, 1))
    x = np.hstack([X, noise])
    trained = Small().fit(x, Y)
    found = permutation_importance(trained, x, Y, n_repeats=3, random_state=0)
    assert found.importances_mean[2:4].max() > 0.1, "the petals tell the species"
    assert abs(found.importances_mean[4]) < 0.05, "noise tells nothing"


# ---- clones and pickles ---------------------------------------------------------------------


def test_a_clone_has_the_fields_and_nothing_of_the_training() -> None:
    trained = Small(units=8).fit(X, Y)
    copy = clone(trained)
    assert copy.get_params() == trained.get_params()
    assert not [name for name in vars(copy) if name.endswith("_")]
    with pytest.raises(Exception, match="not fitted yet"):
        check_is_fitted(copy)


@pytest.mark.parametrize("kind", [Classifier, Small])
def test_a_pickled_trainer_predicts_the_same(kind: type[Classifier]) -> None:
    trained = kind(epochs=3, random_state=0).fit(X, NAMES)
    again = pickle.loads(pickle.dumps(trained))
    np.testing.assert_array_equal(again.predict_proba(X), trained.predict_proba(X))
    np.testing.assert_array_equal(again.predict(X), trained.predict(X))
    assert again.evaluate(X, NAMES) == trained.evaluate(X, NAMES)
    assert again.history_.frame.equals(trained.history_.frame)
    assert again.get_params() == trained.get_params()


def test_a_pickle_of_an_unfitted_trainer_is_unfitted() -> None:
    again = pickle.loads(pickle.dumps(Small(units=3)))
    assert again.units == 3
    assert not hasattr(again, "model_")


def test_a_pickled_regressor_on_a_frame_predicts_the_same() -> None:
    frame = load_diabetes(as_frame=True)
    trained = SmallRegressor().fit(frame.data, frame.target)
    again = pickle.loads(pickle.dumps(trained))
    np.testing.assert_array_equal(again.predict(frame.data), trained.predict(frame.data))


def test_a_fitted_search_survives_joblib(tmp_path: Path) -> None:
    search = GridSearchCV(Small(epochs=3), {"units": [4, 8]}, cv=2).fit(X, Y)
    joblib.dump(search, tmp_path / "search.joblib")
    again = joblib.load(tmp_path / "search.joblib")
    np.testing.assert_array_equal(again.predict_proba(X), search.predict_proba(X))


# A class of __main__ is no importable name in joblib's workers: it travels by value.
SCRIPT = """
from typing import Annotated
import keras, joblib
from sklearn.datasets import load_iris
from sklearn.model_selection import GridSearchCV
from trainer import Classifier, Int

class Mine(Classifier):
    units: Annotated[int, Int(2, 64)] = 16
    epochs = 20

    def build_model(self, spec):
        return keras.Sequential([
            keras.Input(spec.input_shape),
            keras.layers.Dense(self.units, "relu"),
            keras.layers.Dense(spec.n_outputs, "softmax"),
        ])

if __name__ == "__main__":
    x, y = load_iris(return_X_y=True)
    mine = Mine(normalize="standard", learning_rate=0.02, random_state=0)
    search = GridSearchCV(mine, {"units": [4, 16]}, cv=2, n_jobs=2).fit(x, y)
    print(search.best_score_ > 0.8)
    with joblib.parallel_config("loky", n_jobs=2):
        there = joblib.Parallel()(joblib.delayed(Mine.fit)(mine, x, y) for _ in range(2))
    here = mine.fit(x, y)
    print(all((t.predict_proba(x) == here.predict_proba(x)).all() for t in there))
"""


def test_a_class_of_a_script_is_trained_in_other_processes_to_the_same_bits(tmp_path: Path) -> None:
    """Takes 20 s: joblib starts workers, and each imports TensorFlow."""
    script = tmp_path / "script.py"
    script.write_text(SCRIPT, "utf-8")
    run = warm.run(script)
    assert run.returncode == 0, run.stderr
    assert run.stdout.split() == ["True", "True"]


# ---- parameters -----------------------------------------------------------------------------


def test_set_params_says_which_field_was_meant() -> None:
    with pytest.raises(ValueError, match="'unit'.*did you mean 'units'"):
        Small().set_params(unit=3)


def test_a_grid_with_a_wrong_name_fails_before_any_fit_with_the_near_one() -> None:
    search = GridSearchCV(Small(), {"learning_rat": [0.1]}, cv=2, error_score="raise")
    with pytest.raises(ValueError, match="'learning_rat'.*did you mean 'learning_rate'"):
        search.fit(X, Y)


def test_a_pipeline_with_a_wrong_name_says_which_was_meant() -> None:
    with pytest.raises(ValueError, match="'epoch'.*did you mean 'epochs'"):
        make_pipeline(StandardScaler(), Small()).set_params(small__epoch=3)
