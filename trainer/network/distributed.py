"""A network on the replicas of a strategy: what cannot be trained there, and the training itself.

Responsible for refusing what would silently give other numbers than one device, and for giving the
network's variables to the strategy. Not for the steps (`trainer.engine.tensorflow.replicas`).
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import numpy as np

from trainer.engine import backend
from trainer.engine.backend import strategy
from trainer.network import compile
from trainer.network.network import Network, has_only_a_step
from trainer.utils import checks

_ROWS = 16  # of the training data, to compare a batch with its parts


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
    """Check that a network can be trained on replicas.

    Args:
        network: The network, with all its variables.
        spec: The spec of a batch, as tf.TensorSpec.

    Raises:
        ValueError: It cannot; the message says why.
    """
    import keras

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
    _check_loss(core)
    own = [
        name
        for name in ("train_step", "test_step")
        if getattr(type(core), name) is not getattr(keras.Model, name)
    ]
    if own:
        checks.warn(
            f"strategy: {' and '.join(own)} of {type(core).__name__} run on each replica's part of "
            "a batch. Gradients are averaged, each part by its rows, as is what is given to "
            "keras.metrics.Mean: the numbers are those of a single device for means over rows, and "
            "others for sums over a batch, or a norm of its gradients"
        )


def check_parts(network: Network, batch: Any) -> None:
    """Check that loss and metrics of a batch follow from those of its parts.

    A replica computes them for its part alone: a loss is then the mean of the parts' losses, by
    their rows, and the variables of a metric are added up.

    Args:
        network: The network, with all its variables.
        batch: A batch of training data, as tensors.

    Raises:
        ValueError: A metric does not add up; the message names it.
    """
    import keras

    core = network.core
    if len(batch) < 2 or has_only_a_step(core):
        return
    rows = min(len(keras.tree.flatten(batch)[0]), _ROWS)
    if rows < 2:
        return

    def part(tree: Any, first: int, last: int) -> Any:
        return keras.tree.map_structure(lambda t: None if t is None else t[first:last], tree)

    x, y, weight = keras.utils.unpack_x_y_sample_weight(part(batch, 0, rows))
    # with some weights the parts of one cut happen to add up
    cuts = sorted({1, (rows + 2) // 3, rows - 1})
    with network.ambient(), compile.state_kept(core):
        x = network.program.transformed((x,))[0]
        outputs = core(x, training=False)
        whole = (x, y, outputs, weight)
        for cut in cuts:
            _check_metrics(core, [part(whole, 0, cut), part(whole, cut, rows)])
        if core._compile_loss is None and not compile.computes_loss(core):
            return

        def loss(of: Any) -> float:
            return float(core.compute_loss(*of, training=False))

        of_all = loss(whole)  # not of a part with all rows, which has lost its mask
        means = [
            (c * loss(part(whole, 0, c)) + (rows - c) * loss(part(whole, c, rows))) / rows
            for c in cuts
        ]
    mean = max(means, key=lambda found: abs(found - of_all))
    if not np.isclose(of_all, mean, rtol=1e-3, atol=1e-6, equal_nan=True):
        checks.warn(
            f"strategy: the loss of a batch is not the mean of its rows' losses (of {rows} rows "
            f"{of_all:.6g}, but {mean:.6g} from two parts of them); each replica computes it "
            "for its own rows, so that the training differs from one on a single device"
        )


def _check_metrics(core: Any, parts: list[Any]) -> None:

    metrics = core._compile_metrics
    if metrics is None or not metrics.built:
        return

    def values(*batches: Any) -> list[list[np.ndarray]]:
        metrics.reset_state()
        for _, y, outputs, weight in batches:
            metrics.update_state(y, outputs, sample_weight=weight)
        return [[backend.variables.copied(v) for v in m.variables] for m in metrics.metrics]

    found = zip(metrics.metrics, values(*parts), *(values(p) for p in parts), strict=True)
    for metric, both, *each in found:
        for whole_value, *part_values in zip(both, *each, strict=True):
            if np.allclose(whole_value, sum(part_values), rtol=1e-3, atol=1e-6, equal_nan=True):
                continue
            raise ValueError(
                f"metrics: {type(metric).__name__} ({metric.name!r}) cannot be combined from "
                "the replicas of a strategy, as its variables are not sums over rows; derive it "
                "from keras.metrics.Mean or from a metric that counts, or write strategy=None"
            )


def _check_loss(core: Any) -> None:
    import keras

    for loss in keras.tree.flatten(core.loss):
        found = getattr(loss, "reduction", None)
        if found in ("sum", "mean_with_sample_weight", "none"):
            raise ValueError(
                f"strategy: the loss {loss.name!r} has reduction={found!r}, and only a mean over "
                "the rows of a batch can be combined from the parts of the replicas; write "
                "reduction='sum_over_batch_size', or strategy=None"
            )


def check_callbacks(callbacks: Sequence[Any]) -> None:
    """Refuse callbacks that cannot work with several workers.

    Raises:
        ValueError: There is one; the message says what to write instead.
    """
    import keras

    distribution = strategy.current()
    if distribution is None or distribution.workers == 1:
        return
    if any(isinstance(c, keras.callbacks.BackupAndRestore) for c in callbacks):
        raise ValueError(
            "callbacks: Keras' BackupAndRestore would restore each worker from files of its own; "
            "write run_dir='runs/first' instead"
        )


def warn_of_own(names: Callable[[], Sequence[str]]) -> None:
    """Warn about variables of which each worker has its own.

    Args:
        names: Finds the variables that Keras does not list, and returns their names.
    """
    distribution = strategy.current()
    if distribution is None or distribution.workers == 1:
        return
    found = names()
    if found:
        checks.warn(
            f"strategy: each worker has a {', '.join(found)} of its own, as it was not made by "
            "Keras, and only the chief's is saved; make it with add_weight if steps change it"
        )


def writers() -> tuple[type, ...]:
    """Return the callbacks of Keras that only write, which the chief alone calls."""
    from keras import callbacks

    return (
        callbacks.CSVLogger,
        callbacks.ModelCheckpoint,
        callbacks.ProgbarLogger,
        callbacks.RemoteMonitor,
        callbacks.TensorBoard,
    )


def part() -> Callable[[int], slice]:
    """Return which rows of a batch of this size this worker reads."""
    distribution = strategy.current()
    return slice if distribution is None or distribution.workers == 1 else distribution.part


@contextlib.contextmanager
def on_replicas(network: Network, variables: Sequence[Any]) -> Iterator[None]:
    """Train a network on the replicas of this fit within this context; do nothing on one device.

    Args:
        network: The network, with all its variables.
        variables: Those that a step reads or changes.
    """
    import keras

    distribution = strategy.current()
    if distribution is None:
        yield
        return
    core = network.core
    replicas = backend.Replicas(distribution, core)
    optimizers = backend.variables.optimizers(core)
    program = network.program
    of_steps = [v for v in variables if isinstance(v, keras.Variable)]
    of_steps = [v for v in of_steps if v is not program.streamed]
    with distribution.holding(of_steps, optimizers), program.on_replicas(replicas):
        yield
