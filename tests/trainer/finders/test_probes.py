"""probes: when a range test and a speed test end, and what they have measured until then."""

from __future__ import annotations

import math
from types import SimpleNamespace
from typing import Any

import keras
import numpy as np
import pytest
from sessions import session

from trainer.finders import probes
from trainer.finders.probes import PeakMemory, RateTest, SpeedTest


def rate_test(losses: list[Any], steps: int = 40) -> tuple[RateTest, list[float]]:
    """A range test that sees these losses; and the rates that the optimizer had at them."""
    core = keras.Sequential([keras.Input((1,)), keras.layers.Dense(1)])
    test = RateTest(rates=np.geomspace(1e-4, 1, steps))
    core.compile(test.configure_optimizer(keras.optimizers.SGD(0.5)), "mse")
    core.stop_training = False
    test.set_model(core)
    test.session = session(core=core)
    test.on_train_begin()
    used = []
    for batch, loss in enumerate(losses):
        test.on_train_batch_begin(batch)
        used.append(float(core.optimizer.learning_rate))
        test.on_train_batch_end(batch, {"loss": loss})
        if core.stop_training:
            break
    return test, used


def test_a_range_test_has_one_loss_for_each_rate_and_ends_with_the_last() -> None:
    test, used = rate_test([1.0] * 60)
    assert len(test.losses) == 40 and test.model.stop_training
    np.testing.assert_allclose(used, test.rates, rtol=1e-6)


def test_a_range_test_ends_after_as_many_bad_losses_in_a_row_and_not_before() -> None:
    bad = probes.WORSE * 1.01
    test, _ = rate_test([1.0, 1.0, *[bad] * 4, 1.0, *[bad] * 10])
    assert len(test.losses) == 2 + 4 + 1 + probes.LAST
    # the first two of forty losses are the scale, and a negative loss has one too
    test, _ = rate_test([-3.0, -1.0, *[7.9] * 10])
    assert not test.model.stop_training and len(test.losses) == 12


@pytest.mark.parametrize("loss", [math.nan, math.inf])
def test_a_loss_that_is_not_finite_ends_a_range_test_at_once(loss: float) -> None:
    test, _ = rate_test([1.0, loss, 1.0])
    assert len(test.losses) == 2


def test_a_step_that_logs_no_loss_is_told_what_to_return() -> None:
    with pytest.raises(ValueError, match=r"train_step does not log 'loss'; return \{'loss': loss"):
        rate_test([None])


def test_a_schedule_gives_way_to_a_rate_that_can_be_set() -> None:
    optimizer = keras.optimizers.SGD(keras.optimizers.schedules.CosineDecay(0.1, 5), momentum=0.8)
    made = RateTest(rates=[0.25, 0.5]).configure_optimizer(optimizer)
    assert float(made.learning_rate) == 0.25 and made.momentum == 0.8
    made.learning_rate = 0.5


def speed_test(monkeypatch: pytest.MonkeyPatch, dispatches: list[tuple[int, float]]) -> SpeedTest:
    """A speed test of epochs of 70 rows; a dispatch is the steps that are done and its seconds."""
    now = [0.0]
    monkeypatch.setattr(probes, "time", SimpleNamespace(perf_counter=lambda: now[0]))
    test = SpeedTest(seconds=10.0, batch_size=20)
    test.set_model(SimpleNamespace(stop_training=False))
    test.setup(session(feed=SimpleNamespace(rows=70)))
    before = math.inf
    for steps, seconds in dispatches:
        if steps <= before:
            now[0] += 100.0  # between epochs, which does not count
            test.on_epoch_begin(0)
        now[0] += seconds
        test.on_chunk_end(steps, {})
        before = steps
    return test


def test_neither_the_first_dispatches_nor_a_smaller_batch_count_for_the_speed(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    epoch = [(2, 4.0), (3, 1.0), (4, 50.0)]  # the fourth batch has ten rows
    test = speed_test(monkeypatch, epoch)
    assert test.speeds == [] and not test.model.stop_training
    test = speed_test(monkeypatch, [*epoch, *epoch])
    assert test.speeds == [10.0, 20.0] and not test.model.stop_training
    test = speed_test(monkeypatch, [*epoch, *epoch, (2, 8.0)])
    assert test.speeds == [10.0, 20.0, 5.0] and test.model.stop_training


def test_a_speed_is_not_known_from_fewer_than_three_dispatches_however_long(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    slow = [(3, 1000.0)] * (probes.WARM_UP + 2)
    assert not speed_test(monkeypatch, slow).model.stop_training
    assert speed_test(monkeypatch, [*slow, (3, 1000.0)]).model.stop_training


def test_peak_memory_is_known_and_its_thread_ended_after_an_error() -> None:
    memory = PeakMemory(gpu=False)
    with pytest.raises(ZeroDivisionError), memory:
        raise ZeroDivisionError
    assert memory.bytes > 2**20
    assert not memory._watch.is_alive()
