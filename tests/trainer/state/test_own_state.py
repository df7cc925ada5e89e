"""Variables, generators and attributes that Keras does not list have their place in a state."""

from __future__ import annotations

import warnings
from pathlib import Path
from typing import Any

import keras
import numpy as np
import own_states
import pytest
import tensorflow as tf
from keras import layers
from own_states import Counts, InLayer, Noise, X, Y
from stopping import Stop, Stopped

from trainer import History, Trainer
from trainer.engine.interrupts import Interrupts
from trainer.engine.loop import Position
from trainer.network.compile import state_kept
from trainer.runs.checkpointing import Checkpointer, warn_of_forgotten
from trainer.state.isolation import model_kept
from trainer.state.own_state import OwnState
from trainer.state.state_file import BadState, StateFolder
from trainer.state.variables import variables


def train(kind: str, folder: Path, *stops: int, **fields: Any) -> Any:
    """Train to the end, each time stopped after so many batches and begun with new objects."""
    for after in (*stops, None):
        trainer = own_states.make(kind, [Stop(after=after)], run_dir=str(folder), **fields)
        try:
            own_states.fit(trainer)
        except Stopped:
            continue
        assert after is None, "it was over before it was stopped"
    return trainer


@pytest.mark.parametrize("kind", own_states.KINDS)
def test_a_stopped_training_with_state_of_its_own_goes_on_to_the_same_bytes(
    kind: str, tmp_path: Path
) -> None:
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "callbacks=|plain Keras")  # not written to a file
        warnings.filterwarnings("error", "resuming this run will not be exact")
        warnings.filterwarnings("error", ".*anew")
        alone = own_states.numbers(train(kind, tmp_path / "alone"))
        stopped = own_states.numbers(train(kind, tmp_path / "stopped", 10))
    assert stopped == alone
    log = (tmp_path / "stopped" / "run.log").read_text()
    assert log.count("resumes from epoch 2, step ") == 1


def own_of(trainer: Any, model: Any, *callbacks: Any, eager: bool = False) -> OwnState:
    return OwnState(
        trainer,
        model,
        callbacks,
        lambda: variables(model),
        eager=eager,
        takes_back=type(trainer).set_extra_state is not Trainer.set_extra_state,
        reported=True,
    )


class Made(Trainer):
    """A Trainer of which only the extra state is asked for."""

    extra: Any = None

    def get_extra_state(self) -> Any:
        return self.extra

    def set_extra_state(self, state: Any) -> None:
        self.extra = state


def made(**fields: Any) -> Any:
    return Made(**fields)


def small(*more: Any) -> keras.Model:
    model = keras.Sequential([keras.Input((4,)), *more, layers.Dense(1)])
    model.compile("sgd", "mse")
    model.optimizer.build(model.trainable_variables)
    return model


def _nothing(epochs: int) -> None:
    """Replay nothing: there are no batches."""


def keeper(own: OwnState, model: Any, folder: Any = None, found: Any = None) -> Checkpointer:
    return Checkpointer(
        model,
        [],
        History(),
        None,
        _nothing,
        Interrupts(),
        epochs=1,
        folder=folder,
        found=found,
        own=own,
    )


def saved(folder: StateFolder, own: OwnState, model: Any) -> Any:
    """The state that a training of one epoch leaves."""
    made = keeper(own, model, folder)
    made.start()
    made.passed(Position(1, 0, {"loss": 0.5}))
    folder.wait()
    return folder.last()


@pytest.fixture
def folder(tmp_path: Path) -> Any:
    opened = StateFolder(tmp_path, "run")
    yield opened
    opened.close()


# ---- what is found, and under which name ------------------------------------------------------


class Slotted:
    """An object without a __dict__."""

    __slots__ = ("inner",)

    def __init__(self, inner: Any) -> None:
        self.inner = inner


class Shared(layers.Layer):
    """A variable of the class, not of the object."""

    count = tf.Variable(1.0)


