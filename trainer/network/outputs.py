"""Interprets a model's outputs: which part of y each belongs to.

Responsible for matching outputs to targets, and refusing those that do not fit. Not for what their
values mean (`probabilities`), or for labels (`labels`).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from trainer.data import arrays
from trainer.data.arrays import Tree, map_named
from trainer.models import ModelSpec

if TYPE_CHECKING:
    import keras


def symbolic(model: keras.Model) -> Any:
    """Return the symbolic outputs of a functional model; None if the model must be called.

    A class of the user's own may do more in its `call` than the graph, a softmax for example.
    """
    import keras

    if not (model.built and getattr(model, "outputs", None)):
        return None
    if not called_as_graph(model):
        return None
    # The `output` of a Sequential is defined only after a call; it has a single output anyway.
    return model.outputs if isinstance(model, keras.Sequential) else model.output


def called_as_graph(model: Any) -> bool:
    """Return whether a call of a functional or Sequential model does what its graph says."""
    return str(type(model).call.__module__).startswith("keras.")


def named(
    model: keras.Model, spec: ModelSpec, outputs: Any, maker: str = "build_model"
) -> dict[str, Any]:
    """Return the model's outputs by the names of the parts of y in `arrays.leaves`.

    If y is a dict, the model may also return a list, if its output layers are named like the keys.
    Errors name `maker`, what the model comes from.

    Raises:
        ValueError: The number of outputs is wrong, or their order is ambiguous.
    """
    names = [name for name, _ in arrays.leaves(spec.n_outputs, "")]
    found = dict(arrays.leaves(outputs, ""))
    if set(found) == set(names):
        return {name: found[name] for name in names}
    flat = list(found.values())
    if len(names) != len(flat):
        raise ValueError(
            f"{maker}: the model has {len(flat)} outputs, but y has {len(names)}; give the model "
            "one output for each part of y"
        )
    if len(flat) == 1:
        return {names[0]: flat[0]}
    layers = getattr(model, "output_names", None) or ()
    if isinstance(spec.n_outputs, dict) and set(layers) == set(spec.n_outputs):
        by_layer = dict(zip(layers, flat, strict=True))
        return {f"[{key!r}]": by_layer[key] for key in spec.n_outputs}
    raise ValueError(
        f"{maker}: the model's outputs are {', '.join(found)}, but the parts of y are "
        f"{', '.join(names)}; return the outputs in the structure of y"
    )


def arranged(model: keras.Model, spec: ModelSpec, outputs: Any) -> Tree:
    """Return the outputs in the structure of y, or unchanged if a custom model has another one."""
    if spec.task == "custom":
        names = [name for name, _ in arrays.leaves(spec.n_outputs, "")]
        if len(names) != len(dict(arrays.leaves(outputs, ""))):
            return outputs
    by_name = named(model, spec, outputs)
    if isinstance(spec.n_outputs, int):
        return next(iter(by_name.values()))
    return map_named(lambda name, _: by_name[name], spec.n_outputs, "")


def check(model: keras.Model, spec: ModelSpec, outputs: Any, maker: str = "build_model") -> None:
    """Check that the output widths of a model fit the targets.

    Args:
        model: The built model.
        spec: The spec that it was built for.
        outputs: Its outputs, symbolic or not, each with `shape`.
        maker: What the model comes from, for errors.

    Raises:
        ValueError: A width is wrong; the message has the expected and the actual width.
    """
    if spec.task == "custom":
        return
    widths = dict(arrays.leaves(spec.n_outputs, ""))
    for name, output in named(model, spec, outputs, maker).items():
        expected, shape = widths[name], tuple(output.shape)
        got = shape[-1] if len(shape) > 1 else 1
        binary = spec.task == "classification" and expected == 2 and got == 1
        if got != expected and not binary:
            where = f" for y{name}" if name else ""
            unit = {"classification": "classes", "multilabel": "labels"}.get(spec.task, "columns")
            raise ValueError(
                f"{maker}: the output{where} has the wrong width: expected {expected} "
                f"({expected} {unit} in y), got {got}; end the model with "
                f"Dense(spec.n_outputs, {spec.output_activation!r})"
            )
