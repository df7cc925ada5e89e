"""Values of fields that a Trainer refuses: one clear error, before any training."""

from __future__ import annotations

from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import keras
import pytest

from trainer import Classifier, datasets

Row = tuple[Callable[[Any], Any], type[Exception], tuple[str, ...]]


def fitting(**fields: Any) -> Callable[[Any], Any]:
    return lambda g: g.classifier(**fields).fit(g.x, g.y)


# what is called, the error, and what its message holds: argument, value, remedy
FIELDS: dict[str, Row] = {
    "epochs=0": (fitting(epochs=0), ValueError, ("epochs=0", "1 or more", "write epochs=10")),
    "epochs=1.5": (fitting(epochs=1.5), TypeError, ("epochs=1.5", "whole number", "epochs=10")),
    "epochs='3'": (fitting(epochs="3"), TypeError, ("epochs='3'", "whole number", "epochs=10")),
    "batch_size=0": (fitting(batch_size=0), ValueError, ("batch_size=0", "write batch_size=32")),
    "batch_size='all'": (
        fitting(batch_size="all"),
        TypeError,
        ("batch_size='all'", "whole number", "batch_size=32"),
    ),
    "learning_rate<0": (
        fitting(learning_rate=-0.1),
        ValueError,
        ("learning_rate=-0.1", "above 0", "write learning_rate=0.01"),
    ),
    "learning_rate=nan": (
        fitting(learning_rate=float("nan")),
        ValueError,
        ("learning_rate=nan", "finite", "write learning_rate=0.01"),
    ),
    "learning_rate='0.1'": (
        fitting(learning_rate="0.1"),
        TypeError,
        ("learning_rate='0.1'", "must be a number", "learning_rate=0.01"),
    ),
    "validation_split=1.5": (
        fitting(validation_split=1.5),
        ValueError,
        ("validation_split=1.5", "not including, 1", "write validation_split=0.2"),
    ),
    "validation_split<0": (
        fitting(validation_split=-0.1),
        ValueError,
        ("validation_split=-0.1", "from 0", "write validation_split=0.2"),
    ),
    "shuffle='yes'": (fitting(shuffle="yes"), TypeError, ("shuffle='yes'", "True or False")),
    "run_eagerly='no'": (
        fitting(run_eagerly="no"),
        TypeError,
        ("run_eagerly='no'", "True or False"),
    ),
    "normalize misspelt": (
        fitting(normalize="standart"),
        ValueError,
        ("normalize='standart'", "'minmax'", "did you mean 'standard'?"),
    ),
    "normalize=True": (
        fitting(normalize=True),
        ValueError,
        ("normalize=True", "None, 'standard', 'minmax'"),
    ),
    "precision unknown": (
        fitting(precision="bfloat16"),
        ValueError,
        ("precision='bfloat16'", "'mixed_bfloat16'"),
    ),
    "jit='yes'": (fitting(jit="yes"), ValueError, ("jit='yes'", "'auto', True, False")),
    "verbose=3": (fitting(verbose=3), ValueError, ("verbose=3", "'auto', 0, 1, 2")),
    "random_state=-1": (
        fitting(random_state=-1),
        ValueError,
        ("random_state=-1", "from 0", "write random_state=0"),
    ),
    "random_state='a'": (
        fitting(random_state="a"),
        ValueError,
        ("random_state='a'", "whole number", "RandomState or None"),
    ),
    "random_state=True": (
        fitting(random_state=True),
        ValueError,
        ("random_state=True", "whole number"),
    ),
    "decision_threshold=1": (
        fitting(decision_threshold=1),
        ValueError,
        ("decision_threshold=1", "above 0 and below 1", "write decision_threshold=0.5"),
    ),
    "decision_threshold=0.0": (
        fitting(decision_threshold=0.0),
        ValueError,
        ("decision_threshold=0.0", "above 0 and below 1", "write decision_threshold=0.5"),
    ),
    "decision_threshold=nan": (
        fitting(decision_threshold=float("nan")),
        ValueError,
        ("decision_threshold=nan", "above 0 and below 1"),
    ),
    "decision_threshold=True": (
        fitting(decision_threshold=True),
        TypeError,
        ("decision_threshold=True", "must be a number", "decision_threshold=0.3"),
    ),
    "decision_threshold a list": (
        fitting(decision_threshold=[0.3]),
        TypeError,
        ("decision_threshold=[0.3]", "must be a number", "decision_threshold='balanced_accuracy'"),
    ),
    "decision_threshold misspelt": (
        fitting(decision_threshold="balanced_acuracy"),
        ValueError,
        ("decision_threshold='balanced_acuracy'", "did you mean 'balanced_accuracy'"),
    ),
    "decision_threshold of probabilities": (
        fitting(decision_threshold="roc_auc"),
        ValueError,
        ("decision_threshold='roc_auc'", "a metric of predicted labels", "balanced_accuracy"),
    ),
    "decision_threshold for three classes": (
        fitting(decision_threshold=0.3),
        ValueError,
        ("decision_threshold=0.3", "y has 3 classes", "predict_proba"),
    ),
    "decision_threshold tuned for three classes": (
        fitting(decision_threshold="f1", validation_split=0.2),
        ValueError,
        ("decision_threshold='f1'", "y has 3 classes", "leave it out"),
    ),
    "decision_threshold for several outputs": (
        lambda g: g.classifier(decision_threshold=0.3).fit(g.x, {"a": g.y > 0, "b": g.y > 1}),
        ValueError,
        ("decision_threshold=0.3", "y has 2 outputs", "predict_proba"),
    ),
    "decision_threshold of a hinge": (
        lambda g: g.classifier(decision_threshold=0.3, loss="hinge").fit(g.x, g.y > 0),
        ValueError,
        ("decision_threshold=0.3", "the loss is a hinge", "write the name of a metric"),
    ),
    "decision_threshold of scores": (
        lambda g: (
            g.building(
                lambda spec: keras.Sequential(
                    [keras.Input(spec.input_shape), keras.layers.Dense(1, "tanh")]
                )
            )
            .set_params(decision_threshold=0.3, loss="squared_hinge")
            .fit(g.x, g.y > 0)
        ),
        ValueError,
        ("decision_threshold=0.3", "threshold of probabilities"),
    ),
    "a callback's class that needs arguments": (
        fitting(callbacks=(keras.callbacks.ModelCheckpoint,)),
        TypeError,
        ("callbacks[0]=ModelCheckpoint", "filepath", "write ModelCheckpoint(...)"),
    ),
    "a number as callbacks": (
        fitting(callbacks=3),
        TypeError,
        ("callbacks=3", "sequence or dict", "write callbacks=()"),
    ),
    "a dict of callbacks with a number in it": (
        fitting(callbacks={"first": 3}),
        TypeError,
        ("callbacks={'first': 3}: the dict has no plugin's 'name'", "keras.callbacks.Callback"),
    ),
    "a function as callback": (
        fitting(callbacks=(print,)),
        TypeError,
        ("callbacks[0]=<built-in function print>", "keras.callbacks.Callback"),
    ),
}

