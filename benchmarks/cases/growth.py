"""Resident memory over many fits in one process, and whether refits trace."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

from benchmarks.case import Benchmark, Comparison, Side, Target
from benchmarks.data import images
from benchmarks.models import Task, compiled, perceptron
from benchmarks.rounds import Rounds

FITS, SETTLED = 50, 5
Fit = Callable[[int], Any]  # called with the number of the fit, from 0


def growth(rounds: Rounds, prepare: Callable[[Any, Any], Fit]) -> None:
    """Report the megabytes added per fit, on average over the fits after the fifth."""
    import psutil

    process = psutil.Process()
    fit = prepare(*images(320 if rounds.quick else 1_600))
    fits = 8 if rounds.quick else FITS
    rounds.wait()
    for i in range(SETTLED):
        fit(i)
    settled = process.memory_info().rss
    for i in range(SETTLED, fits):
        fit(i)
    rounds.tell((process.memory_info().rss - settled) / 1e6 / (fits - SETTLED))


def new_trainers(x: Any, y: Any, wider: int) -> Fit:
    """Fit a new Trainer each time, `wider` units wider than the one before."""

    def fit(i: int) -> None:
        task = Task(partial(perceptron, 300 + wider * i), images, "sgd", 0.01)
        task.trainer(epochs=1).fit(x, y)

    return fit


def new_models(x: Any, y: Any, wider: int) -> Fit:
    """Fit a new keras.Model each time, as `new_trainers`."""
    return lambda i: compiled(perceptron(300 + wider * i), "sgd", 0.01).fit(x, y, verbose=0)


def one_trainer(x: Any, y: Any) -> Fit:
    """Fit one Trainer again and again."""
    trainer = Task(perceptron, images, "sgd", 0.01).trainer(epochs=1)
    return lambda i: trainer.fit(x, y)


def one_model(x: Any, y: Any) -> Fit:
    """Fit one keras.Model again and again."""
    model = compiled(perceptron(), "sgd", 0.01)
    return lambda i: model.fit(x, y, verbose=0)


def traces(rounds: Rounds) -> None:
    """Report how many functions the refits of one Trainer trace."""
    x, y = images(320 if rounds.quick else 1_600)
    trainer = Task(perceptron, images, "sgd", 0.01).trainer(epochs=1).fit(x, y)
    rounds.wait()
    traced = 0
    for _ in range(8 if rounds.quick else FITS):
        trainer.fit(x, y)
        traced += trainer._network.program.graphs.traces
    rounds.tell(traced)


def _growth(name: str, title: str, ours: tuple[str, Any], peer: tuple[str, Any]) -> Benchmark:
    return Benchmark(
        name=name,
        title=title,
        unit="MB a fit",
        sides=tuple(Side(side, partial(growth, prepare=fit)) for side, fit in (ours, peer)),
        comparisons=(Comparison(ours[0], peer[0], Target(value=1.0)),),
        fresh=True,
        most_rounds=1,  # one round already averages many fits
    )


BENCHMARKS = (
    _growth(
        "alike",
        "memory added by a fit of a new perceptron, fits 6 to 50",
        ("new Trainers", partial(new_trainers, wider=0)),
        ("new keras.Models", partial(new_models, wider=0)),
    ),
    _growth(
        "different",
        "the same, each perceptron of a width of its own",
        ("new Trainers", partial(new_trainers, wider=1)),
        ("new keras.Models", partial(new_models, wider=1)),
    ),
    _growth(
        "refits",
        "memory added by a refit of one perceptron, fits 6 to 50",
        ("one Trainer", one_trainer),
        ("one keras.Model", one_model),
    ),
    Benchmark(
        name="traces",
        title="functions traced by 50 refits of one Trainer",
        unit="traces",
        sides=(Side("one Trainer", traces),),
        comparisons=(Comparison("one Trainer", target=Target(value=0)),),
        fresh=True,
        most_rounds=1,
    ),
)
