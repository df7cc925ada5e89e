"""Stopping a training early: SIGTERM, Ctrl-C, or a callback that asks for it.

Responsible for recording the signal, and for raising it again once training has ended cleanly,
after the running dispatch. Not for saving the state (`trainer.runs.checkpointing`).
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
    """A context that records the first SIGTERM or SIGINT; the second one acts immediately.

    Handlers are set only in the main thread, as Python requires; in other threads, signals are
    handled as before. An ignored signal stays ignored. Forked processes inherit the handlers, and
    restore the earlier ones at the first signal. Pool workers ignore Ctrl-C instead, which reaches
    them too: the running dispatch may be waiting for their batch, and their parent ends them.

    Attributes:
        received: The number of the signal, or None.
        asked: The name of the callback that asked to stop (see Session.stop), or None.
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
                # None means a handler set by C code, which Python cannot restore.
                if earlier is not None and earlier != signal.SIG_IGN:
                    self._earlier[number] = earlier
                    signal.signal(number, self._note)
        return self

    def __exit__(self, *error: object) -> None:
        for number, earlier in self._earlier.items():
            # Keep a handler that a callback has set in the meantime.
            if signal.getsignal(number) == self._note:
                signal.signal(number, earlier)

    def pass_on(self) -> None:
        """Raise the received signal again, if any; call it after leaving the context.

        Raises:
            KeyboardInterrupt: After SIGINT with Python's default handler.
            SystemExit: After SIGTERM without a handler: `finally` blocks run, and the process
                exits with status 128 + 15.
        """
        if self.received is None:
            return
        if self._earlier.get(self.received) == signal.SIG_DFL:
            sys.exit(128 + self.received)
        signal.raise_signal(self.received)

    def _note(self, number: int, _frame: FrameType | None) -> None:
        forked = os.getpid() != self._process
        if forked and number == signal.SIGINT and multiprocessing.current_process().daemon:
            return
        if forked or self.received is not None:
            signal.signal(number, self._earlier[number])
            signal.raise_signal(number)
            return
        self.received = number
        name = signal.Signals(number).name
        # Not print: the signal may have interrupted a print.
        again = "; press Ctrl-C again to stop immediately" if number == signal.SIGINT else ""
        os.write(2, f"{name}: stopping after the running dispatch{again}\n".encode())
