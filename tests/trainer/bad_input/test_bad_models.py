"""Models, losses and metrics that do not fit the data: one clear error, before any training."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import keras
import pytest
from keras import layers

from trainer import Regressor, Trainer

Row = tuple[Callable[[Any], Any], type[Exception], tuple[str, ...]]


def dense(shape: Any, units: int, activation: str | None = None) -> keras.Model:
    return keras.Sequential([keras.Input(shape), layers.Dense(units, activation)])


class Subclassed(keras.Model):
    """A model whose output width only a call tells."""

    def __init__(self, units: int) -> None:
        super().__init__()
        self.out = layers.Dense(units, "softmax")

    def call(self, x: Any) -> Any:
        return self.out(x)


def images_to_classes(spec: Any) -> keras.Model:
    return keras.Sequential([layers.Conv2D(3, 3), layers.Flatten(), layers.Dense(3, "softmax")])


# what is called, the error, and what its message holds: argument, value, remedy
MODELS: dict[str, Row] = {
    "build_model that returns None": (
        lambda g: g.building(lambda spec: None).fit(g.x, g.y),
        TypeError,
        ("Mine.build_model returned None", "must return a keras.Model", "`return` missing"),
    ),
    "build_model that returns a layer": (
        lambda g: g.building(lambda spec: layers.Dense(3)).fit(g.x, g.y),
        TypeError,
        ("Mine.build_model returned a Dense", "must return a keras.Model"),
    ),
    "too wide an output": (
        lambda g: g.building(lambda s: dense(s.input_shape, 7, "softmax")).fit(g.x, g.y),
        ValueError,
        ("build_model", "expected 3", "got 7", "Dense(spec.n_outputs, 'softmax')"),
    ),
    "too wide an output of a subclassed model": (
        lambda g: g.building(lambda s: Subclassed(7)).fit(g.x, g.y),
        ValueError,
        ("build_model", "expected 3", "got 7", "Dense(spec.n_outputs, 'softmax')"),
    ),
    "too wide an output for numbers": (
        lambda g: g.building(lambda s: dense(s.input_shape, 2), Regressor).fit(g.x, g.r),
        ValueError,
        ("build_model", "expected 1", "got 2", "Dense(spec.n_outputs, 'linear')"),
    ),
    "too few outputs": (
        lambda g: g.building(lambda s: dense(s.input_shape, 3)).fit(g.x, {"a": g.y, "b": g.y}),
        ValueError,
        ("build_model", "1 outputs", "y has 2", "one output for each part of y"),
    ),
    "an input of another width": (
        lambda g: g.building(lambda s: dense((5,), 3, "softmax")).fit(g.x, g.y),
        ValueError,
        ("Mine.build_model", "(n, 4)", "keras.Input(spec.input_shape)", "(5,)"),
    ),
    "an input of another rank": (
        lambda g: g.building(images_to_classes).fit(g.x, g.y),
        ValueError,
        ("Mine.build_model", "(n, 4)", "keras.Input(spec.input_shape)", "expected min_ndim=4"),
    ),
    "images wanted": (
        lambda g: g.classifier(model="cnn").fit(g.x, g.y),
        ValueError,
        ("model='cnn'", "images of shape (h, w)", "(4,)", "write model='mlp'"),
    ),
    "a loss for numbers": (
        lambda g: g.classifier(loss="mse").fit(g.x, g.y),
        ValueError,
        ("loss='mse'", "y of shape (n,)", "outputs of shape (n, 3)", "leave loss out"),
    ),
    "a loss for numbers, and as many rows as classes": (
        lambda g: g.classifier(loss="mse", batch_size=3).fit(g.x[:9], g.y[:9]),
        ValueError,
        ("loss='mse'", "y of shape (n,)", "outputs of shape (n, 3)", "leave loss out"),
    ),
    "a loss for two classes": (
        lambda g: g.classifier(loss="binary_crossentropy").fit(g.x, g.y),
        ValueError,
        ("loss='binary_crossentropy'", "y of shape (n,)", "(n, 3)", "leave loss out"),
    ),
    "a loss for numbers on a stream": (
        lambda g: g.classifier(loss="mse").fit(g.stream(g.x, g.y)),
        ValueError,
        ("loss='mse'", "y of shape (n,)", "outputs of shape (n, 3)", "leave loss out"),
    ),
    "losses for outputs that are not there": (
        lambda g: g.classifier(loss={"c": "mse"}).fit(g.x, {"a": g.y, "b": g.y}),
        ValueError,
        ("loss={'c': 'mse'}", "['a'] (n,)", "leave loss out"),
    ),
    "a metric for two classes": (
        lambda g: g.classifier(metrics=[keras.metrics.AUC()]).fit(g.x, g.y),
        ValueError,
        ("metrics=[<AUC", "y of shape (n,)", "outputs of shape (n, 3)", "leave metrics out"),
    ),
    "metrics for outputs that are not there": (
        lambda g: g.classifier(metrics={"c": ["accuracy"]}).fit(g.x, {"a": g.y, "b": g.y}),
        ValueError,
        ("metrics={'c': ['accuracy']}", "no output 'c'", "outputs are 'a', 'b'"),
    ),
    "no loss where no task tells one": (
        lambda g: Trainer(epochs=1, callbacks=(g.watch,)).fit(g.x, g.r),
        ValueError,
        ("loss=None", "write loss='mse'", "override compute_loss"),
    ),
}


@pytest.mark.parametrize(("call", "error", "words"), MODELS.values(), ids=MODELS.keys())
def test_fit_refuses(refuses: Any, call: Any, error: Any, words: Any) -> None:
    refuses(call, error, words)


def test_a_fault_in_the_code_of_build_model_is_shown_as_it_is(given: Any) -> None:
    with pytest.raises(AttributeError, match="no attribute 'n_features'"):
        given.building(lambda spec: dense(spec.n_features, 3)).fit(given.x, given.y)
