"""epoch_tasks: what scikit-learn's callbacks are told of the epochs of a fit, and when."""

from __future__ import annotations

from typing import Any

import keras
import pytest
from sessions import session

from trainer.callbacks.epoch_tasks import EpochTasks
from trainer.history import History


class Noted:
    """Notes what it is notified of, and asks to stop after some epoch."""

    def __init__(self, stop_after: int | None = None) -> None:
        self.stop_after = stop_after
        self.begun: list[tuple[int, History | None]] = []
        self.ended: list[History] = []

    def begin(self, epoch: int, history: History | None) -> None:
        self.begun.append((epoch, history))

    def end(self, history: History) -> bool:
        self.ended.append(history)
        return len(history) == self.stop_after


def tasks(noted: Noted, *, resumes: bool = False) -> Any:
    core = keras.Sequential([keras.Input((1,)), keras.layers.Dense(1)])
    core.compile("sgd", "mse")
    core.optimizer.build(core.trainable_variables)
    core.stop_training = False
    made = EpochTasks(watched=noted, resumes=resumes)
    made.session = session(core=core)
    made.set_model(core)
    return made


def epoch(made: Any, number: int, loss: float) -> None:
    made.on_epoch_begin(number)
    made.on_chunk_end(1, {"loss": loss})
    made.model.optimizer.learning_rate = 0.5**number  # of another callback, for the next epoch
    made.on_epoch_end(number, {"loss": loss})
    made.session.history.append(number + 1, {"loss": loss}, learning_rate=0.0, seconds=9.0)


def test_an_epoch_ends_with_the_history_as_it_will_be_after_it() -> None:
    noted = Noted()
    made = tasks(noted)
    made.model.optimizer.learning_rate = 0.25
    epoch(made, 0, 3.0)
    epoch(made, 1, 2.0)
    assert [history["loss"] for history in noted.ended] == [[3.0], [3.0, 2.0]]
    assert [record["epoch"] for record in noted.ended[1].records] == [1, 2]
    # the rates that the steps had, whatever was set at the end of the epoch
    assert noted.ended[0]["learning_rate"] == [0.25]
    assert noted.ended[1]["learning_rate"] == [0.0, 1.0]
    assert noted.ended[1]["seconds"][1] < 9.0
    noted.ended[1].records[0]["loss"] = -1.0
    assert made.session.history["loss"] == [3.0, 2.0], "watchers have copies"


def test_only_the_first_epoch_of_a_fit_that_resumes_within_it_has_no_history() -> None:
    noted = Noted()
    made = tasks(noted, resumes=True)
    epoch(made, 4, 3.0)
    epoch(made, 5, 2.0)
    assert noted.begun == [(4, None), (5, made.session.history)]


@pytest.mark.parametrize(("stop_after", "stops"), [(1, True), (2, False), (None, False)])
def test_the_training_ends_if_a_watcher_asks_for_it(stop_after: int | None, stops: bool) -> None:
    made = tasks(Noted(stop_after))
    epoch(made, 0, 3.0)
    assert made.model.stop_training is stops


def test_an_epoch_that_was_broken_off_ends_with_the_training() -> None:
    noted = Noted()
    made = tasks(noted)
    made.on_epoch_begin(0)
    made.on_train_end()
    assert noted.ended == [made.session.history]
    assert not made.model.stop_training
