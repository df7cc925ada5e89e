"""Unfreeze: which layers move in which epoch, and that the frozen ones do not move at all."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from typing import Any

import keras
import numpy as np
import pytest
import tensorflow as tf
from sklearn.base import clone

from trainer import Regressor
from trainer.callbacks import Unfreeze
from trainer.engine.tensorflow import graphs

RNG = np.random.default_rng(0)
X = RNG.normal(size=(48, 4)).astype("float32")
Y = (X[:, 0] - 2 * X[:, 1] * X[:, 2]).astype("float32")
WEIGHTED = ["first", "norm", "second", "last"]


class Deep(Regressor):
    epochs = 2
    batch_size = 16
    random_state = 1
    verbose = 0
    optimizer = "adamw"
    learning_rate = 0.03

    def build_model(self, spec: Any) -> keras.Model:
        return keras.Sequential(
            [
                keras.Input(spec.input_shape),
                keras.layers.Dense(6, "tanh", name="first"),
                keras.layers.BatchNormalization(name="norm"),
                keras.layers.Dropout(0.2),
                keras.layers.Dense(5, "tanh", name="second"),
                keras.layers.Dense(1, name="last"),
            ]
        )


class Watch(keras.callbacks.Callback):
    """Tells which layers' weights, and which of their optimizer's variables, an epoch changed."""

    def on_train_begin(self, logs: Any = None) -> None:
        self.moved: list[list[str]] = []
        self.moments: list[list[str]] = []
        self.before = self.values()

    def values(self) -> dict[str, list[Any]]:
        return {name: self.model.get_layer(name).get_weights() for name in WEIGHTED}

    def on_epoch_end(self, epoch: int, logs: Any = None) -> None:
        now = self.values()
        self.moved.append([n for n in WEIGHTED if differ(self.before[n], now[n])])
        optimizer = self.model.optimizer
        optimizer = getattr(optimizer, "inner_optimizer", optimizer)
        started = {v.path.split("/")[-1] for v in optimizer.variables[2:] if np.any(np.asarray(v))}
        self.moments.append([n for n in WEIGHTED if any(s.find(f"{n}_") >= 0 for s in started)])
        self.before = now
        assert all(layer.trainable for layer in self.model.layers)


def differ(one: list[Any], other: list[Any]) -> bool:
    return any(a.tobytes() != b.tobytes() for a, b in zip(one, other, strict=True))


def fitted(plugin: Any, *, watch: Watch | None = None, **fields: Any) -> Deep:
    watched = () if watch is None else (watch,)
    return Deep(callbacks=(plugin, *watched), **fields).fit(X, Y)


@pytest.mark.parametrize(
    "fields",
    [
        {},
        {"jit": True},
        {"run_eagerly": True},
        {"precision": "mixed_float16"},
        {"optimizer": keras.optimizers.Adam(gradient_accumulation_steps=2)},
        {"optimizer": keras.optimizers.SGD(0.01, momentum=0.9, weight_decay=0.1)},
        {"optimizer": "ftrl"},
    ],
    ids=["adamw", "xla", "eager", "float16", "accumulation", "sgd", "ftrl"],
)
def test_frozen_layers_and_their_moments_do_not_move(fields: dict[str, Any]) -> None:
    watch = Watch()
    fitted(Unfreeze(start=1, layers=2), watch=watch, **fields)
    stages = [["last"], ["norm", "second", "last"]]
    assert watch.moved == stages
    if fields.get("optimizer") != "ftrl":  # its accumulators do not begin at 0
        assert watch.moments == stages


def test_stages_last_so_many_epochs_and_begin_with_so_many_layers() -> None:
    watch = Watch()
    fitted(Unfreeze(start=2, epochs=2), watch=watch, epochs=5)
    assert [len(m) for m in watch.moved] == [2, 2, 3, 3, 4]


def test_an_epoch_with_frozen_layers_is_keras_own_with_trainable_false() -> None:
    ours = fitted(Unfreeze(start=2), epochs=1)

    class Frozen(Deep):
        def build_model(self, spec: Any) -> keras.Model:
            model = super().build_model(spec)
            for name in ("first", "norm"):
                model.get_layer(name).trainable = False
            return model

    theirs = Frozen(epochs=1).fit(X, Y)
    # Keras lists weights by the layers' flags: by name they are the same
    for name in WEIGHTED:
        pair = [t._network.core.get_layer(name).get_weights() for t in (ours, theirs)]
        assert not differ(*pair), name
    assert ours.history_["loss"] == theirs.history_["loss"]


def test_a_stream_unfreezes_too() -> None:
    watch = Watch()
    stream = tf.data.Dataset.from_tensor_slices((X, Y)).batch(16)
    Deep(callbacks=[Unfreeze(), watch]).fit(stream)
    assert [len(m) for m in watch.moved] == [1, 2]


def test_layers_of_a_model_within_count_and_those_frozen_before_stay_so() -> None:
    class Nested(Deep):
        def build_model(self, spec: Any) -> keras.Model:
            backbone = keras.Sequential(
                [
                    keras.Input(spec.input_shape),
                    keras.layers.Dense(6, name="a", trainable=False),
                    keras.layers.Dense(6, name="b"),
                    keras.layers.Dense(6, name="c"),
                ]
            )
            inputs = keras.Input(spec.input_shape)
            hidden = keras.layers.Reshape((2, 3))(backbone(inputs))
            hidden = keras.layers.Bidirectional(keras.layers.LSTM(2), name="both")(hidden)
            return keras.Model(inputs, keras.layers.Dense(1, name="head")(hidden))

    found = []

    class Order(Unfreeze):
        def on_train_begin(self, logs: Any = None) -> None:
            found.extend(layer.name for layer in self._layers)

    trained = Nested(callbacks=[Order(start=2)], epochs=1).fit(X, Y)
    assert found == ["b", "c", "both", "head"]
    core = trained._network.core
    backbone = next(layer for layer in core.layers if isinstance(layer, keras.Model))
    assert [layer.trainable for layer in backbone.layers] == [False, True, True]


def test_a_stage_is_traced_once_and_shared_by_twins() -> None:
    graphs.forget()
    plain = Deep(epochs=4).fit(X, Y)
    first = fitted(Unfreeze(layers=3), epochs=4)
    second = fitted(Unfreeze(layers=3), epochs=4)
    traces = [trainer._network.program.graphs.traces for trainer in (plain, first, second)]
    assert traces == [traces[0], traces[0] + 1, 0]
    assert not differ(first.model_.get_weights(), second.model_.get_weights())
    assert differ(first.model_.get_weights(), plain.model_.get_weights())


def test_the_file_loads_in_plain_keras_with_its_optimizer(tmp_path: Any) -> None:
    trained = fitted(Unfreeze())
    loaded = keras.models.load_model(trained.save(tmp_path / "model.keras"))
    for ours, theirs in zip(
        trained.model_.optimizer.variables, loaded.optimizer.variables, strict=True
    ):
        assert np.array_equal(ours, theirs)
    assert all(layer.trainable for layer in loaded.layers)


def test_a_failing_step_leaves_the_layers_as_they_were() -> None:
    class Failing(Deep):
        def compute_loss(self, x: Any, y: Any, y_pred: Any, sample_weight: Any) -> Any:
            raise RuntimeError("no loss")

        def build_model(self, spec: Any) -> keras.Model:
            self.built = super().build_model(spec)
            return self.built

    trainer = Failing(callbacks=[Unfreeze()])
    with pytest.raises(RuntimeError, match="no loss"):
        trainer.fit(X, Y)
    assert all(layer.trainable for layer in trainer.built.layers)


def test_a_second_fit_with_the_same_object_starts_frozen_again() -> None:
    plugin, watch = Unfreeze(), Watch()
    first = fitted(plugin, watch=watch)
    stages = watch.moved
    second = fitted(plugin, watch=watch)
    assert watch.moved == stages
    assert not differ(first.model_.get_weights(), second.model_.get_weights())


@pytest.mark.parametrize(
    ("fields", "words"),
    [
        ({"start": 0}, "start=0: must be 1 or more"),
        ({"layers": 1.5}, "layers=1.5: must be a whole number"),
        ({"epochs": 0}, "epochs=0: must be 1 or more"),
        ({"start": 4}, "start=4: the model has 4 .* write start=3 or less"),
    ],
)
def test_bad_fields_are_named(fields: dict[str, Any], words: str) -> None:
    with pytest.raises((TypeError, ValueError), match=words):
        fitted(Unfreeze(**fields))


def test_names_dicts_and_nested_parameters_reach_it() -> None:
    by_name = Deep(callbacks=["unfreeze"], epochs=1).fit(X, Y)
    by_dict = Deep(callbacks=[{"name": "unfreeze", "start": 1}], epochs=1).fit(X, Y)
    assert not differ(by_name.model_.get_weights(), by_dict.model_.get_weights())
    changed = clone(Deep(callbacks=["unfreeze"])).set_params(callbacks__unfreeze__start=3)
    assert clone(changed).get_params()["callbacks__unfreeze__start"] == 3
    watch = Watch()
    changed.callbacks = [*changed.callbacks, watch]
    changed.set_params(epochs=1).fit(X, Y)
    assert len(watch.moved[0]) == 3


def test_a_resumed_run_is_exact(interrupted_run: Callable[..., Any]) -> None:
    def make(run_dir: str) -> Deep:
        return Deep(run_dir=run_dir, epochs=3, batch_size=8, callbacks=["unfreeze"])

    interrupted_run(make, X, Y, at=[(0, 4), (1, 0), (2, 2)])


def backbone_of(kind: str) -> keras.Model:
    inner = [
        keras.layers.Dense(6, "tanh", name="inner"),
        keras.layers.BatchNormalization(name="norm"),
        keras.layers.Dropout(0.5),
    ]
    if kind == "functional":
        inputs = keras.Input((4,))
        hidden = inputs
        for layer in inner:
            hidden = layer(hidden)
        return keras.Model(inputs, hidden, name="backbone")
    if kind == "sequential":
        return keras.Sequential([keras.Input((4,)), *inner], name="backbone")

    class Own(keras.Model):
        def __init__(self) -> None:
            super().__init__(name="backbone")
            self.parts = inner

        def call(self, inputs: Any, training: bool | None = None) -> Any:  # Keras passes it on
            for layer in self.parts:
                inputs = layer(inputs)
            return inputs

    return Own()


class FineTuned(Deep):
    kind: str = "functional"
    inference: bool | None = False  # of the call's argument `training`; None: not given

    def build_model(self, spec: Any) -> keras.Model:
        backbone = backbone_of(self.kind)
        inputs = keras.Input(spec.input_shape)
        given = {} if self.inference is None else {"training": self.inference}
        hidden = backbone(inputs, **given)
        return keras.Model(inputs, keras.layers.Dense(1, name="head")(hidden))


def of_epochs(trainer: FineTuned) -> list[dict[str, list[np.ndarray]]]:
    """The weights of the layers of the backbone, before the fit and after each epoch."""
    found: list[dict[str, list[np.ndarray]]] = []

    def note(*_: Any) -> None:
        layers = {layer.name: layer for layer in trainer.callbacks[-1].model._flatten_layers()}
        found.append({name: layers[name].get_weights() for name in ("inner", "norm")})

    noting = keras.callbacks.LambdaCallback(on_train_begin=note, on_epoch_end=note)
    trainer.set_params(callbacks=[*trainer.callbacks, noting]).fit(X, Y)
    return found


@pytest.mark.parametrize("kind", ["functional", "sequential", "subclassed"])
def test_a_backbone_called_for_inference_keeps_its_statistics_when_it_is_unfrozen(
    kind: str,
) -> None:
    trainer = FineTuned(kind=kind, callbacks=[Unfreeze(layers=2)])
    before, frozen, unfrozen = of_epochs(trainer)
    assert not any(differ(before[name], frozen[name]) for name in before)
    assert differ(frozen["inner"], unfrozen["inner"])
    gamma, beta, *statistics = zip(frozen["norm"], unfrozen["norm"], strict=True)
    assert all((one != other).any() for one, other in (gamma, beta))
    assert not any(differ([one], [other]) for one, other in statistics)
    assert all("call" not in vars(layer) for layer in trainer.model_._flatten_layers())


@pytest.mark.parametrize("inference", [None, True])
def test_another_backbone_updates_its_statistics_when_it_is_unfrozen(inference: Any) -> None:
    before, frozen, unfrozen = of_epochs(
        FineTuned(inference=inference, callbacks=[Unfreeze(layers=2)])
    )
    assert not any(differ(before[name], frozen[name]) for name in before)
    assert all(differ([a], [b]) for a, b in zip(frozen["norm"], unfrozen["norm"], strict=True))


def test_an_unfrozen_backbone_in_inference_mode_is_keras_own_with_its_norm_frozen() -> None:
    class Guide(FineTuned):
        """As Keras' guide does it in a plain fit: batch normalization is frozen by itself."""

        def build_model(self, spec: Any) -> keras.Model:
            model = super().build_model(spec)
            for layer in model._flatten_layers():
                if layer.name == "norm":
                    layer.call = lambda inputs, own=layer.call, **_: own(inputs, training=False)
            return model

    fields: dict[str, Any] = {"epochs": 2, "optimizer": "sgd", "learning_rate": 0.01}
    ours = FineTuned(callbacks=[Unfreeze(start=1, layers=2)], **fields).fit(X, Y)
    theirs = Guide(callbacks=[Unfreeze(start=1, layers=2)], inference=None, **fields)
    backbone = keras.layers.Dropout.call
    try:
        keras.layers.Dropout.call = lambda self, inputs, training=False: inputs
        theirs.fit(X, Y)
    finally:
        keras.layers.Dropout.call = backbone
    assert not differ(ours.model_.get_weights(), theirs.model_.get_weights())


