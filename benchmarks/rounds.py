"""The process of one side: `python -m benchmarks.rounds FILE BENCHMARK SIDE COUNT [--quick]`.

Responsible for waiting until a round is requested, and for answering with one figure. Requests are
lines on standard input, answers lines on standard output. Not for making requests (`running`).
"""

from __future__ import annotations

import argparse
import os
import sys
import time
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, TextIO

if TYPE_CHECKING:
    import keras


class Rounds:
    """The rounds of a side, requested one by one.

    Attributes:
        count: how many there will be, warm-up included.
        quick: whether the data should be tiny.
    """

    def __init__(self, count: int, quick: bool, asked: TextIO, answers: TextIO) -> None:
        self.count = count
        self.quick = quick
        self._asked = asked
        self._answers = answers

    def wait(self) -> None:
        """Return when the next round is requested; end the process when there are no more."""
        if not self._asked.readline():
            raise SystemExit(0)

    def tell(self, figure: float) -> None:
        """Answer a request."""
        print(repr(float(figure)), file=self._answers, flush=True)

    def time(self, work: Callable[[], Any], *, scale: float = 1.0) -> None:
        """Do the same work in each round, and answer its seconds times `scale`."""
        for _ in range(self.count):
            self.wait()
            started = time.perf_counter()
            work()
            self.tell((time.perf_counter() - started) * scale)


def epoch_clock(rounds: Rounds, *, scale: float = 1.0, epochs: int = 1) -> keras.callbacks.Callback:
    """Return a Keras callback that makes one round of every `epochs` epochs.

    It pauses the training at the start of an epoch until a round is requested, and answers the
    seconds up to the end of its last epoch, times `scale`. It is the same for both sides.
    """
    import keras

    class EpochClock(keras.callbacks.Callback):
        def on_epoch_begin(self, epoch: int, logs: Any = None) -> None:
            if epoch % epochs == 0:
                rounds.wait()
                self.started = time.perf_counter()

        def on_epoch_end(self, epoch: int, logs: Any = None) -> None:
            if epoch % epochs == epochs - 1:
                rounds.tell((time.perf_counter() - self.started) * scale)

    return EpochClock()


def main() -> None:
    """Run one side of one benchmark."""
    from benchmarks import cases

    parser = argparse.ArgumentParser(prog="python -m benchmarks.rounds")
    parser.add_argument("file")
    parser.add_argument("benchmark")
    parser.add_argument("side")
    parser.add_argument("count", type=int)
    parser.add_argument("--quick", action="store_true")
    given = parser.parse_args()
    # output of libraries must not be taken for an answer
    answers = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)
    side = cases.find_side(given.file, given.benchmark, given.side)
    side.program(Rounds(given.count, given.quick, sys.stdin, answers))


if __name__ == "__main__":
    main()
