"""What no state can hold is named before the first step, or after the first one in Python."""

from __future__ import annotations

import functools
import itertools
import random
import re
import warnings
from collections import deque
from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest
import tensorflow as tf
from own_states import BATCH, InLayer, Noise, Stepping, X, Y

from trainer import Trainer
from trainer.engine.backend import variables

CALLS = 0


class Weighed(Trainer):
    """A step of its own that calls `weigh` with the loss."""

    def build_model(self, spec: Any) -> keras.Model:
        self.steps = tf.Variable(0)
        return Stepping(self.counted)

    def counted(self, loss: Any) -> Any:
        self.steps.assign_add(1)
        return self.weigh(loss)

    def weigh(self, loss: Any) -> Any:
        raise NotImplementedError


def fit(cls: type[Trainer], folder: Path | None, **fields: Any) -> Any:
    settings = {"loss": "mse", "epochs": 1, "batch_size": BATCH, "random_state": 1, "verbose": 0}
    return cls(**settings | {"run_dir": folder} | fields).fit(X, Y)


def said(cls: type[Trainer], folder: Path | None, **fields: Any) -> list[str]:
    """The warnings of a fit that resuming will not be exact."""
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        fit(cls, folder, **fields)
    texts = [str(warning.message) for warning in caught]
    return [text for text in texts if text.startswith("resuming this run will not be exact: ")]


def drawing(loss: Any) -> Any:
    return tf.nn.dropout(tf.random.shuffle(loss + tf.zeros([2])), 0.5)[0]


def calling(loss: Any) -> Any:
    return tf.ensure_shape(tf.py_function(lambda value: value, [loss], tf.float32), [])


@functools.cache
def queue() -> Any:
    with tf.init_scope():
        return tf.queue.FIFOQueue(9, [tf.float32], [[]])


def queueing(loss: Any) -> Any:
    queue().enqueue(loss)
    return tf.ensure_shape(queue().dequeue(), [])


def looped(loss: Any) -> Any:
    more = tf.while_loop(lambda x: x < 0, lambda x: (x + tf.random.normal([]),), [loss * 0])
    return loss * 0 + tf.cond(loss < 0, lambda: loss, lambda: more[0] + 1)


@pytest.mark.parametrize("eager", [False, True], ids=["traced", "eager"])
@pytest.mark.parametrize(
    ("weigh", "what"),
    [
        (drawing, r"draws with RandomShuffle.*RandomUniform.*use keras\.random"),
        (tf.function(drawing), r"draws with RandomShuffle.*RandomUniform.*use keras\.random"),
        (queueing, r"changes a table, queue or iterator with QueueEnqueueV2.*QueueDequeueV2"),
    ],
    ids=["drawing", "function", "queueing"],
)
def test_operations_with_a_state_of_their_own_are_named(
    weigh: Any, what: str, eager: bool, tmp_path: Path
) -> None:
    class Own(Weighed):
        def weigh(self, loss: Any) -> Any:
            return weigh(loss)

    (text,) = said(Own, tmp_path / "run", run_eagerly=eager)
    assert re.search(f"the training step {what}", text)


@pytest.mark.parametrize(
    ("weigh", "what"),
    [
        (calling, r"calls Python with EagerPyFunc.*get_extra_state"),
        (looped, r"draws with RandomStandardNormal"),
        (lambda loss: loss * np.random.uniform(), r"draws from np\.random as it is compiled"),
        (lambda loss: loss * random.random(), r"draws from random as it is compiled"),
    ],
    ids=["calling", "looped", "np.random", "random"],
)
def test_it_is_said_before_the_first_step(weigh: Any, what: str, tmp_path: Path) -> None:
    made = []

    class Own(Weighed):
        def build_model(self, spec: Any) -> keras.Model:
            made.append(self)
            return super().build_model(spec)

        def weigh(self, loss: Any) -> Any:
            return weigh(loss)

    with warnings.catch_warnings():
        warnings.filterwarnings("error", "resuming this run")
        with pytest.raises(UserWarning, match=what):
            fit(Own, tmp_path / "run")
    assert int(made[0].steps) == 0


def test_a_test_step_that_draws_is_named_as_such(tmp_path: Path) -> None:
    class Own(Trainer):
        def compute_loss(self, x: Any, y: Any, y_pred: Any, sample_weight: Any) -> Any:
            return tf.reduce_mean(tf.square(y - y_pred)) * tf.random.uniform([])

        def build_model(self, spec: Any) -> keras.Model:
            return keras.Sequential([keras.Input(spec.input_shape), keras.layers.Dense(1)])

    texts = said(Own, tmp_path / "run", validation_split=0.25)
    assert [re.findall(r"the (\w+) step draws", text) for text in texts] == [["training"], ["test"]]