def test_variables_are_named_by_the_shortest_path_to_them() -> None:
    trainer, model = made(), small(Noise(), Shared())
    trainer.helper = {"a": [Slotted(tf.Variable(2.0)), keras.Variable(3.0)]}
    four = tf.Variable(4.0)
    trainer.scale = lambda x: x * four
    found = {held.name: np.asarray(held).tolist() for held in own_of(trainer, model).variables()}
    assert found.pop("model._layers[1].generator")
    assert found.pop("model._layers[2].__class__.count") == 1.0
    assert found == {
        "trainer.helper['a'][0].inner": 2.0,
        "trainer.helper['a'][1]": 3.0,
        "trainer.scale.four": 4.0,
    }


def test_what_keras_lists_is_not_saved_twice() -> None:
    model = small(layers.Dropout(0.5), layers.BatchNormalization())
    assert (
        own_of(made(loss=keras.losses.Huber(), optimizer=model.optimizer), model).variables() == []
    )


def test_a_trainer_that_is_fitted_again_does_not_save_the_model_before(tmp_path: Path) -> None:
    trainer = own_states.make("layer", [])
    for _ in range(2):
        trainer.fit(X, Y)
    model = trainer._network.core
    names = [held.name for held in own_of(trainer, model).variables()]
    assert names == ["trainer.layer.count", "trainer.layer.words"]


# ---- saving and restoring -----------------------------------------------------------------------


def test_numbers_of_any_type_and_text_come_back_to_the_bit(folder: StateFolder) -> None:
    values = [
        tf.constant(0.1, tf.bfloat16),
        tf.constant([1 + 2j], tf.complex64),
        tf.constant([True, False]),
        tf.constant(2**60, tf.int64),
        tf.constant([b"\xff\x00", b""]),
        tf.zeros([0, 3]),
    ]
    model = small()
    first, second = made(), made()
    first.held = [tf.Variable(value) for value in values]
    second.held = [tf.Variable(tf.zeros_like(value)) for value in values]
    first.open = tf.Variable(tf.ones([5]), shape=[None])
    second.open = tf.Variable(tf.ones([2]), shape=[None])
    found = saved(folder, own_of(first, model), model)
    keeper(own_of(second, model), model, found=found).start()
    for variable, value in zip(second.held, values, strict=True):
        assert variable.dtype == value.dtype
        assert variable.numpy().tobytes() == value.numpy().tobytes() or value.dtype == tf.string
    assert second.held[4].numpy().tolist() == [b"\xff\x00", b""]
    assert second.open.shape[0] is None and second.open.numpy().shape == (5,)


def test_other_variables_of_ones_own_than_the_runs_are_refused_by_name(
    folder: StateFolder,
) -> None:
    model = small()
    first, more, other = made(), made(), made()
    first.a = tf.Variable(1.0)
    found = saved(folder, own_of(first, model), model)
    more.a, more.b = tf.Variable(1.0), tf.Variable(1.0)
    other.a = tf.Variable([1.0, 2.0])
    for trainer, message in (
        (made(), r"it had trainer\.a; was the code changed"),
        (more, r"now it has trainer\.b; was the code changed"),
        (other, r"'trainer\.a' was float32 of shape \[\], but now is float32 of shape \[2\]"),
    ):
        with pytest.raises(BadState, match=message):
            keeper(own_of(trainer, model), model, found=found).start()


def test_a_state_of_version_0_1_is_resumed_and_what_it_lacks_is_named(
    folder: StateFolder,
) -> None:
    model, trainer = small(), made()
    values, tensors = saved(folder, own_of(trainer, model), model)
    del values["own"], values["extra"]
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        place = keeper(own_of(trainer, model), model, found=(dict(values), tensors)).start()
    assert place.epoch == 1
    trainer.count = tf.Variable(1.0)
    with pytest.warns(UserWarning, match=r"did not save trainer\.count: these start over"):
        keeper(own_of(trainer, model), model, found=(values, tensors)).start()


