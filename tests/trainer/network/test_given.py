"""A Keras model of one's own: copied with its state, described, trained, saved and loaded."""

from __future__ import annotations

import functools
import json
import pickle
import zipfile
from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest
import tensorflow as tf
from keras import layers
from sklearn.base import clone
from sklearn.model_selection import cross_val_score

from trainer import Classifier, Regressor, Trainer
from trainer.network import given
from trainer.network.given import CannotCopy

RNG = np.random.default_rng(0)
X = RNG.normal(size=(24, 3)).astype("float32")
Y = np.arange(24) % 3
OPTIONS: dict[str, Any] = {"shuffle": False, "batch_size": 8, "verbose": 0}


def same(a: keras.Model, b: keras.Model) -> bool:
    pairs = zip(a.get_weights(), b.get_weights(), strict=True)
    return all(np.array_equal(p, q) for p, q in pairs)


def compiled(seed: int = 0) -> keras.Model:
    keras.utils.set_random_seed(seed)
    model = keras.Sequential(
        [
            keras.Input((3,)),
            layers.Dense(4, "relu"),
            layers.Dropout(0.3),
            layers.BatchNormalization(),
            layers.Dense(3, "softmax"),
        ]
    )
    model.compile("adam", "sparse_categorical_crossentropy", metrics=["accuracy"])
    return model


def further(model: keras.Model, initial: int, epochs: int) -> keras.Model:
    model.fit(X, Y, epochs=epochs, initial_epoch=initial, shuffle=False, batch_size=8, verbose=0)
    return model


class Block(layers.Layer):
    """A layer without get_config, with what users keep in attributes."""

    def __init__(self, units: int, activation: Any) -> None:
        super().__init__()
        self.dense, self.activation = layers.Dense(units), activation
        self.several = [layers.Dense(3), layers.Dropout(0.5)]
        self.options = {"scale": 2.0}

    def build(self, shape: Any) -> None:
        self.dense.build(shape)
        self.several[0].build(shape)
        self.kernel = self.add_weight((shape[-1], 2), name="kernel")
        super().build(shape)

    def call(self, x: Any, training: bool = False) -> Any:
        wide = self.several[1](self.several[0](x), training=training)[:, :2]
        return self.activation(self.dense(x) + x @ self.kernel) * self.options["scale"] + wide


class Net(keras.Model):
    """A subclassed model as in Keras' guide: Keras makes no config for it."""

    def __init__(self, block: Any, units: int) -> None:
        super().__init__()
        self.block, self.head = block, layers.Dense(units)

    def call(self, x: Any, training: bool = False) -> Any:
        return self.head(self.block(x, training=training))


def subclassed() -> keras.Model:
    keras.utils.set_random_seed(0)
    model = Net(Block(2, lambda z: z), 1)
    model.compile("adam", "mse", metrics=["mae"])
    model.fit(X, Y, epochs=1, verbose=0)
    return model


def functional() -> keras.Model:
    keras.utils.set_random_seed(0)
    base = keras.Sequential([keras.Input((3,)), layers.Dense(3)], name="base")
    base.trainable = False
    x = keras.Input((3,), name="x")
    shared = layers.Dense(3)
    z = shared(base(shared(x)))
    return keras.Model(x, layers.Lambda(lambda t: t * 2)(z[:, :2] + 1))


@pytest.mark.parametrize("make", [compiled, subclassed, functional])
def test_a_copy_has_the_same_weights_and_trains_as_the_model_does(make: Any) -> None:
    model = make()
    if not model.compiled:
        model.compile("sgd", "mse")
    target = np.stack([Y, Y], axis=1) if make is functional else Y
    model.fit(X, target, epochs=1, shuffle=False, verbose=0)
    copy = given.copied(model)
    assert given.described(copy) == given.described(model)
    assert [a.trainable for a in copy._flatten_layers()] == [
        a.trainable for a in model._flatten_layers()
    ]
    before = model.get_weights()
    copy.fit(X, target, epochs=2, shuffle=False, verbose=0)
    assert all(np.array_equal(a, b) for a, b in zip(model.get_weights(), before, strict=True))
    assert given.described(copy) != given.described(model)
    model.fit(X, target, epochs=2, shuffle=False, verbose=0)
    assert given.described(copy) == given.described(model)


