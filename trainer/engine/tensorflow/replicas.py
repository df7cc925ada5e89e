"""Steps on several replicas of a model, with the numbers of one device.

Responsible for giving each replica its rows of a batch, and for making Keras' parts of a step
compute what they would on the whole batch. Not for which devices and workers there are
(`strategy`), or for running many steps (`program`).

A replica runs the model's own train_step on its slice of the batch. Keras would scale its loss by
the number of replicas, clip its gradients before they are added up, and draw the same dropout mask
on every replica. While a step is traced, these parts of Keras are therefore replaced:

- gradients are weighted by the replica's share of the rows and added up first; everything after
  that (clipping, accumulation, averages, the update itself) is the same on all replicas, and
  applied by each to its own copy of the variables;
- losses are not scaled, and a mean of single numbers counts each by its replica's share of rows;
- each replica adds its number to the seeds that it draws;
- batch normalisation computes its moments over all replicas, in two passes, as on one device;
  Keras' own way, E(x^2) - E(x)^2, loses digits.
"""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any

from trainer.engine.chunks import Batch, Logs

if TYPE_CHECKING:
    import keras

    from trainer.engine.tensorflow.strategy import Distribution

# Added to the seed per replica. Seeds of Keras are below 1e9, and are used modulo 2**31 - 2.
_SEED_STEP = 1_000_003_579


class _Now(threading.local):
    """The replica that this thread traces.

    Attributes:
        weight: How much its gradients count among those of all replicas; the sum is 1.
        share: How much a mean over its rows counts in a metric.
        number: Its number; None while the thread traces none.
        applied: Whether the step has called an optimizer.
        inside: Whether an optimizer is being called.
    """

    weight: Any = None
    share: Any = None
    number: Any = None
    applied = False
    inside = False

    def enter(self, *, weight: Any, share: Any, number: Any) -> None:
        """Begin to trace a replica."""
        self.weight, self.share, self.number = weight, share, number
        self.applied = self.inside = False

    def leave(self) -> None:
        """End it."""
        self.weight = self.share = self.number = None


_now = _Now()