def test_nothing_is_said_of_what_is_saved_or_of_a_fit_without_a_run(tmp_path: Path) -> None:
    class Safe(InLayer):
        def first(self) -> list[Any]:
            drops = [keras.layers.Dropout(0.5), keras.layers.GaussianNoise(1.0)]
            return [*super().first(), Noise(), *drops, keras.layers.BatchNormalization()]

    class Drawing(Weighed):
        def weigh(self, loss: Any) -> Any:
            self.traces = getattr(self, "traces", 0) + 1
            return drawing(loss) * np.random.uniform()

    assert said(Safe, tmp_path / "traced") == []
    assert said(Safe, tmp_path / "eager", run_eagerly=True) == []
    assert said(Drawing, None) == said(Drawing, None, run_eagerly=True) == []


# ---- attributes ---------------------------------------------------------------------------------


class Counting(Weighed):
    """Changes attributes of every kind in each step."""

    def build_model(self, spec: Any) -> keras.Model:
        self.count, self.seen, self.same = 0, deque([1.0]), [1, 2]
        self.rng, self.numbers, self.helper = np.random.default_rng(0), itertools.count(), Held()
        model = super().build_model(spec)
        model.factor, model.last = 1.0, None
        self.made = model
        return model

    def weigh(self, loss: Any) -> Any:
        global CALLS
        CALLS += 1
        self.count += 1
        self.seen.append(2.0)
        self.helper.table["a"] = self.helper.table.get("a", 0) + 1
        self.made.factor *= 0.5
        self.made.last = loss
        type(self).calls_ = getattr(type(self), "calls_", 0) + 1
        return self.rng.uniform() * next(self.numbers)


class Held:
    def __init__(self) -> None:
        self.table: dict[str, int] = {}
        self.same = "same"


CHANGED = {
    *("trainer.count", "trainer.seen", "trainer.rng", "trainer.numbers", "trainer.helper.table"),
    *("model.factor", "model.last", "trainer.__class__.calls_", "trainer.__class__.weigh.CALLS"),
}


def test_attributes_that_a_step_in_python_changes_are_named(tmp_path: Path) -> None:
    (text,) = said(Counting, tmp_path / "run", run_eagerly=True)
    found = re.search("the training step changes (.*) in Python, which is not saved", text)
    assert found is not None
    assert set(found[1].split(", ")) == CHANGED


def test_an_attribute_that_a_later_step_changes_is_named_when_a_state_is_saved(
    tmp_path: Path,
) -> None:
    class Late(Weighed):
        def build_model(self, spec: Any) -> keras.Model:
            self.late: list[float] = []
            return super().build_model(spec)

        def weigh(self, loss: Any) -> Any:
            if int(self.steps) > 3:
                self.late.append(1.0)
            return loss

    (text,) = said(Late, tmp_path / "run", run_eagerly=True)
    assert "the training, after its first step, changes trainer.late in Python" in text


def test_a_step_that_is_traced_changes_none(tmp_path: Path) -> None:
    class Traced(Counting):
        def weigh(self, loss: Any) -> Any:
            self.count += 1
            self.seen.append(1.0)
            return loss

    assert said(Traced, tmp_path / "run") == []


def test_what_get_extra_state_gives_is_not_named(tmp_path: Path) -> None:
    class Some(Counting):
        def get_extra_state(self) -> Any:
            return {"count": self.count, "table": self.helper.table}

        def set_extra_state(self, state: Any) -> None:
            raise AssertionError

    (text,) = said(Some, tmp_path / "run", run_eagerly=True)
    assert ".count" not in text and ".table" not in text and "trainer.seen" in text


def test_pythons_generators_are_named_where_a_step_in_python_draws_from_them(
    tmp_path: Path,
) -> None:
    class Drawing(Weighed):
        def weigh(self, loss: Any) -> Any:
            return np.random.uniform() + random.random()

    texts = said(Drawing, tmp_path / "run", run_eagerly=True)
    assert [re.findall(r"draws from (\S+) in Python", text) for text in texts] == [
        ["random"],
        ["np.random"],
    ]


def test_variables_that_cannot_be_written_are_told_from_others() -> None:
    for dtype in (tf.float32, tf.bfloat16, tf.string, tf.bool, tf.complex128, tf.int8):
        assert variables.storable(dtype)
    for dtype in (tf.resource, tf.variant, tf.qint8):
        assert not variables.storable(dtype)
