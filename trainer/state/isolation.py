"""Trying something out, and leaving everything as it was.

Responsible for giving back the state of a model, and that of the libraries' random generators and
counters. Not for what is tried (`finders`, and plugins that look at a model in training).
"""

from __future__ import annotations

import contextlib
import random
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    import keras

_OF_KERAS = ("global_random_seed", "global_seed_generator")


@contextlib.contextmanager
def globals_kept() -> Iterator[None]:
    """Give Python, NumPy, TensorFlow and Keras their random states back, and Keras its names.

    Keras counts the layers that it has named: without this, the layers of the next model would be
    called dense_6 and not dense.
    """
    from keras.src.backend.common import global_state
    from tensorflow.python.eager import context

    eager = context.context()
    seed, generator = eager._seed, getattr(eager, "_rng", None)
    drawn = None if generator is None else generator.getstate()
    python, numpy = random.getstate(), np.random.get_state()
    attributes = {name: global_state.get_global_attribute(name) for name in _OF_KERAS}
    held = attributes["global_seed_generator"]
    count = None if held is None else held.state.numpy()
    names = global_state.get_global_attribute("object_name_uids")
    counts = None if names is None else names.copy()
    try:
        yield
    finally:
        random.setstate(python)
        np.random.set_state(numpy)
        eager._seed = seed
        if generator is not None:
            eager._rng = generator
            generator.setstate(drawn)
        elif hasattr(eager, "_rng"):
            del eager._rng  # TensorFlow makes it at the first random operation
        for name, value in attributes.items():
            global_state.set_global_attribute(name, value)
        if held is not None:
            held.state.assign(count)
        global_state.set_global_attribute("object_name_uids", counts)


@contextlib.contextmanager
def model_kept(model: keras.Model, watch: Any = None) -> Iterator[None]:
    """Give every variable its value back: weights, seeds, moving means, metrics, optimizer.

    Args:
        model: whose variables these are.
        watch: the OwnState of a fit, whose variables and extra state are given back too.
    """
    import tensorflow as tf

    from trainer.state.variables import variables

    found = variables(model)
    before = [tf.identity(variable.value) for variable in found]
    try:
        with contextlib.nullcontext() if watch is None else watch.kept():
            yield
    finally:
        for variable, value in zip(found, before, strict=True):
            variable.assign(value)
