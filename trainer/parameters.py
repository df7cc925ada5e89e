"""The scikit-learn interface of a Trainer's fields: (nested) parameters, cloning and pickling.

Responsible for get_params, set_params and pickling. Not for fitting (`base`), or for turning
annotated attributes into fields (`fields`).
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Self

from sklearn.base import BaseEstimator

from trainer import callbacks, models
from trainer.fields import Fields
from trainer.network import compile, given
from trainer.state.callback_state import constructor_parameters
from trainer.utils.checks import did_you_mean

_NESTED = "callbacks__"
_OPTION = "model__"


class Parameters(Fields, BaseEstimator):
    """Fields as scikit-learn parameters; those of callbacks are callbacks__NAME__FIELD.

    The options of the architecture that the field model names are model__OPTION.
    """

    if TYPE_CHECKING:
        model: Any
        optimizer: Any
        callbacks: Any
        strategy: Any

    def search_space(self) -> dict[str, Any]:
        """Return the domains of annotated fields, including those of callbacks, by parameter.

        With those of the architecture that the field model names, for fields that are None and for
        its options.
        """
        found: dict[str, Any] = {}
        architecture, options = self._named_architecture()
        for name, domain in ({} if architecture is None else architecture.domains()).items():
            option = name.removeprefix(_OPTION)
            if option not in options if option != name else getattr(self, name) is None:
                found[name] = domain
        found |= type(self).domains()
        for name, spec in _named(self.callbacks).items():
            made = callbacks.make(spec)
            if isinstance(made, Fields):
                own = type(made).domains()
                found |= {f"{_NESTED}{name}__{field}": domain for field, domain in own.items()}
        return found

    def _named_architecture(self) -> tuple[models.Architecture | None, dict[str, Any]]:
        """Return the architecture that the field model names, with its options, if there is one."""
        if self.model is None or not self._ready_made:
            return None, {}
        try:
            return models.named(self.model)
        except (TypeError, ValueError):
            return None, {}  # fit raises the error

    @property
    def _ready_made(self) -> bool:
        """Whether build_model builds a ready-made architecture."""
        return True

    def get_params(self, deep: bool = True) -> dict[str, Any]:
        """Return the fields by name; with `deep`, including callbacks' and model's options."""
        params: dict[str, Any] = super().get_params(deep=deep)
        if deep:
            architecture, options = self._named_architecture()
            if architecture is not None:
                values = {**architecture.options, **options}
                params |= {f"{_OPTION}{name}": value for name, value in values.items()}
            for name, spec in _named(params.get("callbacks")).items():
                for field, value in _params_of(spec).items():
                    params[f"{_NESTED}{name}__{field}"] = value
        return params

    def set_params(self, **params: Any) -> Self:
        """Set fields by name.

        Callbacks are not modified in place; the sequence is replaced by a new one.

        Raises:
            ValueError: A name is unknown; the message suggests similar ones.
        """
        plain = {k: v for k, v in params.items() if not k.startswith((_NESTED, _OPTION))}
        known = self.get_params(deep=True)
        for name in plain:
            field = name.partition("__")[0]
            within = field != name and hasattr(plain.get(field, known.get(field)), "set_params")
            if name not in known and not within:
                raise ValueError(
                    f"Invalid parameter {name!r} for {type(self).__name__}: no such field; "
                    f"{did_you_mean(name, known)}"
                )
        super().set_params(**plain)
        options = {k.removeprefix(_OPTION): v for k, v in params.items() if k.startswith(_OPTION)}
        if options:
            self.model = self._with_options(options)
        known = self.get_params(deep=True)
        for name, value in params.items():
            if name.startswith(_NESTED):
                if name not in known:
                    of_callbacks = [k for k in known if k.startswith(_NESTED)]
                    raise ValueError(
                        f"Invalid parameter {name!r} for {type(self).__name__}: no callback has "
                        f"such a field; {did_you_mean(name, of_callbacks)}"
                    )
                owner, field = name.removeprefix(_NESTED).split("__", 1)
                self.callbacks = _replaced(self.callbacks, owner, field, value)
        return self

    def _with_options(self, options: dict[str, Any]) -> dict[str, Any]:
        """Return the field model with other options."""
        architecture, before = self._named_architecture()
        name = next(iter(options))
        if architecture is None:
            raise ValueError(
                f"Invalid parameter {_OPTION + name!r} for {type(self).__name__}: the field model "
                f"is {self.model!r}; write model='mlp', for example, to set its options"
            )
        models.check_options(architecture, options)
        return {"name": architecture.name, **before, **options}

    def __sklearn_clone__(self) -> Self:
        """Return an unfitted estimator with the same fields.

        A Keras model, an optimizer and metrics among them are shared, as fits train copies of
        them, and losses, which have no state; so is a strategy of TensorFlow, of which a process
        has only one.
        """
        shared = {} if isinstance(self.strategy, str) else {"strategy": self.strategy}
        for name in ("optimizer", "loss", "metrics", "weighted_metrics"):
            if compile.holds_keras_objects(getattr(self, name)):
                shared[name] = compile.shared(getattr(self, name))
        if given.is_model(self.model):
            shared["model"] = self.model
        shared = {name: value for name, value in shared.items() if value is not None}
        if not shared:
            cloned: Self = super().__sklearn_clone__()
            return cloned
        rest = object.__new__(type(self))
        rest.__dict__.update(self.__dict__ | dict.fromkeys(shared))
        cloned = BaseEstimator.__sklearn_clone__(rest)
        cloned.__dict__.update(shared)
        return cloned

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.input_tags.three_d_array = True
        return tags


def _named(specs: Any) -> dict[str, Any]:
    """Return the callbacks that have a name; a second one of the same name is NAME_2."""
    if isinstance(specs, Mapping) and not isinstance(specs.get("name"), str):
        return {name: spec for name, spec in specs.items() if isinstance(name, str)}
    found: dict[str, Any] = {}
    try:
        listed = callbacks.listed(specs)
    except TypeError:
        return {}  # fit raises the error
    for spec in listed:
        name = spec if isinstance(spec, str) else None
        if isinstance(spec, Mapping):
            name = spec.get("name")
        elif hasattr(spec, "get_params"):
            name = getattr(spec, "name", None)
        elif constructor_parameters(spec):
            name = re.sub(r"(?<=[a-z0-9])(?=[A-Z])", "_", type(spec).__name__).lower()
        if isinstance(name, str):
            count = 2
            free = name
            while free in found:
                free, count = f"{name}_{count}", count + 1
            found[free] = spec
    return found


def _params_of(spec: Any) -> dict[str, Any]:
    try:
        made = callbacks.make(spec)
    except (TypeError, ValueError):
        return {}  # fit raises the error
    if hasattr(made, "get_params"):
        params: dict[str, Any] = made.get_params(deep=False)
        return params
    if isinstance(spec, Mapping):
        return {k: v for k, v in spec.items() if k != "name"}
    return constructor_parameters(made)


def _replaced(specs: Any, owner: str, field: str, value: Any) -> Any:
    target = _named(specs)[owner]

    def one(spec: Any) -> Any:
        if spec is not target:
            return spec
        if isinstance(spec, str):
            return {"name": spec, field: value}
        if isinstance(spec, Mapping):
            return {**spec, field: value}
        if isinstance(spec, type):
            return spec(**{field: value})
        return type(spec)(**(_params_of(spec) | {field: value}))

    if isinstance(specs, Mapping) and not isinstance(specs.get("name"), str):
        return {name: one(spec) if name == owner else spec for name, spec in specs.items()}
    made = [one(spec) for spec in callbacks.listed(specs)]
    return tuple(made) if isinstance(specs, tuple) else made
