"""A network on the replicas of a strategy: what cannot be trained there, and the training itself.

Responsible for refusing what would silently give other numbers than one device, and for giving the
network's variables to the strategy. Not for the steps (`trainer.engine.tensorflow.replicas`).
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any

from trainer.engine import backend
from trainer.engine.backend import strategy

if TYPE_CHECKING:
    from trainer.network.network import Network


def jit(field: bool | str) -> bool | str:
    """Return the field `jit` as it applies to the replicas of this fit.

    Raises:
        ValueError: It asks for XLA.
    """
    if strategy.current() is None:
        return field
    if field is True:
        raise ValueError(
            "jit=True: XLA cannot compile steps that exchange gradients between replicas; leave "
            "jit out, or write strategy=None"
        )
    return False


def check(network: Network, spec: Any) -> None:
    """Check that a network can be trained on the replicas of this fit, if there are any.

    Args:
        network: The network, with all its variables.
        spec: The spec of a batch, as tf.TensorSpec.

    Raises:
        ValueError: It cannot; the message says why.
    """
    import keras

    if strategy.current() is None:
        return
    core = network.core
    if network.program.eager:
        raise ValueError(
            "run_eagerly=True: steps in Python run on one device; write strategy=None to debug them"
        )
    if network.fixed_rows is not None:
        raise ValueError(
            f"strategy: the model takes batches of exactly {network.fixed_rows} rows, and each "
            "replica gets only a part of a batch; leave the batch size of its input open, or write "
            "strategy=None"
        )
    if any(backend.tensors.is_sparse(leaf) for leaf in keras.tree.flatten(spec)):
        raise ValueError(
            "strategy: batches of sparse tensors cannot be split between replicas; pass dense "
            "batches, or write strategy=None"
        )
    for loss in keras.tree.flatten(core.loss):
        found = getattr(loss, "reduction", None)
        if found in ("sum", "mean_with_sample_weight", "none"):
            raise ValueError(
                f"strategy: the loss {loss.name!r} has reduction={found!r}, and only a mean over "
                "the rows of a batch can be put together from the parts of the replicas; write "
                "reduction='sum_over_batch_size', or strategy=None"
            )


@contextlib.contextmanager
def on_replicas(network: Network, variables: Sequence[Any]) -> Iterator[None]:
    """Train a network on the replicas of this fit within this context; do nothing on one device.

    Args:
        network: The network, with all its variables.
        variables: Those that a step reads or changes.
    """
    distribution = strategy.current()
    if distribution is None:
        yield
        return
    core = network.core
    replicas = backend.Replicas(distribution, core)
    with distribution.holding(variables), network.program.on_replicas(replicas):
        yield
