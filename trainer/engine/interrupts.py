"""What stops a training before its end: SIGTERM, Ctrl-C, or a callback that asks for it.

Responsible for noticing it, and for passing signals on once the training has ended in order. The
running dispatch finishes first. Not for what is saved then: that is the checkpointer's work
(`trainer.runs.checkpointing`).
"""

from __future__ import annotations

import multiprocessing
import os
import signal
import sys
import threading
from types import FrameType
from typing import Any, Self

_SIGNALS = (signal.SIGINT, signal.SIGTERM)


class Interrupts:
    """A context in which the first SIGTERM or SIGINT is noted, and the second acts at once.

    Handlers are set in the main thread only: elsewhere Python allows none, and signals go where
    they went before. A signal that is ignored stays ignored. Sub-processes that a fork gave the
    handlers to have the earlier ones back when they need them, but for workers of a pool, which
    their parent ends: Ctrl-C reaches them too, and the running dispatch may wait for their batch.

    Attributes:
        received: the number of the signal, or None.
        asked: which callback asked for the stop, or None: see Session.stop.
    """

    def __init__(self) -> None:
        self.received: int | None = None
        self.asked: str | None = None
        self._earlier: dict[int, Any] = {}
        self._process = os.getpid()

    def __enter__(self) -> Self:
        if threading.current_thread() is threading.main_thread():
            for number in _SIGNALS:
                earlier = signal.getsignal(number)
                # None: set by C code, which Python cannot set back
                if earlier is not None and earlier != signal.SIG_IGN:
                    self._earlier[number] = earlier
                    signal.signal(number, self._note)
        return self

    def __exit__(self, *error: object) -> None:
        for number, earlier in self._earlier.items():
            # a callback may have set a handler of its own meanwhile
            if signal.getsignal(number) == self._note:
                signal.signal(number, earlier)

    def pass_on(self) -> None:
        """Let a signal that was received have its usual effect, after the context was left.

        Raises:
            KeyboardInterrupt: after SIGINT, where Python's own handler stands.
            SystemExit: after SIGTERM, where no handler stands: `finally` blocks run, and the
                process ends with 128 + 15.
        """
        if self.received is None:
            return
        if self._earlier.get(self.received) == signal.SIG_DFL:
            sys.exit(128 + self.received)
        signal.raise_signal(self.received)

    def _note(self, number: int, frame: FrameType | None) -> None:
        forked = os.getpid() != self._process
        if forked and number == signal.SIGINT and multiprocessing.current_process().daemon:
            return
        if forked or self.received is not None:
            signal.signal(number, self._earlier[number])
            signal.raise_signal(number)
            return
        self.received = number
        name = signal.Signals(number).name
        # not print: a handler may interrupt a print
        again = "; again: stop at once" if number == signal.SIGINT else ""
        os.write(2, f"{name}: stopping after the running dispatch{again}\n".encode())