def test_a_state_of_version_0_1_lacks_what_only_a_step_leads_to_and_that_is_named_too(
    folder: StateFolder,
) -> None:
    model, hidden = small(), tf.Variable(1.0)
    values, tensors = saved(folder, own_of(made(), model), model)
    del values["own"], values["extra"]
    own = own_of(made(), model)
    keeper(own, model, found=(values, tensors)).start()
    step = tf.function(lambda: hidden.assign_add(1.0))
    own.traced("train", step.get_concrete_function)
    with pytest.warns(UserWarning, match="did not save variable 0 of the train step"):
        own.settle()


# ---- extra state --------------------------------------------------------------------------------


def test_the_extra_state_comes_back_with_its_types(folder: StateFolder) -> None:
    model, first, second = small(), made(), made()
    first.extra = {"n": 3, 7: (1.5, None), "a": [np.arange(3, dtype="int8")], "s": {"x"}}
    keeper(own_of(second, model), model, found=saved(folder, own_of(first, model), model)).start()
    assert second.extra["n"] == 3 and second.extra[7] == (1.5, None) and second.extra["s"] == {"x"}
    assert second.extra["a"][0].dtype == np.int8


@pytest.mark.parametrize(
    ("extra", "message"),
    [
        (
            {"rows": [1, {"file": object()}]},
            r"get_extra_state\(\)\['rows'\]\[1\]\['file'\]: <object",
        ),
        ({(1, 2): 3}, r"get_extra_state\(\), key \(1, 2\)"),
        (np.array([object()]), r"get_extra_state\(\): array"),
    ],
)
def test_an_extra_state_that_cannot_be_saved_is_refused_before_training_by_its_key(
    extra: Any, message: str, tmp_path: Path
) -> None:
    class Own(InLayer):
        def get_extra_state(self) -> Any:
            return extra

        def set_extra_state(self, state: Any) -> None:
            raise AssertionError

    trainer = Own(run_dir=tmp_path / "run", loss="mse", verbose=0)
    with pytest.raises(TypeError, match=message):
        trainer.fit(X, Y)
    assert float(trainer.layer.count) == 0


def test_get_extra_state_without_set_extra_state_is_refused(folder: StateFolder) -> None:
    class Half(Trainer):
        def get_extra_state(self) -> Any:
            return {"n": 1}

    model = small()
    with pytest.raises(TypeError, match=r"set_extra_state\(state\) is not overridden to restore"):
        keeper(own_of(Half(), model), model, folder).start()
    found = saved(folder, own_of(made(extra=1), model), model)
    with pytest.raises(BadState, match="Trainer has no set_extra_state to restore it"):
        keeper(own_of(Trainer(), model), model, found=found).start()


# ---- what is tried out is undone ----------------------------------------------------------------


def test_trying_a_model_out_leaves_its_own_variables_as_they_were() -> None:
    counts = Counts()
    model = small(counts)
    with state_kept(model):
        model(X, training=True)
    assert float(counts.count) == 0 and counts.words.numpy() == b"none"
    trainer = made(extra=[1])
    trainer.helper = tf.Variable(1.0)
    with model_kept(model, own_of(trainer, model)):
        model(X, training=True)
        trainer.helper.assign(5.0)
        trainer.extra.append(2)
    assert float(counts.count) == 0 and float(trainer.helper) == 1 and trainer.extra == [1]


@pytest.mark.parametrize("kind", ["helper", "globals"])
def test_measuring_statistics_does_not_change_a_training_with_state_of_its_own(kind: str) -> None:
    found = []
    for callbacks in ([], ["statistics", "nan_guard"]):
        trainer = own_states.make(kind, callbacks)
        own_states.fit(trainer)
        found.append(own_states.numbers(trainer))
    assert found[0] == found[1]


def test_a_callbacks_generator_and_module_are_not_said_to_be_lost() -> None:
    class Own(keras.callbacks.Callback):
        def __init__(self) -> None:
            super().__init__()
            self.generator = tf.random.Generator.from_seed(1)
            self.modules = [tf.Module()]
            self.odd = iter([])

    callback = Own()
    with pytest.warns(UserWarning, match="Own: a resumed run will not restore odd; if"):
        warn_of_forgotten([callback])
    assert [held.name for held in own_of(made(), small(), callback).variables()] == [
        "callbacks[0].generator"
    ]
