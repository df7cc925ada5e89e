"""The process of one side: `python -m benchmarks.rounds FILE BENCHMARK SIDE COUNT [--quick]`.

Responsible for waiting until the side is asked for a round, and for answering with one figure. A
line on standard input asks; a line on standard output answers. Not for who asks (`running`).
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
    """The rounds of a side, asked for one by one.

    Attributes:
        count: how many there will be, the warm-up included.
        quick: whether the data are to be tiny.
    """

    def __init__(self, count: int, quick: bool, asked: TextIO, answers: TextIO) -> None:
        self.count = count
        self.quick = quick
        self._asked = asked
        self._answers = answers

    def wait(self) -> None:
        """Return when the next round is asked for; end the process when none will be."""
        if not self._asked.readline():
            raise SystemExit(0)

    def tell(self, figure: float) -> None:
        """Answer a round."""
        print(repr(float(figure)), file=self._answers, flush=True)

    def time(self, work: Callable[[], Any], *, scale: float = 1.0) -> None:
        """Do the same work each round, and tell its seconds times `scale`."""
        for _ in range(self.count):
            self.wait()
            started = time.perf_counter()
            work()
            self.tell((time.perf_counter() - started) * scale)


def epoch_clock(rounds: Rounds, *, scale: float = 1.0, epochs: int = 1) -> keras.callbacks.Callback:
    """A Keras callback that makes a round of every `epochs` epochs.

    It holds the training at the beginning of an epoch until the round is asked for, and tells the
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
    # what libraries print must not be taken for an answer
    answers = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)
    side = cases.find_side(given.file, given.benchmark, given.side)
    side.program(Rounds(given.count, given.quick, sys.stdin, answers))


if __name__ == "__main__":
    main()
