"""Architecture: a ready-made network with what belongs to it.

Responsible for the interface of an architecture: when it is chosen by itself, its own values of
the fields that are None, what it learns of the training rows, and its search domains. Not for the
list of architectures (the package), nor for any one of them.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np

from trainer.data import arrays
from trainer.data.arrays import is_shape, map_tree
from trainer.data.inputs import Encoding, Inputs
from trainer.data.preparation import Rows
from trainer.data.streams import Stream
from trainer.data.targets import Targets
from trainer.models.options import Kind
from trainer.models.spec import ModelSpec
from trainer.utils.checks import did_you_mean, python_scalar

if TYPE_CHECKING:
    import keras

    from trainer.hyperparameters import Domain


@dataclass(frozen=True)
class Look:
    """What can be seen of the data of a fit before anything is learnt of them.

    Attributes:
        x: The training x: a DataFrame, a tree of arrays, or a stream's tree of tf.TensorSpec.
        y: The training y as passed by the user; None for a stream.
        rows: The number of training rows, before any are held out; None for a stream.
        task: The name of the task: "classification" (also of several labels a row), "regression"
            or "custom".
        normalize: The field normalize; None if the user has not set it.
    """

    x: Any
    y: Any
    rows: int | None
    task: str
    normalize: str | None = None

    @classmethod
    def at(cls, data: Rows | Stream, task: str, normalize: str | None = None) -> Look:
        """Return what can be seen of training data."""
        if isinstance(data, Stream):
            return cls(data.x_spec, None, None, task, normalize)
        return cls(data.x, data.y, data.n, task, normalize)

    @property
    def is_frame(self) -> bool:
        """Whether x is a DataFrame."""
        return hasattr(self.x, "iloc")

    @property
    def shapes(self) -> Any:
        """The shape of one row of each input, as in ModelSpec.input_shape; None for a DataFrame."""
        if self.is_frame:
            return None
        return map_tree(_row_shape, self.x)

    @property
    def kinds(self) -> dict[str, str]:
        """The kind of each input by name (`x`, `x['text']`): NumPy's letter, "O" for text."""
        if self.is_frame:
            return {}
        return {name: _kind(leaf) for name, leaf in arrays.leaves(self.x)}

    @property
    def one_output(self) -> bool:
        """Whether y is a single array, vector or column; a stream's y is not known."""
        return isinstance(self.y, list) or not arrays.is_nested(self.y)


def _row_shape(leaf: Any) -> tuple[int | None, ...] | None:
    if getattr(leaf.shape, "rank", 0) is None:
        return None  # of a stream whose rank is unknown
    return tuple(leaf.shape)[1:]


def _kind(leaf: Any) -> str:
    dtype = getattr(leaf.dtype, "as_numpy_dtype", leaf.dtype)
    return str(np.dtype(dtype).kind)


@dataclass(frozen=True)
class Values:
    """An architecture's own values of fields that are None, and what goes with its optimizer.

    Attributes:
        epochs: As the field of Trainer.
        batch_size: As the field of Trainer.
        validation_split: As the field of Trainer.
        optimizer: Creates the optimizer; None for "adam".
        schedule: The plugin that changes its learning rate, in the form of an entry of
            `callbacks`, or None. It is left out if the optimizer is not the architecture's, or
            another callback or schedule sets the rate.
        early_stopping: The parameters of the plugin early_stopping, or None. It is added where
            there are validation rows and no other callback stops early; with patience=epochs the
            training takes all epochs, and the best weights are restored.
        last_rows: Whether the rows that are held out are the last ones, as for windows of a
            series, of which neighbours overlap; else they are drawn at random.
    """

    epochs: int = 10
    batch_size: int = 32
    validation_split: float = 0.0
    optimizer: Callable[[], keras.optimizers.Optimizer] | None = field(default=None, repr=False)
    schedule: Mapping[str, Any] | None = None
    early_stopping: Mapping[str, Any] | None = None
    last_rows: bool = False


class Learned(Protocol):
    """What an architecture has learnt of the training rows; it is saved with the model."""

    def to_dict(self) -> dict[str, Any]:
        """Return a representation for JSON; initial weights can be left out."""


class Architecture:
    """A ready-made architecture. Subclass it, and add an object of it to `ARCHITECTURES`.

    Attributes:
        name: For the field `model`, files, runs and studies.
        build: Builds the network for a ModelSpec; its keyword arguments are options, which users
            write as model={"name": ..., option: value} and searches as model__option. What
            `learn` returned is in `spec.chosen.learned`.
        kinds: What values its options may have, by their names; any value for those left out.
        reads_text: Whether it reads text in x; if not, columns of text are left out, with a
            warning, and text alone is refused.
    """

    name: str
    kinds: Mapping[str, Kind] = MappingProxyType({})
    reads_text: bool = False

    def __init__(
        self,
        name: str,
        build: Callable[..., keras.Model],
        kinds: Mapping[str, Kind] | None = None,
    ) -> None:
        self.name = name
        self.build = build
        if kinds is not None:
            self.kinds = kinds

    @property
    def options(self) -> dict[str, Any]:
        """The options and their defaults."""
        parameters = list(inspect.signature(self.build).parameters.values())[1:]
        return {p.name: p.default for p in parameters}

    def suits(self, look: Look) -> bool:
        """Return whether to choose it for these data where the field model is None."""
        return False

    def values(self, look: Look) -> Values:
        """Return its own values of epochs, batch_size, optimizer and so on.

        Args:
            look: The data. For a file only the task is known, and only the optimizer is used.
        """
        return Values()

    def domains(self) -> dict[str, Domain]:
        """Return what a search varies by default: fields, and options as model__option."""
        return {}

    def learn(
        self, data: Rows | Stream, inputs: Inputs, targets: Targets, *, options: Any, seed: int
    ) -> Learned | None:
        """Learn of the training rows, without the held-out ones, what `build` needs.

        If the result is an Encoding, it encodes x in place of the default preprocessing.

        Args:
            data: The training rows, or a stream.
            inputs: What was learnt of x: shapes, dtypes, and the columns of a table.
            targets: What was learnt of y; `targets.encode(data.y, "y")` are the training targets.
            options: The options that the user has set.
            seed: Of the fit.
        """
        return None

    def restore(self, form: Mapping[str, Any]) -> Learned | None:
        """Restore what `learn` returned from its to_dict().

        Raises:
            forms.Malformed: The form is invalid.
        """
        return None

    def default_loss(self, spec: ModelSpec, targets: Targets) -> Any:
        """Return a loss to use where none was chosen; None for the task's default."""
        return None

    def describe(self, chosen: Chosen) -> str:
        """Return what summary() says of it besides its name; "" for nothing."""
        return ""