def test_a_copy_keeps_vocabularies_and_statistics() -> None:
    lookup, scale = layers.StringLookup(), layers.Normalization()
    lookup.adapt(np.array(["b", "a", "b"]))
    scale.adapt(X + 5)
    words, x = keras.Input((), dtype="string"), keras.Input((3,))
    model = keras.Model([words, x], [lookup(words), scale(x)])
    inputs = [tf.constant(["b", "a"]), tf.constant(X[:2])]
    for a, b in zip(model(inputs), given.copied(model)(inputs), strict=True):
        np.testing.assert_array_equal(a, b)


@pytest.mark.parametrize(
    ("attribute", "message"),
    [
        (object(), r"Net\.extra is an object, which may not be copied; define get_config"),
        (open, None),
        ({"a": [1, (2.0, None)], "f": np.zeros(2)}, None),
        (keras.initializers.GlorotUniform(seed=3), None),
        ([keras.regularizers.L2(0.1), keras.losses.Huber(), keras.constraints.NonNeg()], None),
        (keras.optimizers.schedules.ExponentialDecay(0.1, 5, 0.9), None),
    ],
)
def test_an_attribute_that_cannot_be_copied_is_named(attribute: Any, message: Any) -> None:
    model = subclassed()
    model.extra = attribute
    if message is None:
        assert given.described(given.copied(model)) == given.described(model)
        return
    with pytest.raises(CannotCopy, match=message):
        Trainer.from_keras(model)


class Factor(layers.Dense):
    """A layer with an argument that the get_config of its base leaves out."""

    def __init__(self, units: int, factor: float = 1.0, **others: Any) -> None:
        super().__init__(units, **others)
        self.factor = factor

    def call(self, x: Any) -> Any:
        return super().call(x) * self.factor


class OwnRegularizer(keras.regularizers.Regularizer):
    """A regularizer without get_config."""

    def __call__(self, x: Any) -> Any:
        return keras.ops.sum(keras.ops.square(x)) * 3.0


class OwnInitializer(keras.initializers.Initializer):
    """An initializer with an argument, and without get_config."""

    def __init__(self, value: float) -> None:
        self.value = value

    def __call__(self, shape: Any, dtype: Any = None) -> Any:
        return keras.ops.full(shape, self.value, dtype)


class OwnConstraint(keras.constraints.Constraint):
    """A constraint without get_config."""

    def __call__(self, w: Any) -> Any:
        return keras.ops.clip(w, -0.1, 0.1)


def own_activation(x: Any) -> Any:
    return keras.ops.tanh(x) * 1.5


@pytest.mark.parametrize(
    "layer",
    [
        lambda: Factor(4, factor=3.0),
        lambda: layers.Dense(4, activation=own_activation),
        lambda: layers.Dense(4, activation=functools.partial(keras.ops.clip, x_min=0, x_max=1)),
        lambda: layers.Dense(4, kernel_regularizer=OwnRegularizer(), bias_regularizer="l2"),
        lambda: layers.Dense(4, activity_regularizer=OwnRegularizer()),
        lambda: layers.Dense(4, kernel_initializer=OwnInitializer(0.3)),
        lambda: layers.Dense(4, kernel_constraint=OwnConstraint()),
    ],
)
def test_functions_and_settings_of_ones_own_are_those_of_the_copy_too(layer: Any) -> None:
    model = keras.Sequential([keras.Input((3,)), layer(), layers.Dense(1)])
    model.compile("sgd", "mse")
    copy = given.copied(model)
    for made in (model, copy):
        made.fit(X, Y, epochs=1, shuffle=False, verbose=0)
    for a, b in zip(model.get_weights(), copy.get_weights(), strict=True):
        np.testing.assert_array_equal(a, b)


