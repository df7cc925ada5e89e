"""What a variable is in TensorFlow: found, identified, read and assigned.

Responsible for Keras' variables, those that TensorFlow code makes itself, and those of which a
tf.distribute strategy keeps a copy on each device. Not for which of them a training saves
(`trainer.state`).
"""

from __future__ import annotations

from typing import Any

import numpy as np


def listed(model: Any) -> list[Any]:
    """Return every variable that a step of the model uses, each once, in a fixed order."""
    found: dict[int, Any] = {}
    optimizer = model.optimizer
    for variable in (
        *model.variables,
        *model.metrics_variables,
        *(v for metric in model.metrics for v in metric.variables),
        *optimizer.variables,
        *getattr(getattr(optimizer, "inner_optimizer", None), "variables", ()),
    ):
        found.setdefault(id(variable), variable)
    return list(found.values())


def optimizers(model: Any) -> list[Any]:
    """Return the optimizers of a model and of its layers, and those within them."""
    import keras

    found: dict[int, Any] = {}
    for holder in (model, *model._flatten_layers(include_self=False)):
        values = [getattr(holder, "optimizer", None), *vars(holder).values()]
        for value in values:
            while isinstance(value, keras.optimizers.Optimizer):
                found[id(value)] = value
                value = getattr(value, "inner_optimizer", None)
    return list(found.values())


def is_one(value: Any) -> bool:
    """Return whether an object is a variable, Keras' or TensorFlow's."""
    import keras
    import tensorflow as tf

    return isinstance(value, (keras.Variable, tf.Variable))


def is_tensor(value: Any) -> bool:
    """Return whether an object is a tensor with a value; not of a graph that is being traced."""
    import tensorflow as tf

    return bool(tf.is_tensor(value)) and hasattr(value, "numpy")


def holds_some(value: Any) -> bool:
    """Return whether an object of TensorFlow's is made of variables, or may hold user objects."""
    import tensorflow as tf

    return isinstance(value, (tf.Module, tf.train.ExponentialMovingAverage))


def parts(value: Any) -> list[Any]:
    """Return the handles of a variable or of a generator's state; [] for anything else.

    A strategy with several devices keeps one copy on each, which are equal between steps; any
    other variable has one handle.
    """
    import keras
    import tensorflow as tf

    if isinstance(value, keras.Variable):
        value = value._value  # under a mixed policy, .value may be a copy of another dtype
    elif isinstance(value, tf.random.Generator):
        value = value.state
    if not isinstance(value, tf.Variable):
        return []
    copies = value.values if isinstance(value, tf.distribute.DistributedValues) else (value,)
    handles = [getattr(copy, "handle", None) for copy in copies]
    return handles if all(map(is_handle, handles)) else []


def handle_of(value: Any) -> Any:
    """Return what identifies a variable or a generator's state; None for anything else."""
    return next(iter(parts(value)), None)


def is_handle(handle: Any) -> bool:
    """Return whether a resource handle belongs to a variable."""
    data = getattr(handle, "_handle_data", None)
    return bool(data is not None and data.is_set and len(data.shape_and_type) == 1) and hasattr(
        handle, "numpy"
    )


def storable(dtype: Any) -> bool:
    """Return whether the value of a variable can be written to a file."""
    plain = dtype.is_numpy_compatible and not dtype.is_quantized
    return bool(plain and dtype.name not in ("resource", "variant"))


def copied(value: Any) -> np.ndarray:
    """Return a NumPy copy of an array, a tensor or a variable; later steps do not change it."""
    held = getattr(value, "value", None)
    if held is not None and not callable(held):  # a Keras variable wraps one of TensorFlow's
        value = held
    return np.array(value.numpy() if hasattr(value, "numpy") else value)


def held_by(variable: Any) -> Any:
    """Return the value of a variable as a tensor that later steps do not change."""
    import tensorflow as tf

    return tf.identity(variable.value)


def numeric_kind(value: Any) -> str | None:
    """Return "array" for a variable of numbers, "tensor" for a tensor of them, otherwise None."""
    import tensorflow as tf

    if is_one(value):
        return "array" if value.dtype not in ("string", tf.string) else None
    if is_tensor(value):
        return "tensor" if value.dtype not in (tf.string, tf.resource, tf.variant) else None
    return None


class Held:
    """A variable that was found, identified by its handle.

    Args:
        name: See below.
        handle: Of the variable, or of its first copy.
        since: See below.
        owner: The object that the handle was found in; None if only a step is known to use it.

    Attributes:
        name: The same in every process that runs the same code.
        since: When it was found; a variable may be created by the first step.
        handle: The resource handle.
        dtype: The dtype of the value.
    """

    def __init__(self, name: str, handle: Any, since: str, owner: Any = None) -> None:
        import tensorflow as tf

        (form,) = handle._handle_data.shape_and_type
        self.name = name
        self.since = since
        self.handle = handle
        self.dtype = tf.as_dtype(form.dtype)
        self._parts = parts(owner) or [handle]
        self._owner = owner  # TensorFlow frees the value with the object that made it

    @property
    def is_numeric(self) -> bool:
        """Whether it holds numbers rather than text."""
        return str(self.dtype.name) != "string"

    @property
    def filled(self) -> bool:
        """Whether it has a value: it is initialised and has not been deleted."""
        from tensorflow.python.ops import gen_resource_variable_ops as operations

        return bool(operations.var_is_initialized_op(self.handle))

    @property
    def value(self) -> Any:
        """The value, as a tensor."""
        from tensorflow.python.ops import gen_resource_variable_ops as operations

        return operations.read_variable_op(self.handle, self.dtype)

    @property
    def shape(self) -> tuple[int, ...]:
        """The shape of the current value."""
        return tuple(self.value.shape)

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> np.ndarray:
        found: np.ndarray = np.array(self.value.numpy(), dtype=dtype)
        return found

    def assign(self, value: Any) -> None:
        """Set the value."""
        import tensorflow as tf
        from tensorflow.python.ops import gen_resource_variable_ops as operations

        tensor = tf.convert_to_tensor(value, self.dtype)
        for handle in self._parts:
            operations.assign_variable_op(handle, tensor)

    def takes(self, shape: list[int]) -> bool:
        """Return whether a value of this shape can be assigned."""
        import tensorflow as tf

        (form,) = self.handle._handle_data.shape_and_type
        return bool(tf.TensorShape(form.shape).is_compatible_with(shape))

    def to_array(self) -> np.ndarray:
        """Return the value as numbers; text as the bytes of a serialised tensor."""
        import tensorflow as tf

        if self.dtype != tf.string:
            return np.asarray(self)
        return np.frombuffer(tf.io.serialize_tensor(self.value).numpy(), np.uint8).copy()

    def from_array(self, array: np.ndarray) -> None:
        """Set the value from the result of `to_array`."""
        import tensorflow as tf

        if self.dtype == tf.string:
            self.assign(tf.io.parse_tensor(array.tobytes(), tf.string))
        else:
            self.assign(array)
