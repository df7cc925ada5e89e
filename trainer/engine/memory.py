"""Memory between fits: what Python and the C library would keep for long is given back.

Responsible for a process that fits many models, as a search does, not growing from fit to fit.
"""

from __future__ import annotations

import ctypes
import gc
import sys

FITS = 10  # between two collections: one takes a quarter of a second with TensorFlow loaded

_fits = 0


def fit_ended() -> None:
    """Free what earlier fits left, after every tenth.

    Keras models refer to themselves, so that only the collector frees them. It starts when the
    number of objects has grown by a quarter; with TensorFlow's own that takes many fits, and their
    weights are large. What it frees, glibc keeps in its arenas until it is asked for it.
    """
    global _fits
    _fits += 1
    if _fits % FITS or not gc.isenabled():
        return
    gc.collect()
    if sys.platform == "linux":
        trim = getattr(ctypes.CDLL(None), "malloc_trim", None)  # glibc's, and not musl's
        if trim is not None:
            trim(0)