NAMES: dict[str, Row] = {
    "an unknown field": (
        lambda g: Classifier(epoch=3),
        TypeError,
        ("Classifier(epoch=...)", "no field 'epoch'", "did you mean 'epochs'?"),
    ),
    "a field unlike any": (
        lambda g: Classifier(zzz=3),
        TypeError,
        ("no field 'zzz'", "choose one of", "'batch_size'", "'validation_split'"),
    ),
    "an unknown field in set_params": (
        lambda g: Classifier().set_params(batchsize=3),
        ValueError,
        ("'batchsize'", "did you mean 'batch_size'?"),
    ),
    "a positional field": (
        lambda g: Classifier(3),
        TypeError,
        ("Classifier(3)", "by name", "Classifier(model=3)"),
    ),
    "an unknown optimizer": (
        fitting(optimizer="adm"),
        ValueError,
        ("optimizer='adm'", "no such optimizer", "did you mean 'Adam'"),
    ),
    "another class than an optimizer's": (
        fitting(optimizer=keras.layers.Dense),
        TypeError,
        ("optimizer=<class", "'adam'", "keras.optimizers.Optimizer"),
    ),
    "an unknown loss": (
        fitting(loss="binary_crossentropi"),
        ValueError,
        ("loss='binary_crossentropi'", "no such loss", "did you mean 'binary_crossentropy'"),
    ),
    "a number as loss": (fitting(loss=3), TypeError, ("loss=3", "must be a name such as 'mse'")),
    "an unknown metric": (
        fitting(metrics=["binary_acuracy"]),
        ValueError,
        ("metrics='binary_acuracy'", "no such metric", "did you mean 'binary_accuracy'"),
    ),
    "one metric": (
        fitting(metrics="accuracy"),
        TypeError,
        ("metrics='accuracy'", "write metrics=['accuracy']"),
    ),
    "a number as metric": (fitting(metrics=[3]), TypeError, ("metrics=[3]", "'accuracy'")),
    "an unknown model": (
        fitting(model="mpl"),
        ValueError,
        ("model='mpl'", "no such architecture", "did you mean 'mlp'?"),
    ),
    "a layer as model": (
        fitting(model=keras.layers.Dense(1)),
        TypeError,
        ("model=<Dense", "'mlp'", "keras.Model", "override build_model"),
    ),
    "an unknown data set": (
        lambda g: datasets.load("digit"),
        ValueError,
        ("'digit'", "did you mean 'digits'"),
    ),
    "a data set unlike any": (
        lambda g: datasets.load("zzz"),
        ValueError,
        ("'zzz'", "choose one of", "'fashion_mnist'"),
    ),
}


@pytest.mark.parametrize(("call", "error", "words"), FIELDS.values(), ids=FIELDS.keys())
def test_fit_refuses(refuses: Any, call: Any, error: Any, words: Any) -> None:
    refuses(call, error, words)


@pytest.mark.parametrize(("call", "error", "words"), NAMES.values(), ids=NAMES.keys())
def test_a_wrong_name_lists_near_ones_for(refuses: Any, call: Any, error: Any, words: Any) -> None:
    refuses(call, error, words)


def test_the_watch_of_these_tables_sees_a_training_that_runs(given: SimpleNamespace) -> None:
    begun = given.watch.begun
    given.classifier().fit(given.x, given.y)
    assert given.watch.begun == begun + 1