def test_a_recurrent_layer_keeps_an_activation_of_ones_own() -> None:
    layer = layers.LSTM(2, activation=own_activation)
    model = keras.Sequential([keras.Input((4, 3)), layer])
    x = np.ones((2, 4, 3), "float32")
    np.testing.assert_array_equal(model(x), given.copied(model)(x))


def test_an_attribute_that_was_set_after_the_constructor_is_that_of_the_copy_too() -> None:
    class Times(layers.Layer):
        def __init__(self, factor: float = 1.0, **others: Any) -> None:
            super().__init__(**others)
            self.factor = factor

        def call(self, x: Any) -> Any:
            return x * self.factor

    times = Times()
    times.factor = 3.0
    model = keras.Sequential([keras.Input((3,)), times, layers.Dense(1)])
    np.testing.assert_array_equal(given.copied(model)(X), model(X))


def test_a_loss_in_an_attribute_keeps_the_arguments_that_its_config_leaves_out() -> None:
    class Power(keras.losses.Loss):
        def __init__(self, power: float = 2.0, **others: Any) -> None:
            super().__init__(**others)
            self.power = power

    model = subclassed()
    model.own_loss = Power(3.0)
    assert given.copied(model).own_loss.power == 3.0


def test_a_function_that_closes_over_a_layer_is_not_shared_by_a_copy() -> None:
    model = subclassed()
    head = model.head
    model.shortcut = lambda x: head(x)
    with pytest.raises(CannotCopy, match=r"Net\.shortcut is a function"):
        given.copied(model)


def test_a_class_with_a_compile_of_its_own_is_refused() -> None:
    class Odd(keras.Model):
        def __init__(self) -> None:
            super().__init__()
            self.dense = layers.Dense(1)

        def call(self, x: Any) -> Any:
            return self.dense(x)

        def compile(self, rate: float) -> None:
            super().compile(keras.optimizers.SGD(rate), "mse")

    model = Odd()
    model.compile(0.1)
    model(X)
    with pytest.raises(CannotCopy, match="a compile of its own.*override build_model"):
        Trainer.from_keras(model)


@pytest.mark.parametrize("cls", [Trainer, Classifier])
def test_a_model_that_keras_has_trained_is_trained_further_to_the_bit(cls: type[Trainer]) -> None:
    whole = further(compiled(), 0, 5)
    begun = further(compiled(), 0, 2)
    kept = begun.get_weights()
    trainer = cls.from_keras(begun, epochs=3, **OPTIONS).fit(X, Y)
    assert same(trainer.model_, whole)
    assert all(np.array_equal(a, b) for a, b in zip(begun.get_weights(), kept, strict=True))
    assert same(trainer.fit(X, Y).model_, whole)  # begins again with what was handed over
    assert same(clone(trainer).fit(X, Y).model_, whole)
    assert same(pickle.loads(pickle.dumps(trainer)).model_, whole)


def test_a_model_as_the_field_means_the_same() -> None:
    model = further(compiled(), 0, 1)
    by_field = Classifier(model=model, epochs=2, **OPTIONS).fit(X, Y)
    assert same(by_field.model_, Classifier.from_keras(model, epochs=2, **OPTIONS).fit(X, Y).model_)
    scores = cross_val_score(Classifier(model=model, epochs=1, **OPTIONS), X, Y, cv=3)
    again = cross_val_score(Classifier(model=model, epochs=1, **OPTIONS), X, Y, cv=3)
    np.testing.assert_array_equal(scores, again)


def test_a_model_that_is_not_compiled_is_compiled_with_the_fields() -> None:
    model = keras.Sequential([keras.Input((3,)), layers.Dense(3, "softmax")])
    fitted = Classifier.from_keras(model, learning_rate=0.5, epochs=1, **OPTIONS).fit(X, Y)
    assert float(fitted.model_.optimizer.learning_rate) == 0.5
    assert set(fitted.history_.history) == {"loss", "accuracy"} and not model.compiled


