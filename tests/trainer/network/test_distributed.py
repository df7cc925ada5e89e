"""What cannot be trained on replicas is refused or warned of, and one device is left alone."""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from types import SimpleNamespace
from typing import Any

import keras
import numpy as np
import pytest
import tensorflow as tf

from trainer.engine.backend import strategy
from trainer.network import distributed


@pytest.fixture
def replicas() -> Iterator[Any]:
    """One replica on one device, which follows the rules of many."""
    made = strategy.resolve(tf.distribute.OneDeviceStrategy("CPU:0"))
    assert made is not None
    with strategy.using(made):
        yield made


@pytest.fixture
def two_workers() -> Iterator[None]:
    """The answers of a strategy of two workers, whose processes would cost seconds."""
    made: Any = SimpleNamespace(workers=2, worker=1, part=lambda rows: slice(rows // 2, rows))
    with strategy.using(made):
        yield


def network(core: keras.Model, *, eager: bool = False, fixed_rows: int | None = None) -> Any:
    """What `check` reads of a network."""
    return SimpleNamespace(core=core, program=SimpleNamespace(eager=eager), fixed_rows=fixed_rows)


def compiled(loss: Any = "mse") -> keras.Model:
    made = keras.Sequential([keras.Input((3,)), keras.layers.Dense(1)])
    made.compile(loss=loss)
    return made


DENSE = tf.TensorSpec((None, 3))


def test_xla_is_refused_on_replicas_and_left_to_the_field_on_one_device(replicas: Any) -> None:
    with pytest.raises(ValueError, match="jit=True: XLA cannot .* leave jit out, or write"):
        distributed.jit(True)
    assert distributed.jit("auto") is False and distributed.jit(False) is False
    with strategy.using(None):
        assert distributed.jit(True) is True and distributed.jit("auto") == "auto"


def test_batches_of_sparse_tensors_are_refused_wherever_they_are_in_a_batch() -> None:
    spec = ({"a": DENSE, "b": tf.SparseTensorSpec((None, 3))}, DENSE)
    with pytest.raises(
        ValueError, match="batches of sparse tensors cannot be split .*; pass dense"
    ):
        distributed.check(network(compiled()), spec)
    distributed.check(network(compiled()), ({"a": DENSE}, DENSE))


@pytest.mark.parametrize("reduction", ["sum", "mean_with_sample_weight", "none"])
def test_a_loss_that_is_no_mean_over_rows_is_refused_with_its_name(reduction: str) -> None:
    loss = keras.losses.Huber(reduction=reduction, name="mine")
    said = f"the loss 'mine' has reduction='{reduction}'.*write reduction='sum_over_batch_size'"
    with pytest.raises(ValueError, match=said):
        distributed.check(network(compiled(loss)), DENSE)
    with pytest.raises(ValueError, match=said):  # one of several
        distributed._check_loss(SimpleNamespace(loss={"a": "mse", "b": loss}))


def test_a_callback_that_restores_is_refused_with_several_workers_only(
    two_workers: None, tmp_path: Any
) -> None:
    given = [keras.callbacks.TerminateOnNaN(), keras.callbacks.BackupAndRestore(str(tmp_path))]
    distributed.check_callbacks(given[:1])
    with pytest.raises(ValueError, match="callbacks: Keras' BackupAndRestore .* write run_dir="):
        distributed.check_callbacks(given)
    with strategy.using(None):
        distributed.check_callbacks(given)


def test_a_worker_reads_its_part_of_a_batch_and_one_device_all_of_it(two_workers: None) -> None:
    rows = np.arange(9)
    np.testing.assert_array_equal(rows[distributed.part()(9)], rows[4:])
    with strategy.using(None):
        np.testing.assert_array_equal(rows[distributed.part()(9)], rows)


def test_on_one_device_nothing_is_asked_of_the_network() -> None:
    def names() -> list[str]:
        raise AssertionError("variables are looked for with several workers only")

    nothing: Any = None
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        distributed.warn_of_own(names)
        with distributed.on_replicas(nothing, []):
            assert strategy.current() is None
