"""What happens in a worker process. It imports nothing heavy before its threads are limited.

Responsible for preparing the process, for loading the work once, and for answers that can always
be sent back. Not for starting and ending processes (`processes`).
"""

from __future__ import annotations

import contextlib
import os
import pickle
import signal
import sys
import threading
import time
import traceback
from pathlib import Path
from typing import Any

SECONDS_BETWEEN_LOOKS = 0.5  # at whether the coordinator still lives
PR_SET_PDEATHSIG = 1  # of Linux' prctl
THREADS = ("OMP_NUM_THREADS", "TF_NUM_INTRAOP_THREADS", "TF_NUM_INTEROP_THREADS")

_work: Any = None
_file = ""


def prepare(work: str, folder: str, parent: int, threads: int) -> None:
    """Make this process a worker.

    Args:
        work: the file of the pickled work.
        folder: where the process puts its mark, and what it prints.
        parent: the coordinator's process; when it is gone, this one ends itself.
        threads: the threads that libraries may use, unless the environment says otherwise.
    """
    global _file
    _file = work
    for name in THREADS:
        os.environ.setdefault(name, str(threads))
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    # several processes share a GPU: none may take all of its memory at once
    os.environ.setdefault("TF_FORCE_GPU_ALLOW_GROWTH", "true")
    mark = Path(folder) / f"{os.getpid()}.txt"
    output = os.open(mark, os.O_CREAT | os.O_WRONLY | os.O_APPEND | os.O_TRUNC)
    for stream in (1, 2):
        os.dup2(output, stream)
    os.close(output)
    _end_with(parent)
    with contextlib.suppress(Exception):  # the first job says what is wrong
        warm_up = getattr(_loaded(), "warm_up", None)
        if warm_up is not None:
            warm_up()


def _loaded() -> Any:
    global _work
    if _work is None:
        import cloudpickle

        with open(_file, "rb") as file:
            _work = cloudpickle.load(file)
    return _work


def run(job: int, argument: bytes) -> tuple[str, bytes | str]:
    """Do the work: ("result", it, pickled) or ("raised", the error as text).

    Neither may be sent as it is: exceptions and results may not pickle.

    Args:
        job: its number; a file beside the process's output holds it while it runs.
        argument: of the work, pickled.
    """
    os.ftruncate(1, 0)  # what this job prints is all that its file holds
    mark = Path(_file).with_name(f"{os.getpid()}.job")
    mark.write_text(str(job))
    try:
        import cloudpickle

        return "result", pickle.dumps(_loaded()(cloudpickle.loads(argument)))
    except (Exception, SystemExit) as error:
        text = "".join(traceback.format_exception(error))
        return "raised", f"{type(error).__name__}: {error}\n{text}"
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        mark.unlink(missing_ok=True)


def _end_with(parent: int) -> None:
    if sys.platform == "linux":
        # a thread could not end a long computation that does not let go of the interpreter
        with contextlib.suppress(OSError, AttributeError):
            import ctypes

            ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGKILL)

    def look() -> None:
        while os.getppid() == parent:
            time.sleep(SECONDS_BETWEEN_LOOKS)
        os._exit(1)

    threading.Thread(target=look, daemon=True).start()