class Unnamed(layers.Layer):
    """A layer whose weights have no names, so that Keras counts them."""

    def build(self, shape: Any) -> None:
        self.scale = self.add_weight(shape=(shape[-1],), initializer="ones")
        self.shift = self.add_weight(shape=(shape[-1],), initializer="zeros")

    def call(self, x: Any) -> Any:
        return x * self.scale + self.shift


class PassedOn(keras.Model):
    """A model whose constructor passes on what it is given, so that Keras makes its config."""

    def __init__(self, *given: Any, **named: Any) -> None:
        super().__init__(*given, **named)
        self.scaled, self.classes = Unnamed(), layers.Dense(3, "softmax")

    def call(self, x: Any) -> Any:
        return self.classes(self.scaled(x))


@pytest.mark.parametrize(
    "make",
    [
        lambda: keras.Sequential([keras.Input((3,)), Unnamed(), layers.Dense(3, "softmax")]),
        PassedOn,
    ],
    ids=["in a Sequential", "in a model of one's own"],
)
def test_a_model_with_unnamed_weights_trains_on_and_its_copy_is_copied(make: Any) -> None:
    keras.utils.set_random_seed(0)
    model = make()
    model.compile("adam", "sparse_categorical_crossentropy", metrics=["accuracy"])
    further(model, 0, 1)
    classifier = Classifier.from_keras(model, epochs=1, **OPTIONS)
    expected = model.evaluate(X, Y, return_dict=True, verbose=0)
    assert classifier.evaluate(X, Y) == pytest.approx(expected)
    assert same(classifier.fit(X, Y).model_, further(model, 0, 1))
    again = Classifier.from_keras(classifier.model_, epochs=1, **OPTIONS)
    assert same(again.fit(X, Y).model_, further(model, 0, 1))


@pytest.mark.filterwarnings("ignore:You are saving your model as an HDF5 file")
def test_an_untrained_model_that_keras_loaded_from_hdf5_is_trained(tmp_path: Path) -> None:
    model = keras.Sequential([keras.Input((3,)), layers.Dense(3, "softmax")])
    model.compile("adam", "sparse_categorical_crossentropy")
    model.save(tmp_path / "untrained.h5")
    loaded = keras.saving.load_model(tmp_path / "untrained.h5")
    assert loaded.optimizer.built  # for no variables: Keras itself cannot train it
    classifier = Classifier.from_keras(loaded, epochs=1, **OPTIONS).fit(X, Y)
    expected = Classifier.from_keras(model, epochs=1, **OPTIONS).fit(X, Y)
    assert same(classifier.model_, expected.model_)


def test_evaluate_and_predict_need_no_fit() -> None:
    model = further(compiled(), 0, 1)
    expected = model.predict(X, verbose=0)
    classifier = Classifier.from_keras(model, **OPTIONS)
    np.testing.assert_allclose(classifier.predict_proba(X), expected, rtol=1e-6)
    assert classifier.predict(X[:1])[0] == expected[0].argmax()
    loss, accuracy = model.evaluate(X, Y, verbose=0)
    assert classifier.evaluate(X, Y) == pytest.approx({"loss": loss, "accuracy": accuracy})
    assert Classifier.from_keras(model).score(X, Y) == pytest.approx(accuracy)
    np.testing.assert_allclose(Trainer.from_keras(model).predict(X), expected, rtol=1e-6)
    rows = ((part,) for part in (X[:10], X[10:]))
    np.testing.assert_allclose(Trainer.from_keras(model).predict(rows), expected, rtol=1e-6)
    assert same(classifier.set_params(epochs=1).fit(X, Y).model_, further(model, 0, 1))


