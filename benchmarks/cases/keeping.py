"""The share of training time taken by saving the state, and by ten callbacks.

Measured within one training, not as the difference between two: on a busy machine two trainings
differ by more than this.
"""

from __future__ import annotations

import functools
import tempfile
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

from benchmarks.case import Benchmark, Comparison, Side, Target
from benchmarks.cases.perceptron import TASK
from benchmarks.rounds import Rounds

TEN: tuple[Any, ...] = (
    "progress",
    "csv",
    "tensorboard",
    "early_stopping",
    "checkpoint",
    "plateau",
    "nan_guard",
    {"name": "time_limit", "minutes": 60},
    "throughput",
    "swa",
)
HOOKS = (
    "on_epoch_begin",
    "on_epoch_end",
    "on_chunk_end",
    "on_test_begin",
    "on_test_end",
)


class _Clock:
    """Add up the seconds spent in methods."""

    def __init__(self) -> None:
        self.seconds = 0.0

    def watch(self, owner: Any, name: str) -> None:
        method = getattr(owner, name)

        @functools.wraps(method)
        def timed(*arguments: Any, **named: Any) -> Any:
            began = time.perf_counter()
            try:
                return method(*arguments, **named)
            finally:
                self.seconds += time.perf_counter() - began

        setattr(owner, name, timed)


def share(rounds: Rounds, watch: Callable[[_Clock], tuple[Any, ...]]) -> None:
    """Report the percentage of an epoch spent in the methods that `watch` adds to the clock."""
    import keras

    clock = _Clock()
    callbacks = watch(clock)

    class Told(keras.callbacks.Callback):
        def on_epoch_begin(self, epoch: int, logs: Any = None) -> None:
            if epoch:  # the previous epoch has ended, and its state is saved
                rounds.tell(100 * clock.seconds / (time.perf_counter() - self.began))
            rounds.wait()
            clock.seconds, self.began = 0.0, time.perf_counter()

    x, y = TASK.data(rounds.quick)
    with tempfile.TemporaryDirectory() as folder:
        trainer = TASK.trainer(epochs=rounds.count + 1, run_dir=Path(folder) / "run")
        trainer.set_params(callbacks=[*callbacks, Told()], verbose=0)
        trainer.fit(x, y, validation_data=(x[:5_000], y[:5_000]))


def saving(clock: _Clock) -> tuple[Any, ...]:
    """Watch the state: capturing it, and writing it in the background."""
    from trainer.runs import checkpointing
    from trainer.state import state_file

    clock.watch(checkpointing.Keeper, "passed")
    clock.watch(state_file, "to_bytes")
    clock.watch(state_file, "write_whole")
    return ()


def ten(clock: _Clock) -> tuple[Any, ...]:
    """Watch ten built-in callbacks, none of which sees every batch."""
    from trainer import callbacks

    for spec in TEN:
        for hook in HOOKS:
            clock.watch(type(callbacks.make(spec)), hook)
    return TEN


def _benchmark(name: str, title: str, watch: Callable[[_Clock], tuple[Any, ...]]) -> Benchmark:
    return Benchmark(
        name=name,
        title=title,
        unit="% of an epoch",
        sides=(Side("Trainer", partial(share, watch=watch)),),
        comparisons=(Comparison("Trainer", target=Target(value=3.0)),),
    )


BENCHMARKS = (
    _benchmark("state", "saving the state each epoch, perceptron, 55,000 images", saving),
    _benchmark("callbacks", "ten built-in callbacks, perceptron, 55,000 images", ten),
)
