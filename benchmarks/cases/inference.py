"""predict and evaluate of a trained perceptron, warm."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

from benchmarks.case import Benchmark, Comparison, Side, Target
from benchmarks.data import images
from benchmarks.models import Task, compiled, perceptron
from benchmarks.rounds import Rounds

TASK = Task(perceptron, lambda quick: images(320), "sgd", 0.01)
Work = Callable[[Any, Any, Any], Any]  # called with the trained model, x and y


def ours(rounds: Rounds, rows: int, calls: int, work: Work) -> None:
    """Time a fitted Trainer."""
    trainer = TASK.trainer(epochs=1).fit(*images(320))
    _time(rounds, trainer, rows, calls, work)


def keras(rounds: Rounds, rows: int, calls: int, work: Work) -> None:
    """Time a fitted Keras model."""
    model = compiled(perceptron(), "sgd", 0.01)
    model.fit(*images(320), verbose=0)
    _time(rounds, model, rows, calls, work)


def _time(rounds: Rounds, model: Any, rows: int, calls: int, work: Work) -> None:
    x, y = images(rows)
    calls = 2 if rounds.quick else calls

    def repeatedly() -> None:
        for _ in range(calls):
            work(model, x, y)

    repeatedly()  # the first call traces, later ones may still start threads
    rounds.time(repeatedly, scale=1000 / calls)


def _benchmark(
    name: str, title: str, rows: int, calls: tuple[int, int], works: tuple[Work, Work], least: float
) -> Benchmark:
    our_name, peer = (f"{owner}.{name.split('-')[0]}" for owner in ("Trainer", "keras.Model"))
    return Benchmark(
        name=name,
        title=title,
        unit="ms a call",
        sides=(
            Side(our_name, partial(ours, rows=rows, calls=calls[0], work=works[0])),
            Side(peer, partial(keras, rows=rows, calls=calls[1], work=works[1])),
        ),
        comparisons=(Comparison(our_name, peer, Target(ratio=least)),),
    )


def _predict(model: Any, x: Any, y: Any) -> Any:
    return model.predict(x)


def _predict_silently(model: Any, x: Any, y: Any) -> Any:
    return model.predict(x, verbose=0)


def _evaluate(model: Any, x: Any, y: Any) -> Any:
    return model.evaluate(x, y)


def _evaluate_silently(model: Any, x: Any, y: Any) -> Any:
    return model.evaluate(x, y, verbose=0)


PREDICTIONS = (_predict, _predict_silently)
BENCHMARKS = (
    _benchmark("predict-1", "predict 1 image, perceptron", 1, (300, 20), PREDICTIONS, 40),
    _benchmark(
        "predict-10000", "predict 10,000 images, perceptron", 10_000, (20, 3), PREDICTIONS, 5
    ),
    _benchmark(
        "evaluate-10000",
        "evaluate 10,000 images, perceptron",
        10_000,
        (20, 3),
        (_evaluate, _evaluate_silently),
        5,
    ),
)