@pytest.mark.parametrize("field", ["metrics", "weighted_metrics"])
def test_a_model_that_keras_trained_is_evaluated_without_its_batches_of_training(
    field: str,
) -> None:
    model = compiled()
    given: dict[str, Any] = {field: [keras.metrics.SparseCategoricalAccuracy("accuracy")]}
    model.compile("sgd", "sparse_categorical_crossentropy", **given)
    model.fit(X, Y, epochs=3, verbose=0)
    trainer = Trainer.from_keras(model, verbose=0)
    expected = model.evaluate(X, Y, return_dict=True, verbose=0)
    assert trainer.evaluate(X, Y) == pytest.approx(expected)


def test_whole_numbers_are_the_numbers_of_outputs_where_y_lacks_some() -> None:
    classifier = Classifier.from_keras(compiled(), epochs=1, **OPTIONS).fit(X, Y % 2)
    assert classifier.classes_.tolist() == [0, 1, 2]
    named = Classifier.from_keras(compiled(), epochs=1, **OPTIONS).fit(X, np.array(list("abc"))[Y])
    assert named.classes_.tolist() == ["a", "b", "c"]


@pytest.mark.parametrize("make", [compiled, functional])
def test_a_loaded_model_is_trained_further_to_the_bit(make: Any, tmp_path: Path) -> None:
    model = make()
    if make is functional:
        model = keras.Model(model.input, model.layers[-1].input)  # without the Lambda
        model.compile("sgd", "mse", loss_weights=2.0, weighted_metrics=["mae"])
    target = np.stack([Y, Y], axis=1) if make is functional else Y
    trainer = Trainer.from_keras(model, epochs=2, **OPTIONS).fit(X, target)
    loaded = Trainer.load(trainer.save(tmp_path / "model.keras"))
    np.testing.assert_array_equal(loaded.predict(X), trainer.predict(X))
    loaded.fit(X, target)
    assert same(loaded.model_, trainer.set_params(epochs=4).fit(X, target).model_)


def test_a_model_with_code_in_it_is_saved_for_keras_only(tmp_path: Path) -> None:
    fitted = Trainer.from_keras(functional(), loss="mse", epochs=1, **OPTIONS)
    fitted.fit(X, np.stack([Y, Y], axis=1))
    with pytest.warns(UserWarning, match="Trainer.load will not be able.*Lambda layer"):
        fitted.save(tmp_path / "model.keras")
    with pytest.raises(ValueError, match="could not be written.*load_model"):
        Trainer.load(tmp_path / "model.keras")


def test_no_file_makes_a_layer_that_runs_code_or_reads_files(tmp_path: Path) -> None:
    lookup = layers.StringLookup(vocabulary=["a"], output_mode="one_hot")
    words = keras.Input((), dtype="string")
    model = keras.Model(words, layers.Dense(1)(lookup(words)))
    fitted = Regressor.from_keras(model, epochs=1, verbose=0).fit(["a", "b"], [0.0, 1.0])
    file = fitted.save(tmp_path / "model.keras")
    assert len(Regressor.load(file).predict(["a"])) == 1
    outside = tmp_path / "words.txt"
    outside.write_text("a\n")

    def changed(change: Any) -> Path:
        path = tmp_path / "changed.keras"
        with zipfile.ZipFile(file) as old, zipfile.ZipFile(path, "w") as new:
            for name in old.namelist():
                content = old.read(name)
                if name == "trainer.json":
                    meta = json.loads(content)
                    change(meta["fields"]["model"]["model"]["config"]["layers"][1])
                    content = json.dumps(meta).encode()
                new.writestr(name, content)
        return path

    def reads(layer: Any) -> None:
        layer["config"]["vocabulary"] = str(outside)

    def runs(layer: Any) -> None:
        layer.update(class_name="Lambda", registered_name=None)

    def loads(layer: Any) -> None:
        layer.update(class_name="TFSMLayer", config={"filepath": str(tmp_path)})

    for change, message in ((reads, "no file may name another"), (runs, "Lambda"), (loads, "TFSM")):
        with pytest.raises(ValueError, match=message):
            Regressor.load(changed(change))