def test_a_layer_that_is_called_both_ways_does_as_in_keras() -> None:
    class Shared(Deep):
        def build_model(self, spec: Any) -> keras.Model:
            inputs = keras.Input(spec.input_shape)
            norm = keras.layers.BatchNormalization(name="norm")
            both = keras.layers.Add()([norm(inputs, training=False), norm(inputs)])
            return keras.Model(inputs, keras.layers.Dense(1, name="last")(both))

    start = Shared(epochs=1, callbacks=[Unfreeze()]).fit(X, Y).model_.get_layer("norm")
    trained = Shared(epochs=2, callbacks=[Unfreeze()]).fit(X, Y).model_.get_layer("norm")
    assert differ([np.asarray(start.moving_mean)], [np.asarray(trained.moving_mean)])


def test_a_plain_fit_does_as_keras_and_warns_that_the_mode_is_ignored() -> None:
    with pytest.warns(UserWarning, match="'backbone' is called with training=False") as caught:
        FineTuned(epochs=1).fit(X, Y)
    assert caught[0].filename == __file__


@pytest.mark.parametrize("frozen", [True, False], ids=["frozen", "not called so"])
def test_there_is_no_warning_where_the_statistics_are_kept_or_meant_to_move(frozen: bool) -> None:
    class Plain(FineTuned):
        def build_model(self, spec: Any) -> keras.Model:
            model = super().build_model(spec)
            for layer in model._flatten_layers():
                layer.trainable = not (frozen and layer.name == "norm")
            return model

    with warnings.catch_warnings():
        warnings.simplefilter("error", UserWarning)
        Plain(epochs=1, inference=False if frozen else None).fit(X, Y)
