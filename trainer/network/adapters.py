"""LoRA and other weights that are trained on top of a frozen base, as they are saved.

Keras saves a layer with LoRA (Hu et al. 2021; `layer.enable_lora(rank)`) as if it had none: it adds
the adapter to the kernel, and sets the adapter to zero when it loads. A network loaded that way
predicts the same, but its base is another one, and its adapters no longer learn: where both factors
are zero, so are their gradients. So a file holds the parts as well. A file of adapters alone holds
what the fit has changed, and the digest of the base, which build_model has to provide.

Responsible for which weights these are, for their form, and for putting them back. Not for the file
that they are in (`saving`), nor for exact resuming, which saves all variables anyway.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from trainer.state import state_file
from trainer.utils import forms

if TYPE_CHECKING:
    import keras

# The most that a file of adapters may claim as the size of its base, besides a multiple of its own.
BASE_BYTES = 1 << 30
BASE_RATIO = 1_000
_STATES = 4  # variables of the model and its optimizer for each weight that is trained, at most


class OtherBase(ValueError):
    """build_model makes another base than the one that adapters were trained on."""


@dataclass(frozen=True)
class Base:
    """The weights of a model that its training does not change.

    Attributes:
        sha256: the digest of their shapes, types and values, in the order of the model.
        variables: how many there are.
        size: of all of them, in bytes.
    """

    sha256: str
    variables: int
    size: int


def has_lora(model: keras.Model) -> bool:
    """Return whether a layer of a model has LoRA enabled."""
    return bool(_with_lora(model))


def lora_to_bytes(model: keras.Model) -> bytes | None:
    """Return the weights of the layers with LoRA, kernels and adapters apart; None without any."""
    held = {id(v) for layer in _with_lora(model) for v in _own(layer)}
    if not held:
        return None
    return state_file.to_bytes({}, _values(model, held))


def to_bytes(model: keras.Model) -> bytes:
    """Return the weights that training changes, and the digest of the others.

    Raises:
        ValueError: no weight is frozen, or none is trained.
    """
    learned = _learned(model)
    base = base_of(model)
    if not base.variables:
        raise ValueError(
            "adapters_only=True: the model has no frozen weights, so that the file would hold all "
            "of it; write save(path), or freeze the base in build_model"
        )
    if not learned:
        raise ValueError(
            "adapters_only=True: all weights of the model are frozen, so that there is nothing to "
            "save"
        )
    described = {"sha256": base.sha256, "variables": base.variables, "bytes": base.size}
    return state_file.to_bytes({"base": described}, _values(model, learned))


def size(content: bytes, length: int) -> tuple[int, int]:
    """Return the most variables, and bytes in them, that the network of a file may have.

    Args:
        content: what `to_bytes` returned.
        length: the size of the whole file in bytes.

    Raises:
        ValueError: it is damaged, or claims a base that is out of proportion.
    """
    base, tensors = _read(content)
    most = max(BASE_BYTES, BASE_RATIO * length)
    if base.size > most:
        raise forms.Malformed(
            f"base: bytes: {base.size:,} are more than the {most:,} that a file of {length:,} "
            "bytes may have"
        )
    stored = sum(array.nbytes for array in tensors.values())
    return base.variables + _STATES * len(tensors), base.size + _STATES * stored


def load(model: keras.Model, content: bytes) -> None:
    """Set the weights that `to_bytes` returned.

    Raises:
        OtherBase: the model's frozen weights are not those that they were trained on.
        ValueError: they do not fit, or are damaged.
    """
    wanted, tensors = _read(content)
    learned = _learned(model)
    if set(tensors) != set(_values(model, learned)):
        raise ValueError(
            f"the file has {len(tensors)} trained weights and {wanted.variables} frozen ones, the "
            f"model {len(learned)} and {base_of(model).variables}"
        )
    found = base_of(model)
    if found != wanted:
        raise OtherBase(
            f"its adapters were trained on a base with the SHA-256 {wanted.sha256[:12]}, and "
            f"build_model makes one with {found.sha256[:12]}; load the weights of that base in "
            "build_model"
        )
    _assign(model, tensors)


def load_lora(model: keras.Model, content: bytes) -> None:
    """Set the weights that `lora_to_bytes` returned, after Keras has loaded the rest.

    Raises:
        ValueError: they do not fit, or are damaged.
    """
    try:
        values, tensors = state_file.from_bytes(content)
        forms.no_others("its content", values, ())
    except ValueError as error:
        raise forms.Malformed(str(error)) from error
    held = {id(v) for layer in _with_lora(model) for v in _own(layer)}
    if set(tensors) != set(_values(model, held)):
        raise ValueError("other layers of the model have LoRA enabled")
    _assign(model, tensors)


def first_factors(model: keras.Model) -> list[tuple[Any, np.ndarray]]:
    """Return the first factor of each adapter, with its value now."""
    return [
        (v, np.asarray(v))
        for layer in _with_lora(model)
        for v in _own(layer)
        if v.name.startswith("lora_") and v.name.endswith("_a")
    ]


def base_of(model: keras.Model) -> Base:
    """Return the weights of a model that its training does not change."""
    learned = _learned(model)
    digest, count, stored = hashlib.sha256(), 0, 0
    for variable in model.weights:
        if id(variable) not in learned:
            value = np.ascontiguousarray(np.asarray(variable))
            digest.update(f"{value.dtype.name} {value.shape}".encode())
            digest.update(value.tobytes())
            count, stored = count + 1, stored + value.nbytes
    return Base(digest.hexdigest(), count, stored)


def _with_lora(model: keras.Model) -> list[Any]:
    return [layer for layer in model._flatten_layers() if getattr(layer, "lora_enabled", False)]


def _own(layer: Any) -> list[Any]:
    """Return the variables of a layer itself, without those of layers in it."""
    return [*layer._trainable_variables, *layer._non_trainable_variables]


def _learned(model: keras.Model) -> set[int]:
    """Return the ids of the weights that training changes: also the statistics of layers."""
    found = {id(v) for v in model.trainable_weights}
    for layer in model._flatten_layers():
        # those of a layer with LoRA are its kernel, quantized perhaps
        if layer.trainable and not getattr(layer, "lora_enabled", False):
            found |= {id(v) for v in layer._non_trainable_variables}
    return found & {id(v) for v in model.weights}


def _values(model: keras.Model, held: set[int]) -> dict[str, np.ndarray]:
    return {f"weight/{i}": np.asarray(v) for i, v in enumerate(model.weights) if id(v) in held}


def _read(content: bytes) -> tuple[Base, dict[str, np.ndarray]]:
    try:
        values, tensors = state_file.from_bytes(content)
        forms.no_others("its content", values, ("base",))
        base = forms.mapping("base", values.get("base"), ("sha256", "variables", "bytes"))
        forms.no_others("base", base, ("sha256", "variables", "bytes"))
        described = Base(
            forms.text("base: sha256", base["sha256"]),
            forms.whole("base: variables", base["variables"], 1, 2**32),
            forms.whole("base: bytes", base["bytes"], 0, 2**62),
        )
    except ValueError as error:
        raise forms.Malformed(str(error)) from error
    return described, tensors


def _assign(model: keras.Model, tensors: dict[str, np.ndarray]) -> None:
    weights = model.weights
    pairs = [(weights[int(name.split("/")[1])], value) for name, value in tensors.items()]
    for variable, value in pairs:
        types = {value.dtype.name, str(variable.dtype)}
        floats = all("float" in name for name in types)  # another precision, which Keras takes too
        if value.shape != tuple(variable.shape) or (len(types) > 1 and not floats):
            raise ValueError(
                f"{variable.path} is {variable.dtype} of shape {tuple(variable.shape)}, and in the "
                f"file it is {value.dtype.name} of shape {value.shape}"
            )
    for variable, value in pairs:
        variable.assign(value)