@pytest.mark.parametrize(
    ("call", "error", "message"),
    [
        (lambda: Trainer.from_keras("mlp"), TypeError, "model='mlp': must be a keras.Model"),
        (
            lambda: Classifier.from_keras(compiled(), loss="mse").fit(X, Y),
            ValueError,
            "model=<Sequential> is compiled, and Classifier also has loss='mse'",
        ),
        (
            lambda: Classifier.from_keras(compiled()).fit(X[:, :2], Y),
            ValueError,
            r"model=<Sequential>: the model does not accept x of shape \(n, 2\)",
        ),
        (
            lambda: Classifier.from_keras(compiled(), precision="float64").fit(X, Y),
            ValueError,
            "precision='float64': the model that was given computes in float32",
        ),
    ],
)
def test_what_does_not_fit_is_named_before_training(call: Any, error: Any, message: str) -> None:
    with pytest.raises(error, match=message):
        call()


@pytest.mark.parametrize("named", [False, True])
def test_a_matrix_of_targets_has_a_column_for_each_output(named: bool) -> None:
    x = keras.Input((3,))
    heads = [layers.Dense(3, "softmax", name="a")(x), layers.Dense(1, "sigmoid", name="b")(x)]
    model = keras.Model(x, {"a": heads[0], "b": heads[1]} if named else heads)
    y = np.stack([Y, Y % 2], axis=1)
    fitted = Classifier.from_keras(model, epochs=1, **OPTIONS).fit(X, y)
    found = fitted.predict(X)
    columns = list(found.values()) if named else list(found)
    assert [len(c) for c in columns] == [24, 24] and len(fitted.classes_) == 2
    assert set(fitted.evaluate(X, y)) == set(fitted.history_.metrics)


def test_a_matrix_belongs_to_the_only_output_with_a_loss() -> None:
    x = keras.Input((3,))
    out = layers.Dense(2, kernel_initializer="ones")(x)
    model = keras.Model(x, [out, out])
    model.compile("sgd", loss=["mse", None])
    y = np.ones((24, 2), "float32")
    expected = model.evaluate(X, y, return_dict=True, verbose=0)
    assert Trainer.from_keras(model, verbose=0).evaluate(X, y) == expected


def test_sample_weights_are_routed_to_fit_and_score() -> None:
    import sklearn
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    weight = np.linspace(0.1, 2, 24)
    with sklearn.config_context(enable_metadata_routing=True):
        classifier = Classifier.from_keras(compiled(), epochs=1, **OPTIONS)
        classifier.set_fit_request(sample_weight=True).set_score_request(sample_weight=True)
        scaler = StandardScaler().set_fit_request(sample_weight=False)
        routed = make_pipeline(scaler, classifier).fit(X, Y, sample_weight=weight)
        score = routed.score(X, Y, sample_weight=weight)
    scaled = StandardScaler().fit_transform(X)
    plain = Classifier.from_keras(compiled(), epochs=1, **OPTIONS).fit(scaled, Y, weight)
    assert same(routed[-1].model_, plain.model_)
    assert score == pytest.approx(plain.score(scaled, Y, sample_weight=weight))


# ---- classes of one's own in a graph of Keras, and within its layers ----------------------------


class Scaled(layers.Layer):
    """A layer of one's own with a weight, a penalty and a bound, and no config."""

    def __init__(self, factor: float) -> None:
        super().__init__()
        self.factor = factor

    def build(self, shape: Any) -> None:
        self.w = self.add_weight(
            (shape[-1],),
            initializer="ones",
            name="w",
            regularizer=keras.regularizers.L2(0.5),
            constraint=keras.constraints.MaxNorm(1.2, axis=0),
        )
        self.same = self.w
        super().build(shape)

    def call(self, x: Any) -> Any:
        return x * self.w * self.factor

    def get_config(self) -> dict[str, Any]:
        raise NotImplementedError


