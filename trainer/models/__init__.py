"""Ready-made architectures, by name.

Responsible for their list, and for which one is chosen. Not for what an architecture is
(`architecture`), or for any one of them.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from trainer.data.arrays import is_shape
from trainer.models.architecture import (
    Architecture,
    Chosen,
    Learned,
    Look,
    Values,
    check_options,
)
from trainer.models.sequence import SequenceArchitecture, sequence
from trainer.models.spec import ModelSpec, is_image
from trainer.models.stacks import CNN, DEEP, MLP, cnn, deep, mlp, wide_and_deep
from trainer.models.tabular import Tabular, tabular
from trainer.models.text import TEXT, TEXT_RNN, TRANSFORMER
from trainer.utils import forms
from trainer.utils.checks import did_you_mean

if TYPE_CHECKING:
    import keras


class _Images(Architecture):
    def suits(self, look: Look) -> bool:
        """Return whether x is images."""
        return not look.is_frame and is_shape(look.shapes) and is_image(look.shapes)


# In the order in which they are asked whether they suit the data; mlp is for everything else.
ARCHITECTURES: dict[str, Architecture] = {
    one.name: one
    for one in (
        TEXT,
        TEXT_RNN,
        TRANSFORMER,
        _Images("cnn", cnn, CNN),
        Tabular(),
        SequenceArchitecture(),
        Architecture("mlp", mlp, MLP),
        Architecture("deep", deep, DEEP),
        Architecture("wide_and_deep", wide_and_deep, MLP),
    )
}


def choose(look: Look) -> Architecture:
    """Return the architecture for data where the field model is None."""
    return next((a for a in ARCHITECTURES.values() if a.suits(look)), ARCHITECTURES["mlp"])


def first_choice(look: Look) -> Architecture:
    """Return the architecture that version 0.1 chose, for what it has written."""
    image = ARCHITECTURES["cnn"]
    return image if image.suits(look) else ARCHITECTURES["mlp"]


def named(value: Any) -> tuple[Architecture, dict[str, Any]]:
    """Return the architecture and its options for the field model, if that is not None.

    Raises:
        TypeError: It is neither a name nor a dict with a name, or an option is of another kind.
        ValueError: The name or an option is unknown (the message suggests similar ones), or the
            value of an option is out of range.
    """
    given = {"name": value} if isinstance(value, str) else value
    if not isinstance(given, Mapping) or not isinstance(given.get("name"), str):
        raise TypeError(
            f"model={value!r}: must be the name of a ready-made architecture, such as 'mlp', a "
            "dict with a name and options, or a keras.Model; or override build_model"
        )
    name = given["name"]
    if name not in ARCHITECTURES:
        raise ValueError(
            f"model={value!r}: no such architecture; {did_you_mean(name, ARCHITECTURES)}"
        )
    options = {key: option for key, option in given.items() if key != "name"}
    return ARCHITECTURES[name], check_options(ARCHITECTURES[name], options)


def default(spec: ModelSpec) -> keras.Model:
    """Build what version 0.1 built by default: `cnn` for images, else `mlp`."""
    image = is_shape(spec.input_shape) and is_image(spec.input_shape)
    return cnn(spec) if image else mlp(spec)


def build(name: Any, spec: ModelSpec) -> keras.Model:
    """Build the architecture that was chosen for a fit, or one by its name.

    Args:
        name: As the field model; None for `cnn` or `mlp`. Ignored if one was chosen.
        spec: What the network must take and give.

    Raises:
        TypeError, ValueError: There is no such architecture or option.
    """
    if spec.chosen is not None and spec.chosen.architecture is not None:
        return spec.chosen.build(spec)
    if name is None:
        return default(spec)
    architecture, options = named(name)
    return Chosen(architecture, options).build(spec)


def restore(form: Any) -> Chosen:
    """Restore from `Chosen.to_dict`; None, in a file of 0.1, is what that version chose.

    Raises:
        forms.Malformed: The form is invalid.
    """
    if form is None:
        return Chosen()
    entry = "architecture"
    keys = ("name", "task", "options", "epochs", "batch_size", "validation_split", "learned")
    forms.mapping(entry, form, keys)
    values = Values(
        epochs=forms.whole(f"{entry}: epochs", form["epochs"], 1),
        batch_size=forms.whole(f"{entry}: batch_size", form["batch_size"], 1),
        validation_split=forms.number(f"{entry}: validation_split", form["validation_split"]),
    )
    task = forms.text(f"{entry}: task", form["task"])
    if form["name"] is None:
        return Chosen(values=values, task=task)
    name = forms.text(f"{entry}: name", form["name"], ARCHITECTURES)
    architecture = ARCHITECTURES[name]
    options = forms.mapping(f"{entry}: options", form["options"])
    forms.no_others(f"{entry}: options", options, architecture.options)
    own = architecture.values(Look(None, None, None, task))
    values = replace(values, optimizer=own.optimizer)
    learned = None if form["learned"] is None else architecture.restore(form["learned"])
    return Chosen(architecture, options, values, task, (), learned)


__all__ = [
    "ARCHITECTURES",
    "Architecture",
    "Chosen",
    "Learned",
    "Look",
    "ModelSpec",
    "Values",
    "build",
    "check_options",
    "choose",
    "cnn",
    "deep",
    "default",
    "first_choice",
    "is_image",
    "mlp",
    "named",
    "restore",
    "sequence",
    "tabular",
    "wide_and_deep",
]
