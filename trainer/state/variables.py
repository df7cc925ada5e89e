"""The variables that training a model reads and changes, in a fixed order.

Responsible for finding those that Keras lists, and for restoring their values. Not for variables
that Keras does not list (`own_state`).
"""

from __future__ import annotations

import weakref
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import numpy as np

from trainer.engine import backend
from trainer.state.state_file import BadState

if TYPE_CHECKING:
    import keras


_generators: weakref.WeakKeyDictionary[Any, Any] = weakref.WeakKeyDictionary()


def draws_from(model: keras.Model, generator: keras.random.SeedGenerator) -> None:
    """Record the global generator of the fit that a model was built for."""
    _generators[model] = generator


def variables(model: keras.Model) -> list[Any]:
    """Return every variable that training a model uses, each once, in a fixed order.

    In addition to model.variables: the states of recurrent layers; the optimizers, metrics and
    seed generators in attributes of user-defined models; and Keras' global seed generator.
    """
    import keras
    from keras.src.random.seed_generator import global_seed_generator

    found = list(backend.variables.listed(model))
    for layer in model._flatten_layers():
        held = [getattr(layer, "states", None)]
        if not type(layer).__module__.startswith("keras."):
            held += vars(layer).values()
        for value in leaves(held):
            if isinstance(value, (keras.optimizers.Optimizer, keras.metrics.Metric)):
                found += value.variables
            elif isinstance(value, keras.random.SeedGenerator):
                found.append(value.state)
            elif isinstance(value, keras.Variable):
                found.append(value)
    generator = _generators.get(model)
    found.append((global_seed_generator() if generator is None else generator).state)
    return list({id(v): v for v in found}.values())


def leaves(value: Any) -> Iterator[Any]:
    """Yield the values in lists, tuples and dicts, at any depth."""
    if isinstance(value, (list, tuple)):
        for item in value:
            yield from leaves(item)
    elif isinstance(value, dict):
        yield from leaves(list(value.values()))
    else:
        yield value


def restore_variables(
    model: keras.Model, described: list[Any], tensors: dict[str, np.ndarray]
) -> None:
    """Restore the values of a model's variables.

    Args:
        model: A built model with all its variables.
        described: The path and shape of each saved variable, in the order of `variables`.
        tensors: Their values, under the names `variable/0` and so on.

    Raises:
        BadState: The model has other variables.
    """
    found = variables(model)
    shapes = [list(v.shape) for v in found]
    saved = [shape for _, shape in described]
    if shapes != saved:
        i = next((i for i, (a, b) in enumerate(zip(shapes, saved, strict=False)) if a != b), -1)
        where = f", first at {described[i][0]!r}" if i >= 0 else ""
        raise BadState(
            f"the run's model had {len(saved)} variables, this one has {len(shapes)}, and they "
            f"differ{where}; was build_model changed since?"
        )
    values = [tensors.get(f"variable/{i}") for i in range(len(found))]
    for variable, value in zip(found, values, strict=True):
        if value is None or value.shape != tuple(variable.shape) or value.dtype.kind in "c":
            raise BadState(f"the state has no suitable value for {variable.path!r}")
    for variable, value in zip(found, values, strict=True):
        variable.assign(value)


def seed_states(model: keras.Model) -> list[Any]:
    """Return the states of the random generators that a model draws from, in a fixed order."""
    return [v for v in variables(model) if v.path.endswith("seed_generator_state")]