class Stack(keras.Sequential):
    """A Sequential model of one's own class, with arguments and a layer beside its sequence."""

    def __init__(self, units: int, factor: float = 2.0) -> None:
        super().__init__([keras.Input((3,)), layers.Dense(units), Scaled(factor), layers.Dense(2)])
        self.factor, self.beside = factor, layers.Dense(3, "softmax")
        self.beside.build((None, 2))

    def call(self, x: Any, training: bool = False, mask: Any = None) -> Any:
        return self.beside(super().call(x, training=training) * self.factor)


class Counted(keras.Model):
    """A functional model of one's own class, with more beside its graph."""

    def __init__(self, units: int) -> None:
        x = keras.Input((3,), name="x")
        super().__init__(x, layers.Dense(units)(Scaled(0.5)(x)))
        self.head = layers.Dense(3, "softmax")
        self.head.build((None, units))
        self.scale = self.add_weight((), initializer="ones", name="scale")
        self.counted = keras.metrics.Sum(name="counted")

    def call(self, x: Any, training: bool = False) -> Any:
        return self.head(super().call(x, training=training) * self.scale)

    def train_step(self, data: Any) -> dict[str, Any]:
        logs = super().train_step(data)
        self.counted.update_state(1.0)
        return {**logs, "counted": self.counted.result()}


class Cell(layers.Layer):
    """The cell of a recurrent layer, as in Keras' guide."""

    def __init__(self, units: int) -> None:
        super().__init__()
        self.units = self.state_size = units

    def build(self, shape: Any) -> None:
        self.kernel = self.add_weight((shape[-1], self.units), name="kernel")
        self.recurrent = self.add_weight((self.units, self.units), name="recurrent")

    def call(self, x: Any, states: Any) -> Any:
        state = x @ self.kernel + states[0] @ self.recurrent
        return state, [state]


class Wide(layers.Dense):
    """A layer derived from one of Keras'."""

    def __init__(self, units: int) -> None:
        super().__init__(units)


class Tied(keras.Model):
    """A model that uses a weight of one of its layers by itself."""

    def __init__(self, units: int) -> None:
        super().__init__()
        self.narrow, self.last = layers.Dense(units, use_bias=False), layers.Dense(3, "softmax")
        self.narrow.build((None, 3))
        self.tied = self.narrow.kernel

    def call(self, x: Any) -> Any:
        return self.last(self.narrow(x) @ keras.ops.transpose(self.tied))


def _stacked(*middle: Any) -> keras.Model:
    return keras.Sequential([keras.Input((3,)), *middle, layers.Dense(3, "softmax")])


def _series(*middle: Any) -> keras.Model:
    return _stacked(layers.Reshape((3, 1)), *middle)


@pytest.mark.parametrize(
    "make",
    [
        pytest.param(lambda: Stack(4), id="a class of Sequential"),
        pytest.param(lambda: Counted(4), id="a class of functional models"),
        pytest.param(lambda: Tied(2), id="a tied weight"),
        pytest.param(lambda: _stacked(layers.Dense(4, Scaled(0.5))), id="an activation"),
        pytest.param(lambda: _stacked(layers.SpectralNormalization(Wide(4))), id="a wrapper"),
        pytest.param(lambda: _series(layers.RNN([Cell(2), Cell(3)])), id="cells"),
        pytest.param(lambda: _series(layers.Bidirectional(layers.LSTM(2))), id="Keras' own"),
    ],
)
def test_what_has_no_config_of_its_own_is_trained_as_keras_trains_it(make: Any) -> None:
    keras.utils.set_random_seed(0)
    model = make()
    model.compile("adam", "sparse_categorical_crossentropy", metrics=["accuracy"])
    further(model, 0, 1)
    classifier = Classifier.from_keras(model, epochs=1, **OPTIONS)
    expected = model.evaluate(X, Y, return_dict=True, verbose=0)
    before = model.get_weights()
    found = classifier.evaluate(X, Y)
    assert found == pytest.approx({name: expected[name] for name in found}, rel=1e-5)
    classifier.fit(X, Y)
    assert all(np.array_equal(a, b) for a, b in zip(model.get_weights(), before, strict=True))
    assert type(classifier.model_) is type(model)
    assert same(classifier.model_, further(model, 0, 1))
    np.testing.assert_array_equal(classifier.model_(X), model(X))


