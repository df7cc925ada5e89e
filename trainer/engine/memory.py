"""Memory between fits: returns unused memory to the system.

Responsible for keeping a process that fits many models, such as a search, from growing.
"""

from __future__ import annotations

import ctypes
import gc
import sys

FITS = 10  # per collection, which takes a quarter of a second with TensorFlow loaded

_fits = 0


def fit_ended() -> None:
    """Free the memory of earlier fits, on every tenth call.

    Keras models contain reference cycles, so only the garbage collector frees them. It runs when
    the number of objects has grown by a quarter. As TensorFlow itself has many objects, that takes
    many fits, whose weights are large. glibc keeps freed memory in its arenas until malloc_trim.
    """
    global _fits
    _fits += 1
    if _fits % FITS or not gc.isenabled():
        return
    gc.collect()
    if sys.platform == "linux":
        trim = getattr(ctypes.CDLL(None), "malloc_trim", None)  # glibc has it, musl does not
        if trim is not None:
            trim(0)
