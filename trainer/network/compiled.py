"""What a model was compiled with inside build_model.

Responsible for reading it, and for refusing fields and hooks that set the same again. Not
for optimizers, losses and metrics that fields name (`compile`), or for compiling (`build`).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import keras


@dataclass(frozen=True)
class Compiled:
    """The arguments of `model.compile(...)`; None for those left out.

    Attributes:
        optimizer: The optimizer of the model; None only with a `compile` of its own.
        loss: The loss, or one per output.
        loss_weights: The weights of several losses.
        metrics: The metrics.
        weighted_metrics: The metrics that use the sample weights.
        eager: Whether steps run in Python.
        scales: Whether the optimizer scales the loss, as with mixed_float16.
        own: Whether the model's class overrides `compile`; then nothing is added to it.
    """

    optimizer: keras.optimizers.Optimizer | None
    loss: Any
    loss_weights: Any
    metrics: Any
    weighted_metrics: Any
    eager: bool
    scales: bool
    own: bool


def find(model: keras.Model) -> Compiled | None:
    """Return what a model was compiled with, or None if it was not compiled."""
    import keras

    if not model.compiled:
        return None
    losses, metrics = model._compile_loss, model._compile_metrics
    return Compiled(
        optimizer=model.optimizer,
        loss=None if losses is None else losses._user_loss,
        loss_weights=None if losses is None else losses._user_loss_weights,
        metrics=None if metrics is None else metrics._user_metrics,
        weighted_metrics=None if metrics is None else metrics._user_weighted_metrics,
        eager=bool(model.run_eagerly),
        scales=isinstance(model.optimizer, keras.optimizers.LossScaleOptimizer),
        own=overrides_compile(model),
    )


def check_optimizer(owner: str, model: keras.Model) -> None:
    """Refuse an optimizer that was built without some of the variables that the model trains now.

    Args:
        owner: The name of the estimator.
        model: The model, as build_model returned it.

    Raises:
        ValueError: `trainable` or enable_lora changed them after compile.
    """
    import keras

    optimizer = getattr(model.optimizer, "inner_optimizer", model.optimizer)
    own = overrides_compile(model) or type(model).train_step is not keras.Model.train_step
    if own or not getattr(optimizer, "built", False) or hasattr(optimizer, "optimizers"):
        return
    built = {id(v) for v in optimizer._trainable_variables}
    if not built.issuperset(id(v) for v in model.trainable_variables):
        raise ValueError(
            f"{owner}.build_model: the model's optimizer was built for other variables than the "
            "model trains now: `trainable` or enable_lora changed them; compile the model again, "
            "or return keras.Model(model.inputs, model.outputs), which is not compiled"
        )


def overrides_compile(model: keras.Model) -> bool:
    """Return whether the model's class has a `compile` of its own."""
    import keras

    return type(model).compile is not keras.Model.compile


def refuse_both(owner: str, maker: str, chosen: Sequence[str]) -> None:
    """Refuse fields and hooks beside a model that is compiled already.

    Args:
        owner: The name of the estimator.
        maker: What the model comes from.
        chosen: The fields and hooks that say how to compile.

    Raises:
        ValueError: There are any.
    """
    if chosen:
        raise ValueError(
            f"{maker} is compiled, and {owner} also has {', '.join(chosen)}: only one of them can "
            "count; leave out model.compile(...), or the rest"
        )
