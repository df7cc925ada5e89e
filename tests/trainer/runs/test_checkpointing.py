"""What is kept of a training, and when."""

from __future__ import annotations

import math
import sys
import warnings
from pathlib import Path
from typing import Any, ClassVar

import keras
import numpy as np
import pytest

from trainer import History
from trainer.callbacks.callback import Callback
from trainer.engine.interrupts import Interrupts
from trainer.engine.loop import Position
from trainer.runs import checkpointing
from trainer.runs.checkpointing import SECONDS_PER_SAVING_SECOND, Checkpointer
from trainer.state import callback_state, variables
from trainer.state.state_file import BadState, StateFolder


class Folder:
    """Stands for a StateFolder whose writes take as long as it is told."""

    def __init__(self) -> None:
        self.saved: list[tuple[int, int]] = []
        self.cost = 0.0

    def save(self, values: dict[str, Any], tensors: Any) -> None:
        self.saved.append((values["position"]["epoch"], values["position"]["step"]))


class Clock:
    """Stands for the module time."""

    def __init__(self) -> None:
        self.now = 100.0

    def perf_counter(self) -> float:
        return self.now


def small(units: int = 3) -> keras.Model:
    model = keras.Sequential([keras.Input((4,)), keras.layers.Dense(units)])
    model.compile("adam", "mse")
    model.optimizer.build(model.trainable_variables)
    return model


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    clock = Clock()
    monkeypatch.setattr(checkpointing, "time", clock)
    return clock


def make(folder: Any, model: keras.Model | None = None, **options: Any) -> Checkpointer:
    settings: dict[str, Any] = {"callbacks": [], "history": History(), "feed": None} | options
    interrupts = settings.pop("interrupts", Interrupts())
    parts = [settings.pop(name) for name in ("callbacks", "history", "feed")]
    replay = settings.pop("replay", lambda epochs: None)
    return Checkpointer(
        model or small(), *parts, replay, interrupts, folder=folder, **{"epochs": 99} | settings
    )


def test_each_epoch_is_saved_where_that_costs_little(clock: Clock) -> None:
    folder = Folder()
    keeper = make(folder)
    keeper.start()
    folder.cost = 0.1
    for epoch in range(1, 5):
        clock.now += SECONDS_PER_SAVING_SECOND * 0.1 + 0.01
        keeper.passed(Position(epoch))
    assert folder.saved == [(1, 0), (2, 0), (3, 0), (4, 0)]


def test_short_epochs_are_saved_so_often_that_it_takes_two_percent(clock: Clock) -> None:
    folder = Folder()
    keeper = make(folder)
    keeper.start()
    folder.cost = 0.1
    began = clock.now
    for epoch in range(1, 99):
        clock.now += 0.5
        keeper.passed(Position(epoch))
    assert 8 < len(folder.saved) < 12
    assert folder.cost * len(folder.saved) / (clock.now - began) < 0.025


def test_an_epochs_end_does_not_wait_for_an_earlier_write(clock: Clock) -> None:
    folder = Folder()
    keeper = make(folder)
    keeper.start()
    folder.cost = math.inf
    clock.now += 1e6
    keeper.passed(Position(1))
    assert folder.saved == []


def test_the_last_state_and_that_of_a_stopped_training_are_saved_whatever_it_costs(
    clock: Clock,
) -> None:
    folder = Folder()
    keeper = make(folder, epochs=3)
    keeper.start()
    folder.cost = 1e6
    keeper.passed(Position(1))
    keeper.passed(Position(2, stopped=True))
    keeper.passed(Position(3))
    assert folder.saved == [(2, 0), (3, 0)]


def test_a_signal_is_followed_by_a_save_and_by_the_end(clock: Clock) -> None:
    folder, interrupts = Folder(), Interrupts()
    keeper = make(folder, interrupts=interrupts)
    keeper.start()
    folder.cost = 1e6
    keeper.passed(Position(0, 4))
    interrupts.received = 15
    assert not keeper.ending()  # not before it is saved
    keeper.passed(Position(0, 8))
    assert keeper.ending()
    assert folder.saved == [(0, 8)]


def test_within_an_epoch_steps_and_minutes_say_when(clock: Clock) -> None:
    folder = Folder()
    keeper = make(folder, steps=10)
    keeper.start()
    folder.cost = 1e6
    for step in range(4, 41, 4):
        keeper.passed(Position(0, step))
    keeper.passed(Position(1, 0))
    keeper.passed(Position(1, 12))
    assert folder.saved == [(0, 12), (0, 24), (0, 36), (1, 12)]

    folder = Folder()
    keeper = make(folder, minutes=1.0)
    keeper.start()
    for step in range(1, 10):
        clock.now += 25
        keeper.passed(Position(0, step))
    assert folder.saved == [(0, 3), (0, 6), (0, 9)]