class Replicas:
    """Runs the steps of one model on the replicas of a strategy.

    Args:
        distribution: The devices and workers.
        model: The model whose steps run; its variables belong to the strategy.

    Attributes:
        count: The number of replicas over all workers.
    """

    def __init__(self, distribution: Distribution, model: keras.Model) -> None:
        self.count = distribution.replicas
        self._distribution = distribution
        self._strategy = distribution.strategy
        self._model = model
        self._names: dict[str, list[str]] = {}

    def scope(self) -> Any:
        """Return the context in which steps are traced."""
        return self._strategy.scope()

    def step(
        self, phase: str, step: Callable[[Batch], Logs], *, few: bool, size: int | None = None
    ) -> Callable[..., Logs]:
        """Return a function that runs a step on all replicas.

        Args:
            phase: "train" or "test".
            step: A step of the model.
            few: Whether a batch may have fewer rows than there are replicas.
            size: The rows of every batch, if all have as many.

        Returns:
            A function of (data, rows, whole): trees of tensors [n, ...]; the rows of the batch
            among these, int32, or None if they are the batch; and the number of rows of the whole
            batch, of which `rows` may be only those of this worker, or None for all. It returns
            what the step does, without the results of metrics.
        """
        import tensorflow as tf
        from keras.src.backend.common import global_state

        each = size // self.count if size is not None and size % self.count == 0 else None

        def run(piece: tuple[Any, Any, Any]) -> Logs:
            # Keras keeps its global state for each thread, and each replica is traced in its own.
            held = dict(vars(global_state.GLOBAL_STATE_TRACKER))

            def on_replica() -> Logs:
                vars(global_state.GLOBAL_STATE_TRACKER).update(held)
                return self._on_replica(phase, step, piece, few=few, each=each)

            with self._adapted():
                logs = self._strategy.run(on_replica)
            found: Logs = tf.nest.map_structure(
                lambda value: self._strategy.experimental_local_results(value)[0], logs
            )
            return found

        return run

    def logs(self, phase: str, returned: Logs) -> Logs:
        """Return the logs of a phase with the results of its metrics over all replicas.

        All workers call it, as the results are added up over them.
        """
        results = self._model.get_metrics_result()
        names = self._names[phase]
        return {name: returned[name] if name in returned else results[name] for name in names}

    # ---- one replica -------------------------------------------------------------------------

    def _on_replica(
        self,
        phase: str,
        step: Callable[[Batch], Logs],
        piece: tuple[Any, Any, Any],
        *,
        few: bool,
        each: int | None,
    ) -> Logs:
        import tensorflow as tf

        data, rows, whole = piece
        context = tf.distribute.get_replica_context()
        number = tf.cast(context.replica_id_in_sync_group, tf.int32)
        given = tf.shape(tf.nest.flatten(data)[0] if rows is None else rows)[0]
        whole = given if whole is None else whole
        start, stop = number * whole // self.count, (number + 1) * whole // self.count
        share = tf.cast(stop - start, tf.float64) / tf.cast(whole, tf.float64)
        # If only the rows of this worker are given, those of its first replica come first.
        before = self._distribution.first_replica * whole // self.count
        before = tf.where(given == whole, 0, before)
        start, stop, weight, counts = start - before, stop - before, share, None
        if few:
            # A replica without rows would compute NaN. So each computes the whole batch, and only
            # the first one counts it in its metrics.
            too_few = whole < self.count
            start, stop = tf.where(too_few, 0, start), tf.where(too_few, given, stop)
            weight = tf.where(too_few, tf.constant(1 / self.count, tf.float64), share)
            share = tf.where(too_few, tf.constant(1.0, tf.float64), share)
            counts = tf.logical_or(tf.logical_not(too_few), number == 0)

        def part(tensor: Any) -> Any:
            picked = tensor[start:stop] if rows is None else tf.gather(tensor, rows[start:stop])
            picked.set_shape([each, *picked.shape[1:]])
            return picked

        metrics = self._counted() if few else []
        values = [variable.value + 0 for variable in metrics]
        _now.enter(weight=weight, share=share, number=number)
        try:
            logs = step(tf.nest.map_structure(part, data))
            if phase == "train" and not _now.applied and self._model.trainable_weights:
                raise ValueError(
                    f"strategy: train_step of {type(self._model).__name__} does not call "
                    "optimizer.apply, so that each replica would change its own copy of the "
                    "weights; call self.optimizer.apply(gradients, self.trainable_variables) in "
                    "it, or write strategy=None"
                )
        finally:
            _now.leave()
        for variable, value in zip(metrics, values, strict=True):
            variable.assign(tf.where(counts, variable.value, value))
        return self._others(phase, logs, weight)

    def _counted(self) -> list[Any]:
        """Return the variables in which each replica counts its own rows."""
        from trainer.engine.tensorflow import variables

        return [v for v in variables.listed(self._model) if v.synchronization == "on_read"]

    def _others(self, phase: str, logs: Logs, weight: Any) -> Logs:
        """Return what a step returns besides the results of metrics, as means over the rows."""
        import tensorflow as tf

        self._names[phase] = list(logs)
        known = self._model.get_metrics_result()
        found = {name: value for name, value in logs.items() if name not in known}
        context = tf.distribute.get_replica_context()

        def mean(value: Any) -> Any:
            value = tf.convert_to_tensor(value)
            if not value.dtype.is_floating:
                value = tf.cast(value, tf.float32)
            return context.all_reduce("SUM", value * tf.cast(weight, value.dtype))

        means: Logs = tf.nest.map_structure(mean, found)
        return means

    # ---- the parts of Keras that know of replicas --------------------------------------------

    @contextlib.contextmanager
    def _adapted(self) -> Iterator[None]:
        """Replace these parts while a step is traced; see above. Other threads see the originals.

        Only one thread at a time traces steps.
        """
        from keras.src.backend.tensorflow import nn
        from keras.src.backend.tensorflow.optimizer import TFOptimizer
        from keras.src.losses import loss as losses
        from keras.src.metrics.reduction_metrics import Mean
        from keras.src.optimizers.base_optimizer import BaseOptimizer
        from keras.src.optimizers.loss_scale_optimizer import LossScaleOptimizer
        from keras.src.random.seed_generator import SeedGenerator

        with contextlib.ExitStack() as stack:

            def replace(owner: Any, name: str, make: Callable[[Any], Any]) -> None:
                original = getattr(owner, name)
                own = name in vars(owner)
                made = make(original)

                def chosen(*args: Any, **kwargs: Any) -> Any:
                    return (original if _now.number is None else made)(*args, **kwargs)

                setattr(owner, name, chosen)
                stack.callback(
                    lambda: setattr(owner, name, original) if own else delattr(owner, name)
                )

            for name in ("scale_loss_for_distribution", "unscale_loss_for_distribution"):
                replace(losses, name, _always(lambda value: value))
            for name in (
                "_backend_update_step",
                "_apply_weight_decay",
                "_overwrite_model_variables_with_average_value",
                "_backend_increment_gradient_accumulators",
            ):  # those of BaseOptimizer ignore replicas
                replace(TFOptimizer, name, _always(getattr(BaseOptimizer, name)))
            replace(LossScaleOptimizer, "_tf_apply", lambda _: LossScaleOptimizer._common_apply)
            for kind in (BaseOptimizer, LossScaleOptimizer):
                replace(kind, "apply", _with_sums)
            replace(Mean, "update_state", _with_share)
            replace(SeedGenerator, "next", _with_number)
            replace(nn, "_compute_moments_sync", _always(_moments))
            for layer in self._model._flatten_layers():
                if getattr(layer, "synchronized", None) is False:
                    layer.synchronized = True
                    stack.callback(setattr, layer, "synchronized", False)
            yield


