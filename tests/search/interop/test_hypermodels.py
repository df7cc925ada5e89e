"""A Trainer as a HyperModel: keras-tuner's own tuners search it, save it and load it."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Annotated, Any

import keras
import keras_tuner
import numpy as np
import pandas as pd
import pytest
from keras_tuner.errors import FatalTypeError, FatalValueError
from sklearn.datasets import load_iris
from sklearn.linear_model import LogisticRegression

from search.interop.hypermodels import TrainerHyperModel, hypermodel
from search.proposers import hyperspace
from search.space import Space, from_unit
from trainer import Bool, Choice, Classifier, Float, Int, Regressor
from trainer.hyperparameters import Domain

_ORDER = np.random.default_rng(0).permutation(150)
X, Y = (a[_ORDER] for a in load_iris(return_X_y=True))
NAMES = np.array(["setosa", "versicolor", "virginica"])[Y]
TRAIN, VALID = (X[:100], NAMES[:100]), (X[100:], NAMES[100:])
BUILT: list[dict[str, Any]] = []  # the fields of each network that was built


class Net(Classifier):
    units: Annotated[int, Int(4, 64, log=True)] = 16
    rate: Annotated[float, Float(1e-3, 1e-1, log=True)] = 0.02
    kind: Annotated[Any, Choice("relu", None, True, 1)] = "relu"
    drop: Annotated[float, Float(0, 0.5, step=0.1, when={"kind": ("relu", None)})] = 0.0
    bias: Annotated[bool, Bool()] = True
    normalize = "standard"
    epochs = 3

    def build_model(self, spec: Any) -> keras.Model:
        BUILT.append({name: getattr(self, name) for name in type(self).domains()})
        return keras.Sequential(
            [
                keras.Input(spec.input_shape),
                keras.layers.Dense(self.units, "relu", use_bias=self.bias),
                keras.layers.Dropout(self.drop),
                keras.layers.Dense(spec.n_outputs, "softmax"),
            ]
        )

    def configure_optimizer(self) -> keras.optimizers.Optimizer:
        return keras.optimizers.Adam(self.rate)


def _random(model: TrainerHyperModel, directory: Path, **options: Any) -> Any:
    given = {"objective": "val_loss", "max_trials": 1, "seed": 1} | options
    return keras_tuner.RandomSearch(model, directory=directory, **given)


def _hyperband(trainer: Classifier, directory: Path, **options: Any) -> Any:
    return keras_tuner.Hyperband(
        # of two widths, as each is traced anew
        hypermodel(trainer, {"units": [4, 9], "rate": Float(1e-3, 1e-1, log=True)}),
        objective="val_loss",
        max_epochs=3,
        factor=3,
        seed=1,
        directory=directory,
        **options,
    )


def _search(tuner: Any, **options: Any) -> None:
    tuner.search(*TRAIN, validation_data=VALID, verbose=0, **options)


# ---- values ----------------------------------------------------------------------------------

DOMAINS: list[Domain] = [
    Int(3, 17),
    Int(3, 18, step=4),
    Int(1, 1000, log=True),
    Float(-0.5, 2.5),
    Float(1e-5, 1e-1, log=True),
    Float(0, 1, step=0.1),
    Float(0.5, 0.5),
    Bool(),
    Choice("relu", "selu"),
    Choice(16, 8, 32),
    Choice(0.1, 0.01),
    Choice(True, 1, 1.0, None, "None"),
    Choice((1, 2), [3], None),
]


@pytest.mark.parametrize("domain", DOMAINS, ids=repr)
def test_keras_tuner_draws_from_a_domains_own_distribution(domain: Domain) -> None:
    hp = keras_tuner.HyperParameters()
    hyperspace.register(hp, "a", domain, None)
    for u in [0.0, *np.linspace(0.003, 0.997, 301), 1.0]:
        found = hyperspace.decoded(domain, hp.space[0].prob_to_value(float(u)))
        expected = from_unit(domain, float(u))
        assert domain.contains(found)
        assert type(found) is type(expected)
        if isinstance(expected, float):
            assert math.isclose(found, expected, rel_tol=1e-9, abs_tol=1e-12)
        else:
            assert found == expected


@pytest.mark.parametrize("domain", DOMAINS, ids=repr)
def test_the_estimators_own_value_is_keras_tuners_default(domain: Domain) -> None:
    own = from_unit(domain, 0.7)
    hp = keras_tuner.HyperParameters()
    hyperspace.register(hp, "a", domain, own)
    again = keras_tuner.HyperParameters.from_config(hp.get_config())
    assert hyperspace.decoded(domain, again.get("a")) == own


def test_a_value_that_another_space_allows_is_refused() -> None:
    hp = keras_tuner.HyperParameters()
    hp.Int("units", 100, 200)
    with pytest.raises(ValueError, match=r"units=100: must lie in Int\(.*low=4, high=64"):
        hypermodel(Net()).build(hp)


def test_a_trial_has_the_parameters_whose_conditions_hold(tmp_path: Path) -> None:
    space = {
        "kind": Choice("relu", None),
        "epochs": Int(1, 4, when={"kind": None}),
        "units": Int(4, 64, when={"epochs": (3, 4)}),  # hangs on kind through epochs
        "bias": Bool(when={"units": 5, "kind": "relu"}),  # never: kind cannot be both
    }
    model = hypermodel(Net(), space)
    oracle = _random(model, tmp_path, max_trials=100).oracle
    found = set()
    for i in range(100):
        trial = oracle.create_trial(str(i))
        if trial.status == "STOPPED":
            break
        point = model.point(trial.hyperparameters)
        assert model.space.check(point) == point
        assert set(point) == set(trial.hyperparameters.values)
        found.add(tuple(point))
    assert found == {("kind",), ("kind", "epochs"), ("kind", "epochs", "units")}


# ---- a random search -------------------------------------------------------------------------


@pytest.fixture(scope="module")
def study(tmp_path_factory: pytest.TempPathFactory) -> tuple[Any, list[dict[str, Any]]]:
    """A searched tuner, and the fields of the networks that its trials built."""
    tuner = _random(
        hypermodel(Net(random_state=0)),
        tmp_path_factory.mktemp("random"),
        objective="val_accuracy",
        max_trials=6,
    )
    BUILT.clear()
    _search(tuner)
    return tuner, list(BUILT)


def test_each_trials_values_reach_its_network(study: tuple[Any, list[dict[str, Any]]]) -> None:
    tuner, built = study
    trials = tuner.oracle.trials.values()
    assert [trial.status for trial in trials] == ["COMPLETED"] * 6
    for trial, fields in zip(trials, built, strict=True):
        point = tuner.hypermodel.point(trial.hyperparameters)
        assert {name: fields[name] for name in point} == point
        assert fields["drop"] == point.get("drop", 0.0), "inactive: the Trainer's own"
        assert type(fields["kind"]) is type(point["kind"])
        assert tuner.hypermodel.trainer(trial.hyperparameters).get_params()["rate"] == point["rate"]
    assert len({type(fields["kind"]) for fields in built}) > 2


def test_the_best_model_is_as_good_as_reported(study: tuple[Any, list[dict[str, Any]]]) -> None:
    tuner, _ = study
    best, score = tuner.get_best_models(1)[0], tuner.oracle.get_best_trials(1)[0].score
    assert score > 0.7
    assert best.trainer.evaluate(*VALID)["accuracy"] == score
    assert best.trainer.score(*VALID) == pytest.approx(score)
    probabilities = best.predict(VALID[0], verbose=0)
    assert (probabilities.argmax(axis=1) == Y[100:]).mean() == pytest.approx(score)
    np.testing.assert_allclose(best(VALID[0]), probabilities, rtol=1e-5)
    assert best.evaluate(VALID[0], Y[100:], verbose=0)[1] == pytest.approx(score)


def test_another_process_loads_the_best_model_of_a_study(
    study: tuple[Any, list[dict[str, Any]]], tmp_path: Path
) -> None:
    tuner, _ = study
    again = _random(
        hypermodel(Net(random_state=0)), tuner.directory, objective="val_accuracy", max_trials=6
    )
    best = again.get_best_models(1)[0]
    expected = tuner.get_best_models(1)[0].trainer.predict_proba(X)
    np.testing.assert_array_equal(best.trainer.predict_proba(X), expected)
    best.save(tmp_path / "best.keras")
    assert Net.load(tmp_path / "best.keras").predict(X[:1])[0] in NAMES
    plain = keras.models.load_model(tmp_path / "best.keras")
    np.testing.assert_allclose(plain.predict(X, verbose=0), expected, rtol=1e-5, atol=1e-7)


def test_a_trials_steps_are_dispatched_together(study: tuple[Any, list[dict[str, Any]]]) -> None:
    model = study[0].hypermodel
    hp = study[0].get_best_hyperparameters()[0]
    trial = model.build(hp)
    model.fit(hp, trial, *TRAIN, epochs=1, verbose=0)
    assert trial.trainer._network.plan.chunk == 4, "all steps of an epoch"


def test_a_table_with_text_is_searched_and_its_best_model_loaded(tmp_path: Path) -> None:
    table = pd.DataFrame(
        {"rooms": [3, 4, None, 5, 2, 6] * 20, "near": ["sea", "city", None, "sea", "hill"] * 24}
    )
    price = np.arange(120) % 6 * 10.0 + 200
    model = hypermodel(Regressor(epochs=2), {"learning_rate": [0.01, 0.03]})
    tuner = _random(model, tmp_path, max_trials=2, objective="val_loss")
    tuner.search(table, price, validation_data=(table, price), verbose=0)
    best = tuner.get_best_models(1)[0]
    score = tuner.oracle.get_best_trials(1)[0].score
    assert best.trainer.evaluate(table, price)["loss"] == pytest.approx(score, rel=1e-6)
    assert best.trainer.predict(table).shape == (120,)


class Told(keras.callbacks.Callback):
    epochs: list[int] = []  # of the class: keras-tuner gives each trial a copy

    def on_epoch_end(self, epoch: int, logs: Any = None) -> None:
        self.epochs.append(epoch)
        assert logs["val_loss"] > 0


class Watching(keras_tuner.RandomSearch):
    batches = 0

    def on_batch_end(self, *ignored: Any, **also: Any) -> None:
        self.batches += 1


def test_callbacks_of_the_search_and_hooks_of_the_tuner_are_called(tmp_path: Path) -> None:
    tuner = Watching(
        hypermodel(Net(), ["units"]), "val_loss", max_trials=2, directory=tmp_path, seed=0
    )
    Told.epochs.clear()
    _search(tuner, callbacks=[Told()], epochs=2, batch_size=50)
    assert Told.epochs == [0, 1, 0, 1]
    assert tuner.batches == 2 * 2 * 2


# ---- hyperband -------------------------------------------------------------------------------


def test_a_promoted_trial_equals_one_trained_without_a_break(tmp_path: Path) -> None:
    tuner = _hyperband(Net(random_state=0, drop=0.2, callbacks=["ema"]), tmp_path)
    _search(tuner)
    trials = list(tuner.oracle.trials.values())
    promoted = [t for t in trials if "tuner/trial_id" in t.hyperparameters.values]
    assert len(trials) == 6
    assert len(promoted) == 1
    for trial in trials:
        epochs = trial.hyperparameters.values["tuner/epochs"]
        whole = tuner.hypermodel.trainer(trial.hyperparameters).set_params(epochs=epochs)
        whole.fit(*TRAIN, validation_data=VALID)
        assert trial.score == min(whole.history_["val_loss"])
        assert trial.best_step == whole.history_.best("val_loss")[0] - 1
    best = tuner.get_best_models(1)[0]
    assert best.trainer.run_dir is None
    score = tuner.oracle.get_best_trials(1)[0].score
    assert best.trainer.evaluate(*VALID)["loss"] == pytest.approx(score, rel=1e-6)


class StopsAtOnce(keras.callbacks.Callback):
    def on_epoch_end(self, epoch: int, logs: Any = None) -> None:
        self.model.stop_training = True


def test_a_training_that_has_stopped_stays_stopped_when_it_is_promoted(tmp_path: Path) -> None:
    tuner = _hyperband(Net(), tmp_path)
    _search(tuner, callbacks=[StopsAtOnce()])
    trials = tuner.oracle.trials
    for trial in trials.values():
        assert trial.best_step == 0
        parent = trial.hyperparameters.values.get("tuner/trial_id")
        assert trial.score == (trials[parent].score if parent else trial.score)
    for trial, model in zip(tuner.oracle.get_best_trials(6), tuner.get_best_models(6), strict=True):
        assert model.trainer.evaluate(*VALID)["loss"] == pytest.approx(trial.score, rel=1e-6)


# ---- what goes wrong -------------------------------------------------------------------------


def test_a_trial_that_fails_says_why_and_the_others_go_on(tmp_path: Path) -> None:
    model = hypermodel(Net(), {"batch_size": [-1, 32], "rate": [0.02, 1e300]})
    tuner = _random(model, tmp_path, max_trials=4, max_consecutive_failed_trials=4)
    _search(tuner, epochs=1)
    for trial in tuner.oracle.trials.values():
        point = model.point(trial.hyperparameters)
        if point["batch_size"] == -1:
            assert "batch_size=-1: must be 1 or more" in trial.message
        elif point["rate"] == 1e300:
            assert "val_loss: is not a number in any of 1 epochs" in trial.message
        else:
            assert trial.status == "COMPLETED"
    assert len(tuner.oracle.trials) == 4
    assert tuner.get_best_models(1)[0].trainer.batch_size == 32


def test_a_model_above_the_tuners_size_is_not_trained(tmp_path: Path) -> None:
    tuner = _random(
        hypermodel(Net(), {"units": [4, 64]}), tmp_path, max_trials=2, max_model_size=99
    )
    _search(tuner)
    by_units = {t.hyperparameters.get("units"): t for t in tuner.oracle.trials.values()}
    assert by_units[4].status == "COMPLETED"
    assert by_units[64].status == "FAILED"
    assert "max_model_size=99: the model has 515 parameters" in by_units[64].message


@pytest.mark.parametrize(
    ("options", "call", "message"),
    [
        ({"loss": "mse"}, {}, r"write Net\(optimizer=\.\.\., loss=\.\.\.\, metrics=\.\.\.\)"),
        ({"objective": None}, {}, 'write objective="val_loss"'),
        ({"objective": keras_tuner.Objective("val_auc", "max")}, {}, "val_auc.*no metric"),
        ({"executions_per_trial": 2}, {"validation_split": 0.2}, "hold out different rows"),
        ({}, {"initial_epoch": 2}, "initial_epoch=2: a trial starts at epoch 0"),
        ({}, {"units": 3}, r"search\(units=\.\.\.\): not an argument of a Trainer"),
        ({}, {"epoch": 3}, "did you mean 'epochs'"),
        ({}, {"batch_size": 8}, "batch_size is searched"),
    ],
)
def test_what_no_trial_can_have_ends_the_search_at_once(
    tmp_path: Path, options: dict[str, Any], call: dict[str, Any], message: str
) -> None:
    model = hypermodel(Net(epochs=1), {"batch_size": [50, 100]})
    tuner = _random(model, tmp_path, max_trials=2, **options)
    with pytest.raises((FatalValueError, FatalTypeError), match=message):
        tuner.search(*TRAIN, **({"validation_data": VALID, "verbose": 0} | call))


def test_hyperband_takes_one_execution_a_trial(tmp_path: Path) -> None:
    with pytest.raises(FatalValueError, match="leave executions_per_trial=1"):
        _search(_hyperband(Net(), tmp_path, executions_per_trial=2))


def test_hyperband_says_that_a_parents_state_is_gone(tmp_path: Path) -> None:
    tuner = _hyperband(Net(), tmp_path)
    hp = tuner.oracle.create_trial("tuner0").hyperparameters
    hp.values["tuner/trial_id"] = "0007"
    with pytest.raises(FatalValueError, match="state of trial 0007 is gone"):
        tuner.hypermodel.fit(hp, tuner.hypermodel.build(hp), *TRAIN, callbacks=_own(tuner))


def _own(tuner: Any) -> list[Any]:
    from keras_tuner.src.engine.tuner_utils import TunerCallback

    return [TunerCallback(tuner, next(iter(tuner.oracle.trials.values())))]


def test_a_model_without_data_says_where_to_get_one() -> None:
    untrained = hypermodel(Net()).build(keras_tuner.HyperParameters())
    with pytest.raises(ValueError, match=r"call tuner\.search first"):
        untrained.predict(X)


def test_what_is_no_trainer_is_refused(tmp_path: Path) -> None:
    with pytest.raises(TypeError, match="must be a Trainer"):
        hypermodel(LogisticRegression())
    with pytest.raises(ValueError, match="all trials would share the folder"):
        hypermodel(Net(run_dir=tmp_path))


def test_the_space_is_that_of_the_trainer_or_a_part_of_it() -> None:
    assert hypermodel(Net()).space == Space.of(Net())
    assert list(hypermodel(Net(), ["units"]).space.domains) == ["units"]