def test_a_model_that_keras_cannot_pickle_is_named_with_what_to_write() -> None:
    model = Stack(4)
    model.compile("adam", "sparse_categorical_crossentropy")
    classifier = Classifier.from_keras(model, epochs=1, **OPTIONS)
    with pytest.raises(TypeError, match=r"^model=<Stack>: cannot be pickled.*define get_config in"):
        pickle.dumps(classifier)


def test_a_layer_whose_shape_keras_cannot_infer_is_trained_as_keras_trains_it() -> None:
    keras.utils.set_random_seed(0)
    model = _series(layers.TimeDistributed(Scaled(0.5)), layers.Flatten())
    model.compile("adam", "sparse_categorical_crossentropy")
    further(model, 0, 1)
    assert not getattr(model, "outputs", None)
    classifier = Classifier.from_keras(model, epochs=1, **OPTIONS).fit(X, Y)
    assert same(classifier.model_, further(model, 0, 1))


def test_an_input_stays_sparse_or_optional_in_the_copy() -> None:
    sparse = keras.Input((3,), sparse=True, name="sparse")
    left_out = keras.Input((3,), optional=True, name="left_out")
    model = keras.Model([sparse, left_out], layers.Dense(2)(sparse))
    kinds = [(each.sparse, each.optional) for each in given.copied(model)._operations[:2]]
    assert sorted(kinds) == [(False, True), (True, False)]
    one = keras.Sequential([keras.Input((3,), sparse=True), layers.Dense(2)])
    assert given.copied(one).inputs[0].sparse


# ---- what variables hold beside the configs of their layers --------------------------------------


def marked() -> keras.Model:
    """Some variables are frozen alone; one has a penalty, and a layer's comes too late in Keras."""
    keras.utils.set_random_seed(0)
    model = _stacked(layers.Dense(4), layers.Dense(4))
    first, second, last = model.layers
    first.bias.trainable = second.kernel.trainable = False
    first.kernel.regularizer = keras.regularizers.L2(0.5)
    last.kernel.constraint = keras.constraints.MaxNorm(0.1)
    last.kernel_regularizer = keras.regularizers.L2(0.5)
    model.compile("adam", "sparse_categorical_crossentropy")
    return model


def test_what_single_variables_are_set_to_stays_so_in_copies_and_pickles(tmp_path: Path) -> None:
    model = marked()
    made = Classifier.from_keras(model, epochs=1, **OPTIONS)
    plain = keras.Sequential.from_config(model.get_config())
    bare = Classifier.from_keras(plain, epochs=1, **OPTIONS)
    before = model.get_weights()
    further(model, 0, 1)
    assert np.array_equal(model.get_weights()[1], before[1]), "the bias is frozen"
    for each in (clone(made), pickle.loads(pickle.dumps(made)), made):
        assert same(each.fit(X, Y).model_, model)
    unpickled = pickle.loads(pickle.dumps(bare)).model
    assert [v.trainable for v in unpickled.variables] == [True] * 6
    with pytest.warns(UserWarning, match="^the regularizer or constraint of .*kernel, .*kernel di"):
        made.save(tmp_path / "made.keras")
    loaded = Classifier.load(tmp_path / "made.keras")
    assert [v.trainable for v in loaded.model.variables] == [True, False, False, True, True, True]
    loaded.fit(X, Y)
    for i in (1, 2):
        np.testing.assert_array_equal(loaded.model_.get_weights()[i], model.get_weights()[i])
