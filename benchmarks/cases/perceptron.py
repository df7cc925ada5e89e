"""The perceptron 784-300-100-10: against Keras, PyTorch, Lightning and bare matrix products."""

from __future__ import annotations

from functools import partial

from benchmarks import torch_sides
from benchmarks.case import ONE_THREAD, Benchmark, Comparison, Side, Target
from benchmarks.data import Data, images
from benchmarks.models import Task, perceptron
from benchmarks.rounds import Rounds


def data(quick: bool) -> Data:
    """Return as many images as MNIST's training set has, less 5,000."""
    return images(320 if quick else 55_000)


TASK = Task(perceptron, data, "sgd", 0.01)
_NUMPY_ONE_THREAD = {f"{library}_NUM_THREADS": "1" for library in ("OMP", "OPENBLAS", "MKL")}


def products(rounds: Rounds) -> None:
    """Time the matrix products of an epoch, forward and backward, in NumPy, and nothing else."""
    import numpy as np

    x, _ = data(rounds.quick)
    x = x.reshape(len(x), -1)
    generator = np.random.default_rng(0)
    sizes = (784, 300, 100, 10)
    shapes = list(zip(sizes[:-1], sizes[1:], strict=True))
    weights = [generator.random(shape, dtype=np.float32) for shape in shapes]
    outputs = [np.empty((32, width), np.float32) for width in sizes[1:]]
    to_weights = [np.empty_like(w) for w in weights]
    to_inputs = [np.empty((32, w.shape[0]), np.float32) for w in weights]

    def epoch() -> None:
        for start in range(0, len(x), 32):
            inputs = [x[start : start + 32], *outputs[:-1]]
            n = len(inputs[0])
            for i, w in enumerate(weights):
                np.matmul(inputs[i][:n], w, out=outputs[i][:n])
            for i in (2, 1, 0):
                np.matmul(inputs[i][:n].T, outputs[i][:n], out=to_weights[i])
                if i:  # no gradient with respect to the images is needed
                    np.matmul(outputs[i][:n], weights[i].T, out=to_inputs[i][:n])

    rounds.time(epoch)


OURS, ONE = "Trainer", "Trainer, one thread"
KERAS = "keras.Model.fit"
BENCHMARKS = (
    Benchmark(
        name="epoch",
        title="perceptron 784-300-100-10, 55,000 images, batch 32, SGD",
        unit="s an epoch",
        sides=(
            Side(OURS, TASK.ours),
            Side(KERAS, TASK.keras),
            Side(ONE, TASK.ours, ONE_THREAD),
            Side(f"{KERAS}, one thread", TASK.keras, ONE_THREAD),
            Side(f"{KERAS}, steps_per_execution=100", partial(TASK.keras, steps_per_execution=100)),
            Side("PyTorch loop", partial(torch_sides.loop, data=data), needs="torch"),
            Side(
                "PyTorch loop, one thread",
                partial(torch_sides.loop, data=data),
                {"OMP_NUM_THREADS": "1"},
                needs="torch",
            ),
            Side("Lightning", partial(torch_sides.lightning, data=data), needs="lightning"),
            Side("matrix products alone, NumPy, one thread", products, _NUMPY_ONE_THREAD),
        ),
        comparisons=(
            Comparison(OURS, KERAS, Target(ratio=3.0)),
            Comparison(OURS, f"{KERAS}, steps_per_execution=100"),
            Comparison(ONE, KERAS, Target(ratio=3.5)),
            Comparison(ONE, f"{KERAS}, one thread"),
            Comparison(OURS, "Lightning"),
            Comparison(ONE, "Lightning", Target(ratio=4.0)),
            Comparison(OURS, "PyTorch loop"),
            Comparison(ONE, "PyTorch loop, one thread"),
            Comparison(ONE, "matrix products alone, NumPy, one thread", Target(ratio=1 / 1.3)),
        ),
    ),
)