def _always(function: Callable[..., Any]) -> Callable[[Any], Any]:
    return lambda _: function


def _with_sums(original: Callable[..., Any]) -> Callable[..., Any]:
    """Add up the gradients of all replicas before an optimizer is called."""

    def apply(optimizer: Any, grads: Any, trainable_variables: Any = None) -> Any:
        import tensorflow as tf

        if _now.inside:  # an optimizer within one that scales the loss
            return original(optimizer, grads, trainable_variables)

        def weighted(gradient: Any) -> Any:
            share = tf.cast(_now.weight, gradient.dtype)
            if isinstance(gradient, tf.IndexedSlices):
                values = gradient.values * share
                return tf.IndexedSlices(values, gradient.indices, gradient.dense_shape)
            return gradient * share

        grads = list(grads)
        some = [i for i, gradient in enumerate(grads) if gradient is not None]
        if some:
            context = tf.distribute.get_replica_context()
            sums = context.all_reduce("SUM", [weighted(grads[i]) for i in some])
            for i, total in zip(some, sums, strict=True):
                grads[i] = total
        _now.applied = _now.inside = True
        try:
            return original(optimizer, grads, trainable_variables)
        finally:
            _now.inside = False

    return apply


def _with_share(original: Callable[..., Any]) -> Callable[..., Any]:
    """Count the mean of a batch, a single number, by the share of the rows that it is of."""

    def update_state(metric: Any, values: Any, sample_weight: Any = None) -> Any:
        import tensorflow as tf

        if sample_weight is None and tf.convert_to_tensor(values).shape.rank == 0:
            sample_weight = tf.cast(_now.share, metric.dtype)
        return original(metric, values, sample_weight=sample_weight)

    return update_state


def _with_number(original: Callable[..., Any]) -> Callable[..., Any]:
    """Draw other seeds on each replica; the first one draws those of a single device."""

    def following(generator: Any, *args: Any, **kwargs: Any) -> Any:
        import tensorflow as tf

        seed = original(generator, *args, **kwargs)
        step = tf.cast(_now.number, seed.dtype) * tf.constant(_SEED_STEP, seed.dtype)
        return seed + tf.stack([step, tf.zeros_like(step)])

    return following


def _moments(x: Any, axes: Any, keepdims: bool) -> tuple[Any, Any]:
    """Return mean and variance over the rows of all replicas."""
    import tensorflow as tf

    context = tf.distribute.get_replica_context()
    weight = tf.cast(_now.weight, x.dtype)

    @tf.custom_gradient
    def over_all(part: Any) -> Any:
        def gradient(upstream: Any) -> Any:
            # Each replica's gradients count by its weight, which is applied to their sum later.
            return context.all_reduce("SUM", upstream * weight) / weight

        return context.all_reduce("SUM", part), gradient

    count = tf.cast(tf.size(x) / tf.size(tf.reduce_sum(x, axis=axes)), x.dtype)
    count = context.all_reduce("SUM", count)
    mean = over_all(tf.reduce_sum(x, axis=axes, keepdims=True)) / count
    # the mean minimises the squares, so that they have no gradient by it
    squares = tf.math.squared_difference(x, tf.stop_gradient(mean))
    variance = over_all(tf.reduce_sum(squares, axis=axes, keepdims=True)) / count
    if not keepdims:
        mean, variance = tf.squeeze(mean, axes), tf.squeeze(variance, axes)
    return mean, variance
