"""Which processes and devices train together.

Responsible for what the field `strategy` means, for the questions that have another answer where
several workers train one model (who writes files, what all of them do where clocks, signals or
free memory differ), and for the copies of variables on each device. Not for the steps that run on
them (`replicas`).

A model is built and saved as on one device. Its variables are given to the strategy when training
begins, and taken back when it ends: nothing outside of the training knows of the strategy.
"""

from __future__ import annotations

import contextlib
import json
import os
import threading
import weakref
from collections.abc import Iterator, Sequence
from typing import Any, TypeVar

import numpy as np

from trainer.utils import checks

Value = TypeVar("Value", bool, int)

NAMES = ("mirrored", "multi_worker", "tpu", "auto")


class Distribution:
    """The replicas of one fit: on the devices of this process, or over several workers.

    Args:
        strategy: A tf.distribute.Strategy.

    Attributes:
        strategy: The same.
        replicas: The number of replicas over all workers.
        workers: The number of workers.
        worker: The number of this one; 0 is the chief.
        first_replica: The number of its first replica.
    """

    def __init__(self, strategy: Any) -> None:
        self.strategy = strategy
        self.replicas = int(strategy.num_replicas_in_sync)
        self.workers, self.worker = _place(strategy)
        self.local = self.replicas // self.workers
        self.first_replica = self.worker * self.local
        self._sums: dict[Any, Any] = {}

    def __str__(self) -> str:
        each = f"{self.replicas} replica{'s' if self.replicas != 1 else ''}"
        return each if self.workers == 1 else f"{each}, {self.workers} workers"

    def part(self, rows: int) -> slice:
        """Return which rows of a batch of this size this worker needs."""
        if rows < self.replicas:
            return slice(rows)  # each replica computes them all
        last = self.first_replica + self.local
        return slice(self.first_replica * rows // self.replicas, last * rows // self.replicas)

    # ---- between workers ---------------------------------------------------------------------

    def gathered(self, array: np.ndarray) -> np.ndarray:
        """Return the arrays of all workers, [workers, ...]; all call it with the same form.

        Args:
            array: int32 or int64.
        """
        if self.workers == 1:
            return array[None]
        import tensorflow as tf

        own = np.zeros((self.workers, *array.shape), array.dtype)
        own[self.worker] = array
        key = own.shape, own.dtype.str
        if key not in self._sums:

            def total(value: Any) -> Any:
                def on_replica(value: Any) -> Any:
                    context = tf.distribute.get_replica_context()
                    number = tf.cast(context.replica_id_in_sync_group, tf.int32)
                    first = number == self.first_replica  # the others would count it again
                    value = tf.where(first, value, tf.zeros_like(value))
                    return context.all_reduce("SUM", value)

                return self.strategy.experimental_local_results(
                    self.strategy.run(on_replica, args=(value,))
                )[0]

            self._sums[key] = tf.function(total, autograph=False)
        found: np.ndarray = self._sums[key](tf.constant(own)).numpy()
        return found

    def from_chief(self, content: bytes) -> bytes:
        """Return the chief's bytes; all workers call it, and those of the others are ignored."""
        if self.workers == 1:
            return content
        length = int(self.gathered(np.array([len(content)], np.int64))[0, 0])
        if not length:
            return b""  # the exchange of an empty tensor ends the process
        padded = -(-length // 4) * 4
        own = content if self.worker == 0 else b""
        words = np.frombuffer(own.ljust(padded, b"\0"), np.int32)
        return self._sum_of_chief(words).tobytes()[:length]

    def _sum_of_chief(self, words: np.ndarray) -> np.ndarray:
        import tensorflow as tf

        def on_replica(value: Any) -> Any:
            context = tf.distribute.get_replica_context()
            number = tf.cast(context.replica_id_in_sync_group, tf.int32)
            value = tf.where(number == 0, value, tf.zeros_like(value))
            return context.all_reduce("SUM", value)

        def total(value: Any) -> Any:
            return self.strategy.experimental_local_results(
                self.strategy.run(on_replica, args=(value,))
            )[0]

        found: np.ndarray = tf.function(total, autograph=False)(tf.constant(words)).numpy()
        return found

    def copies(self, variables: Sequence[Any]) -> list[np.ndarray]:
        """Return the copies of Keras variables on all replicas, [replicas, ...] each.

        All workers call it. One exchange serves all variables.
        """
        own = [np.stack([c.numpy() for c in _components(v)]) for v in variables]
        if self.workers == 1 or not own:
            return own
        content = b"".join(array.tobytes() for array in own)
        padded = content.ljust(-(-len(content) // 4) * 4, b"\0")
        words = self.gathered(np.frombuffer(padded, np.int32))
        found, start = [], 0
        for array in own:
            parts = [
                np.frombuffer(of_worker.tobytes()[start : start + array.nbytes], array.dtype)
                for of_worker in words
            ]
            found.append(np.concatenate([p.reshape(array.shape) for p in parts]))
            start += array.nbytes
        return found

    def assign_copies(self, variable: Any, copies: np.ndarray) -> None:
        """Set the copies that this worker has of a Keras variable, from `copies` of it."""
        import tensorflow as tf
        from tensorflow.python.ops import gen_resource_variable_ops as operations

        for i, component in enumerate(_components(variable)):
            value = tf.constant(copies[self.first_replica + i], component.dtype)
            operations.assign_variable_op(component.handle, value)

    def agree(self, value: Value) -> Value:
        """See the function of this name."""
        found = self.gathered(np.array([int(value)], np.int64))[:, 0]
        if isinstance(value, (bool, np.bool_)):
            return bool(found.any())
        return int(found.min())

    @property
    def tokens(self) -> list[Any]:
        """The variables by which TensorFlow keeps exchanges in order; they hold nothing."""
        exchanges = (
            getattr(self.strategy.extended, name, None)
            for name in ("_cross_device_ops", "_host_cross_device_ops")
        )
        launchers = [each for e in exchanges for each in getattr(e, "_launchers", ())]
        found = [getattr(launcher, "_ordering_token", None) for launcher in launchers]
        return [token for token in found if token is not None]

    # ---- variables ---------------------------------------------------------------------------

    @contextlib.contextmanager
    def holding(self, variables: Sequence[Any], optimizers: Sequence[Any]) -> Iterator[None]:
        """Give Keras variables to the strategy, with a copy for each replica, until the end.

        Args:
            variables: All that a step reads or changes; they start with the chief's values.
            optimizers: Those that change some of them.
        """
        import tensorflow as tf

        before = [(optimizer, optimizer._distribution_strategy) for optimizer in optimizers]
        plain = [v for v in variables if v.dtype != "string"]
        kept = [(variable, variable._value) for variable in plain]
        try:
            with self.strategy.scope():
                for variable, held in kept:
                    variable._value = tf.Variable(
                        held.numpy(),
                        trainable=held.trainable,
                        dtype=held.dtype,
                        name=variable.name,
                        # Replicas change their copies alike, but for what each counts on its own.
                        **_counting(variable),
                    )
                    for component in _components(variable):
                        component._unique_id = held._unique_id  # optimizers know them by it
            for optimizer, _ in before:
                optimizer._distribution_strategy = self.strategy
            yield
        finally:
            for optimizer, earlier in before:
                optimizer._distribution_strategy = earlier
            for variable, held in kept:
                if variable._value is not held:
                    held.assign(_components(variable)[0])
                    variable._value = held


def _counting(variable: Any) -> dict[str, Any]:
    import tensorflow as tf

    if variable.synchronization != "on_read":
        return {}
    aggregation = getattr(tf.VariableAggregation, variable.aggregation.upper())
    return {"synchronization": tf.VariableSynchronization.ON_READ, "aggregation": aggregation}


def _components(variable: Any) -> list[Any]:
    """Return the copies that this worker has of a Keras variable, as TensorFlow's."""
    import tensorflow as tf

    held = variable._value
    copies = held.values if isinstance(held, tf.distribute.DistributedValues) else (held,)
    return list(copies)


def _place(strategy: Any) -> tuple[int, int]:
    """Return how many workers a strategy has, and the number of this one; the chief is 0."""
    import tensorflow as tf

    if not isinstance(strategy, tf.distribute.MultiWorkerMirroredStrategy):
        return 1, 0
    resolver = strategy.cluster_resolver
    jobs = resolver.cluster_spec().as_dict() if resolver is not None else {}
    order = [(job, i) for job in ("chief", "worker") for i in range(len(jobs.get(job, ())))]
    if len(order) < 2:
        return 1, 0
    return len(order), order.index((resolver.task_type, resolver.task_id))


# ---- the fit of this thread ----------------------------------------------------------------------


class _Current(threading.local):
    distribution: Distribution | None = None


_current = _Current()


@contextlib.contextmanager
def using(distribution: Distribution | None) -> Iterator[None]:
    """Return the context of a fit that runs on these replicas; None for one device."""
    before, _current.distribution = _current.distribution, distribution
    try:
        yield
    finally:
        _current.distribution = before


def current() -> Distribution | None:
    """Return the replicas of the fit in this thread; None on one device."""
    return _current.distribution


def is_chief() -> bool:
    """Return whether this worker is the one that writes files and logs."""
    return _current.distribution is None or _current.distribution.worker == 0


def agree(value: Value) -> Value:
    """Return what all workers do, given what this one would.

    Every worker calls it in the same order: for each decision that depends on time, on a signal or
    on free memory, which differ between workers.

    Args:
        value: True if this worker has a reason to act, or the number of steps or bytes that suit
            it. The result is True if any has a reason, and the smallest number.
    """
    distribution = _current.distribution
    return value if distribution is None or distribution.workers == 1 else distribution.agree(value)


def tokens() -> list[Any]:
    """Return the variables of TensorFlow's own that the steps of this fit use."""
    return [] if _current.distribution is None else _current.distribution.tokens


def alike(digest: bytes) -> bool:
    """Return whether all workers have the same digest, of 8 bytes or more; all call it."""
    distribution = _current.distribution
    if distribution is None or distribution.workers == 1:
        return True
    found = distribution.gathered(np.frombuffer(digest[:8], np.int64))
    return bool((found == found[0]).all())


def share(content: bytes | None) -> bytes | None:
    """Return the chief's bytes on every worker; all call it.

    Args:
        content: What the chief has, or None for nothing; ignored for the others.
    """
    distribution = _current.distribution
    if distribution is None or distribution.workers == 1:
        return content
    marked = b"" if content is None else b"+" + content
    found = distribution.from_chief(marked)
    return found[1:] if found else None


# ---- the field -----------------------------------------------------------------------------------

_made: dict[str, Any] = {}  # one per process: TensorFlow's runtime has no room for a second
_distributions: weakref.WeakKeyDictionary[Any, Distribution] = weakref.WeakKeyDictionary()


def check(field: Any) -> None:
    """Check the type of the field `strategy`.

    Raises:
        TypeError, ValueError: It is neither None, nor one of NAMES, nor a strategy that trains
            all replicas in step.
    """
    if field is None:
        return
    if isinstance(field, str):
        checks.one_of("strategy", field, (None, *NAMES))
        return
    import tensorflow as tf

    if not isinstance(field, tf.distribute.Strategy):
        names = ", ".join(map(repr, NAMES))
        raise TypeError(
            f"strategy={field!r}: must be None, {names} or a tf.distribute.Strategy object; write "
            "strategy='mirrored'"
        )
    name = type(field).__name__
    if "ParameterServer" in name:
        raise ValueError(
            f"strategy=<{name}>: workers of parameter servers train at their own pace on weights "
            "that others change meanwhile, so that no fit could be repeated or resumed exactly; "
            "write strategy='multi_worker'"
        )
    known = (
        tf.distribute.MirroredStrategy,
        tf.distribute.MultiWorkerMirroredStrategy,
        tf.distribute.TPUStrategy,
        tf.distribute.OneDeviceStrategy,
    )
    if not isinstance(field, known) and name != "_DefaultDistributionStrategy":
        raise ValueError(
            f"strategy=<{name}>: only strategies with a copy of the variables on each device are "
            "supported; write strategy='mirrored' or strategy='multi_worker'"
        )


def is_object(field: Any) -> bool:
    """Return whether the field `strategy` holds a tf.distribute.Strategy."""
    return field is not None and not isinstance(field, str)


def resolve(field: Any) -> Distribution | None:
    """Return the replicas that the field `strategy` stands for; None for one device.

    Within a `with strategy.scope()` of the caller, it is that strategy.

    Args:
        field: None, one of NAMES, or a tf.distribute.Strategy.

    Raises:
        TypeError, ValueError: It cannot be used; the message says what to write instead.
    """
    import tensorflow as tf

    check(field)
    if tf.distribute.has_strategy():
        around = tf.distribute.get_strategy()
        check(around)
        if field is not None and field is not around and field is not _made.get(str(field)):
            raise ValueError(
                f"strategy={_shown(field)}: fit was called in the scope of another strategy, "
                f"<{type(around).__name__}>; leave the field strategy out, or call fit outside "
                "of the scope"
            )
        return _distribution(around)
    if field == "auto":
        if "TF_CONFIG" in os.environ:
            field = "multi_worker"
        else:
            field = "mirrored" if len(tf.config.list_physical_devices("GPU")) > 1 else None
    if field is None:
        return None
    if isinstance(field, str):
        if field not in _made:
            make = {"mirrored": _mirrored, "multi_worker": _multi_worker, "tpu": _tpu}[field]
            _made[field] = make()
        field = _made[field]
    if type(field).__name__ == "_DefaultDistributionStrategy":
        return None
    return _distribution(field)


def _shown(field: Any) -> str:
    return repr(field) if isinstance(field, str) else f"<{type(field).__name__}>"


def _distribution(strategy: Any) -> Distribution:
    if strategy not in _distributions:
        _distributions[strategy] = Distribution(strategy)
    return _distributions[strategy]


def _mirrored() -> Any:
    import tensorflow as tf

    devices = [d.name for d in tf.config.list_logical_devices("GPU")]
    if devices:
        return tf.distribute.MirroredStrategy(devices)
    devices = [d.name for d in tf.config.list_logical_devices("CPU")]
    # the collective operations of CPUs fail on a second model of other shapes
    return tf.distribute.MirroredStrategy(
        devices, cross_device_ops=tf.distribute.ReductionToOneDevice()
    )


def _multi_worker() -> Any:
    import tensorflow as tf
    from tensorflow.python.eager import context

    workers = _workers(os.environ.get("TF_CONFIG"))
    if workers > 1 and context.context()._initialized:
        raise ValueError(
            "strategy='multi_worker': TensorFlow has run operations already, and workers can only "
            "be joined before that; call fit earlier, or create "
            "tf.distribute.MultiWorkerMirroredStrategy() at the start of the script and pass it "
            "as strategy"
        )
    return tf.distribute.MultiWorkerMirroredStrategy()


def _workers(text: str | None) -> int:
    """Return the number of workers in TF_CONFIG.

    Raises:
        ValueError: It is not set, or does not name this worker among others.
    """
    write = (
        "start the workers with `python -m trainer launch --workers 2 train.py`, or set it on each "
        'to {"cluster": {"worker": ["host1:12345", "host2:12345"]}, '
        '"task": {"type": "worker", "index": 0}}'
    )
    if not text:
        raise ValueError(
            "strategy='multi_worker': the variable TF_CONFIG, which lists the workers, is not set; "
            + write
        )
    try:
        config = json.loads(text)
        cluster, task = config["cluster"], config["task"]
        order = [(job, i) for job in ("chief", "worker") for i in range(len(cluster.get(job, ())))]
        if (task["type"], int(task["index"])) not in order:
            raise ValueError
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise ValueError(
            f"strategy='multi_worker': TF_CONFIG={text!r} does not list this worker in a cluster "
            f"of workers; {write}"
        ) from error
    return len(order)


def _tpu() -> Any:
    import tensorflow as tf

    try:
        resolver = tf.distribute.cluster_resolver.TPUClusterResolver()
        tf.config.experimental_connect_to_cluster(resolver)
        tf.tpu.experimental.initialize_tpu_system(resolver)
    except Exception as error:  # TensorFlow's, and those of its clients
        looked = ", ".join(
            f"{name}={os.environ[name]!r}" if name in os.environ else f"{name} (not set)"
            for name in ("TPU_NAME", "KUBE_GOOGLE_CLOUD_TPU_ENDPOINTS", "TPU_LOAD_LIBRARY")
        )
        local = len(tf.config.list_physical_devices("TPU"))
        reason = str(error).strip().split("\n")[0]
        raise ValueError(
            f"strategy='tpu': no TPU was found. Looked for {looked}, and for TPUs of this machine "
            f"({local}): {reason}; set TPU_NAME to the name or address of a TPU, or write "
            "strategy='auto'"
        ) from error
    return tf.distribute.TPUStrategy(resolver)


@contextlib.contextmanager
def left() -> Iterator[None]:
    """Leave the scope of a strategy that the caller is in, if any, until the end.

    A model is built as on one device. TensorFlow has no public way out of a scope.
    """
    import tensorflow as tf
    from tensorflow.python.framework import ops

    if not tf.distribute.has_strategy():
        yield
        return
    graph = ops.get_default_graph()
    stack, creators = graph._distribution_strategy_stack, graph._variable_creator_stack
    held = list(stack)
    stack.clear()
    graph._variable_creator_stack = []
    try:
        with tf.device(None):
            yield
    finally:
        stack[:] = held
        graph._variable_creator_stack = creators