def test_a_state_is_saved_before_a_dispatch_that_would_go_past_the_limit_of_steps(
    clock: Clock,
) -> None:
    folder = Folder()
    keeper = make(folder, steps=10, chunk=4)
    keeper.start()
    folder.cost = 1e6
    for step in range(4, 33, 4):
        keeper.passed(Position(0, step))
    assert folder.saved == [(0, 8), (0, 16), (0, 24), (0, 32)]


def test_steps_that_are_slower_than_estimated_do_not_put_off_the_next_state(clock: Clock) -> None:
    folder = Folder()
    keeper = make(folder, minutes=1.0)
    keeper.start()
    assert keeper.most_steps() == sys.maxsize, "nothing is known before the first dispatch"
    clock.now += 30
    keeper.passed(Position(0, 10))
    assert folder.saved == [] and keeper.most_steps() == 10
    clock.now += 30
    keeper.passed(Position(0, 20))
    assert folder.saved == [(0, 20)] and keeper.most_steps() == 20
    clock.now += 3_000
    keeper.passed(Position(0, 40))
    assert keeper.most_steps() == 1, "at least a step"
    assert make(None, minutes=1.0).most_steps() == sys.maxsize, "nothing is saved"


def test_a_callback_that_asks_for_a_stop_has_the_state_saved_where_it_is(clock: Clock) -> None:
    folder, interrupts = Folder(), Interrupts()
    keeper = make(folder, interrupts=interrupts)
    keeper.start()
    interrupts.asked = "time_limit"
    keeper.passed(Position(0, 8))
    assert keeper.ending() and not keeper.at_once()
    assert folder.saved == [(0, 8)]
    interrupts.received = 15
    assert keeper.at_once()


def test_without_a_folder_nothing_is_captured() -> None:
    keeper = make(None)
    assert keeper.start() == Position()
    keeper.passed(Position(1))
    assert keeper.where() == (0, 0)


def _saved(keeper: Checkpointer, folder: StateFolder) -> Any:
    keeper.start()
    keeper.passed(Position(1, 0, {"loss": 0.5}))
    folder.wait()
    return folder.last()


def test_all_variables_come_back_to_the_bit(tmp_path: Path) -> None:
    folder = StateFolder(tmp_path, "run")
    model = small()
    for i, variable in enumerate(variables.variables(model)):
        variable.assign(np.full(variable.shape, i + 1))
    history = History()
    history.append(1, {"loss": 0.5}, learning_rate=0.1, seconds=2.0)
    found = _saved(make(folder, model, history=history), folder)
    other, told = small(), History()
    keeper = make(folder, other, history=told, found=found)
    assert keeper.where() == (1, 0)
    assert keeper.start() == Position(1, 0, {"loss": 0.5})
    assert told == history
    ours, theirs = (list(map(np.asarray, _values(m))) for m in (other, model))
    assert len(ours) > 6  # weights, two moments of each, the optimizer's count and rate, the seeds
    for a, b in zip(ours, theirs, strict=True):
        assert a.tobytes() == b.tobytes() and a.dtype == b.dtype
    folder.close()


def _values(model: keras.Model) -> list[Any]:
    return [variable.value.numpy() for variable in variables.variables(model)]


def test_another_model_is_refused_by_the_variable_that_differs(tmp_path: Path) -> None:
    folder = StateFolder(tmp_path, "run")
    found = _saved(make(folder), folder)
    with pytest.raises(BadState, match="differ, first at 'sequential.*kernel'; was build_model"):
        make(folder, small(5), found=found).start()
    folder.close()


def test_variables_that_the_first_step_makes_are_made_before_they_are_given_back(
    tmp_path: Path,
) -> None:
    folder = StateFolder(tmp_path, "run")
    found = _saved(make(folder), folder)
    late = keras.Sequential([keras.Input((4,)), keras.layers.Dense(3)])
    late.compile("adam", "mse")
    made = []

    def warm_up() -> None:
        made.append(late.optimizer.build(late.trainable_variables))

    make(folder, late, found=found, warm_up=warm_up).start()
    assert len(made) == 1
    folder.close()


class Counts(Callback):
    """Has state of every kind."""

    size: int = 3

    def on_train_begin(self, logs: Any = None) -> None:
        self.count = 0
        self.best: dict[str, Any] = {}
        self.averages = [keras.Variable(np.zeros(2))]


