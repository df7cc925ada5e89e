"""Fits of one process do not pile up in memory."""

from __future__ import annotations

import gc
import weakref

import numpy as np

from trainer import Regressor
from trainer.engine import memory

X = np.zeros((16, 2), "float32")


def test_the_models_of_earlier_fits_are_freed_after_ten() -> None:
    trainer = Regressor(epochs=1, verbose=0, random_state=0)
    models = []
    for _ in range(memory.FITS + 1):
        models.append(weakref.ref(trainer.fit(X, X[:, 0]).model_))
    alive = [model for model in models if model() is not None]
    assert len(alive) < memory.FITS
    assert models[0]() is None
    assert trainer.model_ is models[-1]()


def test_a_collector_that_was_turned_off_stays_off() -> None:
    trainer = Regressor(epochs=1, verbose=0, random_state=0)
    gc.disable()
    try:
        collected = [generation["collections"] for generation in gc.get_stats()]
        for _ in range(memory.FITS):
            memory.fit_ended()
        assert [generation["collections"] for generation in gc.get_stats()] == collected
        assert trainer.fit(X, X[:, 0]).model_ is not None
    finally:
        gc.enable()