@dataclass(frozen=True)
class Chosen:
    """The architecture of a fit, with the resolved values of the fields that may be None.

    Attributes:
        architecture: The architecture; None for a custom build_model, and in files without
            a name, which 0.1 wrote.
        options: Its options that the user has set.
        task: The task of the fit, as Look.task.
        values: Its own values, replaced by those that the user has set.
        own: The fields that the user has set, of epochs, batch_size, optimizer, validation_split.
        learned: What it has learnt of the training rows.
    """

    architecture: Architecture | None = None
    options: Mapping[str, Any] = field(default_factory=dict)
    values: Values = field(default_factory=Values)
    task: str = "custom"
    own: Sequence[str] = ()
    learned: Any = None

    @property
    def name(self) -> str | None:
        """The name of the architecture; None for a custom build_model."""
        return None if self.architecture is None else self.architecture.name

    @property
    def encoding(self) -> Encoding | None:
        """What encodes x in place of the default preprocessing, or None."""
        return self.learned if isinstance(self.learned, Encoding) else None

    def with_learned(
        self, data: Rows | Stream, inputs: Inputs, targets: Targets, seed: int
    ) -> Chosen:
        """Return it with what the architecture learns of the training rows."""
        if self.architecture is None:
            return self
        learned = self.architecture.learn(data, inputs, targets, options=self.options, seed=seed)
        return replace(self, learned=learned)

    def default_loss(self, spec: ModelSpec, targets: Targets) -> Any:
        """Return the architecture's default loss; None for the task's."""
        if self.architecture is None:
            return None
        return self.architecture.default_loss(spec, targets)

    def build(self, spec: ModelSpec) -> keras.Model:
        """Build the network of the architecture.

        Raises:
            ValueError: There is none.
        """
        if self.architecture is None:
            raise ValueError("there is no ready-made architecture to build")
        return self.architecture.build(replace(spec, chosen=self), **self.options)

    def to_dict(self) -> dict[str, Any]:
        """Return a representation for JSON: the name, the resolved values, and what was learnt."""
        return {
            **self.resolved(),
            "learned": None if self.learned is None else self.learned.to_dict(),
        }

    def resolved(self) -> dict[str, Any]:
        """Return the name and the resolved values, for JSON."""
        optimizer: Any = None
        if "optimizer" not in self.own and self.architecture is not None:
            optimizer = "adam"
            if self.values.optimizer is not None:
                config = self.values.optimizer().get_config()
                # Its name counts the optimizers that the process has made, as in adam_w_1.
                optimizer = {k: v for k, v in config.items() if _is_plain(v) and k != "name"}
        values = self.values
        return {
            "name": self.name,
            "task": self.task,
            "options": {k: list(v) if isinstance(v, tuple) else v for k, v in self.options.items()},
            "epochs": python_scalar(values.epochs),
            "batch_size": python_scalar(values.batch_size),
            "validation_split": python_scalar(values.validation_split),
            "optimizer": optimizer,
            "schedule": None if values.schedule is None else dict(values.schedule),
            "early_stopping": (
                None if values.early_stopping is None else dict(values.early_stopping)
            ),
        }


def _is_plain(value: Any) -> bool:
    return value is None or isinstance(value, (bool, int, float, str))


def check_options(architecture: Architecture, options: Mapping[str, Any]) -> dict[str, Any]:
    """Check the options of the field model, and return them in Python's own types.

    Raises:
        ValueError: There is no option of this name, or its value is out of range.
        TypeError: A value is of another kind.
    """
    found = {}
    for name, value in options.items():
        where = f"model={{'name': {architecture.name!r}, {name!r}: ...}}"
        if name not in architecture.options:
            raise ValueError(
                f"{where}: this architecture has no such option; "
                f"{did_you_mean(str(name), architecture.options)}"
            )
        found[name] = python_scalar(value)
        if name in architecture.kinds:
            try:
                found[name] = architecture.kinds[name](name, found[name])
            except (TypeError, ValueError) as error:
                raise type(error)(f"{where}: {error}") from None
    return found


def is_vector(look: Look) -> bool:
    """Return whether x is one array of vectors [n, d]."""
    return not look.is_frame and is_shape(look.shapes) and len(look.shapes) == 1