def test_callbacks_have_back_what_they_counted_and_their_variables_stay_theirs(
    tmp_path: Path,
) -> None:
    folder = StateFolder(tmp_path, "run")
    first, second = Counts(), Counts(size=5)
    for callback in (first, second):
        callback.on_train_begin()
    first.count, first.best = 4, {"epoch": 2, "weights": [np.ones(2, "float32")]}
    first.averages[0].assign([1.0, 2.0])
    found = _saved(make(folder, callbacks=[first]), folder)
    variable = second.averages[0]
    make(folder, callbacks=[second], found=found).start()
    assert second.count == 4 and second.size == 5  # a field is what it was made with
    assert second.best["epoch"] == 2 and second.best["weights"][0].dtype == np.float32
    assert second.averages[0] is variable
    np.testing.assert_array_equal(variable.value.numpy(), [1.0, 2.0])
    folder.close()


def test_other_callbacks_than_the_runs_are_refused(tmp_path: Path) -> None:
    folder = StateFolder(tmp_path, "run")
    first = Counts()
    first.on_train_begin()
    found = _saved(make(folder, callbacks=[first]), folder)
    with pytest.raises(BadState, match=r"had the callbacks \['Counts'\], but now they are \[\]"):
        make(folder, found=found).start()
    folder.close()


def test_a_state_that_cannot_be_saved_is_named_before_training() -> None:
    class Odd(Callback):
        def state_dict(self) -> dict[str, Any]:
            return {"file": object()}

    with pytest.raises(TypeError, match=r"callback/0/Odd: .* cannot be saved.*state_dict must"):
        make(Folder(), callbacks=[Odd()]).start()


def test_what_a_callback_of_ones_own_will_not_have_back_is_warned_of() -> None:
    class Own(keras.callbacks.Callback):
        def __init__(self) -> None:
            super().__init__()
            self.count, self.queue, self.show = 0, iter([]), print

    with pytest.warns(UserWarning, match="Own: a resumed run will not restore queue; if"):
        checkpointing.warn_of_forgotten([Own(), keras.callbacks.EarlyStopping()])


def test_an_empty_container_of_a_class_of_ones_own_is_warned_of() -> None:
    class Rows(dict[str, int]):
        pass

    class Own(keras.callbacks.Callback):
        def __init__(self) -> None:
            super().__init__()
            self.rows, self.layers, self.nothing = Rows(), [keras.layers.Dense(1)], {}

    with pytest.warns(UserWarning, match="Own: a resumed run will not restore rows; if"):
        checkpointing.warn_of_forgotten([Own()])


class Widening(Callback):
    every: int = 1

    def on_epoch_end(self, epoch: int, logs: Any = None) -> None:
        self.every += 1


def test_a_plugin_that_changes_its_own_field_is_warned_of_once(clock: Clock) -> None:
    plugin = Widening()
    keeper = make(Folder(), callbacks=[plugin])
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        keeper.start()
        for epoch in range(1, 4):
            clock.now += 100
            keeper.passed(Position(epoch))
            plugin.on_epoch_end(epoch)
    (said,) = (str(w.message) for w in caught)
    assert said.startswith("Widening: its field every has changed in training, which a resumed run")
    assert "self._every" in said


def test_a_list_of_the_class_that_grows_is_warned_of(clock: Clock) -> None:
    class Own(keras.callbacks.Callback):
        seen: ClassVar[list[int]] = []
        limits: ClassVar[list[int]] = [1, 2]

    callback = Own()
    keeper = make(Folder(), callbacks=[callback])
    keeper.start()
    callback.seen.append(1)
    clock.now += 100
    with pytest.warns(
        UserWarning, match=r"^Own: seen, an attribute of the class, .*set self\.seen"
    ):
        keeper.passed(Position(1))


@pytest.mark.parametrize("same_object", [False, True])
def test_kerass_early_stopping_keeps_its_count_and_its_direction(same_object: bool) -> None:
    # Keras turns the sign of min_delta when it first learns that less is better
    def make_one() -> Any:
        callback = keras.callbacks.EarlyStopping("loss", min_delta=0.1, patience=9)
        callback.set_model(small())
        callback.on_train_begin()
        return callback

    first = make_one()
    for epoch, loss in enumerate((1.0, 0.8, 0.79)):
        first.on_epoch_end(epoch, {"loss": loss})
    kept = callback_state.state_of(first)
    assert kept["wait"] == 1 and kept["best"] == 0.8 and "patience" not in kept
    second = first if same_object else make_one()
    second.on_train_begin()
    callback_state.restore(second, kept)
    for epoch, loss in enumerate((0.75, 0.69), start=3):  # too little better, and enough
        for callback in (first, second)[: 1 if same_object else 2]:
            callback.on_epoch_end(epoch, {"loss": loss})
        assert second.wait == first.wait == (2 if epoch == 3 else 0)
    assert second.best == first.best == 0.69
