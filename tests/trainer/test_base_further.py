"""Training on: warm_start, partial_fit, initialize, and the arguments that Keras' fit has."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest
import tensorflow as tf
from keras import layers

from trainer import Classifier, Regressor, Trainer

RNG = np.random.default_rng(0)
X = RNG.normal(size=(20, 3)).astype("float32")
Y = np.arange(20) % 3
VALID = (X[:12], Y[:12])


def same(a: keras.Model, b: keras.Model) -> bool:
    pairs = zip(a.get_weights(), b.get_weights(), strict=True)
    return all(np.array_equal(p, q) for p, q in pairs)


def small(**fields: Any) -> Classifier:
    options = {"model": {"name": "mlp", "hidden": (4,)}, "random_state": 3, "verbose": 0}
    return Classifier(**options | {"batch_size": 8} | fields)


def compiled() -> keras.Model:
    keras.utils.set_random_seed(1)
    model = keras.Sequential([keras.Input((3,)), layers.Dense(3, "softmax")])
    model.compile(
        keras.optimizers.SGD(0.1, momentum=0.9),
        "sparse_categorical_crossentropy",
        metrics=["accuracy"],
    )
    return model


# ---- warm_start and partial_fit ----------------------------------------------------------------


@pytest.mark.parametrize("loaded", [False, True])
def test_a_warm_start_equals_the_same_epochs_in_one_fit(loaded: bool, tmp_path: Path) -> None:
    whole = small(epochs=5).fit(X, Y, validation_data=VALID)
    parts = small(epochs=2, warm_start=True).fit(X, Y, validation_data=VALID)
    if loaded:
        parts = Classifier.load(parts.save(tmp_path / "first.keras"))
    parts.set_params(epochs=3).fit(X, Y, validation_data=VALID)
    assert same(parts.model_, whole.model_)  # shuffled: an epoch's order depends on its number
    assert [r["epoch"] for r in parts.history_.records] == [1, 2, 3, 4, 5]
    assert parts.history_["val_loss"] == whole.history_["val_loss"]


def test_partial_fit_equals_epochs_of_one_fit() -> None:
    whole = small(epochs=3).fit(X, Y)
    parts = small(epochs=99)
    for _ in range(3):
        parts.partial_fit(X, Y)
    assert same(parts.model_, whole.model_) and len(parts.history_) == 3


def test_partial_fit_keeps_its_classes_and_may_know_more_than_it_has_seen() -> None:
    classifier = small().partial_fit(X[:4], ["b"] * 4, classes=["a", "b", "c"])
    assert classifier.classes_.tolist() == ["a", "b", "c"]
    classifier.partial_fit(X, np.array(list("abc"))[Y])
    assert classifier.predict_proba(X).shape == (20, 3)
    with pytest.raises(ValueError, match="'d', which training did not have"):
        classifier.partial_fit(X[:2], ["a", "d"])
    with pytest.raises(ValueError, match=r"classes='a', 'b': y also contains 'c'"):
        small().partial_fit(X[:2], ["a", "c"], classes=["a", "b"])
    regressor = Regressor(model="mlp", verbose=0).partial_fit(X, Y * 1.0).partial_fit(X, Y * 1.0)
    assert len(regressor.history_) == 2


def test_a_field_that_made_the_model_cannot_change_under_a_warm_start() -> None:
    fitted = small(epochs=1, warm_start=True).fit(X, Y)
    for fields, name in (
        ({"optimizer": "sgd"}, "optimizer: was None"),
        ({"normalize": "minmax"}, "normalize: was"),
        ({"model": "deep"}, "model: was"),
    ):
        kept = fitted.get_params(deep=False)
        with pytest.raises(ValueError, match=f"{name}.*warm_start=False"):
            fitted.set_params(**fields).fit(X, Y)
        fitted.set_params(**{name: kept[name] for name in fields})
    fitted.set_params(learning_rate=0.25, batch_size=5, class_weight="balanced").fit(X, Y)
    assert float(fitted.model_.optimizer.learning_rate) == 0.25


def test_partial_fit_with_a_run_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="run_dir=.*partial_fit is a part of one"):
        small(run_dir=tmp_path / "run").partial_fit(X, Y)


def test_a_warm_start_in_a_run_resumes_and_another_start_is_refused(tmp_path: Path) -> None:
    class Ends(keras.callbacks.Callback):
        def on_epoch_end(self, epoch: int, logs: Any = None) -> None:
            if epoch == 3:
                raise KeyboardInterrupt

    first = small(epochs=2).fit(X, Y).save(tmp_path / "first.keras")
    options = {"warm_start": True, "epochs": 3}
    whole = Classifier.load(first).set_params(**options).fit(X, Y)
    options["run_dir"] = tmp_path / "run"
    with pytest.raises(KeyboardInterrupt):
        Classifier.load(first).set_params(**options, callbacks=[Ends()]).fit(X, Y)
    resumed = Classifier.load(first).set_params(**options, callbacks=[Ends()])
    resumed.callbacks = [type("Ends", (keras.callbacks.Callback,), {})()]
    with pytest.raises(ValueError, match="weights at the start"):
        small(**options).fit(X, Y).fit(X, Y)
    del whole


def test_initialize_builds_without_training() -> None:
    made = small().initialize(X, Y)
    assert made.predict(X).shape == (20,) and len(made.history_) == 0
    assert same(made.set_params(warm_start=True, epochs=2).fit(X, Y).model_, _fitted(2))


def _fitted(epochs: int) -> keras.Model:
    return small(epochs=epochs).fit(X, Y).model_


# ---- the arguments of Keras' fit ---------------------------------------------------------------

ARGUMENTS = {
    "steps_per_epoch within a pass": {"steps_per_epoch": 2},
    "steps_per_epoch of one": {"steps_per_epoch": 1},
    "more steps than a pass has": {"steps_per_epoch": 9},
    "initial_epoch": {"initial_epoch": 3},
    "both": {"steps_per_epoch": 2, "initial_epoch": 1},
    "validation_freq": {"validation_freq": 2},
    "a list of epochs to validate after": {"validation_freq": [1, 4]},
    "validation_steps": {"validation_steps": 2, "validation_batch_size": 5},
}


@pytest.mark.filterwarnings("ignore:.*(ran out of data|a pass over the data)")
@pytest.mark.parametrize("arguments", ARGUMENTS.values(), ids=ARGUMENTS.keys())
@pytest.mark.parametrize("stream", [False, True])
def test_an_argument_of_fit_means_what_it_means_in_keras(arguments: Any, stream: bool) -> None:
    rows: Any = (X, Y)
    valid: Any = VALID
    if stream:
        rows = (tf.data.Dataset.from_tensor_slices((X, Y)).batch(7),)
        valid = tf.data.Dataset.from_tensor_slices(VALID).batch(5)
        arguments = {k: v for k, v in arguments.items() if k != "validation_batch_size"}
    size = {} if stream else {"batch_size": 7}
    model = compiled()
    theirs = model.fit(
        *rows, epochs=5, **size, validation_data=valid, shuffle=False, verbose=0, **arguments
    ).history
    trainer = Classifier.from_keras(compiled(), epochs=5, shuffle=False, verbose=0, **size)
    trainer.fit(*rows, validation_data=valid, **arguments)
    assert same(trainer.model_, model)
    ours = trainer.history_.history
    assert sorted(ours) == sorted(theirs)
    for name, values in theirs.items():
        np.testing.assert_allclose(ours[name], values, rtol=1e-5, err_msg=name)


@pytest.mark.parametrize("kind", ["generator", "endless", "sequence"])
def test_endless_batches_are_trained_with_steps_per_epoch(kind: str) -> None:
    class Endless(keras.utils.PyDataset):
        def __getitem__(self, index: int) -> Any:
            part = slice(index % 3 * 7, index % 3 * 7 + 7)
            return X[part], Y[part]

        @property
        def num_batches(self) -> None:
            return None

    def batches() -> Any:
        if kind == "sequence":
            return Endless()
        if kind == "endless":
            return tf.data.Dataset.from_tensor_slices((X, Y)).batch(7).repeat()
        return ((X[i : i + 7], Y[i : i + 7]) for _ in range(99) for i in range(0, 20, 7))

    model = compiled()
    model.fit(batches(), steps_per_epoch=2, epochs=4, shuffle=False, verbose=0)
    trainer = Classifier.from_keras(compiled(), epochs=4, verbose=0)
    trainer.fit(batches(), steps_per_epoch=2)
    assert same(trainer.model_, model)


@pytest.mark.parametrize("stream", [False, True])
def test_a_run_with_steps_per_epoch_resumes_within_a_pass(stream: bool, tmp_path: Path) -> None:
    class Ends(keras.callbacks.Callback):
        at = 99

        def on_train_batch_end(self, batch: int, logs: Any = None) -> None:
            self.at -= 1
            if not self.at:
                raise RuntimeError("the process died")

        def state_dict(self) -> dict[str, Any]:
            return {}

        def load_state_dict(self, state: dict[str, Any]) -> None:
            """Nothing is restored."""

        def get_params(self, deep: bool = True) -> dict[str, Any]:
            return {}

    def fit(at: int, folder: str) -> Any:
        ends = Ends()
        ends.at = at
        rows: Any = (X, Y)
        if stream:
            rows = (tf.data.Dataset.from_tensor_slices((X, Y)).batch(4).repeat(),)
        options = {} if stream else {"batch_size": 4, "random_state": 0}
        trainer = Classifier.from_keras(
            compiled(),
            epochs=4,
            verbose=0,
            callbacks=[ends],
            run_dir=tmp_path / folder,
            save_steps=1,
            **options,
        )
        return trainer.fit(*rows, steps_per_epoch=2)

    whole = fit(99, "whole")
    with pytest.raises(RuntimeError, match="died"):
        fit(6, "run")
    assert same(fit(99, "run").model_, whole.model_)


def test_a_stream_that_runs_out_ends_the_training_with_a_warning() -> None:
    batches = ((X[:7], Y[:7]) for _ in range(5))
    trainer = Classifier.from_keras(compiled(), epochs=4, verbose=0)
    with pytest.warns(UserWarning, match="run out of batches: training ends before epoch 4 of 4"):
        trainer.fit(batches, steps_per_epoch=2)
    assert len(trainer.history_) == 3


def test_a_misplaced_argument_says_where_it_belongs() -> None:
    for arguments, message in (
        ({"epochs": 3}, r"epochs is a field: Classifier\(epochs=3\)"),
        ({"callbacks": ["ema"]}, r"callbacks is a field: Classifier\(callbacks=\['ema'\]\)"),
        ({"eval_set": []}, r"eval_set is not an argument of fit: write validation_data="),
        ({"validation_step": 2}, "did you mean 'validation_steps'"),
        ({"batchsize": 8}, r"batchsize is not .*; did you mean the field, .*\(batch_size=8\)"),
    ):
        with pytest.raises(TypeError, match=message):
            small().fit(X, Y, **arguments)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"initial_epoch": 2}, "initial_epoch=2: training ends before epoch 2"),
        ({"initial_epoch": -1}, "initial_epoch=-1: must be 0 or more"),
        ({"steps_per_epoch": 0}, "steps_per_epoch=0: must be 1 or more"),
        ({"validation_freq": [0]}, "validation_freq=0: must be 1 or more"),
        ({"validation_steps": 1.5}, "validation_steps=1.5: must be a whole number"),
    ],
)
def test_a_number_that_makes_no_sense_is_refused(arguments: Any, message: str) -> None:
    with pytest.raises((TypeError, ValueError), match=message):
        small(epochs=2).fit(X, Y, **arguments)


@pytest.mark.parametrize(
    ("arguments", "valid", "message"),
    [
        ({"validation_steps": 2}, None, "validation_steps=2: has no effect without validation"),
        ({"validation_batch_size": 2}, None, "validation_batch_size=2: has no effect without"),
        ({"validation_freq": 2}, None, "validation_freq=2: has no effect without validation"),
        ({"validation_freq": 3}, VALID, "validation_freq=3: no epoch .* 1 to 2, is validated"),
        ({"validation_freq": []}, VALID, r"validation_freq=\[\]: no epoch of this fit"),
    ],
)
def test_a_setting_of_the_validation_without_effect_is_warned_of(
    arguments: Any, valid: Any, message: str
) -> None:
    with pytest.warns(UserWarning, match=message):
        small(epochs=2).fit(X, Y, validation_data=valid, **arguments)


def test_a_class_variable_is_no_field() -> None:
    with pytest.raises(TypeError, match="PATHS is not an argument of fit"):
        small().fit(X, Y, PATHS=1)


def test_callbacks_of_evaluate_and_predict_see_the_batches_of_keras() -> None:
    class Sees(keras.callbacks.Callback):
        def __init__(self) -> None:
            super().__init__()
            self.seen: list[Any] = []

        def on_test_batch_begin(self, batch: int, logs: Any = None) -> None:
            self.seen.append(("test", batch))

        def on_test_batch_end(self, batch: int, logs: Any = None) -> None:
            self.seen.append(("test ends", batch))

        def on_predict_batch_begin(self, batch: int, logs: Any = None) -> None:
            self.seen.append(("predict", batch))

        def on_predict_batch_end(self, batch: int, logs: Any = None) -> None:
            self.seen.append(("predict ends", batch, logs["outputs"].shape))

        def on_predict_end(self, logs: Any = None) -> None:
            self.seen.append("end")

    for steps in (1, 2):
        model = compiled()
        model.compile("sgd", "sparse_categorical_crossentropy", steps_per_execution=steps)
        theirs, ours = Sees(), Sees()
        model.evaluate(X, Y, batch_size=4, callbacks=[theirs], verbose=0)
        model.predict(X, batch_size=4, steps=4, callbacks=[theirs], verbose=0)
        trainer = Trainer.from_keras(model, verbose=0)
        trainer.evaluate(X, Y, batch_size=4, callbacks=ours)
        found = trainer.predict(X, batch_size=4, steps=4, callbacks=[ours])
        assert ours.seen == theirs.seen
        assert found.shape == (16, 3)


def test_steps_per_execution_is_how_often_callbacks_see_batches() -> None:
    class Sees(keras.callbacks.Callback):
        def on_train_begin(self, logs: Any = None) -> None:
            self.seen: list[Any] = []

        def on_train_batch_begin(self, batch: int, logs: Any = None) -> None:
            self.seen.append(batch)

        def on_train_batch_end(self, batch: int, logs: Any = None) -> None:
            self.seen.append(-batch)

    theirs, ours = Sees(), Sees()
    model = compiled()
    model.compile("sgd", "sparse_categorical_crossentropy", steps_per_execution=2)
    model.fit(X, Y, batch_size=4, shuffle=False, callbacks=[theirs], verbose=0)
    small(epochs=1, batch_size=4, steps_per_execution=2, callbacks=[ours]).fit(X, Y)
    assert ours.seen == theirs.seen == [0, -1, 2, -3, 4, -5]


# ---- weights of losses, classes and outputs ----------------------------------------------------


def test_loss_weights_and_weighted_metrics_are_those_of_keras() -> None:
    def two_heads() -> keras.Model:
        keras.utils.set_random_seed(0)
        x = keras.Input((3,))
        return keras.Model(
            x, {"a": layers.Dense(1, name="a")(x), "b": layers.Dense(1, name="b")(x)}
        )

    y = {"a": X[:, :1], "b": X[:, 1:2]}
    weight = np.linspace(0.5, 2, 20).astype("float32")
    options: dict[str, Any] = {
        "loss": {"a": "mse", "b": "mae"},
        "loss_weights": {"a": 1.0, "b": 0.2},
        "weighted_metrics": {"a": ["mae"]},
    }
    model = two_heads()
    model.compile("sgd", **options)
    theirs = model.fit(X, y, sample_weight=weight, epochs=2, shuffle=False, verbose=0).history
    trainer = Trainer.from_keras(
        two_heads(), optimizer="sgd", epochs=2, shuffle=False, verbose=0, **options
    ).fit(X, y, weight)
    assert same(trainer.model_, model)
    assert trainer.history_.history.keys() == theirs.keys()
    np.testing.assert_allclose(trainer.history_["a_mae"], theirs["a_mae"], rtol=1e-5)


def test_class_weights_may_differ_for_each_output() -> None:
    class Heads(Classifier):
        def build_model(self, spec: Any) -> keras.Model:
            x = keras.Input(spec.input_shape)
            return keras.Model(
                x,
                {
                    "kind": layers.Dense(3, "softmax", name="kind")(x),
                    "big": layers.Dense(1, "sigmoid", name="big")(x),
                },
            )

    y = {"kind": Y, "big": X[:, 0] > 0}
    options: dict[str, Any] = {"epochs": 2, "random_state": 0, "verbose": 0}
    weights = {"kind": {0: 5.0, 2: 0.5}, "big": "balanced"}
    by_class = Heads(class_weight=weights, **options).fit(X, y)
    counts = np.bincount(y["big"])
    rows = {
        "kind": np.array([5.0, 1.0, 0.5])[Y],
        "big": (20 / 2 / counts)[y["big"].astype(int)],
    }
    by_row = Heads(**options).fit(X, y, sample_weight=rows)
    assert same(by_class.model_, by_row.model_)


def test_class_weights_of_a_trainer_are_those_of_keras() -> None:
    model = compiled()
    model.fit(X, Y, epochs=2, class_weight={1: 4.0}, shuffle=False, verbose=0)
    options: dict[str, Any] = {"epochs": 2, "class_weight": {1: 4.0}, "verbose": 0}
    rows = Trainer.from_keras(compiled(), shuffle=False, **options).fit(X, Y)
    assert same(rows.model_, model)
    stream = tf.data.Dataset.from_tensor_slices((X, Y)).batch(32)
    np.testing.assert_allclose(
        Trainer.from_keras(compiled(), **options).fit(stream).model_.get_weights()[0],
        model.get_weights()[0],
        rtol=1e-5,
    )
    with pytest.raises(ValueError, match="Trainer has no classes; write a dict"):
        Trainer.from_keras(compiled(), class_weight="balanced").fit(X, Y)


# ---- forms of callbacks and classes ------------------------------------------------------------


def test_classes_stand_for_objects_with_their_defaults() -> None:
    fitted = small(
        optimizer=keras.optimizers.SGD,
        loss=keras.losses.SparseCategoricalCrossentropy,
        metrics=[keras.metrics.SparseCategoricalAccuracy],
        callbacks=keras.callbacks.TerminateOnNaN,
        epochs=1,
    ).fit(X, Y)
    assert isinstance(fitted.model_.optimizer, keras.optimizers.SGD)
    assert "sparse_categorical_accuracy" in fitted.history_
    assert len(fitted.callbacks_) == 1


def test_one_callback_or_a_dict_of_them_is_enough_and_has_nested_parameters() -> None:
    stop = keras.callbacks.EarlyStopping(monitor="loss", patience=4, min_delta=0.25)
    one = small(callbacks=stop)
    assert one.get_params()["callbacks__early_stopping__patience"] == 4
    one.set_params(callbacks__early_stopping__patience=0, epochs=9).fit(X, Y)
    made = one.callbacks_[0]
    assert (made.patience, abs(made.min_delta)) == (0, 0.25) and stop.patience == 4
    assert len(one.history_) < 9
    named = small(callbacks={"first": stop, "second": "ema"})
    named.set_params(callbacks__first__patience=1, callbacks__second__decay=0.5)
    assert named.callbacks["first"].patience == 1
    assert named.callbacks["second"] == {"name": "ema", "decay": 0.5}
    assert len(small(callbacks=None, epochs=1).fit(X, Y).callbacks_) == 0


@pytest.mark.parametrize("plugin", ["early_stopping", "plateau", "checkpoint"])
def test_plugins_count_only_the_epochs_that_were_validated(plugin: str, tmp_path: Path) -> None:
    parameters: dict[str, Any] = {
        "early_stopping": {"patience": 2, "baseline": -1.0},
        "plateau": {"patience": 2, "min_delta": 9.0},
        "checkpoint": {"folder": tmp_path, "keep": 1},
    }[plugin]
    fitted = small(epochs=8, callbacks=[{"name": plugin, **parameters}])
    fitted.fit(X, Y, validation_data=VALID, validation_freq=2)
    if plugin == "early_stopping":
        assert len(fitted.history_) == 4  # validated after the second and the fourth
    elif plugin == "plateau":
        rates = fitted.history_["learning_rate"]
        assert [i for i in range(1, 8) if rates[i] != rates[i - 1]] == [6]
    else:
        validated = {f"epoch-{epoch:04d}" for epoch in (2, 4, 6, 8)}
        assert {file.name[:10] for file in tmp_path.glob("epoch*")} <= validated


def test_a_splitter_holds_out_whole_groups() -> None:
    from sklearn.model_selection import GroupShuffleSplit

    groups = np.repeat(np.arange(5), 4)
    x = np.concatenate([groups[:, None], X], axis=1).astype("float32")
    splitter = GroupShuffleSplit(test_size=0.4)
    options: dict[str, Any] = {"epochs": 2, "validation_split": splitter}
    fitted = small(**options).fit(x, Y, groups=groups)
    again = small(**options).fit(x, Y, groups=groups)
    assert same(fitted.model_, again.model_) and "val_loss" in fitted.history_
    assert splitter.random_state is None
    made = GroupShuffleSplit(test_size=0.4, random_state=3)
    train, valid = next(made.split(x, Y, groups))
    by_hand = small(epochs=2).fit(x[train], Y[train], validation_data=(x[valid], Y[valid]))
    assert same(by_hand.model_, fitted.model_)
    assert not set(groups[train]) & set(groups[valid])
    with pytest.raises(ValueError, match="validation_split=GroupShuffleSplit.*pass groups to fit"):
        small(**options).fit(x, Y)
    with pytest.raises(ValueError, match="groups has 3 values, but x has 20 rows"):
        small(**options).fit(x, Y, groups=[1, 2, 3])
    with pytest.raises(ValueError, match="groups: only used by a splitter"):
        small(epochs=1).fit(x, Y, groups=groups)
